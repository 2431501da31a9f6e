//! What went wrong with git, in plain words and with what to do.
//!
//! Owns the reading of git's complaints; pure.

use super::{
    super::git::GitError,
    refs::Missing,
    source::{Source, SourceError},
};

/// Longest part of git's own words in an answer, in bytes.
const MAX_WORDS: usize = 300;

const DISK_FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
const UNREACHABLE: [&str; 9] = [
    "Could not resolve host",
    "Failed to connect",
    "Could not connect",
    "Connection refused",
    "Connection timed out",
    "No route to host",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Network is unreachable",
];
const NO_SSH: [&str; 2] = ["ssh: not found", "cannot run ssh"];
const NO_COMMIT: [&str; 3] = ["not our ref", "unadvertised object", "couldn't find remote ref"];
const NO_REPOSITORY: [&str; 8] = [
    "not found",
    "does not exist",
    "does not appear to be a git repository",
    "could not read Username",
    "Authentication failed",
    "Permission denied",
    "returned error: 40",
    "Could not read from remote repository",
];

/// Why there is no checkout.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum Trouble {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("{0}")]
    Told(String),
}

impl Trouble {
    /// Puts git's failure into words.
    pub fn tell(error: &GitError, source: &Source) -> Self {
        match error {
            GitError::Failed(complaint) => Self::Told(words(complaint, source)),
            GitError::TimedOut => Self::Told(format!("{} did not answer in time; check the address and try again", source.host())),
            GitError::NotInstalled | GitError::NotStarted(_) => Self::Told(error.to_string()),
        }
    }
}

fn words(complaint: &str, source: &Source) -> String {
    let has = |needles: &[&str]| needles.iter().any(|needle| complaint.contains(needle));
    let (url, host) = (source.url(), source.host());
    if has(&DISK_FULL) {
        "the disk is full; make room and create the codespace again".into()
    } else if has(&UNREACHABLE) {
        format!("{host} cannot be reached from the codespace; check the address and the network")
    } else if has(&NO_SSH) {
        "ssh is not installed in the codespace; install it or use an https address".into()
    } else if has(&["Host key verification failed"]) {
        format!("{host} showed another host key than before; check it before you trust it")
    } else if has(&NO_COMMIT) {
        "the commit is not in the repository; check it, or name a branch or tag".into()
    } else if has(&NO_REPOSITORY) {
        format!("the repository {url} does not exist, or is private and git has no access to it; check the address")
    } else {
        let told = complaint
            .lines()
            .find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
        let told = told.unwrap_or(complaint.trim());
        format!(
            "git could not fetch the repository: {}",
            &told[..told.floor_char_boundary(MAX_WORDS)]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_become_words() {
        let source = Source::parse("https://example.com/a", false).expect("parses");
        let check = |complaint: &str, expected: &str| {
            let told = Trouble::tell(&GitError::Failed(complaint.into()), &source).to_string();
            assert!(told.contains(expected), "{complaint:?} became {told:?}");
        };
        check(
            "fatal: unable to access 'x': Could not resolve host: example.com",
            "example.com cannot be reached",
        );
        check(
            "remote: Repository not found.\nfatal: repository 'x' not found",
            "does not exist, or is private",
        );
        check(
            "fatal: could not read Username for 'https://x': terminal prompts disabled",
            "does not exist, or is private",
        );
        check(
            "fatal: '/nowhere' does not appear to be a git repository",
            "does not exist, or is private",
        );
        check("fatal: write error: No space left on device", "the disk is full");
        check(
            "error: Server does not allow request for unadvertised object abc",
            "the commit is not in the repository",
        );
        check(
            "warning: x\nfatal: something odd",
            "git could not fetch the repository: fatal: something odd",
        );
    }
}
