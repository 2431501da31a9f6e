//! Which problem each error of a service is.

use http::{HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::{
    auth::{DeviceError, LinkError, SharePasswordError, SignInError, UserError},
    belongings::BelongingError,
    codespace::{BadChange, CodespaceError, ShareError, TooManySockets},
    domain::ShareEnd,
    runtime::RuntimeError,
    store::StoreError,
    tunnel::DialError,
};

impl From<CodespaceError> for Problem {
    fn from(error: CodespaceError) -> Self {
        let said = format!("{}.", capitalised(&error.to_string()));
        match error {
            CodespaceError::Missing => Self::no_such_codespace(),
            CodespaceError::Repository(_) | CodespaceError::LocalMissing { .. } | CodespaceError::NotARepository { .. } => {
                Self::unprocessable("bad-repository", "That repository cannot be opened", said)
            }
            CodespaceError::Reference(_) => Self::unprocessable("bad-ref", "That is no branch, tag or commit", said),
            CodespaceError::LocalNotAllowed => Self::new(StatusCode::FORBIDDEN, "local-not-allowed", "Not allowed", said),
            CodespaceError::BadChange(BadChange::Ceiling(_)) | CodespaceError::Share(ShareError::Ended(ShareEnd::Closed)) => {
                Self::new(StatusCode::FORBIDDEN, "above-ceiling", "The operator does not allow that", said)
            }
            CodespaceError::BadChange(BadChange::Closed(_)) => {
                Self::new(StatusCode::FORBIDDEN, "sharing-closed", "An administrator closed it", said)
            }
            CodespaceError::BadChange(_) => Self::unprocessable("invalid-field", "A field is not right", said),
            CodespaceError::Share(ShareError::Missing) => Self::not_found("There is no such link."),
            CodespaceError::Share(ShareError::TooMany) => {
                Self::new(StatusCode::CONFLICT, "too-many-links", "There are as many as there may be", said)
            }
            CodespaceError::Share(_) => Self::unprocessable("invalid-field", "A field is not right", said),
            CodespaceError::UnpushedWork {
                uncommitted_files,
                unpushed_commits,
            } => unpushed(said)
                .with("uncommitted_files", uncommitted_files)
                .with("unpushed_commits", unpushed_commits),
            CodespaceError::WorkUnknown => unpushed(said).with("unknown", true),
            CodespaceError::TooMany { limit } => Self::new(
                StatusCode::CONFLICT,
                "too-many-codespaces",
                "There are as many as there may be",
                said,
            )
            .with("limit", limit),
            CodespaceError::TooManyStarts { limit, seconds } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-starts", "Too many starts", said)
                    .with("limit", limit)
                    .header(header::RETRY_AFTER, HeaderValue::from(seconds))
            }
            CodespaceError::OwnMachine => Self::new(StatusCode::CONFLICT, "own-machine", "It is a machine of its owner's", said),
            CodespaceError::BadRegistration => Self::new(StatusCode::FORBIDDEN, "bad-registration", "That token is not good", said),
            CodespaceError::TooManyRegistrations { limit } => Self::new(
                StatusCode::CONFLICT,
                "too-many-registrations",
                "There are as many as there may be",
                said,
            )
            .with("limit", limit),
            CodespaceError::Deleting => Self::new(StatusCode::CONFLICT, "deleting", "It is being deleted", said),
            CodespaceError::StillStarting => Self::new(StatusCode::CONFLICT, "still-starting", "It is still starting", said),
            CodespaceError::NoContainer => Self::new(StatusCode::CONFLICT, "no-container", "It is no container", said),
            CodespaceError::Runtime(RuntimeError::DiskFull) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "The disk is full", said)
            }
            CodespaceError::Runtime(_) => Self::new(StatusCode::BAD_GATEWAY, "runtime", "The runtime could not do it", said),
            CodespaceError::Store(cause) => cause.into(),
            CodespaceError::ShuttingDown => unavailable("shutting-down", said),
        }
    }
}

impl From<TooManySockets> for Problem {
    fn from(error: TooManySockets) -> Self {
        let said = format!("{error}.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-sockets", "Too many sockets", said).with("limit", error.limit)
    }
}

fn unpushed(said: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, "unpushed-work", "There is work that is nowhere else", said)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal(&chain(&error))
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::new(
                StatusCode::UNAUTHORIZED,
                "wrong-password",
                "The name or the password is wrong",
                "Check both and try again.",
            ),
            SignInError::Off => Self::new(
                StatusCode::FORBIDDEN,
                "passwords-off",
                "Passwords do not sign in here",
                "Sign in with one of the other ways on the sign-in page.",
            ),
            SignInError::TooMany { retry_after } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many attempts",
                format!("Try again in {} seconds.", retry_after.as_secs().max(1)),
            )
            .header(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1))),
            SignInError::Store(cause) => cause.into(),
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        let said = format!("{}.", capitalised(&error.to_string()));
        match error {
            UserError::NameTaken => Self::new(StatusCode::CONFLICT, "name-taken", "That name is taken", said),
            UserError::Missing => Self::new(StatusCode::NOT_FOUND, "no-such-user", "No such account", said),
            UserError::IdentityTaken => Self::new(StatusCode::CONFLICT, "identity-taken", "That identity is taken", said),
            UserError::LastWayIn => Self::new(StatusCode::CONFLICT, "last-way-in", "You could not sign in any more", said),
            UserError::Belongs => Self::new(StatusCode::CONFLICT, "belongs-to-provider", "The account belongs to it", said),
            UserError::UnderCeiling => Self::new(
                StatusCode::CONFLICT,
                "under-ceiling",
                "An organisation's ceiling depends on it",
                said,
            ),
            UserError::NoOwnWays => Self::new(StatusCode::FORBIDDEN, "no-own-ways", "The account has no password of its own", said),
            UserError::Password(_) => Self::unprocessable("bad-password", "That password will not do", said),
            UserError::LastAdmin => Self::new(StatusCode::CONFLICT, "last-admin", "Somebody must administer", said),
            UserError::TooManyTokens { limit } => {
                Self::new(StatusCode::CONFLICT, "too-many-tokens", "There are as many as there may be", said).with("limit", limit)
            }
            UserError::Busy => unavailable("busy", said),
            UserError::Store(cause) => cause.into(),
        }
    }
}

impl From<BelongingError> for Problem {
    fn from(error: BelongingError) -> Self {
        let said = format!("{}.", capitalised(&error.to_string()));
        match error {
            BelongingError::TooMany { limit } => {
                Self::new(StatusCode::CONFLICT, "too-many", "There are as many as there may be", said).with("limit", limit)
            }
            BelongingError::Unreadable => Self::new(StatusCode::CONFLICT, "unreadable", "Your settings cannot be read", said),
            BelongingError::Seal => Self::internal(&error),
            BelongingError::Store(cause) => cause.into(),
            _ => Self::unprocessable("invalid-field", "A field is not right", said),
        }
    }
}

impl From<SharePasswordError> for Problem {
    fn from(error: SharePasswordError) -> Self {
        let said = format!("{}.", capitalised(&error.to_string()));
        match error {
            SharePasswordError::TooMany { .. } | SharePasswordError::Busy => unavailable("busy", said),
            _ => Self::unprocessable("bad-password", "That password will not do", said),
        }
    }
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        let said = format!("{}.", capitalised(&error.to_string()));
        let not_yet = |slug, code: &str| Self::new(StatusCode::BAD_REQUEST, slug, "No token", said.clone()).with("error", code);
        match error {
            DeviceError::Pending => not_yet("authorization-pending", "authorization_pending"),
            DeviceError::SlowDown { interval } => not_yet("slow-down", "slow_down").with("interval", interval.as_secs()),
            DeviceError::Declined => not_yet("access-denied", "access_denied"),
            DeviceError::Over => not_yet("expired-token", "expired_token"),
            DeviceError::WrongCode => Self::new(StatusCode::NOT_FOUND, "no-such-code", "No such code", said),
            DeviceError::TooMany { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts", said)
                    .header(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)))
            }
            DeviceError::User(error) => error.into(),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        let said = format!("{}.", capitalised(&error.to_string()));
        match error {
            LinkError::Gone => Self::new(StatusCode::BAD_REQUEST, "link-gone", "That link is no longer good", said),
            LinkError::FormNeeded => Self::unprocessable("form-needed", "Choose a name and a password", said).with("kind", "first_admin"),
            LinkError::Password(_) => Self::unprocessable("bad-password", "That password will not do", said).with("kind", "first_admin"),
            LinkError::Busy => unavailable("busy", said),
            LinkError::Store(cause) => cause.into(),
        }
    }
}

impl From<DialError> for Problem {
    fn from(error: DialError) -> Self {
        match error {
            DialError::NotConnected => unavailable(
                "not-connected",
                "The codespace is not connected right now. If it is starting, try again in a moment; if it is stopped, start it."
                    .to_owned(),
            ),
            DialError::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "agent-timeout",
                "The codespace did not answer",
                "It did not answer in time. Try again.",
            ),
            DialError::Refused(_) | DialError::Broken(_) => Self::agent(format!("{}.", capitalised(&error.to_string()))),
        }
    }
}

fn unavailable(slug: &'static str, said: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, slug, "Not right now", said).header(header::RETRY_AFTER, HeaderValue::from_static("2"))
}

pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
