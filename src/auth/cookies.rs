//! The gateway's cookies: their names, how they are set, and reading them out of a request.
//!
//! All are `__Host-` and HttpOnly, and none has a `Domain` (COOK-1, DOM-2).

use http::{HeaderMap, header::COOKIE};

use super::secrets::{fresh_secret, hash_secret};

/// What the names of all our cookies begin with, in any case; nothing under it ever reaches an app or comes from one.
pub const GATEWAY_COOKIE_PREFIX: &str = "__Host-portico_";
/// The login session's cookie, on the gateway host alone.
pub const SESSION_COOKIE: &str = "__Host-portico_session";
/// The cookie of one editor or port host.
pub const ACCESS_COOKIE: &str = "__Host-portico_access";
/// A nonce of one sign-in flow; eight random characters follow, so that tabs opened together keep theirs.
pub const NONCE_COOKIE_PREFIX: &str = "__Host-portico_nonce_";
/// A sign-in at a provider that is under way; eight random characters follow, as after [`NONCE_COOKIE_PREFIX`].
pub(super) const FLOW_COOKIE_PREFIX: &str = "__Host-portico_flow_";
/// How many nonce cookies of one request are read.
pub const MAX_NONCES: usize = 16;

const NONCE_SECONDS: u32 = 600;
/// Our values are far shorter; a longer one is no cookie of ours.
const MAX_VALUE_BYTES: usize = 512;

/// A fresh nonce, bound to the browser by its cookie.
#[derive(Clone)]
pub struct NonceCookie {
    pub name: String,
    pub value: String,
    /// SHA-256 of the value: what a [`super::Hop`] carries.
    pub hash: [u8; 32],
    /// The `Set-Cookie` header's value.
    pub set_cookie: String,
}

/// What a request holds under one cookie name.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Found {
    Nothing,
    One(String),
    /// More than one, or one that cannot be ours (COOK-2).
    Bad,
}

/// Tells whether a cookie's name is the gateway's, in any case.
pub fn is_gateway_cookie(name: &str) -> bool {
    let prefix = GATEWAY_COOKIE_PREFIX.as_bytes();
    name.as_bytes()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Makes a nonce and its cookie, good for 10 minutes.
pub fn nonce_cookie() -> NonceCookie {
    let name = fresh_name(NONCE_COOKIE_PREFIX);
    let value = fresh_secret();
    NonceCookie {
        hash: hash_secret(&value),
        set_cookie: set_cookie(&name, &value, u64::from(NONCE_SECONDS)),
        name,
        value,
    }
}

/// Writes the cookie of a sign-in at a provider, under a name of its own.
pub(super) fn flow_cookie(secret: &str, seconds: u32) -> String {
    set_cookie(&fresh_name(FLOW_COOKIE_PREFIX), secret, u64::from(seconds))
}

/// Reads the nonce cookies of a request, as name and value, at most [`MAX_NONCES`].
pub fn nonce_cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    numbered_cookies(headers, NONCE_COOKIE_PREFIX)
}

/// Reads the cookies of a request whose names are a prefix and eight characters, at most [`MAX_NONCES`].
pub(super) fn numbered_cookies(headers: &HeaderMap, prefix: &str) -> Vec<(String, String)> {
    pairs(headers)
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, read_value(value)?)))
        .filter(|(name, _)| {
            let suffix = name.strip_prefix(prefix);
            suffix.is_some_and(|suffix| suffix.len() == 8 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        })
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .take(MAX_NONCES)
        .collect()
}

/// The `Set-Cookie` that removes a cookie with a name of its own; `name` must come from a request's own.
pub fn clear_nonce_cookie(name: &str) -> String {
    set_cookie(name, "", 0)
}

/// The `Set-Cookie` that removes the login session's cookie.
pub fn clear_session_cookie() -> String {
    set_cookie(SESSION_COOKIE, "", 0)
}

/// The `Set-Cookie` that removes a codespace host's cookie.
pub fn clear_access_cookie() -> String {
    set_cookie(ACCESS_COOKIE, "", 0)
}

/// Makes a name that no other tab's cookie has.
fn fresh_name(prefix: &str) -> String {
    let secret = fresh_secret();
    let plain = secret.chars().filter(char::is_ascii_alphanumeric);
    let suffix: String = plain.chain(std::iter::repeat('0')).take(8).collect();
    format!("{prefix}{suffix}")
}

/// Writes a `Set-Cookie` value as all of ours are.
pub(super) fn set_cookie(name: &str, value: &str, seconds: u64) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}")
}

/// Finds the one cookie of a name. A second of that name, in any case and in any `Cookie` header, spoils both (COOK-2).
pub(super) fn find(headers: &HeaderMap, wanted: &str) -> Found {
    let mut found = Found::Nothing;
    for (name, value) in pairs(headers) {
        if !name.eq_ignore_ascii_case(wanted.as_bytes()) {
            continue;
        }
        let value = read_value(value).filter(|_| name == wanted.as_bytes());
        found = match (found, value) {
            (Found::Nothing, Some(value)) => Found::One(value.to_owned()),
            _ => Found::Bad,
        };
    }
    found
}

/// Splits all `Cookie` headers into names and values, without the spaces around them.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len()));
        (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
    })
}

/// Reads a value as ours are: without one pair of quotes, printable, neither empty nor long.
fn read_value(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?;
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let good = !inner.is_empty() && inner.len() <= MAX_VALUE_BYTES && inner.bytes().all(|byte| byte.is_ascii_graphic());
    good.then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::cookies;

    #[test]
    fn cook_2_one_name_is_offered_once() {
        #[track_caller]
        fn check(lines: &[&str], expected: &Found) {
            assert_eq!(find(&cookies(lines), SESSION_COOKIE), *expected, "{lines:?}");
        }
        let one = &Found::One("x".into());
        check(&[], &Found::Nothing);
        check(&["a=b; c"], &Found::Nothing);
        check(&["__Host-portico_session=x"], one);
        check(&["a=b;  __Host-portico_session = \"x\" ;c=d"], one);
        check(&["a=\u{e9}", "__Host-portico_session=x"], one);
        check(&["__Host-portico_sessions=y; __Host-portico_session=x"], one);
        check(&["a=__Host-portico_session=y; __Host-portico_session=x"], one);
        check(&["__Host-portico_session=x; __Host-portico_session=x"], &Found::Bad);
        check(&["__Host-portico_session=x; a=b", "c=d; __Host-portico_session=y"], &Found::Bad);
        check(&["__Host-portico_session=x; __host-PORTICO_session=y"], &Found::Bad);
        check(&["__HOST-portico_session=x"], &Found::Bad);
        check(&["__Host-portico_session=x; __Host-portico_session=\u{e9}"], &Found::Bad);
        check(&["__Host-portico_session=x y"], &Found::Bad);
        check(&["__Host-portico_session"], &Found::Bad);
        check(&["__Host-portico_session="], &Found::Bad);
        check(&[&format!("__Host-portico_session={}", "x".repeat(4000))], &Found::Bad);
    }

    #[test]
    fn cook_1_cookies_are_host_only() {
        let nonce = nonce_cookie();
        for cookie in [
            nonce.set_cookie.clone(),
            clear_session_cookie(),
            clear_access_cookie(),
            clear_nonce_cookie(&nonce.name),
        ] {
            assert!(cookie.starts_with(GATEWAY_COOKIE_PREFIX), "{cookie}");
            assert!(cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age="), "{cookie}");
            assert!(!cookie.to_ascii_lowercase().contains("domain"), "{cookie}");
        }
    }

    #[test]
    fn nonces_are_read_and_bounded() {
        let nonce = nonce_cookie();
        assert_eq!(nonce.name.len(), NONCE_COOKIE_PREFIX.len() + 8);
        assert_ne!(nonce.name, nonce_cookie().name);
        let line = format!("a=b; {}={}; __Host-portico_nonce_short=1", nonce.name, nonce.value);
        assert_eq!(nonce_cookies(&cookies(&[&line])), [(nonce.name, nonce.value.clone())]);
        assert_eq!(nonce.hash, hash_secret(&nonce.value));
        let many: Vec<_> = (0..100).map(|_| nonce_cookie()).map(|nonce| format!("{}=1", nonce.name)).collect();
        assert_eq!(nonce_cookies(&cookies(&[&many.join("; ")])).len(), MAX_NONCES);
    }

    #[test]
    fn our_names_are_known_in_any_case() {
        for name in [SESSION_COOKIE, ACCESS_COOKIE, "__host-PORTICO_x", "__Host-portico_"] {
            assert!(is_gateway_cookie(name), "{name}");
        }
        for name in [
            "",
            "session",
            "__Host-portico",
            "__Host-porticO-x",
            "x__Host-portico_session",
            "__Host-p\u{f6}rtico_",
        ] {
            assert!(!is_gateway_cookie(name), "{name}");
        }
    }

    proptest::proptest! {
        /// Whatever bytes come along, in pairs of their own, hide and change nothing.
        #[test]
        fn other_pairs_do_not_matter(before in "[^;\\x00-\\x08\\x0a-\\x1f\\x7f]{0,30}", after in "[^;\\x00-\\x08\\x0a-\\x1f\\x7f]{0,30}") {
            let line = format!("{before}; __Host-portico_session=\"x\";{after}");
            proptest::prop_assert_eq!(find(&cookies(&[&line]), SESSION_COOKIE), Found::One("x".into()));
        }
    }
}
