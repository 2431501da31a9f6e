//! Where to go after signing in: a path on the host that asked, never another host.

use std::fmt;

/// Longest path with its query, in bytes (REDIR-1).
const MAX_BYTES: usize = 2048;
/// The gateway's own end of the sign-in hop: its state holds a codespace host's whole return path, twice in base64.
const OF_THE_HOP: &str = "/authorize?state=";
const MAX_BYTES_OF_THE_HOP: usize = 7 * 1024;

/// A path and query that a browser resolves to the host it is on (REDIR-1).
///
/// Visible ASCII that starts with one `/`, without backslash, fragment or dot segments: what a browser would rewrite
/// before it sends it never counts as a place to return to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// Reads a path; none for whatever could lead elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let starts_here = bytes.next() == Some(b'/') && bytes.next() != Some(b'/');
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
        let path = text.split('?').next().unwrap_or(text);
        let limit = if text.starts_with(OF_THE_HOP) {
            MAX_BYTES_OF_THE_HOP
        } else {
            MAX_BYTES
        };
        (starts_here && plain && text.len() <= limit && !path.split('/').any(is_dot_segment)).then(|| Self(text.to_owned()))
    }

    /// The front page of the host.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The path with its query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a browser reads the segment as `.` or `..` (WHATWG URL, "double-dot URL path segment").
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stays_here() {
        for text in [
            "/",
            "/new",
            "/new?repository=https://git.example/a/b.git&ref=main",
            "/codespaces/amber-otter",
            "/a//b",
            "/@evil.example",
            "/user:pass@evil.example/",
            "/http://evil.example",
            "/%2f/evil.example",
            "/%5cevil.example",
            "/%09/evil.example",
            "/a?next=//evil.example",
            "/?//evil.example",
            "/a?b=../..",
            "/.portico/authorize?state=x",
            "/...",
            "/.well-known/x",
            "/a;b=c,d:e!$&'()*+~|^`{}[]\"<>",
            "/?",
            "/%",
        ] {
            assert_eq!(ReturnTo::parse(text).as_ref().map(ReturnTo::as_str), Some(text), "{text:?}");
        }
    }

    #[test]
    fn leads_away() {
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for text in [
            "",
            " ",
            "a",
            "new",
            ".",
            "..",
            "?next=/",
            "#",
            "//",
            "//evil.example",
            "///evil.example",
            "////evil.example",
            "//evil.example/%2f..",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/a\\..\\b",
            "/\t/evil.example",
            "\t//evil.example",
            "/\n/evil.example",
            "/\r/evil.example",
            "/a\r\nLocation: https://evil.example",
            "/a\u{0}b",
            "/\u{7f}",
            " //evil.example",
            "/ /evil.example",
            "/a b",
            "https:evil.example",
            "https:/evil.example",
            "https://evil.example",
            "HTTPS://evil.example",
            "http://portico.localhost:8080/",
            "javascript:alert(1)",
            "data:text/html,x",
            "/a#b",
            "/#//evil.example",
            "/./evil",
            "/.//evil.example",
            "/..//evil.example",
            "/a/..//evil.example",
            "/%2e//evil.example",
            "/%2E%2e//evil.example",
            "/.%2e/evil",
            "/..",
            "/a/..?b",
            "/\u{2025}/evil",
            "/\u{ff0f}evil.example",
            "\u{ff0f}/evil.example",
            "/\u{3002}\u{3002}/evil",
            "/\u{e9}",
            "/\u{202e}",
            "/\u{a0}/evil",
            &long,
        ] {
            assert_eq!(ReturnTo::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(text in "/[a-z0-9/.?%&=\\\\]{0,40}") {
            if let Some(path) = ReturnTo::parse(&text) {
                prop_assert_eq!(path.to_string(), text.clone());
                prop_assert!(!text.starts_with("//"));
            }
        }
    }
}
