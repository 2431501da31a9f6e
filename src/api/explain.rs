//! The whole decision about a URL, told to those who may see its codespace; to all others there is nothing.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Query, State},
};
use http::{HeaderMap, Uri};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    RequestId, Services,
    identify::{From, Who},
    links::link,
    model::{ClosedSharing, ExplainedLimit, ExplainedUpstream, ExplainedVisibility, ExplainedYou, Explanation, Link, RecentTrouble},
    problem::{Problem, ProblemBody},
    views::setting,
};
use crate::{
    codespace::{Question, Snapshot, StrangerCaps},
    doctor::{As, Ask, Examination, Note, Speech, What},
    domain::{Access, Credential, Identity, Port, Protocol, Visibility},
    policy::{Denial, Ownership, Presented, Subject, grants},
    route::Route,
};

/// Longest path and query that an app is asked for, in bytes.
const MAX_TARGET: usize = 8 * 1024;
/// Most notes that are shown.
const MAX_RECENT: usize = 10;

/// What to explain: a URL, or an exchange by the id that its page shows.
#[derive(Debug, Deserialize)]
pub struct Asked {
    url: Option<String>,
    trace: Option<String>,
}

/// What a question is about.
struct About {
    route: Route,
    target: String,
    /// The note of the exchange that was asked for.
    note: Option<Note>,
}

/// Explains who may open a URL of a codespace and what its app answers. The app is asked only for its owner, and not for a
/// page of another site.
#[utoipa::path(get, path = "/api/v1/explain", tag = "ports",
    params(("url" = Option<String>, Query, description = "The URL"), ("trace" = Option<String>, Query, description = "Or the id that a page of the gateway shows")),
    responses((status = 200, body = Explanation), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn explain(
    State(services): State<Services>,
    Who(who): Who,
    from: From,
    request_id: Option<Extension<RequestId>>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Explanation>, Problem> {
    let Query(asked) = asked.map_err(|_| no_url())?;
    let about = services.about(&who, asked)?;
    let name = about.route.codespace().ok_or_else(Problem::no_such_codespace)?;
    let codespace = services.codespace(&who, name.as_str(), Access::View)?;
    let snapshot = codespace.snapshot();
    let may_ask = services.codespace(&who, name.as_str(), Access::Work).is_ok() && is_meant(&who, &headers);
    let port = match about.route {
        Route::Port(_, port) => Some(port),
        _ => None,
    };
    let examination = match port {
        Some(port) if may_ask && snapshot.is_reachable() => services.examine(&snapshot, port, &about.target).await,
        _ => None,
    };
    let trace_id = request_id.map(|Extension(id)| id.0).unwrap_or_default();
    let mut explanation = services.explanation(&who, &snapshot, about, examination.as_ref(), trace_id);
    let kept_out = from
        .0
        .address
        .filter(|address| port.is_some_and(|port| !snapshot.admits(port, *address)));
    if let (Some(address), Some(port)) = (kept_out, port) {
        explanation.advice.insert(0, format!("You come from {address}, which the port's limits keep out. Its owner changes them with: portico ports limit {port} --from …"));
    }
    Ok(Json(explanation))
}

/// Whether the person means to ask, so that no page can have an app asked by an address alone (CSRF-2).
fn is_meant(who: &Identity, headers: &HeaderMap) -> bool {
    let own_page = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    !matches!(who.credential, Credential::Cookie(_)) || own_page
}

fn no_url() -> Problem {
    Problem::unprocessable(
        "bad-url",
        "That is no URL to explain",
        "Send `url`, a URL of a codespace's host, or `trace`, the id that a page shows.",
    )
}

impl Services {
    fn about(&self, who: &Identity, asked: Asked) -> Result<About, Problem> {
        match (asked.url, asked.trace) {
            (Some(url), None) => self.about_url(&url),
            (None, Some(trace)) => {
                let may_know = |name: &crate::domain::CodespaceName| self.codespace(who, name.as_str(), Access::View).is_ok();
                let (name, note) = self.doctor.memory().find(&trace, may_know).ok_or_else(|| {
                    Problem::not_found("Nothing is remembered of that id: it was long ago, it ended well, or it is not yours to know.")
                })?;
                Ok(About {
                    route: note.port.map_or(Route::Editor(name.clone()), |port| Route::Port(name, port)),
                    target: "/".to_owned(),
                    note: Some(note),
                })
            }
            _ => Err(no_url()),
        }
    }

    fn about_url(&self, url: &str) -> Result<About, Problem> {
        let absolute = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = absolute.split('#').next().unwrap_or_default().parse().map_err(|_| no_url())?;
        let authority = uri
            .authority()
            .and_then(|authority| authority.as_str().parse().ok())
            .ok_or_else(no_url)?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        if target.len() > MAX_TARGET || !target.bytes().all(|byte| byte.is_ascii_graphic()) || !target.starts_with('/') {
            return Err(no_url());
        }
        Ok(About {
            route: self.sites.route(&authority),
            target: target.to_owned(),
            note: None,
        })
    }

    async fn examine(&self, snapshot: &Snapshot, port: Port, target: &str) -> Option<Examination> {
        let name = &snapshot.record.name;
        let view = snapshot.ports.get(&port);
        let origin = self.sites.port(name, port);
        let authority = origin.authority();
        let preserves = view.is_some_and(|view| view.settings.host_header == "preserve");
        let ask = Ask {
            codespace: name,
            port,
            endpoint: snapshot.endpoint(port),
            protocol: view.map_or(Protocol::Http, |view| Protocol::of(view.protocol())),
            target,
            host: match preserves {
                true => As::Forwarded {
                    host: &authority,
                    scheme: origin.scheme.as_str(),
                },
                false => As::Localhost,
            },
        };
        self.doctor.examine(&ask).await
    }

    fn explanation(
        &self,
        who: &Identity,
        snapshot: &Snapshot,
        about: About,
        examination: Option<&Examination>,
        trace_id: String,
    ) -> Explanation {
        let now = self.clock.now();
        let name = &snapshot.record.name;
        let port = match about.route {
            Route::Port(_, port) => Some(port),
            _ => None,
        };
        let origin = port.map_or_else(|| self.sites.editor(name), |port| self.sites.port(name, port));
        let recent = match about.note {
            Some(note) => vec![recent(note)],
            None => {
                let notes = self.doctor.memory().of(name).into_iter();
                notes.filter(|note| note.port == port).take(MAX_RECENT).map(recent).collect()
            }
        };
        let preserves = port.is_some_and(|port| {
            snapshot
                .ports
                .get(&port)
                .is_some_and(|view| view.settings.host_header == "preserve")
        });
        let refused = port
            .and_then(|port| self.doctor.memory().refused(name, port))
            .map(|(refusal, _)| refusal);
        let refusal = examination.and_then(|found| found.refusal).or(refused);
        let trouble = examination.and_then(|found| found.trouble);
        let mut advice = state_advice(snapshot);
        if let (Some(trouble), Some(port)) = (trouble, port) {
            advice.extend(trouble.advice(port));
        }
        advice.extend(refusal.map(|refusal| refusal.advice(preserves)));
        advice.dedup();
        let fix = trouble
            .and_then(|trouble| trouble.fix())
            .or(refusal.and_then(|refusal| refusal.fix(preserves)));
        Explanation {
            url: format!("{origin}{}", about.target),
            route: if port.is_some() { "port" } else { "editor" }.to_owned(),
            codespace: name.to_string(),
            port: port.map(Port::number),
            state: snapshot.phase().to_string(),
            connected: snapshot.connected,
            visibility: self.explained_visibility(snapshot, port, now),
            links: open_links(who, snapshot, port, now),
            closures: port.map_or_else(Vec::new, |port| self.explained_closures(snapshot, port)),
            limits: port.map_or_else(Vec::new, |port| limits_of(snapshot, port, self.codespaces.stranger_caps())),
            you: self.explained_you(who, snapshot, port, now),
            upstream: port.map(|port| explained_upstream(snapshot, port, &origin.authority(), examination)),
            advice,
            set: fix.map(setting),
            recent,
            trace_id,
        }
    }

    fn explained_visibility(&self, snapshot: &Snapshot, port: Option<Port>, now: OffsetDateTime) -> ExplainedVisibility {
        let account = |id| self.auth.user(id).map_or_else(|| id.to_string(), |user| user.name.to_string());
        let view = port.and_then(|port| snapshot.ports.get(&port));
        let settings = view.map(|view| &view.settings);
        let now_is = port.map_or(Visibility::Private, |port| snapshot.visibility(port, now));
        let set = settings.map_or(Visibility::Private, |settings| settings.visibility);
        let expires_at = settings.and_then(|settings| settings.expires_at);
        let source = match (port, set, expires_at) {
            (None, ..) => "an editor is its owner's alone".to_owned(),
            (_, Visibility::Private, _) => "ports are private until their owner shares them".to_owned(),
            (_, _, Some(deadline)) if deadline <= now => format!("the owner shared it until {}, which is over", time_text(deadline)),
            (Some(port), ..) if let Some(view) = view.filter(|view| !snapshot.leads_to(port, view.settings.beside.as_deref())) => {
                let whose =
                    |beside: Option<&str>| beside.map_or("the codespace itself".to_owned(), |service| format!("{service} beside it"));
                let (was, is) = (whose(view.settings.beside.as_deref()), whose(snapshot.beside(port)));
                format!("the owner set {set} for {was}, and the number leads to {is} now")
            }
            (Some(port), ..) if let Some(closure) = snapshot.closure(port) => format!("an operator closed it: {}", closure.reason),
            (_, set, _) if set != now_is => format!("the owner set {set}, and the operator's ceiling is {now_is}"),
            (_, _, Some(deadline)) => format!("the owner set it, until {}", time_text(deadline)),
            (..) => "the owner set it".to_owned(),
        };
        ExplainedVisibility {
            now: now_is.to_string(),
            set: set.to_string(),
            source,
            expires_at,
            owner: account(&snapshot.record.owner),
            users: settings
                .map(|settings| settings.users.iter().map(account).collect())
                .unwrap_or_default(),
        }
    }

    fn explained_closures(&self, snapshot: &Snapshot, port: Port) -> Vec<ClosedSharing> {
        let closures = snapshot.all_closures(port);
        closures.iter().map(|closure| self.show_closure(closure)).collect()
    }

    fn explained_you(&self, who: &Identity, snapshot: &Snapshot, port: Option<Port>, now: OffsetDateTime) -> ExplainedYou {
        let question = Question::new(Presented::Valid(Arc::new(who.clone())), crate::policy::browser::Verdict::Ours, port);
        let named = port.is_some_and(|port| snapshot.is_named(port, &who.user));
        let (allowed, because) = match question.ask(snapshot, &self.auth, now) {
            Ok(permit) => match permit.subject() {
                Subject::Owner(_) => (true, "it is your codespace".to_owned()),
                Subject::Guest(_) if named => (true, "you are one of the people named".to_owned()),
                Subject::Guest(_) => (true, "you share an organisation with its owner".to_owned()),
                Subject::Link(_) => (true, "a link opens it".to_owned()),
                Subject::Anyone => (true, "the port is public".to_owned()),
            },
            Err(Denial::NotShared(_)) if who.user == snapshot.record.owner => (
                false,
                format!("it is your codespace, but the scope {} does not open this", who.scope),
            ),
            Err(Denial::NotShared(_)) => (
                false,
                "it is not shared with you; an admin sees codespaces and enters none".to_owned(),
            ),
            Err(Denial::SignIn | Denial::BadToken | Denial::ForeignPage | Denial::ShareEnded(_) | Denial::BeyondShare) => {
                (false, "the credential is not good for this".to_owned())
            }
        };
        ExplainedYou {
            account: who.name.to_string(),
            credential: match who.credential {
                Credential::Cookie(_) => "session",
                Credential::Token(_) => "token",
                Credential::Operator => "operator",
            }
            .to_owned(),
            scope: who.scope.to_string(),
            allowed,
            because,
        }
    }
}

/// The links of a port that open it, for those who may see and revoke them.
fn open_links(who: &Identity, snapshot: &Snapshot, port: Option<Port>, now: OffsetDateTime) -> Vec<Link> {
    let granted = grants(
        who,
        &Ownership {
            name: snapshot.record.name.clone(),
            owner: snapshot.record.owner.clone(),
        },
    );
    if port.is_none_or(|port| !snapshot.allows_links(port)) || (!granted.allow(Access::Share) && !granted.allow(Access::Own)) {
        return Vec::new();
    }
    let shares = snapshot
        .shares
        .values()
        .filter(|share| Some(share.terms.port) == port && snapshot.is_for(share));
    shares.map(|share| link(share, now)).filter(|link| link.state == "open").collect()
}

/// What limits what comes in, in words.
fn limits_of(snapshot: &Snapshot, port: Port, caps: StrangerCaps) -> Vec<ExplainedLimit> {
    let view = snapshot.ports.get(&port);
    let own = view.map(|view| view.settings.limits.clone()).unwrap_or_default();
    let from: Vec<String> = own.from.iter().map(ToString::to_string).collect();
    let set = [
        own.rate
            .map(|most| counted(u64::from(most), "request", " a second, all clients together")),
        own.connections
            .map(|most| format!("at most {most} at once, requests and sockets together")),
        own.body.map(|most| counted(most, "byte", " in the body of a request")),
        (!from.is_empty()).then(|| format!("clients from {} alone", from.join(", "))),
    ];
    let capped = [
        (caps.requests_per_port, "request", " a minute of all strangers together"),
        (caps.requests_per_address, "request", " a minute from one stranger's address"),
        (caps.bytes_per_port, "byte", " a minute of all strangers together"),
        (caps.bytes_per_address, "byte", " a minute from one stranger's address"),
    ];
    let capped = capped.into_iter().filter_map(|(most, of, how)| Some(counted(most?, of, how)));
    let said = |what: String, by: &str| ExplainedLimit { what, by: by.to_owned() };
    let set = set.into_iter().flatten().map(|what| said(what, "owner"));
    set.chain(capped.map(|what| said(what, "operator"))).collect()
}

fn counted(most: u64, of: &str, how: &str) -> String {
    format!("at most {most} {of}{}{how}", if most == 1 { "" } else { "s" })
}

fn explained_upstream(snapshot: &Snapshot, port: Port, forwarded: &str, examination: Option<&Examination>) -> ExplainedUpstream {
    let view = snapshot.ports.get(&port);
    let listening = view.and_then(|view| view.listening.as_ref());
    let host_header = view.map_or("localhost", |view| &view.settings.host_header);
    ExplainedUpstream {
        listening: listening.is_some(),
        process: listening.and_then(|listening| listening.process.clone()),
        addresses: listening.map(|listening| listening.addresses.clone()).unwrap_or_default(),
        protocol: view.map_or("http", |view| view.protocol()).to_owned(),
        host_header: host_header.to_owned(),
        host: if host_header == "preserve" {
            forwarded.to_owned()
        } else {
            format!("localhost:{port}")
        },
        speaks: examination.and_then(|found| found.speaks).map(speech),
        status: examination.and_then(|found| found.status),
        found: examination.map(|found| match (found.trouble, found.refusal) {
            (Some(trouble), _) => trouble.detail(),
            (None, Some(refusal)) => refusal.detail().to_owned(),
            (None, None) => match found.status {
                Some(status) => format!("It answered {status}."),
                None => "It takes connections and speaks as it is set to.".to_owned(),
            },
        }),
    }
}

fn speech(speech: Speech) -> String {
    match speech {
        Speech::Http => "HTTP/1.1",
        Speech::Http2 => "HTTP/2",
        Speech::Tls => "TLS",
        Speech::Named(name) => name,
        Speech::Unknown => "something that is no HTTP",
        Speech::Nothing => "nothing",
    }
    .to_owned()
}

fn recent(note: Note) -> RecentTrouble {
    RecentTrouble {
        at: note.at,
        trace_id: note.trace,
        port: note.port.map(Port::number),
        method: note.method,
        path: note.path,
        what: match note.what {
            What::Trouble(trouble) => trouble.detail(),
            What::Refused(refusal) => refusal.detail().to_owned(),
            What::Denied(why) => format!("The gateway let it through to nobody: {why}."),
        },
    }
}

fn state_advice(snapshot: &Snapshot) -> Vec<String> {
    let words = match (snapshot.is_reachable(), snapshot.phase()) {
        (true, _) => return Vec::new(),
        (false, crate::domain::Phase::Running) => "The codespace's agent is not connected right now; it comes back by itself.",
        (false, crate::domain::Phase::Creating | crate::domain::Phase::Starting) => "The codespace is starting; wait a moment.",
        (false, _) => "The codespace does not run: start it, on its page or with portico codespace start.",
    };
    vec![words.to_owned()]
}

fn time_text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
