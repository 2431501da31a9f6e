//! A request to a codespace's host on its way to a permit and a running codespace.

use std::sync::Arc;

use http::{HeaderValue, Method, header, request::Parts, uri::PathAndQuery};
use time::OffsetDateTime;

use super::{
    Edge, Peer,
    addressee::Addressee,
    client::{self, Kind},
    context::Exchange,
    failure::{Failure, Reason},
    lease::Lease,
    warning,
};
use crate::{
    auth::{self, Auth},
    codespace::{Activity, Attention, Codespace, Question, Shown, Snapshot},
    domain::{CodespaceName, Credential, Identity, ShareKind, UserId, Visibility},
    forward::names::TOKEN_HEADER,
    policy::{Manner, Permit, Presented, Subject, browser},
    protocol::tunnel::Endpoint,
    route::{Origin, Route},
};

/// The prefix of the paths that are ours on every codespace host, matched on the raw path (PATH-1).
pub const RESERVED: &str = "/.portico/";

/// What is known of the request before anyone is asked for.
#[derive(Clone, Debug)]
pub struct Visit {
    pub name: CodespaceName,
    pub route: Route,
    /// The origin of the host that was asked.
    pub origin: Arc<Origin>,
    /// The host that was asked.
    pub(super) asked: Arc<Addressee>,
    pub kind: Kind,
    /// The `Origin` header, if it names one of our hosts.
    pub from: Option<Route>,
    /// Path and query, byte by byte.
    pub target: PathAndQuery,
    pub who: Presented,
    page: browser::Verdict,
    /// How it came about, should the codespace have to be started for it.
    pub manner: Manner,
    pub peer: Arc<Peer>,
    pub exchange: Arc<Exchange>,
    /// Whether a page for a person should look for siblings to sign in to.
    pub may_detour: bool,
    /// Whether a page loads a script with it.
    pub loads_script: bool,
    /// `Access-Control-Request-Headers` of a preflight.
    pub preflight_headers: Option<HeaderValue>,
    /// What the request shows of share links, if anything.
    pub shown: Option<Arc<Shown>>,
}

/// A visit that may reach its target.
pub struct Permitted {
    pub visit: Box<Visit>,
    pub permit: Permit,
    pub codespace: Arc<Codespace>,
    pub snapshot: Arc<Snapshot>,
    question: Question,
}

/// A visit that may reach its target, which runs.
pub struct Awake {
    pub permitted: Permitted,
}

impl Visit {
    /// Reads what a request to a codespace's host says.
    pub fn begin(
        edge: &Edge,
        head: &Parts,
        asked: &Arc<Addressee>,
        peer: &Arc<Peer>,
        exchange: &Arc<Exchange>,
        (kind, now): (Kind, OffsetDateTime),
    ) -> Result<Box<Self>, Failure> {
        let route = &asked.route;
        let (name, origin) = match (route.codespace().cloned(), &asked.origin) {
            (Some(name), Some(origin)) => (name, Arc::clone(origin)),
            _ if *route == Route::Foreign => return Err(Failure::new(Reason::Misdirected(asked.authority.to_string()))),
            _ => return Err(Failure::new(Reason::NoSuchCodespace)),
        };
        let cause = client::cause(head);
        let from = cause.origin.and_then(|origin| asked.named_by(origin, &edge.sites));
        let page = browser::judge_codespace(cause, from.as_ref(), &name, route, &edge.sites);
        let plain_get = head.method == Method::GET && kind == Kind::Navigation { framed: false } && cause.dest == Some("document");
        Ok(Box::new(Self {
            name,
            origin,
            asked: Arc::clone(asked),
            kind,
            from,
            target: head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            who: present(edge, head, route, peer, now),
            page,
            manner: Manner::of(cause, head.headers.contains_key(TOKEN_HEADER)),
            peer: Arc::clone(peer),
            exchange: Arc::clone(exchange),
            may_detour: plain_get && !cause.speculative && !head.headers.contains_key("service-worker-navigation-preload"),
            loads_script: cause.dest == Some("script"),
            preflight_headers: head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            shown: shown(edge, head, route, now),
            route: route.clone(),
        }))
    }

    /// Whether the path is ours.
    pub fn is_reserved(&self) -> bool {
        self.target.path().starts_with(RESERVED)
    }

    /// The same of somebody whom the gateway itself speaks for: policy is asked in their name, whatever page is named.
    pub(super) fn on_behalf_of(mut self: Box<Self>, who: Identity) -> Box<Self> {
        (self.who, self.page) = (Presented::Valid(Arc::new(who)), browser::Verdict::Ours);
        (self.may_detour, self.shown) = (false, None);
        self
    }

    /// Where it comes from, for the audit log.
    pub fn client(&self) -> auth::Client {
        self.exchange.client_in_audit()
    }

    /// A refusal in this visit's terms.
    pub fn fail(&self, reason: Reason) -> Failure {
        Failure::of_visit(reason, self.clone())
    }

    /// Asks policy for a permit. A codespace that is not there is answered like one that is not shared (ENUM-1, ENUM-2).
    pub fn authorize(self: Box<Self>, edge: &Edge, now: OffsetDateTime) -> Result<Permitted, Failure> {
        let question = self.question();
        let Some(codespace) = edge.codespaces.find(&self.name) else {
            let denial = question.ask_of_nothing(&edge.codespaces.nobodys(), &edge.auth, now);
            return Err(self.fail(Reason::Denied(denial)));
        };
        let snapshot = codespace.snapshot();
        let permit = question
            .ask(&snapshot, &edge.auth, now)
            .map_err(|denial| self.fail(Reason::Denied(denial)))?;
        if let Some(identity) = permit.subject().identity() {
            self.exchange.account(&identity.name);
        }
        let permitted = Permitted {
            visit: self,
            permit,
            codespace,
            snapshot,
            question,
        };
        if permitted.wants_detour(edge, now) {
            return Err(permitted.visit.fail(Reason::Detour));
        }
        Ok(permitted)
    }

    fn question(&self) -> Question {
        let port = match &self.route {
            Route::Port(_, port) => Some(*port),
            _ => None,
        };
        Question::new(self.who.clone(), self.page, port).showing(self.shown.clone())
    }
}

impl Permitted {
    /// Goes on only if whoever comes as a stranger was warned of whose page this is.
    pub fn warned(self, edge: &Edge, head: &Parts, now: OffsetDateTime) -> Result<Self, Failure> {
        // Whoever came by a link has pressed a button that named the owner.
        let is_stranger = *self.permit.subject() == Subject::Anyone && self.visit.shown.is_none();
        if is_stranger && warning::is_due(edge, head, &self.visit, now) {
            return Err(self.visit.fail(Reason::Warning(self.snapshot)));
        }
        Ok(self)
    }

    /// Goes on only if the codespace runs and its agent is there.
    pub fn awake(self) -> Result<Awake, Box<Self>> {
        if self.snapshot.is_reachable() {
            Ok(Awake { permitted: self })
        } else {
            Err(Box::new(self))
        }
    }

    /// What a request to an endpoint counts as, if it counts as use.
    pub fn counts_as(&self, endpoint: Endpoint) -> Option<Activity> {
        match endpoint {
            Endpoint::Editor => Some(Activity::Editor),
            Endpoint::Port(_) | Endpoint::Beside(_) => self.snapshot.record.traffic_counts.then_some(Activity::Traffic),
            Endpoint::Agent => None,
        }
    }

    /// Looks after a connection to an endpoint, if what passes there counts as use.
    pub fn attention(&self, endpoint: Endpoint) -> Option<Attention> {
        let activity = self.counts_as(endpoint)?;
        Some(Attention::new(Arc::clone(&self.codespace), activity))
    }

    /// The same for a body, which can take longer than an idle codespace lives: an app's alone, where it counts.
    pub fn attention_of_body(&self, endpoint: Endpoint) -> Option<Attention> {
        let activity = self.counts_as(endpoint).filter(|activity| *activity == Activity::Traffic)?;
        Some(Attention::new(Arc::clone(&self.codespace), activity))
    }

    /// Whether a signed-in navigation should first sign in to siblings that were not visited (decision 3).
    fn wants_detour(&self, edge: &Edge, now: OffsetDateTime) -> bool {
        let Some(Credential::Cookie(session)) = self.permit.subject().identity().map(|identity| &identity.credential) else {
            return false;
        };
        if !self.visit.may_detour || !matches!(self.visit.route, Route::Port(..)) || !self.snapshot.is_reachable() {
            return false;
        }
        let Some(session) = edge.auth.login_session(session) else {
            return false;
        };
        let user = session.user();
        let unvisited = self.snapshot.ports.iter().any(|(port, view)| {
            let here = matches!(&self.visit.route, Route::Port(_, own) if own == port);
            let may = self.snapshot.record.owner == *user || self.snapshot.is_named(*port, user);
            !here && may && view.listening.is_some() && !session.visited(&self.visit.name, *port)
        });
        if !unvisited || session.tried_recently(&self.visit.route, now) {
            return false;
        }
        session.mark_tried(&self.visit.route, now);
        true
    }
}

impl Awake {
    /// Whether the client asks for a WebSocket.
    pub fn wants_upgrade(&self) -> bool {
        self.permitted.visit.kind == Kind::WebSocket
    }

    /// Waits until the permit would no longer be given, for what is seldom so long under way that it falls meanwhile:
    /// begins to watch a moment later, at no cost until then.
    pub async fn fallen_later(&self, edge: &Edge) {
        edge.inner.beat.next().await;
        self.lease(edge).fallen().await;
    }

    /// The permit as it must hold for as long as the exchange lasts.
    pub fn lease(&self, edge: &Edge) -> Arc<Lease> {
        let permitted = &self.permitted;
        Lease::new(
            edge.clone(),
            Arc::clone(&permitted.codespace),
            permitted.question.clone(),
            permitted.permit.subject().identity().map(|identity| identity.credential.clone()),
            (permitted.visit.exchange.client(), permitted.visit.exchange.counted().cloned()),
            Arc::clone(&permitted.visit.peer),
        )
    }
}

/// Finds out who a request to a codespace's host is from: the token header if there is one, else the host's own cookie.
fn present(edge: &Edge, head: &Parts, route: &Route, peer: &Peer, now: OffsetDateTime) -> Presented {
    let mut tokens = head.headers.get_all(TOKEN_HEADER).iter();
    if let Some(token) = tokens.next() {
        return match (token.to_str(), tokens.next()) {
            (Ok(token), None) => edge.auth.by_token(token, now),
            _ => Presented::Invalid,
        };
    }
    let presented = edge
        .auth
        .by_known_host_cookie(&head.headers, route, now, &mut peer.recall.cookie.lock());
    match edge.auth.unless_contradicted(presented, &head.extensions) {
        // A browser keeps sending a cookie whose session is over; to it, that is to be signed out.
        Presented::Invalid => Presented::Nothing,
        presented => presented,
    }
}

/// The share links that a request's cookies show; hardly ever any.
fn shown(edge: &Edge, head: &Parts, route: &Route, now: OffsetDateTime) -> Option<Arc<Shown>> {
    let ids = edge.auth.shown_grants(&head.headers, route, now);
    (!ids.is_empty()).then(|| {
        Arc::new(Shown {
            kind: ShareKind::People,
            ids,
            method: head.method.clone(),
            path: head.uri.path().into(),
        })
    })
}

/// What a session's user may do at a codespace at all: the editor host is the hub of everybody who may open something.
pub fn may_enter(snapshot: &Snapshot, user: &UserId, auth: &Auth, now: OffsetDateTime) -> bool {
    let owner = snapshot.record.owner == *user;
    let named = snapshot.ports.keys().any(|port| snapshot.is_named(*port, user));
    let shared = |wanted| snapshot.ports.keys().any(|port| snapshot.visibility(*port, now) == wanted);
    let organisation = || shared(Visibility::Org) && auth.share_organisation(user, &snapshot.record.owner);
    owner || named || shared(Visibility::Public) || organisation()
}
