//! The terminals of a codespace: they outlive the tab, the network and the gateway.
//!
//! Owns which terminals there are and how many may be. Refuses to know: HTTP; [`super::serve`] speaks that.

pub mod attach;
mod clients;
mod modes;
pub mod ring;
mod screen;
mod terminal;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use tokio_util::task::TaskTracker;

use self::terminal::Program;
pub use self::{
    screen::Size,
    terminal::{Terminal, exit_status},
};
use super::{environment::Environment, folder::Folder, report::Reporter};

/// Most terminals at once, ended ones that are still listed included.
const MAX_TERMINALS: usize = 64;
/// How long an ended terminal stays listed.
const LISTED_FOR: Duration = Duration::from_secs(600);

/// All terminals of the codespace.
pub struct Terminals {
    all: Mutex<BTreeMap<String, Arc<Terminal>>>,
    environment: Environment,
    workspace: Folder,
    home: PathBuf,
    reporter: Reporter,
    tasks: TaskTracker,
}

/// What a new terminal shall be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTerminal {
    pub cols: Option<u16>,
    pub rows: Option<u16>,
    /// Where to start; relative to the workspace, which is the default.
    pub cwd: Option<PathBuf>,
    /// The program and its arguments; the user's shell by default.
    pub command: Option<Vec<String>>,
}

/// A terminal as the API lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    pub id: String,
    pub title: String,
    pub cols: u16,
    pub rows: u16,
    pub running: bool,
    pub exit_status: Option<i32>,
    pub created_at: String,
    pub seq: u64,
}

/// Why there is no new terminal.
#[derive(Debug, Error)]
pub enum NewTerminalError {
    #[error("{MAX_TERMINALS} terminals are open, the most that a codespace may have; close one first")]
    TooMany,
    #[error("there is no directory {0}")]
    NoDirectory(String),
    #[error("the command is empty")]
    NoCommand,
    #[error("the program could not be started: {0}")]
    Start(String),
}

impl Terminals {
    /// Makes the empty list; the terminals' tasks run on `tasks`.
    pub fn new(environment: Environment, workspace: Folder, home: PathBuf, reporter: Reporter, tasks: TaskTracker) -> Self {
        Self {
            all: Mutex::default(),
            environment,
            workspace,
            home,
            reporter,
            tasks,
        }
    }

    /// All terminals, the oldest first.
    pub fn list(&self) -> Vec<Listed> {
        self.forget_old();
        let mut all: Vec<_> = self.all.lock().values().cloned().collect();
        all.sort_by_key(|terminal| terminal.created_at);
        all.iter().map(|terminal| listed(terminal)).collect()
    }

    /// Starts a terminal.
    pub fn open(&self, new: NewTerminal) -> Result<Listed, NewTerminalError> {
        self.forget_old();
        let directory = directory(self.workspace.path(), &self.home, new.cwd.as_deref()).map_err(NewTerminalError::NoDirectory)?;
        let command = new.command.unwrap_or_else(|| vec![shell(&self.environment)]);
        if command.first().is_none_or(String::is_empty) {
            return Err(NewTerminalError::NoCommand);
        }
        let size = Size::new(new.cols.unwrap_or(80), new.rows.unwrap_or(24));
        let program = Program { command, directory, size };
        let mut all = self.all.lock();
        if all.len() >= MAX_TERMINALS {
            let oldest = all
                .values()
                .filter_map(|terminal| Some((terminal.ended()?, terminal.id.clone())))
                .min();
            let (_, ended) = oldest.ok_or(NewTerminalError::TooMany)?;
            all.remove(&ended);
        }
        // Never used again, not by an agent that starts anew either: a client may come back for this one.
        let id = format!("{:012x}", rand::random::<u64>() >> 16);
        let environment = match self.environment.value("SHELL") {
            Some(_) => self.environment.clone(),
            None => self.environment.clone().with("SHELL", shell(&self.environment)),
        };
        let (terminal, task) = Terminal::start(id.clone(), &program, &environment, self.reporter.clone())
            .map_err(|error| NewTerminalError::Start(error.to_string()))?;
        self.tasks.spawn(task);
        let answer = listed(&terminal);
        all.insert(id, terminal);
        Ok(answer)
    }

    /// The terminal of that id.
    pub fn find(&self, id: &str) -> Option<Arc<Terminal>> {
        self.forget_old();
        self.all.lock().get(id).cloned()
    }

    /// Hangs a terminal up and forgets it; false if there is none.
    pub fn remove(&self, id: &str) -> bool {
        let removed = self.all.lock().remove(id);
        removed.is_some_and(|terminal| {
            terminal.remove();
            true
        })
    }

    /// The sessions of all programs that still run.
    pub fn sessions(&self) -> Vec<u32> {
        self.all
            .lock()
            .values()
            .filter(|terminal| terminal.ended().is_none())
            .map(|terminal| terminal.process)
            .collect()
    }

    fn forget_old(&self) {
        self.all
            .lock()
            .retain(|_, terminal| terminal.ended().is_none_or(|ended| ended.elapsed() < LISTED_FOR));
    }
}

/// Where a program starts: the workspace, or the home while there is none; what was asked for must be there.
pub fn directory(workspace: &Path, home: &Path, asked: Option<&Path>) -> Result<PathBuf, String> {
    let base = if workspace.is_dir() { workspace } else { home };
    match asked {
        Some(asked) => {
            let directory = base.join(asked);
            if directory.is_dir() {
                Ok(directory)
            } else {
                Err(asked.display().to_string())
            }
        }
        None if base.is_dir() => Ok(base.to_owned()),
        None => Ok("/".into()),
    }
}

fn shell(environment: &Environment) -> String {
    let own = environment
        .value("SHELL")
        .map(PathBuf::from)
        .filter(|shell| shell.is_absolute() && shell.is_file());
    let shell = own.or_else(|| environment.which("bash")).unwrap_or_else(|| "/bin/sh".into());
    shell.to_string_lossy().into_owned()
}

fn listed(terminal: &Terminal) -> Listed {
    let seen = *terminal.watch().borrow();
    Listed {
        id: terminal.id.clone(),
        title: terminal.output().title().to_owned(),
        cols: seen.size.cols(),
        rows: seen.size.rows(),
        running: seen.status.is_none(),
        exit_status: seen.status,
        created_at: terminal.created_at.format(&Rfc3339).unwrap_or_default(),
        seq: seen.end,
    }
}

#[cfg(test)]
mod tests;
