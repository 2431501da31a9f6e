//! Share links: secret URLs that open one port, and how far each reaches.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;
use time::OffsetDateTime;

use super::{Port, UnknownWord};

/// Longest path prefix in bytes.
const MAX_PATH_BYTES: usize = 512;
/// Most methods that a link names.
const MAX_METHODS: usize = 16;
/// What must not stand in a path that is compared textually: apps read each in more than one way (AUTH-4).
const AMBIGUOUS: [&str; 8] = ["..", "//", "\\", "%2f", "%5c", "%2e", "%252", "%255"];

/// A share link's id: a UUID v7 in text; knowing it opens nothing.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ShareId(pub Arc<str>);

/// Whom a share link is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShareKind {
    /// People: a page whose button opens the port in this browser.
    People,
    /// A program elsewhere that calls a hook: its requests pass without sign-in.
    Webhook,
}

/// A path prefix of a link: `/`, or a path without a slash at its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharePath(Arc<str>);

/// The methods that a link lets through; none named means all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ShareMethods(Arc<[Box<str>]>);

/// What a share link opens, and until when.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareTerms {
    pub port: Port,
    pub kind: ShareKind,
    pub path: SharePath,
    pub methods: ShareMethods,
    pub expires_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
}

/// Why a share link opens nothing any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShareEnd {
    Expired,
    Revoked,
    /// As many as may have used it; whoever did goes on.
    UsedUp,
    /// The operator allows no links, or not so open.
    Closed,
}

impl ShareTerms {
    /// Why it is over, if it is. What it was used for goes on when its uses are spent, so that is no end here.
    pub fn end(&self, now: OffsetDateTime) -> Option<ShareEnd> {
        if self.revoked_at.is_some() {
            Some(ShareEnd::Revoked)
        } else {
            self.expires_at.filter(|at| *at <= now).map(|_| ShareEnd::Expired)
        }
    }

    /// Whether it reaches a request: its method, and its raw path without a query.
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.methods.allow(method) && self.path.covers(path)
    }
}

impl SharePath {
    /// The whole port.
    pub fn everything() -> Self {
        Self("/".into())
    }

    /// The prefix as text; where a browser begins.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a raw path lies under it. Under a prefix, a path that could be read in two ways lies nowhere.
    pub fn covers(&self, path: &str) -> bool {
        if &*self.0 == "/" {
            return true;
        }
        let rest = path.strip_prefix(&*self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && !is_ambiguous(path)
    }
}

fn is_ambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    AMBIGUOUS.iter().any(|part| path.contains(part))
}

impl FromStr for SharePath {
    type Err = SharePathError;

    fn from_str(text: &str) -> Result<Self, SharePathError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>`{}|^;*".contains(&byte);
        let good = text.starts_with('/') && text.len() <= MAX_PATH_BYTES && text.bytes().all(plain) && !is_ambiguous(text);
        if !good || text.starts_with("/.portico") {
            return Err(SharePathError);
        }
        let trimmed = text.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(text);
        Ok(Self(trimmed.into()))
    }
}

impl ShareMethods {
    /// Reads methods; `post` is `POST`, and what stands twice counts once.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, ShareMethodError> {
        let mut methods: Vec<Box<str>> = Vec::new();
        for word in words {
            let word = word.trim().to_ascii_uppercase();
            let good = !word.is_empty() && word.len() <= 32 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            if !good || word == "CONNECT" || word == "TRACE" {
                return Err(ShareMethodError);
            }
            if !methods.iter().any(|method| **method == *word) {
                methods.push(word.into());
            }
        }
        if methods.len() > MAX_METHODS {
            return Err(ShareMethodError);
        }
        Ok(Self(methods.into()))
    }

    /// Whether a method passes. Whoever may GET may also ask for the head alone.
    pub fn allow(&self, method: &str) -> bool {
        let named = |wanted: &str| self.0.iter().any(|method| **method == *wanted);
        self.0.is_empty() || named(method) || (method == "HEAD" && named("GET"))
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The methods, in the order in which they were named.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|method| &**method)
    }
}

impl fmt::Display for ShareMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.iter().enumerate() {
            write!(f, "{}{method}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl ShareKind {
    /// The word for it in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Webhook => "webhook",
        }
    }
}

impl FromStr for ShareKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "people" => Ok(Self::People),
            "webhook" => Ok(Self::Webhook),
            _ => Err(UnknownWord {
                text: text.into(),
                expected: "people webhook",
            }),
        }
    }
}

impl fmt::Display for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no path prefix.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a path begins with /, has at most {MAX_PATH_BYTES} bytes and no query, and holds none of .., //, %2e, %2f, %5c and *")]
pub struct SharePathError;

/// A text that is no method.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("methods are words such as GET and POST, at most {MAX_METHODS} of them, and never CONNECT or TRACE")]
pub struct ShareMethodError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_4_prefixes_match_the_raw_path() {
        #[track_caller]
        fn check(prefix: &str, path: &str, expected: bool) {
            let prefix: SharePath = prefix.parse().expect("a prefix");
            assert_eq!(prefix.covers(path), expected, "{prefix} {path}");
        }
        for path in ["/", "/a", "//a", "/..%2f", "*"] {
            check("/", path, true);
        }
        for path in ["/docs", "/docs/", "/docs/a/b.html", "/docs/a%20b"] {
            check("/docs", path, true);
            check("/docs/", path, true);
        }
        for path in [
            "/",
            "/doc",
            "/docsx",
            "/Docs",
            "/docs/../admin",
            "/docs/..;/admin",
            "/docs//admin",
            "/docs/%2e%2e/admin",
            "/docs/%2E./admin",
            "/docs%2fadmin",
            "/docs/%2Fadmin",
            "/docs/%5cadmin",
            "/docs/%252e%252e/admin",
            "/docs\\admin",
            "/x/docs",
            "*",
        ] {
            check("/docs", path, false);
        }
    }

    #[test]
    fn what_is_no_prefix() {
        for text in [
            "",
            "docs",
            "/a/../b",
            "//a",
            "/a%2Fb",
            "/a%5cb",
            "/a?b",
            "/a#b",
            "/a b",
            "/hooks/*",
            "/.portico/s",
            "/\u{e9}",
        ] {
            assert_eq!(text.parse::<SharePath>(), Err(SharePathError), "{text:?}");
        }
        assert_eq!("/".parse(), Ok(SharePath::everything()));
        assert_eq!("/docs/".parse::<SharePath>().map(|path| path.to_string()), Ok("/docs".into()));
    }

    #[test]
    fn methods() {
        let some = ShareMethods::parse(["get", " POST", "GET"]).expect("methods");
        assert_eq!(some.to_string(), "GET,POST");
        for (method, allowed) in [("GET", true), ("HEAD", true), ("POST", true), ("DELETE", false), ("get", false)] {
            assert_eq!(some.allow(method), allowed, "{method}");
        }
        assert!(ShareMethods::default().allow("PROPFIND"));
        assert!(!ShareMethods::parse(["POST"]).expect("a method").allow("HEAD"));
        for bad in ["", "G T", "TRACE", "connect", "*"] {
            assert_eq!(ShareMethods::parse([bad]), Err(ShareMethodError), "{bad:?}");
        }
    }
}
