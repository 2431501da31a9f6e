//! Codespaces: one task for each, which alone changes it; everybody else holds a handle and reads snapshots.
//!
//! Owns phases, ports and their visibility, agents' reports and their meaning, names, creation and its undoing. Refuses
//! to know: HTTP, pages, who may do what (callers have a permit), how a runtime works.

mod error;
mod handle;
mod snapshot;

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::broadcast;

pub use self::{
    error::{BadChange, CodespaceError},
    handle::Codespace,
    snapshot::{PortView, Snapshot},
};
pub use crate::lifecycle::Activity;
use crate::{
    audit::{Actor, Audit},
    clock::SharedClock,
    domain::{CodespaceName, Port, UserId, Visibility},
    route::Sites,
    runtime::SharedRuntime,
    store::{SharedStore, StoreError},
    tunnel::Tunnels,
};

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
    pub tunnels: Tunnels,
    pub sites: Sites,
    pub audit: Audit,
    pub clock: SharedClock,
    /// 5 to 240.
    pub default_idle_minutes: u16,
}

/// What someone asks for.
#[derive(Clone, Debug)]
pub struct NewCodespace {
    pub owner: UserId,
    /// For git's `user.name`.
    pub owner_name: String,
    /// For git's `user.email`.
    pub owner_email: Option<String>,
    /// Whether the owner may clone local paths and `file:` URLs, as admins may.
    pub allow_local: bool,
    /// A git URL or an absolute path.
    pub repository: String,
    pub reference: Option<String>,
    pub pull_request: Option<u64>,
    pub devcontainer_path: Option<String>,
    pub idle_timeout_minutes: Option<u16>,
    pub display_name: Option<String>,
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
    /// `http` or `https`.
    pub protocol: Option<String>,
    /// `localhost` or `preserve`.
    pub host_header: Option<String>,
    /// An inner none lets the visibility stay for good.
    pub expires_at: Option<Option<OffsetDateTime>>,
    pub users: Option<Vec<UserId>>,
}

/// What to change of a codespace; none leaves it as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CodespaceChange {
    pub display_name: Option<String>,
    /// 5 to 240.
    pub idle_timeout_minutes: Option<u16>,
}

/// Something that lists and pages show has changed.
#[derive(Clone, Debug)]
pub enum CodespaceEvent {
    Changed(Arc<Codespace>),
    Removed { name: CodespaceName, owner: UserId },
}

struct Inner {
    #[expect(dead_code, reason = "the bodies come next")]
    deps: Deps,
    events: broadcast::Sender<CodespaceEvent>,
}

impl Codespaces {
    /// Reads all codespaces, takes over the agents that still run, and starts those anew that should run and do not.
    pub async fn load(deps: Deps) -> Result<Self, StoreError> {
        let (events, _) = broadcast::channel(1024);
        Ok(Self {
            inner: Arc::new(Inner { deps, events }),
        })
    }

    /// A codespace by its name. On the path of every request: one look into a map.
    pub fn find(&self, name: &CodespaceName) -> Option<Arc<Codespace>> {
        let _ = name;
        None
    }

    /// All codespaces, by name.
    pub fn all(&self) -> Vec<Arc<Codespace>> {
        Vec::new()
    }

    /// The codespaces of one user, newest first.
    pub fn owned_by(&self, owner: &UserId) -> Vec<Arc<Codespace>> {
        let _ = owner;
        Vec::new()
    }

    /// Makes a codespace, or returns the owner's one of the same repository and reference; a failed one is tried again.
    /// Returns at once: watch it for progress.
    pub async fn create(&self, wanted: NewCodespace, actor: &Actor) -> Result<(Arc<Codespace>, Created), CodespaceError> {
        let _ = (wanted, actor);
        Err(CodespaceError::Missing)
    }

    /// Starts a codespace; a hundred calls at once start it once. Returns at once: watch it for progress.
    pub async fn start(&self, name: &CodespaceName, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let _ = (name, actor);
        Err(CodespaceError::Missing)
    }

    /// Stops a codespace. Returns at once: watch it for progress.
    pub async fn stop(&self, name: &CodespaceName, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let _ = (name, actor);
        Err(CodespaceError::Missing)
    }

    /// Deletes a codespace with everything in it. Without `force`, [`CodespaceError::UnpushedWork`] while there is work
    /// that only it has. Returns when it is gone.
    pub async fn delete(&self, name: &CodespaceName, force: bool, actor: &Actor) -> Result<(), CodespaceError> {
        let _ = (name, force, actor);
        Err(CodespaceError::Missing)
    }

    /// Changes what is set on a port, at once and for open connections too; the port need not listen.
    pub async fn change_port(
        &self,
        name: &CodespaceName,
        port: Port,
        change: PortChange,
        actor: &Actor,
    ) -> Result<PortView, CodespaceError> {
        let _ = (name, port, change, actor);
        Err(CodespaceError::Missing)
    }

    /// Changes settings of a codespace.
    pub async fn change(&self, name: &CodespaceName, change: CodespaceChange, actor: &Actor) -> Result<Arc<Codespace>, CodespaceError> {
        let _ = (name, change, actor);
        Err(CodespaceError::Missing)
    }

    /// Every change from now on. A receiver that lags behind must read everything anew.
    pub fn subscribe(&self) -> broadcast::Receiver<CodespaceEvent> {
        self.inner.events.subscribe()
    }

    /// Ends the tasks; agents go on and find the next gateway.
    pub async fn shutdown(&self) {}
}
