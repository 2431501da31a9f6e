//! What the agent has to tell: the latest state of each thing, kept for whenever the gateway can hear it.
//!
//! Owns the state that is sent again after each reconnect. Refuses to know: connections; [`super::control`] sends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::ports::printed::Printed;
use crate::{
    devcontainer::{Notices, PortsAsWritten},
    domain::{StepName, StepState},
    protocol::tunnel::{ActivityKind, Configured, EditorState, FromAgent, HeldLease, ListeningPort, MAX_CONTROL_BYTES, OutOfMemory},
};

/// Longest detail of a step in bytes; longer ones are cut.
const MAX_DETAIL: usize = 4 * 1024;
/// Most ports in a report.
const MAX_PORTS: usize = 256;
/// Longest report of ports in bytes of JSON, so that it fits a control message.
const MAX_PORTS_BYTES: usize = MAX_CONTROL_BYTES - 1024;
/// Most printed URLs remembered.
const MAX_PRINTED: usize = 256;
/// How long before a scan sees it a server may have announced itself.
const SAID_EARLY: Duration = Duration::from_secs(5);
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
    /// Since when each port listens, as far as scans tell.
    since: BTreeMap<u16, Instant>,
    /// What programs printed about ports.
    printed: BTreeMap<u16, Said>,
    steps: BTreeMap<StepName, (StepState, String)>,
    default_branch: Option<String>,
    prepared: bool,
    awaits: bool,
    configured: Option<Configured>,
    editor: Option<EditorState>,
    /// None until somebody looked.
    declared: Option<PortsAsWritten>,
    /// Declared ports of others that the codespace has not, and those that it has itself.
    unsettled: Notices,
    taken: Notices,
    leases: Vec<HeldLease>,
    /// None until a process was ended.
    out_of_memory: Option<OutOfMemory>,
}

/// What was printed about a port.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    what: Printed,
    at: Instant,
}

/// What happened since the last report.
#[derive(Debug, Default)]
struct Activity {
    kinds: Mutex<BTreeSet<ActivityKind>>,
    happened: Notify,
    /// Somebody announced a port that no scan has seen.
    announced: Notify,
    /// What happened is to be told at once.
    urgent: Notify,
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

    /// Reports the branch that the repository opens with where nobody names another.
    pub fn default_branch(&self, name: &str) {
        self.change(|all| all.default_branch = Some(name.to_owned()));
    }

    /// Reports that the repository is checked out.
    pub fn prepared(&self) {
        self.change(|all| all.prepared = true);
    }

    /// Reports that the repository is checked out, and that its container is to be made anew.
    pub fn awaits(&self) {
        self.change(|all| all.awaits = true);
    }

    /// Reports what of the repository's configuration holds.
    pub fn configured(&self, configured: Configured) {
        self.change(|all| all.configured = Some(configured));
    }

    /// Reports the editor's state.
    pub fn editor(&self, state: EditorState) {
        self.change(|all| all.editor = Some(state));
    }

    /// Reports what the checkout's `devcontainer.json` says of ports.
    pub fn declared(&self, ports: PortsAsWritten) {
        self.change(|all| all.declared = Some(ports));
    }

    /// Reports which declared ports of services beside the codespace it does not get.
    pub fn unsettled(&self, notices: Notices) {
        self.change(|all| all.unsettled = notices);
    }

    /// Reports which of them something of the codespace itself has.
    pub fn taken(&self, notices: Notices) {
        self.change(|all| all.taken = notices);
    }

    /// Reports which processes keep the codespace awake.
    pub fn leases(&self, leases: Vec<HeldLease>) {
        self.change(|all| all.leases = leases);
    }

    /// Reports what the kernel ended for want of memory.
    pub fn out_of_memory(&self, what: OutOfMemory) {
        self.change(|all| all.out_of_memory = Some(what));
    }

    /// Reports that something happened just now; sent at most every 15 s.
    pub fn activity(&self, kind: ActivityKind) {
        if self.activity.kinds.lock().insert(kind) {
            self.activity.happened.notify_one();
        }
    }

    /// Reports that somebody wants the codespace to go on; sent at once, for it may be about to stop.
    pub fn kept(&self) {
        self.activity(ActivityKind::Kept);
        self.activity.urgent.notify_one();
    }

    /// Waits until something happened that is to be told at once.
    pub async fn urgent(&self) {
        self.activity.urgent.notified().await;
    }

    /// Reports all listening ports; what was printed about a port that is gone is forgotten.
    pub fn ports(&self, mut ports: Vec<ListeningPort>, now: Instant) {
        ports.sort_by_key(|port| (port.noise.is_some(), port.port));
        ports.truncate(MAX_PORTS);
        ports.sort_by_key(|port| port.port);
        self.change(|all| {
            let gone = |number: &u16| !ports.iter().any(|port| port.port == *number);
            for before in all.ports.iter().flatten().map(|port| port.port).filter(gone) {
                all.printed.remove(&before);
                all.since.remove(&before);
            }
            for port in &ports {
                all.since.entry(port.port).or_insert(now);
            }
            all.ports = Some(ports);
        });
    }

    /// Reports what a program printed to a terminal.
    pub fn printed(&self, mut what: Printed, now: Instant) {
        if let Printed::Server(url) = &mut what
            && url.path.len() > MAX_PATH
        {
            "/".clone_into(&mut url.path);
        }
        let port = what.port();
        let mut unseen = false;
        self.change(|all| {
            unseen = !all.since.contains_key(&port);
            if all.printed.get(&port).is_none_or(|said| all.gives_way(port, said, &what)) && all.has_room_for(port) {
                all.printed.insert(port, Said { what, at: now });
            }
        });
        if unseen {
            self.activity.announced.notify_one();
        }
    }

    /// Waits until somebody announces a port that no scan has seen.
    pub async fn announced(&self) {
        self.activity.announced.notified().await;
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
        let default_branch = self.default_branch.clone().filter(|_| self.default_branch != told.default_branch);
        let default_branch = default_branch.map(|name| FromAgent::DefaultBranch { name });
        let prepared = (self.prepared && !told.prepared).then_some(FromAgent::Prepared);
        let awaits = (self.awaits && !told.awaits).then_some(FromAgent::Awaits);
        let configured = self.configured().filter(|now| told.configured().as_ref() != Some(now));
        let configured = configured.map(|configured| FromAgent::Configured { configured });
        let editor = self
            .editor
            .filter(|_| self.editor != told.editor)
            .map(|state| FromAgent::Editor { state });
        let ports = self
            .listening()
            .filter(|ports| told.listening().as_ref() != Some(ports))
            .map(|ports| FromAgent::Ports { ports });
        let declared = self.declared.clone().filter(|ports| told.declared.as_ref() != Some(ports));
        let declared = declared.map(|ports| FromAgent::Declared { ports });
        let leases = (self.leases != told.leases).then(|| FromAgent::Leases {
            leases: self.leases.clone(),
        });
        let out_of_memory = self.out_of_memory.filter(|_| self.out_of_memory != told.out_of_memory);
        let out_of_memory = out_of_memory.map(FromAgent::OutOfMemory);
        // What is declared of ports comes before the ports; the default branch is believed until all is checked out.
        let first = steps
            .chain(configured)
            .chain(default_branch)
            .chain(prepared)
            .chain(awaits)
            .chain(editor)
            .chain(out_of_memory);
        first.chain(declared).chain(ports).chain(leases).collect()
    }

    /// What of the configuration holds, that of ports included.
    fn configured(&self) -> Option<Configured> {
        let mut configured = self.configured.clone()?;
        // Last, so that they push nothing out of what was said before.
        configured.notices.extend(self.port_notices());
        Some(configured)
    }

    /// What of declared ports does not hold.
    pub fn port_notices(&self) -> Notices {
        let mut notices = self.unsettled.clone();
        notices.extend(self.taken.clone());
        notices
    }

    /// A step as last reported.
    #[cfg(test)]
    pub fn step(&self, name: StepName) -> Option<(StepState, String)> {
        self.steps.get(&name).cloned()
    }

    /// Which processes keep the codespace awake.
    #[cfg(test)]
    pub fn leases(&self) -> &[HeldLease] {
        &self.leases
    }

    /// Whether what was said of a port is replaced: what a server says of itself stays while it listens, whatever else
    /// passes through terminals, unless it was said long before, by another.
    fn gives_way(&self, port: u16, said: &Said, what: &Printed) -> bool {
        let (Printed::Server(before), Printed::Server(url)) = (&said.what, what) else {
            return matches!(what, Printed::Debugger(_));
        };
        let stale = self.since.get(&port).is_none_or(|since| said.at + SAID_EARLY < *since);
        stale || (before.scheme.is_none() && url.scheme.is_some())
    }

    fn has_room_for(&self, port: u16) -> bool {
        self.printed.len() < MAX_PRINTED || self.printed.contains_key(&port)
    }

    fn listening(&self) -> Option<Vec<ListeningPort>> {
        let mut ports = self.ports.clone()?;
        for port in &mut ports {
            match self.printed.get(&port.port).map(|said| &said.what) {
                Some(Printed::Debugger(_)) => port.noise = Some("debugger".into()),
                Some(Printed::Server(url)) => {
                    // Whoever announces itself wants to be found.
                    port.noise = None;
                    port.scheme = url.scheme.map(str::to_owned);
                    port.path = url.scheme.map(|_| url.path.clone());
                }
                None => {}
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
mod tests;
