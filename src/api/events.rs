//! Server-sent events: codespaces as they change, for whoever may look at them.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    Services,
    identify::{Who, ownership},
    model::{Codespace, IdleEvent, Port, PortEvent, Removed},
    problem::Problem,
    websocket::credential_ends,
};
use crate::{
    codespace::{self, CodespaceEvent},
    domain::{Access, Identity},
    policy::{Ownership, grants},
};

/// How often a comment is sent, so that proxies do not think the connection dead.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Sends every codespace that whoever asks may look at, then each again when it changes, and the name of each that is removed.
#[utoipa::path(get, path = "/api/v1/events", tag = "codespaces", responses(
    (status = 200, content_type = "text/event-stream", body = String,
     description = "`event: codespace` with a codespace, `event: port` with a port that began to listen or ceased to, `event: idle` with a codespace that is about to stop by itself, `event: removed` with a name, as JSON in `data`"),
))]
pub async fn events(State(services): State<Services>, Who(who): Who) -> Result<Response, Problem> {
    let mut feed = Feed {
        events: services.codespaces.subscribe(),
        waiting: VecDeque::new(),
        listening: HashMap::new(),
        warned: HashSet::new(),
        services,
        who,
    };
    feed.everything();
    let body = Body::from_stream(stream::unfold(feed, |mut feed| async move {
        let bytes = feed.next().await?;
        Some((Ok::<_, Infallible>(bytes), feed))
    }));
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx buffers unless told otherwise.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One listener.
struct Feed {
    events: broadcast::Receiver<CodespaceEvent>,
    waiting: VecDeque<Bytes>,
    /// The ports that listened when each codespace was sent last.
    listening: HashMap<String, BTreeMap<u16, Port>>,
    /// The codespaces that were about to stop when each was sent last.
    warned: HashSet<String>,
    services: Services,
    who: Identity,
}

impl Feed {
    /// The next bytes to send; none when the caller's credential has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Also between events that wait already.
            if !self.services.auth.stands(&self.who) {
                return None;
            }
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            let event = tokio::select! {
                () = credential_ends(&self.services, &self.who) => return None,
                () = self.services.drain.cancelled() => return None,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": still here\n\n")),
                event = self.events.recv() => event,
            };
            match event {
                Ok(CodespaceEvent::Changed(codespace)) => self.changed(&codespace),
                Ok(CodespaceEvent::Removed { name, owner }) => {
                    self.listening.remove(name.as_str());
                    self.warned.remove(name.as_str());
                    if self.may_view(&Ownership { name: name.clone(), owner }) {
                        self.waiting.push_back(written("removed", &Removed { name: name.to_string() }));
                    }
                }
                Err(RecvError::Lagged(_)) => self.everything(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn everything(&mut self) {
        for codespace in self.services.codespaces.all() {
            self.changed(&codespace);
        }
        if self.waiting.is_empty() {
            // The head leaves with the first bytes.
            self.waiting.push_back(Bytes::from_static(b": connected\n\n"));
        }
    }

    fn changed(&mut self, codespace: &Arc<codespace::Codespace>) {
        if self.may_view(&ownership(codespace)) {
            let shown: Codespace = self.services.show(&codespace.snapshot());
            self.waiting.push_back(written("codespace", &shown));
            self.ports_changed(&shown);
            self.warn(&shown);
        }
    }

    /// Tells which ports began to listen or ceased to since the codespace was sent before.
    fn ports_changed(&mut self, shown: &Codespace) {
        let listen = shown.ports.iter().filter(|port| port.listening);
        let now: BTreeMap<u16, Port> = listen.map(|port| (port.port, port.clone())).collect();
        let Some(before) = self.listening.insert(shown.name.clone(), now.clone()) else {
            return;
        };
        let missing_in = |ports: &BTreeMap<u16, Port>, port: &Port| !ports.contains_key(&port.port);
        let began = now.values().filter(|port| missing_in(&before, port)).map(|port| (port, true));
        let ceased = before.values().filter(|port| missing_in(&now, port)).map(|port| (port, false));
        for (port, listening) in began.chain(ceased) {
            let event = PortEvent {
                codespace: shown.name.clone(),
                listening,
                port: Port { listening, ..port.clone() },
            };
            self.waiting.push_back(written("port", &event));
        }
    }

    /// Tells, once each time, that a codespace is about to stop by itself.
    fn warn(&mut self, shown: &Codespace) {
        if !shown.stops_soon {
            self.warned.remove(&shown.name);
        } else if self.warned.insert(shown.name.clone()) {
            let event = IdleEvent {
                codespace: shown.name.clone(),
                stops_at: shown.stops_at,
            };
            self.waiting.push_back(written("idle", &event));
        }
    }

    fn may_view(&self, codespace: &Ownership) -> bool {
        grants(&self.who, codespace).allow(Access::View)
    }
}

/// Writes an event; JSON holds no raw newline, so one `data` line is enough.
fn written(event: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}
