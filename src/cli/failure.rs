//! How a command ends when it did not work: words, and an exit code for scripts.

use std::process::ExitCode;

use super::{
    client::{ClientError, OWN_AGENT},
    output::words,
    place,
};
use crate::protocol::bootstrap::SOCKET_VARIABLE;

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
        if let Some(advice) = advice(code(error), place::variable(SOCKET_VARIABLE).is_some()).filter(|_| is_gateways(error)) {
            words(advice);
        }
    }
    ExitCode::from(code(error))
}

/// Whether a gateway refused, or none was reached, and not the agent of the codespace that this runs in.
fn is_gateways(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ClientError>() {
        Some(error @ ClientError::Refused(_)) => error.slug().is_some(),
        Some(ClientError::Unreachable { place, .. }) => place != OWN_AGENT,
        _ => true,
    }
}

/// What to do next, where the kind of failure says it; `inside` a codespace there is another gateway to think of, and a token
/// that may little.
fn advice(code: u8, inside: bool) -> Option<&'static str> {
    match (code, inside) {
        (UNREACHABLE, false) => Some("Is the gateway up? Start it with: portico serve"),
        (UNREACHABLE, true) => Some(
            "This is inside a codespace, and a container does not reach the gateway. Run the command on your own machine, after: \
             portico login URL. Inside works: portico keepalive",
        ),
        (NOT_ALLOWED | MISSING, true) => Some(
            "This is inside a codespace, whose own token may see this codespace, keep it awake and stop it, and nothing else. Run the \
             command on your own machine, after: portico login URL; or set PORTICO_TOKEN to a token of yours.",
        ),
        _ => None,
    }
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
    fn inside_a_codespace_the_advice_is_another() {
        let says = |code, inside, part: &str| advice(code, inside).is_some_and(|advice| advice.contains(part));
        assert!(says(UNREACHABLE, false, "portico serve"));
        assert!(says(UNREACHABLE, true, "portico keepalive") && !says(UNREACHABLE, true, "serve"));
        for code in [NOT_ALLOWED, MISSING] {
            assert!(says(code, true, "on your own machine") && advice(code, false).is_none());
        }
        assert!(advice(FAILED, true).is_none() && advice(USAGE, true).is_none());
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("in use")
            .context("cannot listen: in use")
            .context("it does not start");
        assert_eq!(in_full(&error), "it does not start: cannot listen: in use");
    }
}
