//! Directories and process groups on this machine.
//!
//! Owns `DATA/codespaces/NAME/{workspaces/REPOSITORY,home,state}` and the processes that carry a codespace's mark. This separates
//! routing, not processes of one user id: it is for people who trust each other. Agents outlive the gateway.

pub mod editor;
pub(super) mod environment;
mod files;
mod instance;
mod processes;

use std::{io, path::PathBuf, time::Duration};

use async_trait::async_trait;
use tokio::{task::spawn_blocking, time::sleep};

use self::{files::Place, instance::Agent};
use super::{InstanceState, Progress, Runtime, RuntimeError};
use crate::{domain::CodespaceName, protocol::bootstrap::Bootstrap};

/// How long an agent may take to end what it started: it kills after 5 s itself.
const TERM_PATIENCE: Duration = Duration::from_secs(8);
/// How long killed processes may take to be gone: the kernel may be writing for them.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether processes are gone.
const LOOK: Duration = Duration::from_millis(40);

/// Codespaces as directories and processes.
#[derive(Clone, Debug)]
pub struct ProcessRuntime {
    data: PathBuf,
    /// An editor's program, if the operator chose one.
    editor: Option<PathBuf>,
    /// The program that is the agent, for tests; none for this very program.
    agent: Option<PathBuf>,
}

impl ProcessRuntime {
    /// Keeps everything below `data`; `editor` is a program to use in place of the one that is found.
    pub fn new(data: PathBuf, editor: Option<PathBuf>) -> Self {
        let data = std::path::absolute(&data).unwrap_or(data);
        Self { data, editor, agent: None }
    }

    /// Starts another program as the agent, with the same arguments.
    #[must_use]
    pub fn with_agent(mut self, program: PathBuf) -> Self {
        self.agent = Some(program);
        self
    }

    fn place(&self, name: &CodespaceName) -> Place {
        Place::new(self.data.join("codespaces").join(name.as_str()))
    }

    /// Fills in what holds inside, and starts the agent.
    fn launch(&self, place: &Place, mut bootstrap: Bootstrap) -> io::Result<()> {
        bootstrap.gateway = format!("unix:{}", self.data.join("agent.sock").display());
        bootstrap.state_dir = place.state();
        bootstrap.workspace = place.workspace(bootstrap.repository.as_ref().map(|repository| repository.url.as_str()));
        files::make_private(&bootstrap.workspace)?;
        bootstrap.home = place.home();
        bootstrap.listen = Some(place.socket());
        bootstrap.editor = editor::find(self.editor.as_deref(), &self.data.join("editors"));
        let mark = place.mark()?;
        bootstrap.mark = Some(mark.clone());
        let text = serde_json::to_vec_pretty(&bootstrap).map_err(io::Error::other)?;
        files::write_private(&place.bootstrap(), &text)?;
        Agent::start(place, self.agent.as_deref(), &mark)
    }

    /// Ends the agent, then whatever carries the mark.
    async fn end(&self, place: Place) -> Result<(), RuntimeError> {
        let Some(mark) = place.known_mark() else { return Ok(()) };
        let found = place.clone();
        if let Some(agent) = blocking(move || Ok(Agent::find(&found))).await? {
            agent.terminate();
            wait(TERM_PATIENCE, || !agent.lives()).await;
        }
        let gone = async {
            loop {
                let mark = mark.clone();
                if blocking(move || Ok(processes::kill_marked(&mark))).await? == 0 {
                    return Ok::<_, RuntimeError>(());
                }
                sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(KILL_PATIENCE, gone).await {
            Ok(done) => done,
            Err(_) => Err(RuntimeError::Failed(
                "some of its processes do not end. Try again in a minute".into(),
            )),
        }
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> &'static str {
        "process"
    }

    async fn create(&self, name: &CodespaceName, _: &Progress) -> Result<(), RuntimeError> {
        let place = self.place(name);
        blocking(move || place.make()).await
    }

    async fn start(&self, name: &CodespaceName, bootstrap: Bootstrap) -> Result<(), RuntimeError> {
        let place = self.place(name);
        self.create(name, &Progress::silent()).await?;
        self.end(place.clone()).await?;
        let runtime = self.clone();
        blocking(move || runtime.launch(&place, bootstrap)).await
    }

    async fn stop(&self, name: &CodespaceName) -> Result<(), RuntimeError> {
        self.end(self.place(name)).await
    }

    async fn delete(&self, name: &CodespaceName) -> Result<(), RuntimeError> {
        let place = self.place(name);
        self.end(place.clone()).await?;
        blocking(move || place.remove()).await
    }

    async fn state(&self, name: &CodespaceName) -> Result<InstanceState, RuntimeError> {
        let place = self.place(name);
        blocking(move || {
            Ok(match Agent::find(&place) {
                Some(_) => InstanceState::Running,
                None if place.exists() => InstanceState::Stopped,
                None => InstanceState::Absent,
            })
        })
        .await
    }

    fn direct_address(&self, name: &CodespaceName) -> Option<PathBuf> {
        Some(self.place(name).socket())
    }

    async fn agent_log(&self, name: &CodespaceName) -> Result<String, RuntimeError> {
        let place = self.place(name);
        blocking(move || files::tail(&place.log(), 64 * 1024)).await
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, RuntimeError> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(RuntimeError::from),
        Err(error) => Err(RuntimeError::Failed(format!("the gateway could not finish: {error}"))),
    }
}

async fn wait(patience: Duration, done: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + patience;
    while !done() && tokio::time::Instant::now() < until {
        sleep(LOOK).await;
    }
}

impl From<io::Error> for RuntimeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Failed(format!("the gateway's machine refused: {error}. Ask the operator")),
        }
    }
}

#[cfg(test)]
mod tests;
