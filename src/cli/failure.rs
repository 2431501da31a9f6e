//! How a command ends when it did not work: words, and an exit code for scripts.

use std::process::ExitCode;

use super::{client::ClientError, output::words};

/// It could not be done.
pub const FAILED: u8 = 1;
/// Wrong usage, as clap also says it.
pub const USAGE: u8 = 2;
/// Not signed in, or not allowed.
pub const NOT_ALLOWED: u8 = 3;
/// There is no such thing.
pub const MISSING: u8 = 4;
/// The gateway cannot be reached.
pub const UNREACHABLE: u8 = 5;

/// A wrong call that only shows while the command runs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Says what went wrong, and gives the exit code for it.
pub fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if let (true, Some(ClientError::Refused(problem))) = (json, error.downcast_ref()) {
        words(&serde_json::to_string_pretty(problem).unwrap_or_default());
    } else {
        words(&format!("portico: {}", in_full(error)));
    }
    ExitCode::from(code(error))
}

/// An error with its causes, but for those that it tells itself.
fn in_full(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return USAGE;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(problem)) => match problem.status {
            401 | 403 => NOT_ALLOWED,
            404 => MISSING,
            _ => FAILED,
        },
        Some(ClientError::Unreachable { .. }) => UNREACHABLE,
        Some(ClientError::Strange { .. } | ClientError::Broken(_)) | None => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("in use")
            .context("cannot listen: in use")
            .context("it does not start");
        assert_eq!(in_full(&error), "it does not start: cannot listen: in use");
    }
}
