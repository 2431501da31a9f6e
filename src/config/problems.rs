//! What is wrong with a configuration on this machine, before a user meets it.

use super::Config;

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    /// The key that it is about; empty if none.
    pub key: &'static str,
    pub text: String,
    pub fix: String,
}

/// How bad a problem is, the worst first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The gateway does not start, or must not.
    Error,
    /// It works, and something will be missing or unsafe.
    Warning,
    /// Good to know.
    Note,
}

pub(super) fn find(_config: &Config) -> Vec<Problem> {
    Vec::new()
}
