//! People, and what a credential lets them do.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use super::{CodespaceName, Port};

/// A user's id: a UUID v7 in text, never re-used and never shown as a name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserId(pub Arc<str>);

/// A login session's id: a UUID v7 in text; knowing it proves nothing.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub Arc<str>);

/// A personal access token's id: a UUID v7 in text; knowing it proves nothing.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenId(pub Arc<str>);

/// An account's name: 1 to 39 of `a-z 0-9 - _ .`, beginning with a letter or digit.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserName(Arc<str>);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    Admin,
    Member,
}

/// Who a request is from, as one credential proved it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub user: UserId,
    pub name: UserName,
    pub role: Role,
    pub credential: Credential,
    pub scope: Scope,
}

/// What proved an identity; browser-origin rules ask for it, because a browser sends cookies by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credential {
    /// A cookie of ours, which a hostile page can make a browser send.
    Cookie(SessionId),
    /// A token in a header, which only a program or our own script sends.
    Token(TokenId),
    /// The operator on the gateway's own administration socket.
    Operator,
}

/// How much of a user's power a credential carries.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// Everything the user may do.
    All,
    /// Everything the user may see.
    Read,
    /// One codespace, sharing included.
    Codespace(CodespaceName),
    /// One port of one codespace.
    Port(CodespaceName, Port),
    /// The editor host's cookie: work inside one codespace (terminals, reading its ports), never sharing,
    /// because the editor's content is not trusted (DOM-3, SHARE-1).
    Workbench(CodespaceName),
    /// The token inside a codespace: read it, report activity, stop it; never share (SHARE-1).
    Inside(CodespaceName),
}

/// What is granted to an identity on a codespace.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Access {
    /// Look at its state and its ports.
    View,
    /// Use its editor and terminals, run commands.
    Work,
    /// Start and stop it.
    Operate,
    /// Change who may open its ports.
    Share,
    /// Change its settings, delete it.
    Own,
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let first = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let rest = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
        if first && rest && text.len() <= 39 {
            Ok(Self(text.into()))
        } else {
            Err(UserNameError)
        }
    }
}

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no account name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("an account name has 1 to 39 characters of a-z, 0-9, dash, dot and underscore, and begins with a letter or digit")]
pub struct UserNameError;

impl Role {
    /// The word for it in the API, on the command line and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }
}

impl FromStr for Role {
    type Err = super::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "admin" => Ok(Self::Admin),
            "member" => Ok(Self::Member),
            _ => Err(super::UnknownWord {
                text: text.into(),
                expected: "admin member",
            }),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    /// Parses the scopes that a personal access token can have: `all`, `read`, `codespace:NAME`, `port:NAME:PORT`.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut parts = text.split(':');
        let scope = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("all"), None, None, None) => Self::All,
            (Some("read"), None, None, None) => Self::Read,
            (Some("codespace"), Some(name), None, None) => Self::Codespace(name.parse().map_err(|_| ScopeError)?),
            (Some("inside"), Some(name), None, None) => Self::Inside(name.parse().map_err(|_| ScopeError)?),
            (Some("port"), Some(name), Some(port), None) => {
                Self::Port(name.parse().map_err(|_| ScopeError)?, port.parse().map_err(|_| ScopeError)?)
            }
            _ => return Err(ScopeError),
        };
        Ok(scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Read => f.write_str("read"),
            Self::Codespace(name) => write!(f, "codespace:{name}"),
            Self::Port(name, port) => write!(f, "port:{name}:{port}"),
            Self::Workbench(name) => write!(f, "workbench:{name}"),
            Self::Inside(name) => write!(f, "inside:{name}"),
        }
    }
}

/// A text that is no token scope.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a scope is all, read, codespace:NAME or port:NAME:PORT")]
pub struct ScopeError;

macro_rules! display_inner {
    ($($type:ident),+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

display_inner!(UserId, SessionId, TokenId, UserName);
