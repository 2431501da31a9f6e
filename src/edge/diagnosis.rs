//! Why an app gave no proper answer: told at once to everybody, and looked into for its owner.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};

use super::{
    Edge,
    failure::{Failure, Reason},
    proxy::Target,
    upstream::UpstreamError,
    visit::Permitted,
};
use crate::{
    codespace::Snapshot,
    doctor::{As, Ask, Doctor, Note, Trouble, What, of_dial, recognise},
    domain::{CodespaceName, Port},
    forward::world::World,
    route::Route,
    tunnel::DialError,
};

/// Longest path that is noted, in bytes.
const MAX_NOTED_PATH: usize = 256;

impl Edge {
    /// An upstream's failure in the visitor's terms.
    pub(super) async fn diagnose(&self, permitted: &Permitted, target: &Target, error: UpstreamError) -> Failure {
        let visit = &permitted.visit;
        let endpoint = target.key.endpoint;
        let first = match error {
            UpstreamError::Exchange(_) if visit.exchange.gave_up().is_some() => return visit.fail(permitted.gave_up()),
            UpstreamError::Dial(error) if matches!(error, DialError::NotConnected) || endpoint.port().is_none() => {
                return visit.fail(Reason::Dial(endpoint, error));
            }
            UpstreamError::Dial(error) => of_dial(&error),
            UpstreamError::Tls(_) => Trouble::TlsFailed,
            UpstreamError::Exchange(error) if error.is_parse_too_large() => Trouble::HeadTooLarge,
            UpstreamError::Exchange(error) if error.is_parse() => Trouble::WrongAnswer,
            UpstreamError::Exchange(_) => Trouble::BrokeOff,
            UpstreamError::Chatter => Trouble::Chatter,
        };
        let trouble = match (permitted.for_owner(), endpoint.port()) {
            // To a HEAD nothing is told, and a page of ours that waits asks with it again and again.
            (Some(snapshot), Some(port)) if visit.exchange.method() != http::Method::HEAD => {
                self.look_into(permitted, target, first, port, &snapshot).await
            }
            _ => first,
        };
        visit.fail(permitted.broken(trouble))
    }

    async fn look_into(&self, permitted: &Permitted, target: &Target, first: Trouble, port: Port, snapshot: &Snapshot) -> Trouble {
        let visit = &permitted.visit;
        match first {
            Trouble::NothingListens if listens_inside(snapshot, port) => Trouble::NotOnLoopback,
            Trouble::TlsFailed | Trouble::WrongAnswer | Trouble::BrokeOff => {
                let authority = visit.origin.authority();
                let ask = Ask {
                    codespace: &visit.name,
                    port,
                    endpoint: target.key.endpoint,
                    protocol: target.key.protocol,
                    // Not the visitor's own target: asking twice might do twice.
                    target: "/",
                    host: match target.world {
                        World::Localhost => As::Localhost,
                        World::Preserve => As::Forwarded {
                            host: &authority,
                            scheme: visit.origin.scheme.as_str(),
                        },
                    },
                };
                let found = self.doctor.examine(&ask).await;
                found
                    .and_then(|found| found.trouble)
                    .filter(|found| *found != Trouble::BrokeOff)
                    .unwrap_or(first)
            }
            first => first,
        }
    }
}

/// Whether the codespace itself listens on a port, and not what runs beside it.
fn listens_inside(snapshot: &Snapshot, port: Port) -> bool {
    let listening = snapshot.ports.get(&port).and_then(|view| view.listening.as_ref());
    listening.is_some_and(|listening| listening.beside.is_none())
}

impl Permitted {
    /// An app that broke the rules: its answer is not passed on, and its connection is closed.
    pub(super) fn broken(&self, trouble: Trouble) -> Reason {
        match self.visit.route {
            Route::Port(_, port) => Reason::Trouble(port, trouble, self.for_owner()),
            _ => Reason::Editor,
        }
    }

    /// What the owner alone may be told of.
    fn for_owner(&self) -> Option<Arc<Snapshot>> {
        self.permit.subject().is_owner().then(|| Arc::clone(&self.snapshot))
    }
}

/// Hears the beginning of an answer as it passes, for what an app refuses.
pub(super) struct Ear {
    doctor: Doctor,
    codespace: CodespaceName,
    status: StatusCode,
    note: Note,
}

impl Ear {
    /// Listens to a refusal in text that somebody with a name gets; a stranger could have an app say anything.
    pub(super) fn for_refusal(
        edge: &Edge,
        permitted: &Permitted,
        target: &Target,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Box<Self>> {
        if !status.is_client_error() {
            return None;
        }
        let port = target.key.endpoint.port()?;
        let of_text = |kind: &http::HeaderValue| kind.as_bytes().starts_with(b"text/");
        let readable = headers.get(header::CONTENT_TYPE).is_none_or(of_text) && !headers.contains_key(header::CONTENT_ENCODING);
        permitted.permit.subject().identity().filter(|_| readable)?;
        let visit = &permitted.visit;
        Some(Box::new(Self {
            doctor: edge.doctor.clone(),
            codespace: visit.name.clone(),
            status,
            note: Note {
                at: edge.clock.now(),
                trace: visit.exchange.id().to_owned(),
                port: Some(port),
                method: visit.exchange.method().as_str().chars().take(32).collect(),
                path: noted_path(visit.target.path()),
                // Until something is heard.
                what: What::Denied("refused"),
            },
        }))
    }

    /// Hears the first bytes, and notes what they say if that is known.
    pub(super) fn hear(self, beginning: &[u8]) {
        let Self {
            doctor,
            codespace,
            status,
            mut note,
        } = self;
        if let Some(refusal) = recognise(status.as_u16(), &note.path, beginning) {
            note.what = What::Refused(refusal);
            doctor.memory().note(&codespace, note);
        }
    }
}

/// A path as it may be kept.
pub(super) fn noted_path(path: &str) -> String {
    let plain = |char: char| {
        if char.is_ascii_graphic() {
            char
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    path.chars().take(MAX_NOTED_PATH).map(plain).collect()
}
