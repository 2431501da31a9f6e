//! Organisations: whom `org` visibility means.

use std::{fmt, sync::Arc};

/// Longest name in bytes; directories name groups by long paths.
const MAX_BYTES: usize = 200;

/// An organisation's name: 1 to 200 bytes without control characters, as a directory wrote it. Case counts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Organisation(Arc<str>);

impl Organisation {
    /// Reads a name; none for what is no name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let good = !text.is_empty() && text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
        good.then(|| Self(text.into()))
    }

    /// The one of everybody of whom no directory says otherwise. No group can have its name: it begins with a space.
    pub fn of_everybody() -> Self {
        Self(" everybody".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Organisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, expected) in [
            ("eng", Some("eng")),
            (" /teams/Core Infra ", Some("/teams/Core Infra")),
            ("", None),
            (" \t", None),
            ("a\nb", None),
        ] {
            assert_eq!(Organisation::parse(text).as_ref().map(Organisation::as_str), expected, "{text:?}");
        }
        assert_eq!(Organisation::parse(&"x".repeat(201)), None);
        assert_ne!(Organisation::parse(" everybody"), Some(Organisation::of_everybody()));
    }
}
