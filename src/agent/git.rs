//! Runs the git command line inside the codespace.
//!
//! Owns how git is called: without prompts, in English, within bounds. Refuses to know: what is asked of git.

use std::{path::PathBuf, process::Stdio, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::{environment::Environment, log::Log};

/// Most bytes of an answer that are kept.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Most bytes of complaints that are kept for telling what went wrong.
const MAX_COMPLAINT: usize = 16 * 1024;

/// Git in one directory.
#[derive(Clone)]
pub struct Git {
    pub environment: Environment,
    pub directory: PathBuf,
    pub log: Log,
}

/// Why git did not do it.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum GitError {
    #[error("git is not installed in the codespace; install it and start the codespace again")]
    NotInstalled,
    #[error("git could not be started: {0}")]
    NotStarted(String),
    #[error("git did not answer in time")]
    TimedOut,
    /// It ended with a failure; the text is what it printed to standard error.
    #[error("git failed: {0}")]
    Failed(String),
}

impl Git {
    /// Git in `directory`, with prompts off.
    pub fn new(environment: &Environment, directory: PathBuf, log: Log) -> Self {
        let environment = environment
            .clone()
            .with("GIT_TERMINAL_PROMPT", "0")
            .with("GIT_OPTIONAL_LOCKS", "0")
            .with(
                "GIT_SSH_COMMAND",
                "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=20",
            )
            .with("LC_ALL", "C.UTF-8")
            .with("LANGUAGE", "C");
        Self {
            environment,
            directory,
            log,
        }
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment = self.environment.with(name, value);
        self
    }

    /// Runs git and gives what it answered; what it complained about goes to the log.
    pub async fn run(&self, arguments: &[&str], within: Option<Duration>) -> Result<String, GitError> {
        let run = self.run_unbounded(arguments);
        match within {
            Some(within) => tokio::time::timeout(within, run).await.unwrap_or(Err(GitError::TimedOut)),
            None => run.await,
        }
    }

    async fn run_unbounded(&self, arguments: &[&str]) -> Result<String, GitError> {
        let mut child = Command::new("git")
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound if self.directory.is_dir() => GitError::NotInstalled,
                _ => GitError::NotStarted(error.to_string()),
            })?;
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        tokio::join!(
            collect(stdout, |bytes| {
                let room = MAX_ANSWER.saturating_sub(answer.len());
                answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }),
            collect(stderr, |bytes| {
                self.log.write(bytes);
                complaint.extend_from_slice(bytes);
                let excess = complaint.len().saturating_sub(MAX_COMPLAINT);
                complaint.drain(..excess);
            }),
        );
        match child.wait().await {
            Ok(status) if status.success() => Ok(String::from_utf8_lossy(&answer).into_owned()),
            Ok(_) => Err(GitError::Failed(String::from_utf8_lossy(&complaint).into_owned())),
            Err(error) => Err(GitError::NotStarted(error.to_string())),
        }
    }
}

async fn collect(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut buffer).await
        && count > 0
    {
        take(&buffer[..count]);
    }
}
