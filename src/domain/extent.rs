//! How much an operator closes at once of what people share.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{CodespaceName, Port, UserId};

/// What is closed to everybody but owners. Its text is `all`, `user:ID`, `codespace:NAME` or `port:NAME:PORT`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Extent {
    /// Everything that anybody shares.
    All,
    User(UserId),
    Codespace(CodespaceName),
    Port(CodespaceName, Port),
}

/// A text that names nothing that can be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("what is closed is all, user:NAME, codespace:NAME or port:NAME:PORT")]
pub struct ExtentError;

impl Extent {
    /// The codespace that it lies in, if it is not wider.
    pub fn codespace(&self) -> Option<&CodespaceName> {
        match self {
            Self::All | Self::User(_) => None,
            Self::Codespace(name) | Self::Port(name, _) => Some(name),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Codespace(name) => write!(f, "codespace:{name}"),
            Self::Port(name, port) => write!(f, "port:{name}:{port}"),
        }
    }
}

impl FromStr for Extent {
    type Err = ExtentError;

    fn from_str(text: &str) -> Result<Self, ExtentError> {
        let Some((kind, rest)) = text.split_once(':') else {
            return if text == "all" { Ok(Self::All) } else { Err(ExtentError) };
        };
        match kind {
            "user" if !rest.is_empty() => Ok(Self::User(UserId(rest.into()))),
            "codespace" => rest.parse().map(Self::Codespace).map_err(|_| ExtentError),
            "port" => {
                let (name, port) = rest.split_once(':').ok_or(ExtentError)?;
                let name = name.parse().map_err(|_| ExtentError)?;
                port.parse().map(|port| Self::Port(name, port)).map_err(|_| ExtentError)
            }
            _ => Err(ExtentError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["all", "user:u1", "codespace:amber-x", "port:amber-x:3000"] {
            assert_eq!(text.parse::<Extent>().map(|extent| extent.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "ALL",
            "all:",
            "user:",
            "codespace:",
            "codespace:Amber-x",
            "port:amber-x",
            "port:amber-x:0",
            "port:amber-x:03000",
            "port:amber-x:3000:1",
            "amber-x",
        ] {
            assert_eq!(text.parse::<Extent>(), Err(ExtentError), "{text}");
        }
    }
}
