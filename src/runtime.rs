//! Where codespaces live: directories, containers, pods.
//!
//! Owns the [`Runtime`] trait: storage and the agent's process for one codespace. Refuses to know: HTTP, policy,
//! the store. A runtime starts an agent and never talks to it; all else goes through the tunnel.

pub mod docker;
pub mod external;
pub mod fake;
pub mod process;
mod unconfigured;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use thiserror::Error;

pub use self::unconfigured::Unconfigured;
use crate::{domain::CodespaceName, protocol::bootstrap::Bootstrap};

/// A runtime behind its seam.
pub type SharedRuntime = Arc<dyn Runtime>;

/// Where a runtime says what it is doing, in a few words, while its user watches.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Tells `listener`, which must not wait.
    pub fn new(listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub fn tell(&self, words: &str) {
        (self.0)(words);
    }
}

/// Whether there is such a codespace, at the moment it is asked.
pub type Known<'a> = dyn Fn(&CodespaceName) -> bool + Send + Sync + 'a;

/// Makes places for codespaces. Every call can be repeated: done twice is as done once.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The name in configuration and API: `process`, `docker`, …
    fn kind(&self) -> &'static str;
    /// Makes the storage of a codespace.
    async fn create(&self, name: &CodespaceName, progress: &Progress) -> Result<(), RuntimeError>;
    /// Fills in the paths and addresses that hold inside the codespace, then starts the agent with it. An agent of an
    /// older generation that still runs is ended.
    async fn start(&self, name: &CodespaceName, bootstrap: Bootstrap) -> Result<(), RuntimeError>;
    /// Ends the agent and everything that it started; the storage stays. Returns when all of it is gone.
    async fn stop(&self, name: &CodespaceName) -> Result<(), RuntimeError>;
    /// Stops and removes the storage.
    async fn delete(&self, name: &CodespaceName) -> Result<(), RuntimeError>;
    /// Looks whether the agent's process or container runs.
    async fn state(&self, name: &CodespaceName) -> Result<InstanceState, RuntimeError>;
    /// The Unix socket on which the gateway may dial the agent, where the two share a machine. The gateway never
    /// takes this address from the agent: it could name any socket of the machine.
    fn direct_address(&self, name: &CodespaceName) -> Option<PathBuf>;
    /// The last part of the agent's own log, at most 64 KiB, for people.
    async fn agent_log(&self, name: &CodespaceName) -> Result<String, RuntimeError>;
    /// Why the agent ended by itself, in plain words, where the runtime can say.
    async fn why_ended(&self, _name: &CodespaceName) -> Option<String> {
        None
    }
    /// Removes what runs for codespaces that are not known when it is removed. Never what holds work.
    async fn tidy(&self, _is_known: &Known<'_>) -> Result<(), RuntimeError> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceState {
    /// No storage.
    Absent,
    /// Storage, and nothing running.
    Stopped,
    /// The agent runs.
    Running,
}

/// Why a runtime could not do it; `Display` is for the user.
#[derive(Debug, Error)]
pub enum RuntimeError {
    #[error("there is no space left on the disk for this codespace. Free some space, then start it again")]
    DiskFull,
    #[error("{0}")]
    Failed(String),
}
