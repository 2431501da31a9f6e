//! The name of a codespace: one DNS label with room for `-65535` behind it.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Longest name in bytes: a DNS label holds 63, and `-65535` must fit behind the name (RFC 1035 §2.3.4).
const MAX_BYTES: usize = 57;

/// A codespace's name, `[a-z0-9]` words joined by single `-`, whose last word holds a letter.
///
/// The last rule makes `NAME-PORT` parse one way only (HOST-8). Cloning is cheap.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CodespaceName(Arc<str>);

impl CodespaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CodespaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(NameError::TooLong);
        }
        for word in text.split('-') {
            if word.is_empty() {
                return Err(NameError::EmptyWord);
            }
            if !word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
                return Err(NameError::Character);
            }
        }
        let last = text.rsplit('-').next().unwrap_or(text);
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NameError::LooksLikePort);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for CodespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no codespace name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    #[error("a codespace name cannot be empty")]
    Empty,
    #[error("a codespace name has at most {MAX_BYTES} characters")]
    TooLong,
    #[error("a codespace name is words joined by single dashes")]
    EmptyWord,
    #[error("a codespace name uses only a-z, 0-9 and dashes")]
    Character,
    #[error("the last word of a codespace name must hold a letter, or it would read as a port")]
    LooksLikePort,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        #[track_caller]
        fn check(text: &str, expected: Result<(), NameError>) {
            assert_eq!(
                text.parse::<CodespaceName>().map(|name| assert_eq!(name.to_string(), text)),
                expected,
                "{text:?}"
            );
        }
        check("amber-quiet-otter-x7k2", Ok(()));
        check("a", Ok(()));
        check("foo-3000a", Ok(()));
        check("", Err(NameError::Empty));
        check("foo-3000", Err(NameError::LooksLikePort));
        check("3000", Err(NameError::LooksLikePort));
        check("Foo", Err(NameError::Character));
        check("foo_bar", Err(NameError::Character));
        check("foo--bar", Err(NameError::EmptyWord));
        check("-foo", Err(NameError::EmptyWord));
        check("foo-", Err(NameError::EmptyWord));
        check("xn--abc", Err(NameError::EmptyWord));
        check("caf\u{e9}", Err(NameError::Character));
        check(&"a".repeat(57), Ok(()));
        check(&"a".repeat(58), Err(NameError::TooLong));
    }
}
