//! How a codespace is at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{
    ceiling::OwnersCeiling,
    closures::Closures,
    creation_log::CreationLog,
    declaration::{Declaration, Offer},
    limited::Limited,
    task::Desk,
};
use crate::{
    devcontainer::{Attributes, OnAutoForward},
    domain::{CodespaceName, Generation, Phase, Port, ShareId, Step, UserId, Visibility, Wakers},
    inspect::{Logs, PortLog},
    lifecycle::Lease,
    policy::Ceiling,
    protocol::tunnel::{Configured, EditorState, Endpoint, ListeningPort},
    runtime::external::EXTERNAL,
    store::{ClosureRecord, CodespaceRecord, PortRecord, ShareRecord},
};

/// A codespace at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub record: CodespaceRecord,
    /// Ports that listen or have settings.
    pub ports: Ports,
    /// What the repository declares of ports.
    pub declaration: Arc<Declaration>,
    /// The offers of a declaration that the owner has decided on, by their hashes.
    pub decided: Arc<BTreeSet<[u8; 32]>>,
    /// Share links, those that are over among them.
    pub shares: Shares,
    /// How far the operator lets its owner share: at any moment what it is then, however old the snapshot.
    pub ceiling: OwnersCeiling,
    /// What operators have closed, here and elsewhere.
    pub closures: Arc<Closures>,
    /// The steps of the latest start, in order.
    pub steps: Vec<Step>,
    /// What of the repository's configuration holds, as its agent says.
    pub configured: Arc<Configured>,
    /// None while nobody knows.
    pub editor: Option<EditorState>,
    /// Whether its agent is connected: only then streams can be dialled.
    pub connected: bool,
    /// What keeps it awake, in plain words.
    pub awake_because: Vec<String>,
    /// Why it stopped, in plain words.
    pub stopped_because: Option<String>,
    /// Why it was started again by itself, since somebody last started it; none where it was not.
    pub restarted_because: Option<String>,
    /// Why nobody can say how it is, while its agent is away.
    pub away_because: Option<String>,
    /// What in it ran out of memory since it was started, in plain words; none where nothing did.
    pub out_of_memory: Option<String>,
    /// Whether it stops so soon that its people are told.
    pub stops_soon: bool,
    /// Whether it stops whatever happens in it: it has run for as long as one may.
    pub stops_anyway: bool,
    /// The processes inside that keep it awake.
    pub leases: Vec<Lease>,
    /// Whether somebody wants it to start as soon as it has stopped.
    pub starts_again: bool,
    /// When it will stop if nothing happens; none unless it runs.
    pub idle_at: Option<OffsetDateTime>,
}

/// Ports by number; each on its own, because a node of the map has room for eleven and most codespaces have one.
pub type Ports = BTreeMap<Port, Arc<PortView>>;

/// Share links by id, in the order in which they were made.
pub type Shares = BTreeMap<ShareId, Arc<ShareRecord>>;

/// A port: what is set on it and who listens.
#[derive(Clone, Debug, PartialEq)]
pub struct PortView {
    pub settings: PortRecord,
    pub listening: Option<ListeningPort>,
    /// What the repository declares of it; what is set counts more.
    pub declared: Attributes,
    /// The limits that are set, at work.
    pub limited: Option<Arc<Limited>>,
    /// What is asked of it is written down here, if its owner turned that on.
    pub log: Option<Arc<PortLog>>,
}

pub(super) struct Shared {
    pub name: CodespaceName,
    pub owner: UserId,
    pub snapshot: ArcSwap<Snapshot>,
    /// What was said while its container was made.
    pub log: CreationLog,
    /// None until somebody watches.
    pub changes: Mutex<Option<watch::Sender<u64>>>,
    /// None while it rests: then it has no task.
    pub desk: Mutex<Option<Desk>>,
    pub removed: AtomicBool,
    /// Whether somebody's order to start it is on its way.
    pub waking: AtomicBool,
}

impl Snapshot {
    /// Whether it is a machine of its owner's, which nobody here starts or stops.
    pub fn is_own_machine(&self) -> bool {
        self.record.runtime == EXTERNAL
    }

    pub(super) fn new(record: CodespaceRecord, ports: Ports, shares: Shares) -> Self {
        let stopped = matches!(record.phase, Phase::Stopping | Phase::Stopped | Phase::Failed);
        Self {
            stopped_because: record.reason.clone().filter(|_| stopped),
            ports,
            declaration: Arc::default(),
            decided: Arc::default(),
            shares,
            ceiling: OwnersCeiling::default(),
            closures: Arc::default(),
            steps: Vec::new(),
            configured: Arc::default(),
            editor: None,
            restarted_because: None,
            away_because: None,
            out_of_memory: None,
            connected: false,
            awake_because: Vec::new(),
            idle_at: None,
            starts_again: false,
            stops_soon: false,
            stops_anyway: false,
            leases: Vec::new(),
            record,
        }
    }

    /// One that nobody has, for questions about names that are nobody's.
    pub(super) fn of_nobody(name: CodespaceName) -> Self {
        let record = CodespaceRecord {
            name,
            owner: UserId("".into()),
            display_name: String::new(),
            repository: String::new(),
            reference: None,
            default_branch: None,
            pull_request: None,
            devcontainer_path: None,
            runtime: String::new(),
            phase: Phase::Stopped,
            reason: None,
            generation: Generation::default(),
            agent_hash: None,
            agent_next_hash: None,
            prepared: false,
            work: None,
            idle_timeout_minutes: 0,
            woken_by: Wakers::default(),
            personal: false,
            started_at: None,
            traffic_counts: false,
            announced_at: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            last_used_at: OffsetDateTime::UNIX_EPOCH,
        };
        Self::new(record, Ports::default(), Shares::default())
    }

    pub fn phase(&self) -> Phase {
        self.record.phase
    }

    pub fn generation(&self) -> Generation {
        self.record.generation
    }

    /// Who may open a port now, under the operator's ceiling and what is closed; private once its deadline passed, and where nothing is set.
    pub fn visibility(&self, port: Port, now: OffsetDateTime) -> Visibility {
        let Some(view) = self.ports.get(&port) else {
            return Visibility::Private;
        };
        let set = view.visibility(now);
        if set == Visibility::Private || !self.is_what_was_shared(port, view) || self.closure(port).is_some() {
            return Visibility::Private;
        }
        self.ceiling().lower(set)
    }

    /// The service beside the codespace to which a port leads; none where it leads to the codespace itself.
    pub fn beside(&self, port: Port) -> Option<&str> {
        match self.ports.get(&port).and_then(|view| view.listening.as_ref()) {
            Some(listening) => listening.beside.as_deref(),
            None => self.declaration.beside(port),
        }
    }

    /// Whether a port leads to what was shared: to that service, or to the codespace itself. While its agent is away nothing is
    /// reached, and nobody knows to what it will lead: then it counts as that.
    pub fn leads_to(&self, port: Port, shared: Option<&str>) -> bool {
        !self.connected || self.beside(port) == shared
    }

    /// What to dial for a port, for whoever was permitted to open it by this very snapshot.
    pub fn endpoint(&self, port: Port) -> Endpoint {
        let beside = match self.connected {
            true => self.beside(port).is_some(),
            false => self.ports.get(&port).is_some_and(|view| view.settings.beside.is_some()),
        };
        if beside { Endpoint::Beside(port) } else { Endpoint::Port(port) }
    }

    fn is_what_was_shared(&self, port: Port, view: &PortView) -> bool {
        self.leads_to(port, view.settings.beside.as_deref())
    }

    /// How far the operator lets its owner share now.
    pub fn ceiling(&self) -> Ceiling {
        self.ceiling.now()
    }

    /// What an operator closed a port with, if so: then it is its owner's alone.
    pub fn closure(&self, port: Port) -> Option<Arc<ClosureRecord>> {
        self.closures.over(&self.record.owner, &self.record.name, port)
    }

    /// All that operators have closed a port with, the widest first.
    pub fn all_closures(&self, port: Port) -> Vec<Arc<ClosureRecord>> {
        self.closures.all_over(&self.record.owner, &self.record.name, port)
    }

    /// The most open that a port can be now, whatever its owner sets.
    pub fn most_visible(&self, port: Port) -> Visibility {
        self.closure(port).map_or(self.ceiling().most, |_| Visibility::Private)
    }

    /// The people besides the owner to whom a port is open by name.
    pub fn people(&self, port: Port) -> &[UserId] {
        match self.ports.get(&port) {
            Some(view) if !view.settings.users.is_empty() && self.is_what_was_shared(port, view) && self.closure(port).is_none() => {
                &view.settings.users
            }
            _ => &[],
        }
    }

    /// Whether a link's port leads to what the link was made for.
    pub fn is_for(&self, share: &ShareRecord) -> bool {
        self.leads_to(share.terms.port, share.beside.as_deref())
    }

    /// Whether links open a port to people without an account.
    pub fn allows_links(&self, port: Port) -> bool {
        self.ceiling().allows_links() && self.closure(port).is_none()
    }

    /// The share link of a secret, by the secret's hash.
    pub fn share_of(&self, secret_hash: &[u8; 32]) -> Option<&Arc<ShareRecord>> {
        self.shares.values().find(|share| share.secret_hash == *secret_hash)
    }

    /// Whose visits start it: to its editor, or to a port, of which something else may be said.
    pub fn woken_by(&self, port: Option<Port>) -> Wakers {
        let of_port = port.and_then(|port| self.ports.get(&port)?.settings.woken_by);
        of_port.unwrap_or(self.record.woken_by)
    }

    /// Whether a port is shared with someone by name. Names have no deadline.
    pub fn is_named(&self, port: Port, user: &UserId) -> bool {
        self.people(port).contains(user)
    }

    /// Whether the port's owner lets clients of an address in.
    pub fn admits(&self, port: Port, address: IpAddr) -> bool {
        let limited = self.ports.get(&port).and_then(|view| view.limited.as_ref());
        limited.is_none_or(|limited| limited.limits().admits(address))
    }

    /// What the repository asks to share and the owner has not decided on.
    pub fn offer(&self) -> Option<Offer> {
        self.declaration.offer().filter(|offer| !self.decided.contains(&offer.hash))
    }

    /// Whether nothing will happen to it by itself.
    pub(super) fn rests(&self) -> bool {
        let stopped = matches!(self.record.phase, Phase::Stopped | Phase::Failed);
        stopped && self.ports.values().all(|view| view.settings.expires_at.is_none())
    }

    /// Whether streams can be dialled: it runs and its agent is there.
    pub fn is_reachable(&self) -> bool {
        self.connected && self.record.phase == Phase::Running
    }
}

impl PortView {
    /// A port of which is known what is set on it.
    pub fn new(settings: PortRecord) -> Self {
        Self {
            limited: Limited::new(settings.limits.clone(), Instant::now()),
            settings,
            listening: None,
            declared: Attributes::default(),
            log: None,
        }
    }

    /// The same with the log that its settings ask for: the one that there was before, if there was one.
    pub(super) fn with_log(mut self, before: Option<&Arc<PortLog>>, logs: &Logs) -> Self {
        self.log = match (self.settings.log_entries, before) {
            (None, None) => None,
            (None, Some(log)) => {
                log.close();
                None
            }
            (Some(entries), None) => Some(logs.open(entries)),
            (Some(entries), Some(log)) => {
                log.resize(entries);
                Some(Arc::clone(log))
            }
        };
        self
    }

    /// What the app speaks, `http` or `https`: as it is set, else as it is declared.
    pub fn protocol(&self) -> &str {
        self.settings.protocol.as_deref().or(self.declared.protocol).unwrap_or("http")
    }

    /// What people call it: as it is set, else as it is declared.
    pub fn label(&self) -> Option<&str> {
        self.settings.label.as_deref().or(self.declared.label.as_deref())
    }

    /// What happens when it begins to listen.
    pub fn on_auto_forward(&self) -> OnAutoForward {
        self.declared.on_auto_forward.unwrap_or_default()
    }

    /// Who may open it now, if the operator lets them: what counts is [`Snapshot::visibility`].
    pub fn visibility(&self, now: OffsetDateTime) -> Visibility {
        match self.settings.expires_at {
            Some(deadline) if deadline <= now => Visibility::Private,
            _ => self.settings.visibility,
        }
    }
}
