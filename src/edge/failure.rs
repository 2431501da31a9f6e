//! What is answered instead of an upstream's response, in the client's language: the one place that makes such answers.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{Body, Edge, asleep::Asleep, client::Kind, context::Exchange, diagnosis::noted_path, grpc, hop, visit::Visit, warning};
use crate::{
    auth::Auth,
    codespace::{Snapshot, TooManySockets, TooMuch},
    doctor::{Note, Trouble, What},
    domain::{Exceeded, Phase, Port, ShareEnd, ShareKind, Step, StepName, StepState, UserId},
    forward::admission,
    policy::{Denial, Presented},
    protocol::tunnel::{Endpoint, Refusal},
    route::Route,
    tunnel::DialError,
    web::{
        assets::CODESPACE_PREFIX,
        pages::{self, Page},
    },
};

/// A refusal or failure on its way to the client.
#[derive(Debug)]
pub struct Failure {
    reason: Reason,
    visit: Option<Box<Visit>>,
}

/// Why the client does not get what it asked for.
#[derive(Debug)]
pub enum Reason {
    Admission(admission::Refusal),
    /// A head too large for a codespace's host, where any page under DOMAIN can pile up cookies.
    Overgrown,
    /// A client behind a proxy has as much under way as one address may.
    Crowded,
    /// A host that is none of ours.
    Misdirected(String),
    /// A host under DOMAIN that can be no codespace's.
    NoSuchCodespace,
    Denied(Denial),
    /// Signed in, and about to be signed in to new siblings as well.
    Detour,
    /// Permitted, but the codespace does not run or its agent is away.
    Asleep(Asleep),
    /// Whoever came started as many within a minute as they may.
    TooManyStarts {
        limit: usize,
        seconds: u64,
    },
    /// A form of ours, posted by another page than ours.
    ForeignPost,
    /// No stream to an editor, or none at all.
    Dial(Endpoint, DialError),
    /// The app gave no proper answer; what the owner alone may know stands beside it.
    Trouble(Port, Trouble, Option<Arc<Snapshot>>),
    /// The editor broke the exchange off.
    Editor,
    /// The permit fell while the request was under way.
    Revoked,
    BadRequest(&'static str),
    TooManySockets(TooManySockets),
    /// Strangers had as much as the operator lets them have.
    TooMuch(TooMuch),
    /// A limit that the codespace's owner set.
    Limited(Port, Exceeded, UserId),
    /// No such path of our own.
    NotFound,
    /// Permitted, but a stranger's page that nobody warned of yet.
    Warning(Arc<Snapshot>),
    /// A share link's address that is none.
    NoSuchLink,
    /// A fault of ours.
    Internal,
}

impl From<admission::Refusal> for Failure {
    fn from(refusal: admission::Refusal) -> Self {
        Self::new(Reason::Admission(refusal))
    }
}

impl Failure {
    pub(super) fn new(reason: Reason) -> Self {
        Self { reason, visit: None }
    }

    pub(super) fn of_visit(reason: Reason, visit: Visit) -> Self {
        Self {
            reason,
            visit: Some(Box::new(visit)),
        }
    }

    /// Makes the answer, with the id that logs and `portico explain` know it by.
    pub(super) fn respond(self, edge: &Edge, exchange: &Exchange, kind: Kind) -> Response<Body> {
        let mut response = self.response(edge, exchange, kind);
        if let Ok(id) = HeaderValue::from_str(exchange.id()) {
            response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
        }
        response
    }

    fn response(self, edge: &Edge, exchange: &Exchange, kind: Kind) -> Response<Body> {
        exchange.note(self.reason.note());
        let Some(visit) = self.visit else {
            return early(self.reason, kind);
        };
        remember(edge, &visit, &self.reason);
        match self.reason {
            Reason::Denied(denial) => denied(edge, &visit, denial),
            Reason::Detour => hop::begin(edge, &visit),
            Reason::Warning(snapshot) => warning::show(edge, &visit, &snapshot),
            Reason::Admission(_) | Reason::Crowded | Reason::Overgrown | Reason::Misdirected(_) | Reason::NoSuchCodespace => {
                early(self.reason, kind)
            }
            reason => {
                let (wait, has_form) = (reason.wait(), matches!(reason, Reason::Asleep(_)));
                let page = page_of(edge, &visit, reason);
                let mut response = page_response(edge, &visit, page);
                if has_form {
                    // Without a referrer the browser would not say either whose page posts the form.
                    response
                        .headers_mut()
                        .insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
                }
                if let Some(seconds) = wait {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                response
            }
        }
    }
}

impl Reason {
    /// After how many seconds it is worth asking again, where that is another time than always.
    fn wait(&self) -> Option<u64> {
        match self {
            Self::TooManyStarts { seconds, .. } => Some(*seconds),
            Self::TooMuch(error) => Some(seconds(error.retry_after)),
            _ => None,
        }
    }

    /// For the access log: no secrets, no text of an app.
    fn note(&self) -> String {
        match self {
            Self::Admission(refusal) => format!("refused: {refusal:?}"),
            Self::Overgrown => "refused: HeadTooLarge".into(),
            Self::Crowded => "too many of this address".into(),
            Self::Misdirected(_) => "foreign host".into(),
            Self::NoSuchCodespace => "no such host".into(),
            Self::Denied(Denial::NotShared(_)) => "denied: not shared".into(),
            Self::Denied(denial) => format!("denied: {denial:?}"),
            Self::Detour => "sign-in of siblings".into(),
            Self::Asleep(asleep) => format!("codespace is {}", asleep.snapshot.phase()),
            Self::TooManyStarts { .. } => "too many starts".into(),
            Self::ForeignPost => "posted by another page".into(),
            Self::Dial(_, error) => format!("dial: {error}"),
            Self::Trouble(_, trouble, _) => format!("upstream: {}", trouble.slug()),
            Self::Editor => "editor broke off".into(),
            Self::Revoked => "permit fell".into(),
            Self::BadRequest(what) => format!("bad request: {what}"),
            Self::TooManySockets(error) => format!("refused: {error}"),
            Self::TooMuch(error) => format!("refused: {error}"),
            Self::Limited(_, exceeded, _) => format!("limit of the port: {exceeded:?}"),
            Self::NotFound => "no such page".into(),
            Self::Warning(_) => "warning".into(),
            Self::NoSuchLink => "no such link".into(),
            Self::Internal => "internal".into(),
        }
    }
}

/// Answers what is refused before anybody knows whose host it is.
fn early(reason: Reason, kind: Kind) -> Response<Body> {
    let heals = matches!(reason, Reason::Overgrown);
    let page = match reason {
        Reason::Overgrown => pages::head_too_large(CODESPACE_PREFIX),
        Reason::Crowded => pages::crowded(CODESPACE_PREFIX),
        Reason::Misdirected(host) => pages::misdirected(&host),
        Reason::Admission(refusal) => match refusal.status() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => pages::head_too_large(CODESPACE_PREFIX),
            StatusCode::URI_TOO_LONG => pages::uri_too_long(CODESPACE_PREFIX),
            StatusCode::METHOD_NOT_ALLOWED => pages::method_not_allowed(CODESPACE_PREFIX),
            _ => pages::bad_request(CODESPACE_PREFIX, &refusal.to_string()),
        },
        _ => pages::no_such_codespace(CODESPACE_PREFIX, None, None),
    };
    let close = matches!(page.status, StatusCode::BAD_REQUEST | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut response = match kind {
        Kind::Navigation { .. } => html(page, pages::CSP),
        kind => told(kind, &page),
    };
    if close {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if heals {
        response
            .headers_mut()
            .insert("clear-site-data", HeaderValue::from_static("\"cookies\""));
    }
    response
}

/// Denials, by kind of client (AUTH-1).
fn denied(edge: &Edge, visit: &Visit, denial: Denial) -> Response<Body> {
    match (denial, visit.kind) {
        (Denial::SignIn, Kind::Preflight) if is_sibling(visit) => preflight(edge, visit),
        (Denial::SignIn, Kind::Navigation { framed }) => hop::sign_in(edge, visit, framed),
        (Denial::SignIn | Denial::ForeignPage, Kind::WorkerScript) => unregister_worker(),
        (Denial::SignIn | Denial::BadToken, _) => {
            let mut page = pages::unauthorized(CODESPACE_PREFIX, &edge.sites.gateway().to_string());
            if is_sibling(visit) && visit.who == Presented::Nothing && visit.kind == Kind::Program {
                page.problem["hint"] = pages::credentials_hint(visit.loads_script).into();
            }
            with_cors(edge, visit, told(visit.kind, &page))
        }
        (Denial::ForeignPage, _) => page_response(edge, visit, pages::forbidden_origin(CODESPACE_PREFIX)),
        (Denial::ShareEnded(_), Kind::WorkerScript) => unregister_worker(),
        (Denial::ShareEnded(end), kind) => share_ended(edge, visit, end, kind),
        (Denial::BeyondShare, _) => page_response(edge, visit, pages::share_beyond()),
        (Denial::NotShared(identity), _) => {
            let now = edge.clock.now();
            edge.auth.note_denial(&identity, &visit.route, &visit.client(), now);
            let switch = format!("{}/sign-in?switch=1", edge.sites.gateway());
            page_response(
                edge,
                visit,
                pages::no_such_codespace(CODESPACE_PREFIX, Some(identity.name.as_str()), Some(&switch)),
            )
        }
    }
}

/// What a link opened is closed: people are told why, once, and then are visitors like any other.
fn share_ended(edge: &Edge, visit: &Visit, end: ShareEnd, kind: Kind) -> Response<Body> {
    let again = format!("{}{}", visit.origin, visit.target);
    let by_cookie = visit.shown.as_ref().is_some_and(|shown| shown.kind == ShareKind::People);
    let mut page = pages::share_ended(end, None, Some(&*again).filter(|_| by_cookie));
    let Some(shown) = visit.shown.as_ref().filter(|shown| shown.kind == ShareKind::People) else {
        return page_response(edge, visit, page);
    };
    if !matches!(kind, Kind::Navigation { .. }) {
        page.status = StatusCode::UNAUTHORIZED;
        page.problem["status"] = StatusCode::UNAUTHORIZED.as_u16().into();
        return page_response(edge, visit, page);
    }
    let mut response = page_response(edge, visit, page);
    for share in &shown.ids {
        if let Ok(cookie) = HeaderValue::from_str(&Auth::clear_grant_cookie(share)) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// Whether it is the codespace's owner who asks: others are told how it is, not why, nor what of.
fn is_owner(visit: &Visit, snapshot: &Snapshot) -> bool {
    matches!(&visit.who, Presented::Valid(identity) if identity.user == snapshot.record.owner)
}

fn told_steps(visit: &Visit, snapshot: &Snapshot) -> Vec<Step> {
    let mut steps = snapshot.steps.clone();
    if !is_owner(visit, snapshot) {
        steps.iter_mut().for_each(|step| step.detail.clear());
    }
    steps
}

fn page_of(edge: &Edge, visit: &Visit, reason: Reason) -> Page {
    let prefix = CODESPACE_PREFIX;
    let dashboard = format!("{}/codespaces/{}", edge.sites.gateway(), visit.name);
    match reason {
        Reason::Asleep(asleep) => asleep_page(edge, visit, &asleep, &dashboard),
        Reason::TooManyStarts { limit, seconds } => pages::too_many_starts(prefix, limit, seconds),
        Reason::ForeignPost => pages::forbidden_origin(prefix),
        Reason::Dial(endpoint, error) => dial_page(edge, visit, endpoint, &error, &dashboard),
        Reason::Trouble(port, trouble, Some(snapshot)) => {
            let known = known_to_owner(edge, visit, &snapshot, &dashboard);
            pages::port_trouble(prefix, port, trouble, &known, visit.exchange.id())
        }
        Reason::Trouble(_, _, None) => pages::app_unavailable(prefix, visit.exchange.id()),
        Reason::Editor => pages::editor_failed(prefix, &visit.name, &dashboard),
        Reason::Revoked => pages::no_such_codespace(prefix, None, None),
        Reason::BadRequest(what) => pages::bad_request(prefix, what),
        Reason::TooManySockets(error) => pages::too_many_sockets(prefix, &error.to_string()),
        Reason::TooMuch(error) => pages::too_much(prefix, &error.to_string(), seconds(error.retry_after)),
        Reason::Limited(port, exceeded, owner) => {
            let own = matches!(&visit.who, Presented::Valid(identity) if identity.user == owner);
            let owner = edge.auth.user(&owner);
            let raises = match &owner {
                _ if own => pages::Raises::Reader(&dashboard),
                Some(owner) => pages::Raises::Owner(owner.name.as_str()),
                None => pages::Raises::Owner("its owner"),
            };
            pages::limited(prefix, port, exceeded, raises)
        }
        Reason::NotFound => {
            let mut page = pages::bad_request(prefix, "there is no such page under /.portico/");
            page.status = StatusCode::NOT_FOUND;
            page
        }
        Reason::NoSuchLink => pages::share_unknown(),
        Reason::Internal => pages::internal(prefix, visit.exchange.id()),
        Reason::Admission(_)
        | Reason::Crowded
        | Reason::Overgrown
        | Reason::Misdirected(_)
        | Reason::NoSuchCodespace
        | Reason::Denied(_)
        | Reason::Warning(_)
        | Reason::Detour => pages::no_such_codespace(prefix, None, None),
    }
}

/// Says how far a codespace is that does not run, and what whoever asks can do about it.
fn asleep_page(edge: &Edge, visit: &Visit, asleep: &Asleep, dashboard: &str) -> Page {
    let (prefix, snapshot) = (CODESPACE_PREFIX, &asleep.snapshot);
    let is_owner = is_owner(visit, snapshot);
    let dashboard = Some(dashboard).filter(|_| is_owner);
    let page = visit.kind == Kind::Navigation { framed: false };
    let again = (page && asleep.may_start).then(|| visit.target.to_string());
    match snapshot.phase() {
        Phase::Running => pages::not_connected(prefix, &visit.name, again, dashboard, snapshot.away_because.as_deref()),
        Phase::Creating | Phase::Starting => pages::starting(prefix, &visit.name, &told_steps(visit, snapshot), again, dashboard),
        Phase::Stopping if snapshot.starts_again => pages::starting(prefix, &visit.name, &[], again, dashboard),
        phase => {
            let owner = edge.auth.user(&snapshot.record.owner);
            let start = match visit.kind {
                _ if !asleep.may_start => None,
                Kind::Navigation { framed: false } => Some(pages::Start::Button(visit.target.to_string())),
                Kind::Navigation { framed: true } => Some(pages::Start::NewTab(format!("{}{}", visit.origin, visit.target))),
                _ if !is_owner => Some(pages::Start::Visit),
                _ => Some(pages::Start::Call(format!(
                    "{}/api/v1/codespaces/{}/start",
                    edge.sites.gateway(),
                    visit.name
                ))),
            };
            let stopped = pages::Stopped {
                name: &visit.name,
                phase,
                reason: snapshot.record.reason.as_deref().filter(|_| is_owner),
                owner: owner.as_ref().map_or("its owner", |user| user.name.as_str()),
                start,
                dashboard,
            };
            pages::stopped(prefix, stopped)
        }
    }
}

fn dial_page(edge: &Edge, visit: &Visit, endpoint: Endpoint, error: &DialError, dashboard: &str) -> Page {
    let prefix = CODESPACE_PREFIX;
    match (endpoint, error) {
        (_, DialError::NotConnected) => {
            let snapshot = edge.codespaces.find(&visit.name).map(|codespace| codespace.snapshot());
            let own = snapshot.filter(|snapshot| is_owner(visit, snapshot));
            let why = own.as_ref().and_then(|own| own.away_because.as_deref());
            pages::not_connected(prefix, &visit.name, None, Some(dashboard).filter(|_| own.is_some()), why)
        }
        (_, DialError::Refused(Refusal::EditorAbsent)) => pages::workbench(prefix, &visit.name, "/.portico/api/v1"),
        (_, DialError::Refused(Refusal::EditorStarting)) => editor_page(edge, visit, dashboard),
        (_, _) => pages::editor_failed(prefix, &visit.name, dashboard),
    }
}

/// Says that the editor is not up yet, and what goes before it where something does.
fn editor_page(edge: &Edge, visit: &Visit, dashboard: &str) -> Page {
    let before = |step: &Step| step.name == StepName::Editor && step.state == StepState::Pending;
    let snapshot = edge.codespaces.find(&visit.name).map(|codespace| codespace.snapshot());
    match snapshot.filter(|snapshot| snapshot.steps.iter().any(before)) {
        Some(snapshot) => {
            let dashboard = Some(dashboard).filter(|_| is_owner(visit, &snapshot));
            pages::editor_waits(CODESPACE_PREFIX, &visit.name, &told_steps(visit, &snapshot), dashboard)
        }
        None => pages::editor_starting(CODESPACE_PREFIX, &visit.name),
    }
}

/// What helps the owner: what listens instead, and where a setting of the port is changed.
fn known_to_owner(edge: &Edge, visit: &Visit, snapshot: &Snapshot, dashboard: &str) -> pages::Known {
    let listening = snapshot.ports.iter().filter_map(|(port, view)| {
        let listener = view.listening.as_ref()?;
        Some(pages::Listening {
            port: port.number(),
            process: listener.process.clone(),
            addresses: listener.addresses.clone(),
            url: edge.sites.port(&visit.name, *port).to_string(),
        })
    });
    // The gateway's own page changes it: what runs on this host is not trusted to (CSRF-1).
    let beside = match visit.route {
        Route::Port(_, port) => snapshot.declaration.beside(port).map(str::to_owned),
        _ => None,
    };
    pages::Known {
        listening: listening.collect(),
        beside,
        settings: dashboard.to_owned(),
        target: visit.target.to_string(),
        framed: visit.kind == Kind::Navigation { framed: true },
    }
}

/// Notes for the owner what went wrong. A denial of a name that nobody has is noted as well, where nobody looks: it would
/// else be told sooner than others (ENUM-1).
fn remember(edge: &Edge, visit: &Visit, reason: &Reason) {
    // So a page of ours looks again; each look would push out a note that says more.
    if visit.exchange.method() == Method::HEAD {
        return;
    }
    let what = match reason {
        Reason::Trouble(_, trouble, _) => What::Trouble(*trouble),
        Reason::Denied(Denial::SignIn) => match visit.kind {
            Kind::Navigation { .. } | Kind::Preflight | Kind::WorkerScript => return,
            Kind::WebSocket | Kind::Grpc | Kind::Program => {
                What::Denied("nobody is signed in, or the request carried no cookie and no token")
            }
        },
        Reason::Denied(Denial::BadToken) => What::Denied("the token is wrong, over, or not for this"),
        Reason::Denied(Denial::ForeignPage) => What::Denied("a page of another site caused it"),
        Reason::Denied(Denial::NotShared(_)) => What::Denied("it is not shared with that account"),
        _ => return,
    };
    let nobodys = edge.codespaces.nobodys();
    let is_nobodys = matches!(what, What::Denied(_)) && edge.codespaces.find(&visit.name).is_none();
    let name = if is_nobodys { &nobodys.record.name } else { &visit.name };
    let note = Note {
        at: edge.clock.now(),
        trace: visit.exchange.id().to_owned(),
        port: match visit.route {
            Route::Port(_, port) => Some(port),
            _ => None,
        },
        method: visit.exchange.method().as_str().chars().take(32).collect(),
        path: noted_path(visit.target.path()),
        what,
    };
    edge.doctor.memory().note(name, note);
}

/// Whole seconds, the one that has begun with them.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + 1
}

/// A page for people, a problem for programs; readable by siblings, and by frames inside the codespace's own pages.
fn page_response(edge: &Edge, visit: &Visit, mut page: Page) -> Response<Body> {
    // The built-in page is an answer for people; to a program an absent editor is a failure.
    if page.status == StatusCode::OK && !matches!(visit.kind, Kind::Navigation { .. }) {
        page.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    let status = page.status;
    let mut response = match visit.kind {
        Kind::Navigation { .. } => {
            let editor = edge.sites.editor(&visit.name);
            html(page, &pages::csp_for_frame([&editor]))
        }
        kind => with_cors(edge, visit, told(kind, &page)),
    };
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

/// A page of ours as HTML, never cached.
pub(super) fn html(page: Page, csp: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(page.html));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(csp) = HeaderValue::from_str(csp) {
        headers.insert(header::CONTENT_SECURITY_POLICY, csp);
    }
    guard(headers);
    response
}

/// The same for what is no person, in its language.
fn told(kind: Kind, page: &Page) -> Response<Body> {
    if kind != Kind::Grpc {
        return problem(page);
    }
    let text = [&page.problem["title"], &page.problem["detail"]].map(|part| part.as_str().unwrap_or_default());
    let mut response = grpc::answer(page.status, text.join(". ").trim_end_matches(". "));
    guard(response.headers_mut());
    response
}

/// The same for programs (RFC 9457).
pub(super) fn problem(page: &Page) -> Response<Body> {
    let mut response = Response::new(Body::full(page.problem.to_string()));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if page.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("X-Portico-Token"));
    }
    guard(headers);
    response
}

/// The fields of every answer of ours on a codespace host.
pub(super) fn guard(headers: &mut http::HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "*"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

pub(super) fn is_sibling(visit: &Visit) -> bool {
    visit.from.as_ref().and_then(Route::codespace) == Some(&visit.name)
}

/// Lets a page of a sibling read the answer, and nobody else's.
pub(super) fn with_cors(edge: &Edge, visit: &Visit, mut response: Response<Body>) -> Response<Body> {
    if !is_sibling(visit) {
        return response;
    }
    let origin = visit
        .from
        .as_ref()
        .and_then(|from| edge.sites.origin(from))
        .and_then(|origin| HeaderValue::from_str(&origin.to_string()).ok());
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    response
}

/// Answers a sibling's preflight: the request that follows carries the cookie and is authorized by itself.
fn preflight(edge: &Edge, visit: &Visit) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    guard(response.headers_mut());
    let mut methods = String::new();
    for method in [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        write!(methods, "{}{method}", if methods.is_empty() { "" } else { ", " }).ok();
    }
    let headers = response.headers_mut();
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(asked) = &visit.preflight_headers {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("60"));
    with_cors(edge, visit, response)
}

/// To a service worker's update without a valid cookie: a worker that removes itself, or it would hide sign-in for ever.
fn unregister_worker() -> Response<Body> {
    let mut response = Response::new(Body::full(pages::unregister_worker()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    guard(response.headers_mut());
    response
}
