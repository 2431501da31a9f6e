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

/// Where a runtime says what it is doing while its user watches.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Told<'_>) + Send + Sync>);

/// What a runtime says.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// What it is doing now, in a few words.
    Words(&'a str),
    /// What a program printed, as it did.
    Printed(&'a str),
}

impl Progress {
    /// Tells `listener`, which must not wait.
    pub fn new(listener: impl Fn(Told<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub fn tell(&self, words: &str) {
        (self.0)(Told::Words(words));
    }

    pub fn print(&self, text: &str) {
        (self.0)(Told::Printed(text));
    }
}

/// What a start makes of a container.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Making {
    /// It stays as it is, if it is there.
    #[default]
    Kept,
    /// The repository is checked out just now: it is made as that says.
    Checkout,
    /// Its user wants it made anew.
    Anew,
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
    /// Whether it makes containers as repositories say; then [`Runtime::configure`] does.
    fn makes_containers(&self) -> bool {
        false
    }
    /// Makes the container of a codespace whose repository is checked out as its `devcontainer.json` says, and fills in
    /// [`Bootstrap::container`]. What the repository got wrong is no error: it is told there, and the container is the
    /// one before or the default one.
    async fn configure(
        &self,
        _name: &CodespaceName,
        _bootstrap: &mut Bootstrap,
        _making: Making,
        _progress: &Progress,
    ) -> Result<(), RuntimeError> {
        Ok(())
    }
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
    /// What holds work of codespaces that are not known: it stays until the operator removes it.
    async fn left_behind(&self, _is_known: &Known<'_>) -> Result<Vec<LeftBehind>, RuntimeError> {
        Ok(Vec::new())
    }
    /// Fetches ahead what each new codespace begins with.
    async fn fetch_ahead(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// Something that holds work of a codespace that is no more, as far as the store says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftBehind {
    /// What it is, in a word: `volume`.
    pub kind: &'static str,
    pub name: String,
    /// The codespace that it was made for.
    pub codespace: String,
    /// The command with which the operator removes it, on the gateway's machine.
    pub remove: String,
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
