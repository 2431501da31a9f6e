//! Why a codespace could not be made or changed, in words for its user.

use thiserror::Error;

use super::ShareError;
use crate::{
    domain::{ReferenceError, RepositoryError, Visibility},
    runtime::RuntimeError,
    store::StoreError,
};

/// Why it was not done; `Display` is for the user and says what to do.
#[derive(Debug, Error)]
pub enum CodespaceError {
    /// Also said of a codespace that is someone else's.
    #[error("there is no such codespace")]
    Missing,
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("only admins may open repositories from this machine's disk. Use the repository's https or ssh URL, or ask an admin")]
    LocalNotAllowed,
    #[error("there is no directory {path} on this machine. Check the path, or use the repository's URL")]
    LocalMissing { path: String },
    #[error("{path} is no git repository. Name a directory that git clones from, or run `git init` in it first")]
    NotARepository { path: String },
    #[error(transparent)]
    BadChange(#[from] BadChange),
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Only this codespace has that work.
    #[error(
        "it has work that is nowhere else (files not committed: {uncommitted_files}, commits not pushed: {unpushed_commits}). \
         Push it, or delete with force"
    )]
    UnpushedWork { uncommitted_files: u64, unpushed_commits: u64 },
    /// It does not run, so nobody can look.
    #[error("nobody can look whether all its work is pushed while it is not running. Start it to see, or delete with force")]
    WorkUnknown,
    /// The owner has as many as the operator allows.
    #[error("you have as many codespaces as you may have here ({limit}). Delete one that you no longer need, or ask the operator")]
    TooMany { limit: usize },
    /// They started as many within a minute as they may.
    #[error("there were {limit} starts within a minute, as many as codespaces.starts_per_minute allows. Try again in {seconds} seconds")]
    TooManyStarts { limit: usize, seconds: u64 },
    /// Somebody asked to stop it.
    #[error("it is a machine of its owner's: it stops when the agent there is stopped")]
    OwnMachine,
    #[error(
        "that token makes no machine a codespace: it was used, is older than an hour, never was one, or whoever made it signed out since. Make another"
    )]
    BadRegistration,
    #[error("you have {limit} tokens that wait for their machine. Use one of them, or wait for an hour")]
    TooManyRegistrations { limit: usize },
    #[error("it is being deleted")]
    Deleting,
    #[error("it is still starting. Wait until it runs, then rebuild it")]
    StillStarting,
    #[error("it is no container but a directory of a machine: there is nothing to rebuild")]
    NoContainer,
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("the gateway could not write to its store. Try again, or ask the operator to look at the gateway's log")]
    Store(#[from] StoreError),
    #[error("the gateway is shutting down. Try again in a moment")]
    ShuttingDown,
}

/// A setting that cannot be.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadChange {
    #[error("the operator of this gateway allows ports to be {0} at most (sharing.max_visibility)")]
    Ceiling(Visibility),
    #[error("an administrator of this gateway has closed this to everybody but its owner: {0}. Ask them to open it again")]
    Closed(String),
    #[error("a reason has 1 to 200 characters, none of them a control character")]
    Reason,
    #[error("the idle timeout is 5 to 240 minutes")]
    IdleTimeout,
    #[error("a codespace is woken by owner, people or everyone")]
    WokenBy,
    #[error("a display name has 1 to 80 characters, none of them a control character")]
    DisplayName,
    #[error("a label has 1 to 80 characters, none of them a control character")]
    Label,
    #[error("the protocol is http, https, h2c or grpc")]
    Protocol,
    #[error("the host header is localhost or preserve")]
    HostHeader,
    #[error("the deadline must lie in the future")]
    Deadline,
    #[error("a request log keeps 1 to 1000 exchanges; null turns it off")]
    LogEntries,
    #[error("a port can be shared with at most 100 people by name")]
    TooManyPeople,
    #[error("a codespace keeps settings for at most 512 ports")]
    TooManyPorts,
    #[error("the repository does not ask to share that, or no longer, or you have decided already. Look again at what it asks")]
    NoSuchOffer,
    #[error("the path of a devcontainer.json is relative to the repository")]
    DevcontainerPath,
    #[error("a pull request has a number above 0")]
    PullRequest,
}
