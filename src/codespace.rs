//! Codespaces: one task for each, which alone changes it; everybody else holds a handle and reads snapshots. One that
//! rests has no task until somebody wants something of it.
//!
//! Owns phases, ports and their visibility, agents' reports and their meaning, names, creation and its undoing, and the
//! facts that policy is asked with. Refuses to know: HTTP, pages, what is allowed (`policy` says), how a runtime works.

mod attention;
mod ceiling;
mod closures;
mod creation_log;
mod credentials;
mod declaration;
mod error;
mod handle;
mod launch;
mod limited;
mod local;
mod machines;
mod naming;
mod question;
mod request;
mod retiring;
mod shares;
mod snapshot;
mod sockets;
mod strangers;
mod task;
mod tidying;
mod waking;
mod work;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};

use dashmap::DashMap;
use foldhash::fast::RandomState as Quick;
use time::OffsetDateTime;
use tokio::{runtime::Handle, sync::broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    attention::Attention,
    ceiling::{Closed, Closing, OwnersCeiling},
    closures::Closures,
    declaration::Offer,
    error::{BadChange, CodespaceError},
    handle::Codespace,
    limited::{Limited, Room},
    machines::{Joined, Registration, WaitingRegistration},
    question::{Question, Shown},
    shares::{MadeShare, NewShare, ShareError},
    snapshot::{PortView, Ports, Shares, Snapshot},
    sockets::{OpenSocket, SocketLimits, SocketOf, TooManySockets},
    strangers::{Counted, StrangerCaps, TooMuch},
};
use self::{
    ceiling::OwnersCeilings, credentials::Credentials, machines::Registrations, snapshot::Shared, sockets::Sockets, strangers::Strangers,
    task::Order, waking::Starts,
};
use crate::{
    audit::{Actor, Audit},
    auth::Auth,
    belongings::Belongings,
    clock::SharedClock,
    domain::{CodespaceName, Generation, Phase, Port, PortLimits, UserId, Visibility, Wakers, Work},
    inspect,
    lifecycle::Rules,
    policy::Ceiling,
    route::Sites,
    runtime::{SharedRuntime, Unconfigured},
    store::{CodespaceRecord, SharedStore, StoreError},
    tunnel::{AgentCredentials, Tunnels},
};
pub use crate::{lifecycle::Activity, store::ShareRecord as Share};

/// How often a name that was used already is made anew.
const NAME_TRIES: u32 = 10;

/// All codespaces. Cheap to clone.
#[derive(Clone)]
pub struct Codespaces {
    inner: Arc<Inner>,
}

/// What codespaces are made of and with.
pub struct Deps {
    pub store: SharedStore,
    /// The first is the default.
    pub runtimes: Vec<SharedRuntime>,
    /// Knows owners, and makes the token inside.
    pub auth: Auth,
    /// What owners keep, which their agents are told.
    pub belongings: Belongings,
    pub tunnels: Tunnels,
    pub sites: Sites,
    pub audit: Audit,
    pub clock: SharedClock,
    /// 5 to 240.
    pub default_idle_minutes: u16,
    /// Most codespaces that one user may have.
    pub codespaces_per_user: usize,
    pub sockets: SocketLimits,
    /// How far the configuration lets anything be shared.
    pub ceiling: Ceiling,
    pub rules: Rules,
    /// The filter of what agents log; none for their default.
    pub agents_log: Option<String>,
    /// What strangers may cost.
    pub strangers: StrangerCaps,
}

/// What someone asks for.
#[derive(Clone, Debug)]
pub struct NewCodespace {
    pub owner: UserId,
    /// Whether the owner may clone local paths and `file:` URLs, as admins may.
    pub allow_local: bool,
    /// A git URL or an absolute path.
    pub repository: String,
    pub reference: Option<String>,
    pub pull_request: Option<u64>,
    pub devcontainer_path: Option<String>,
    pub idle_timeout_minutes: Option<u16>,
    pub display_name: Option<String>,
    /// Whether it is to be told what its owner keeps; where nobody says, it is.
    pub personal: Option<bool>,
}

/// Whether a codespace was made or was there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Created {
    New,
    Existing,
}

/// What to change of a port; none leaves it as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PortChange {
    pub visibility: Option<Visibility>,
    /// An inner none removes the label.
    pub label: Option<Option<String>>,
    /// `http`, `https`, `h2c` or `grpc`.
    pub protocol: Option<String>,
    /// `localhost` or `preserve`.
    pub host_header: Option<String>,
    /// An inner none lets the visibility stay for good.
    pub expires_at: Option<Option<OffsetDateTime>>,
    pub users: Option<Vec<UserId>>,
    /// All limits anew.
    pub limits: Option<PortLimits>,
    /// How many exchanges its log keeps, 1 to [`inspect::MOST_ENTRIES`]; an inner none turns it off.
    pub log_entries: Option<Option<u16>>,
    /// Whose visits to it start the codespace; an inner none for what the codespace says.
    pub woken_by: Option<Option<Wakers>>,
}

/// What the owner does with what the repository asks to share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OfferDecision {
    Accept,
    Dismiss,
}

/// What to change of a codespace; none leaves it as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CodespaceChange {
    pub display_name: Option<String>,
    /// 5 to 240.
    pub idle_timeout_minutes: Option<u16>,
    pub woken_by: Option<Wakers>,
    /// Whether requests to its ports count as use.
    pub traffic_counts: Option<bool>,
    /// Whether it is told what its owner keeps.
    pub personal: Option<bool>,
}

/// Something that lists and pages show has changed.
#[derive(Clone, Debug)]
pub enum CodespaceEvent {
    Changed(Arc<Codespace>),
    Removed { name: CodespaceName, owner: UserId },
}

struct Inner {
    deps: Arc<Deps>,
    spaces: DashMap<CodespaceName, Arc<Codespace>, Quick>,
    /// A codespace that is none.
    nobodys: Arc<Snapshot>,
    credentials: Credentials,
    registrations: Registrations,
    sockets: Sockets,
    starts: Starts,
    strangers: Strangers,
    closures: Arc<Closures>,
    /// The request logs of ports whose owners turned them on.
    logs: inspect::Logs,
    ceilings: OwnersCeilings,
    events: broadcast::Sender<CodespaceEvent>,
    /// One creation at a time, so that asking twice makes one.
    creating: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    /// What runs for as long as the service does.
    keepers: TaskTracker,
    /// Where tasks run, whoever begins them.
    control: Handle,
    going: CancellationToken,
}

impl Codespaces {
    /// Reads all codespaces, takes over the agents that still run, and starts those anew that should run and do not.
    pub async fn load(deps: Deps) -> Result<Self, StoreError> {
        let (events, _) = broadcast::channel(1024);
        let inner = Arc::new(Inner {
            nobodys: Arc::new(Snapshot::of_nobody(naming::fresh())),
            sockets: Sockets::new(deps.sockets),
            starts: Starts::default(),
            strangers: Strangers::new(deps.strangers),
            closures: Arc::new(Closures::load(&deps.store).await?),
            logs: inspect::Logs::default(),
            ceilings: OwnersCeilings::load(deps.ceiling, deps.store.as_ref()).await?,
            deps: Arc::new(deps),
            spaces: DashMap::default(),
            credentials: Credentials::default(),
            registrations: Registrations::default(),
            events,
            creating: tokio::sync::Mutex::new(()),
            tasks: TaskTracker::new(),
            keepers: TaskTracker::new(),
            control: Handle::current(),
            going: CancellationToken::new(),
        });
        let mut ports = inner.stored_ports().await?;
        let mut decided = inner.stored_decisions().await?;
        let mut shares = inner.stored_shares().await?;
        for record in inner.deps.store.codespaces().await? {
            let ports = ports.remove(&record.name).unwrap_or_default();
            let decided = decided.remove(&record.name).unwrap_or_default();
            let shares = shares.remove(&record.name).unwrap_or_default();
            inner.add_handle(record, ports, shares, decided);
        }
        inner.follow_organisations();
        inner.deps.tunnels.trust(Arc::clone(&inner) as Arc<dyn AgentCredentials>);
        let codespaces = Self { inner };
        codespaces.tidy();
        codespaces.look_after_unused();
        Ok(codespaces)
    }

    /// A codespace by its name. On the path of every request: one look into a map.
    pub fn find(&self, name: &CodespaceName) -> Option<Arc<Codespace>> {
        self.inner.find(name)
    }

    /// What is asked about where a name is nobody's.
    pub fn nobodys(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.nobodys)
    }

    /// All codespaces, newest first.
    pub fn all(&self) -> Vec<Arc<Codespace>> {
        self.list(|_| true)
    }

    /// The codespaces of one user, newest first.
    pub fn owned_by(&self, owner: &UserId) -> Vec<Arc<Codespace>> {
        self.list(|codespace| codespace.owner() == owner)
    }

    /// Makes a codespace, or returns the owner's one of the same repository and reference; a failed one is tried again.
    /// Returns at once: watch it for progress.
    pub async fn create(&self, new: NewCodespace, actor: &Actor) -> Result<(Arc<Codespace>, Created), CodespaceError> {
        let wanted = request::wanted(&new, self.inner.deps.default_idle_minutes)?;
        local::check(&wanted.source).await?;
        let _one = self.inner.creating.lock().await;
        let same = self.list(|codespace| {
            let record = &codespace.snapshot().record;
            record.phase != Phase::Deleting && request::is_same(record, &new, &wanted)
        });
        // Of before the default branch was known there may be one of no reference, and one of its name.
        let exact = |codespace: &&Arc<Codespace>| codespace.snapshot().record.reference == wanted.reference;
        if let Some(codespace) = same.iter().find(exact).or(same.first()).cloned() {
            if codespace.snapshot().phase() == Phase::Failed {
                self.start(codespace.name(), actor).await?;
            }
            return Ok((codespace, Created::Existing));
        }
        let limit = self.inner.deps.codespaces_per_user;
        if self.owned_by(&new.owner).len() >= limit {
            return Err(CodespaceError::TooMany { limit });
        }
        let record = self.inner.add(new, wanted).await?;
        let name = record.name.clone();
        self.inner
            .deps
            .audit
            .record("codespace.created", actor, name.to_string(), record.repository.clone());
        Ok((
            self.inner.add_handle(record, Ports::new(), Shares::new(), BTreeSet::new()),
            Created::New,
        ))
    }

    /// Starts a codespace; a hundred calls at once start it once. Returns at once: watch it for progress.
    pub async fn start(&self, name: &CodespaceName, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(|reply| Order::Start(actor.clone(), "", reply)).await?;
        Ok(codespace)
    }

    /// Stops a codespace. Returns at once: watch it for progress.
    pub async fn stop(&self, name: &CodespaceName, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(|reply| Order::Stop(actor.clone(), reply)).await?;
        Ok(codespace)
    }

    /// Makes a codespace's container anew, as its repository says now; its files stay. Returns at once: watch it for
    /// progress.
    pub async fn rebuild(&self, name: &CodespaceName, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(|reply| Order::Rebuild(actor.clone(), reply)).await?;
        Ok(codespace)
    }

    /// Deletes a codespace with everything in it. Without `force`, [`CodespaceError::UnpushedWork`] while there is work
    /// that only it has. Returns when it is gone.
    pub async fn delete(&self, name: &CodespaceName, force: bool, actor: &Actor) -> Result<(), CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        if !force {
            self.inner.check_work(&codespace).await?;
        }
        codespace.order(|reply| Order::Delete(actor.clone(), reply)).await
    }

    /// Changes what is set on a port, at once and for open connections too; the port need not listen.
    pub async fn change_port(
        &self,
        name: &CodespaceName,
        port: Port,
        change: PortChange,
        actor: &Actor,
    ) -> Result<PortView, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(|reply| Order::ChangePort(port, change, actor.clone(), reply)).await
    }

    /// Decides on what the repository asks to share: takes all of it, or leaves it. Asked once for each content; refuses
    /// a hash that is not that of the present offer.
    pub async fn decide_offer(
        &self,
        name: &CodespaceName,
        hash: String,
        decision: OfferDecision,
        actor: &Actor,
    ) -> Result<Arc<Codespace>, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace
            .order(|reply| Order::DecideOffer(hash, decision, actor.clone(), reply))
            .await?;
        Ok(codespace)
    }

    /// Says that a codespace is needed: its idle time begins anew, and it is not forgotten.
    pub async fn keep(&self, name: &CodespaceName) -> Result<Arc<Codespace>, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(Order::Keep).await?;
        Ok(codespace)
    }

    /// Changes settings of a codespace.
    pub async fn change(&self, name: &CodespaceName, change: CodespaceChange, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(|reply| Order::Change(change, actor.clone(), reply)).await?;
        Ok(codespace)
    }

    /// Whether the operating system keeps new codespaces apart from each other and from the gateway.
    pub fn keeps_apart(&self) -> bool {
        self.inner.deps.runtimes.first().is_some_and(|runtime| runtime.kind() != "process")
    }

    /// Has the agents of somebody's codespaces told anew what their owner keeps.
    pub fn tell_belongings(&self, owner: &UserId) {
        for codespace in self.owned_by(owner) {
            self.inner.deps.tunnels.tell_personal(codespace.name());
        }
    }

    /// The last part of an agent's own log, at most 64 KiB.
    pub async fn agent_log(&self, name: &CodespaceName) -> Result<String, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        let runtime = self.inner.runtime_or_default(&codespace.snapshot().record.runtime);
        Ok(runtime.agent_log(name).await?)
    }

    /// Every change from now on. A receiver that lags behind must read everything anew.
    pub fn subscribe(&self) -> broadcast::Receiver<CodespaceEvent> {
        self.inner.events.subscribe()
    }

    /// Ends the tasks, jobs that run included; agents go on and find the next gateway.
    pub async fn shutdown(&self) {
        self.inner.going.cancel();
        for tasks in [&self.inner.tasks, &self.inner.keepers] {
            tasks.close();
            tasks.wait().await;
        }
    }

    fn list(&self, wanted: impl Fn(&Codespace) -> bool) -> Vec<Arc<Codespace>> {
        let mut found: Vec<_> = self
            .inner
            .spaces
            .iter()
            .filter(|codespace| wanted(codespace))
            .map(|codespace| Arc::clone(&codespace))
            .collect();
        found.sort_by_cached_key(|codespace| std::cmp::Reverse((codespace.snapshot().record.created_at, codespace.name().clone())));
        found
    }
}

impl Inner {
    fn find(&self, name: &CodespaceName) -> Option<Arc<Codespace>> {
        self.spaces.get(name).map(|codespace| Arc::clone(&codespace))
    }

    fn runtime(&self, kind: &str) -> Option<&SharedRuntime> {
        self.deps.runtimes.iter().find(|runtime| runtime.kind() == kind)
    }

    /// The runtime of a codespace; one that is no longer configured answers every call with that.
    fn runtime_or_default(&self, kind: &str) -> SharedRuntime {
        self.runtime(kind).cloned().unwrap_or_else(|| Arc::new(Unconfigured))
    }

    async fn stored_ports(&self) -> Result<HashMap<CodespaceName, Ports>, StoreError> {
        let mut ports: HashMap<CodespaceName, Ports> = HashMap::new();
        for settings in self.deps.store.ports().await? {
            let of_codespace = ports.entry(settings.codespace.clone()).or_default();
            of_codespace.insert(settings.port, Arc::new(PortView::new(settings).with_log(None, &self.logs)));
        }
        Ok(ports)
    }

    async fn stored_decisions(&self) -> Result<HashMap<CodespaceName, BTreeSet<[u8; 32]>>, StoreError> {
        let mut decided: HashMap<CodespaceName, BTreeSet<[u8; 32]>> = HashMap::new();
        for decision in self.deps.store.offer_decisions().await? {
            decided.entry(decision.codespace).or_default().insert(decision.hash);
        }
        Ok(decided)
    }

    /// Stores a new codespace under a name that was never used.
    async fn add(&self, new: NewCodespace, wanted: request::Wanted) -> Result<CodespaceRecord, CodespaceError> {
        let now = self.deps.clock.now();
        let runtime = self.deps.runtimes.first().map_or("none", |runtime| runtime.kind());
        let record = CodespaceRecord {
            name: naming::fresh(),
            owner: new.owner,
            display_name: wanted.display_name,
            repository: wanted.source.to_string(),
            reference: wanted.reference,
            default_branch: None,
            pull_request: new.pull_request,
            devcontainer_path: new.devcontainer_path,
            runtime: runtime.into(),
            phase: Phase::Creating,
            reason: None,
            generation: Generation::default(),
            agent_hash: None,
            agent_next_hash: None,
            prepared: false,
            work: None,
            idle_timeout_minutes: wanted.idle_timeout_minutes,
            woken_by: Wakers::default(),
            personal: new.personal.unwrap_or(true),
            started_at: None,
            traffic_counts: false,
            announced_at: None,
            created_at: now,
            last_used_at: now,
        };
        self.add_record(record).await
    }

    /// Stores a record, under another name if its own was ever used.
    async fn add_record(&self, mut record: CodespaceRecord) -> Result<CodespaceRecord, CodespaceError> {
        for _ in 0..NAME_TRIES {
            match self.deps.store.add_codespace(&record).await {
                Err(StoreError::Conflict) => record.name = naming::fresh(),
                done => return Ok(done.map(|()| record)?),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Adds a codespace to the map; its task begins at once if there is something for it to do.
    fn add_handle(self: &Arc<Self>, record: CodespaceRecord, ports: Ports, shares: Shares, decided: BTreeSet<[u8; 32]>) -> Arc<Codespace> {
        for hash in record.agent_hash.into_iter().chain(record.agent_next_hash) {
            self.credentials.add(hash, &record.name, record.generation);
        }
        if matches!(record.phase, Phase::Stopping | Phase::Stopped | Phase::Failed) {
            self.credentials.end(&record.name);
        }
        let mut snapshot = Snapshot::new(record, ports, shares);
        snapshot.ceiling = self.ceilings.of(&snapshot.record.owner, &self.deps.auth);
        snapshot.closures = Arc::clone(&self.closures);
        snapshot.decided = Arc::new(decided);
        let rests = snapshot.rests();
        let codespace = Arc::new(Codespace {
            shared: Arc::new(Shared::new(snapshot)),
            inner: Arc::downgrade(self),
        });
        self.spaces.insert(codespace.name().clone(), Arc::clone(&codespace));
        if !rests {
            drop(codespace.desk());
        }
        codespace
    }

    /// Takes a removed codespace from the map; whoever holds its handle is told.
    fn forget(&self, shared: &Shared) {
        self.spaces.remove(&shared.name);
        shared.removed.store(true, Ordering::Release);
        shared.tell();
        let (name, owner) = (shared.name.clone(), shared.owner.clone());
        // Nobody may be listening.
        let _ = self.events.send(CodespaceEvent::Removed { name, owner });
    }

    /// Refuses while a codespace has work that only it has, or while nobody can know.
    async fn check_work(&self, codespace: &Codespace) -> Result<(), CodespaceError> {
        let snapshot = codespace.snapshot();
        // What a machine of one's own holds stays on it.
        if !snapshot.record.prepared || snapshot.phase() == Phase::Deleting || snapshot.is_own_machine() {
            return Ok(());
        }
        let work = if snapshot.connected {
            work::ask(&self.deps.tunnels, codespace.name()).await
        } else {
            snapshot.record.work
        };
        match work {
            None => Err(CodespaceError::WorkUnknown),
            Some(work) if work == Work::default() => Ok(()),
            Some(Work {
                uncommitted_files,
                unpushed_commits,
            }) => Err(CodespaceError::UnpushedWork {
                uncommitted_files,
                unpushed_commits,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
