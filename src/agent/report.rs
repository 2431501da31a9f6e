//! What the agent has to tell: the latest state of each thing, kept for whenever the gateway can hear it.
//!
//! Owns the state that is sent again after each reconnect. Refuses to know: connections; [`super::control`] sends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    domain::{StepName, StepState},
    protocol::tunnel::{ActivityKind, EditorState, FromAgent, ListeningPort, MAX_CONTROL_BYTES},
};

/// Longest detail of a step in bytes; longer ones are cut.
const MAX_DETAIL: usize = 4 * 1024;
/// Most ports in a report.
const MAX_PORTS: usize = 256;
/// Longest report of ports in bytes of JSON, so that it fits a control message.
const MAX_PORTS_BYTES: usize = MAX_CONTROL_BYTES - 1024;
/// Most printed URLs remembered.
const MAX_PRINTED: usize = 256;
/// Longest path of a printed URL in bytes.
const MAX_PATH: usize = 256;

/// Takes reports from every part of the agent; cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct Reporter {
    state: Arc<watch::Sender<State>>,
    activity: Arc<Activity>,
}

/// The latest of everything that was reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// None until the first scan.
    ports: Option<Vec<ListeningPort>>,
    /// Scheme and path of URLs that programs printed, by port.
    printed: BTreeMap<u16, (String, String)>,
    steps: BTreeMap<StepName, (StepState, String)>,
    prepared: bool,
    editor: Option<EditorState>,
}

/// What happened since the last report.
#[derive(Debug, Default)]
struct Activity {
    kinds: Mutex<BTreeSet<ActivityKind>>,
    happened: Notify,
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter {
    /// Makes a reporter that has nothing to say yet.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            activity: Arc::default(),
        }
    }

    /// Reports a step of making the codespace ready; `detail` is for its user and may be empty.
    pub fn step(&self, name: StepName, state: StepState, detail: impl Into<String>) {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        self.change(|all| {
            all.steps.insert(name, (state, detail));
        });
    }

    /// Reports that the repository is checked out.
    pub fn prepared(&self) {
        self.change(|all| all.prepared = true);
    }

    /// Reports the editor's state.
    pub fn editor(&self, state: EditorState) {
        self.change(|all| all.editor = Some(state));
    }

    /// Reports that something happened just now; sent at most every 15 s.
    pub fn activity(&self, kind: ActivityKind) {
        if self.activity.kinds.lock().insert(kind) {
            self.activity.happened.notify_one();
        }
    }

    /// Reports all listening ports; a URL printed for a port that is gone is forgotten.
    pub fn ports(&self, mut ports: Vec<ListeningPort>) {
        ports.truncate(MAX_PORTS);
        self.change(|all| {
            let gone = |number: &u16| !ports.iter().any(|port| port.port == *number);
            for before in all.ports.iter().flatten().map(|port| port.port).filter(gone) {
                all.printed.remove(&before);
            }
            all.ports = Some(ports);
        });
    }

    /// Reports a URL that a program printed to a terminal: `https` and `/app` for instance.
    pub fn printed_url(&self, port: u16, scheme: &str, path: &str) {
        let path = if path.len() > MAX_PATH { "/" } else { path };
        self.change(|all| {
            if all.printed.len() < MAX_PRINTED || all.printed.contains_key(&port) {
                all.printed.insert(port, (scheme.to_owned(), path.to_owned()));
            }
        });
    }

    /// A view of the state that wakes on each change.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The listening ports as last reported, printed URLs merged in.
    pub fn listening(&self) -> Vec<ListeningPort> {
        self.state.borrow().listening().unwrap_or_default()
    }

    /// Waits until something happened, then takes all that did.
    pub async fn happened(&self) -> Vec<ActivityKind> {
        loop {
            let kinds = std::mem::take(&mut *self.activity.kinds.lock());
            if !kinds.is_empty() {
                return kinds.into_iter().collect();
            }
            self.activity.happened.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}

impl State {
    /// The messages that take somebody who knows `told` to this state.
    pub fn since(&self, told: &Self) -> Vec<FromAgent> {
        let steps = self.steps.iter().filter(|(name, step)| told.steps.get(name) != Some(step));
        let steps = steps.map(|(name, (state, detail))| FromAgent::Step {
            name: name.to_string(),
            state: state.to_string(),
            detail: detail.clone(),
        });
        let prepared = (self.prepared && !told.prepared).then_some(FromAgent::Prepared);
        let editor = self
            .editor
            .filter(|_| self.editor != told.editor)
            .map(|state| FromAgent::Editor { state });
        let ports = self
            .listening()
            .filter(|ports| told.listening().as_ref() != Some(ports))
            .map(|ports| FromAgent::Ports { ports });
        steps.chain(prepared).chain(editor).chain(ports).collect()
    }

    fn listening(&self) -> Option<Vec<ListeningPort>> {
        let mut ports = self.ports.clone()?;
        for port in &mut ports {
            if let Some((scheme, path)) = self.printed.get(&port.port) {
                (port.scheme, port.path) = (Some(scheme.clone()), Some(path.clone()));
            }
        }
        shorten(&mut ports);
        Some(ports)
    }
}

/// Leaves out command lines, then ports, until the list fits a control message.
fn shorten(ports: &mut Vec<ListeningPort>) {
    let too_long = |ports: &[ListeningPort]| serde_json::to_vec(ports).map_or(usize::MAX, |json| json.len()) > MAX_PORTS_BYTES;
    if too_long(ports) {
        ports.iter_mut().for_each(|port| port.command = None);
    }
    while too_long(ports) {
        ports.truncate(ports.len() / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(port: u16) -> ListeningPort {
        ListeningPort {
            port,
            addresses: vec!["127.0.0.1".into()],
            pid: None,
            process: None,
            command: None,
            scheme: None,
            path: None,
        }
    }

    #[test]
    fn only_changes_are_told() {
        let reporter = Reporter::new();
        let nothing = State::default();
        assert!(reporter.watch().borrow().since(&nothing).is_empty());

        reporter.step(StepName::Clone, StepState::Done, "");
        reporter.prepared();
        reporter.editor(EditorState::Ready);
        reporter.ports(Vec::new());
        let first = reporter.watch().borrow().clone();
        assert_eq!(first.since(&nothing).len(), 4, "an empty list of ports is told too");
        assert!(first.since(&first).is_empty());

        reporter.printed_url(3000, "https", "/app");
        assert!(reporter.watch().borrow().since(&first).is_empty(), "nobody listens there yet");
        reporter.ports(vec![listening(3000)]);
        let second = reporter.watch().borrow().clone();
        let merged = ListeningPort {
            scheme: Some("https".into()),
            path: Some("/app".into()),
            ..listening(3000)
        };
        assert_eq!(second.since(&first), [FromAgent::Ports { ports: vec![merged] }]);

        reporter.ports(Vec::new());
        reporter.ports(vec![listening(3000)]);
        assert_eq!(
            reporter.listening(),
            [listening(3000)],
            "the next program on that port printed nothing"
        );
    }
}
