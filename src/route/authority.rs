//! The authority of a request: host and optional port (RFC 9110 §7.2, RFC 3986 §3.2).

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// A lower-cased host with the port that was written behind it.
///
/// Holds nothing but ASCII letters, digits, `-`, `_`, `.`, or a bracketed IPv6 address; user information, percent
/// signs and anything else are refused, so that it can stand in a header, a log line or a URL as it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Authority {
    text: Arc<str>,
    host_bytes: usize,
    port: Option<u16>,
}

impl Authority {
    /// The host, lower-cased, without the port.
    pub fn host(&self) -> &str {
        &self.text[..self.host_bytes]
    }

    /// The port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as they belong into a `Host` header.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        if text.is_empty() || text.len() > 261 {
            return Err(AuthorityError);
        }
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.find(']')) {
            Some(Some(end)) => {
                let (host, rest) = text.split_at(end + 2);
                (
                    host,
                    rest.strip_prefix(':')
                        .map_or_else(|| rest.is_empty().then_some(None).ok_or(AuthorityError), |port| Ok(Some(port)))?,
                )
            }
            Some(None) => return Err(AuthorityError),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if !host_is_plain(host) {
            return Err(AuthorityError);
        }
        let port = match port {
            None => None,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| AuthorityError)?)
            }
            Some(_) => return Err(AuthorityError),
        };
        Ok(Self {
            text: text.to_ascii_lowercase().into(),
            host_bytes: host.len(),
            port,
        })
    }
}

fn host_is_plain(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no authority.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the host is not a name or an address with an optional port")]
pub struct AuthorityError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grammar() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, Option<u16>)>) {
            let parsed = text.parse::<Authority>();
            assert_eq!(
                parsed.as_ref().ok().map(|authority| (authority.host(), authority.port())),
                expected,
                "{text:?}"
            );
        }
        check("Portico.Localhost:8080", Some(("portico.localhost", Some(8080))));
        check("example.com", Some(("example.com", None)));
        check("127.0.0.1:80", Some(("127.0.0.1", Some(80))));
        check("[::1]:80", Some(("[::1]", Some(80))));
        check("[::1]", Some(("[::1]", None)));
        for bad in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:80:80",
            "a:99999",
            "user@a",
            "a%20b",
            "a b",
            "a/b",
            "[::1",
            "[::1]x",
            "[zz]",
            "a:+80",
            "caf\u{e9}",
            "a\u{0}",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn display_round_trips(text in "[a-zA-Z0-9.:_@%\\[\\]-]{0,40}") {
            if let Ok(authority) = text.parse::<Authority>() {
                prop_assert_eq!(authority.to_string().parse::<Authority>(), Ok(authority));
            }
        }
    }
}
