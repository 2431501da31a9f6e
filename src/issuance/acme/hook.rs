//! The operator's program that puts records into the DNS: `HOOK present|cleanup NAME VALUE`.

use std::{io, path::Path, process::Stdio, time::Duration};

use thiserror::Error;
use tokio::{process::Command, time::timeout};

use super::plain;

/// Longest run: it may wait until the record can be seen everywhere.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Why the hook did not do it.
#[derive(Debug, Error)]
pub enum HookError {
    #[error("{program} cannot be run: {source}")]
    NotRun { program: String, source: io::Error },
    #[error("{program} {verb} took longer than {} minutes", PATIENCE.as_secs() / 60)]
    TooLong { program: String, verb: &'static str },
    #[error("{program} {verb} ended with {status}: {said}")]
    Failed {
        program: String,
        verb: &'static str,
        status: String,
        said: String,
    },
}

/// Runs it to its end; a status other than 0 is a failure, and what it wrote on standard error is why.
pub(super) async fn run(hook: &Path, verb: &'static str, name: &str, value: &str) -> Result<(), HookError> {
    let program = hook.display().to_string();
    let mut command = Command::new(hook);
    command
        .args([verb, name, value])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Err(_) => Err(HookError::TooLong { program, verb }),
        Ok(Err(source)) => Err(HookError::NotRun { program, source }),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(HookError::Failed {
            program,
            verb,
            status: output.status.to_string(),
            said: plain(String::from_utf8_lossy(&output.stderr).trim()),
        }),
    }
}
