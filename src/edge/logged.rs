//! Exchanges on their way into the request log of a port whose owner turned it on.

use std::sync::Arc;

use http::request::Parts;

use super::{Edge, upstream::UpstreamError, visit::Awake};
use crate::{
    inspect::{Opening, PortLog, Recorded, ReplayOf, Visitor},
    policy::Subject,
};

/// Begins to write an exchange down, if its port has a log.
pub(super) fn begin(edge: &Edge, awake: &Awake, log: Option<&Arc<PortLog>>, head: &Parts) -> Option<Recorded> {
    let log = log?;
    let visit = &awake.permitted.visit;
    log.begin(Opening {
        at: edge.clock.now(),
        trace: visit.exchange.id(),
        method: head.method.as_str(),
        target: visit.target.as_str(),
        version: head.version,
        who: &visitor(awake),
        client: visit.exchange.client(),
        replay_of: head.extensions.get::<ReplayOf>().map(|replay| replay.0),
        headers: &head.headers,
    })
}

/// Notes that the app gave no answer.
pub(super) fn fail(recorded: Option<Recorded>, error: &UpstreamError) {
    if let Some(recorded) = recorded {
        recorded.failed(format!("There was no answer: {error}."));
    }
}

fn visitor(awake: &Awake) -> Visitor {
    let permitted = &awake.permitted;
    match permitted.permit.subject() {
        Subject::Owner(identity) => Visitor::Owner(identity.name.to_string()),
        Subject::Guest(identity) => Visitor::User(identity.name.to_string()),
        Subject::Link(id) => {
            let name = permitted.snapshot.shares.get(id).map(|share| share.name.clone());
            Visitor::Link(id.to_string(), name.unwrap_or_default())
        }
        Subject::Anyone => Visitor::Anyone,
    }
}
