//! Our cookies out of what apps see and set (HDR-5, HDR-7).

use http::HeaderValue;

use super::names::{self, GATEWAY_COOKIE_PREFIX};

/// A `Cookie` value that a connection sends again and again, and what is left of it without ours.
#[derive(Debug)]
pub struct Stripped {
    line: HeaderValue,
    left: Option<HeaderValue>,
}

impl Stripped {
    /// Takes ours out of a value.
    pub fn of(line: &HeaderValue) -> Self {
        // Copies: clones would hold the whole head that it came in.
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            line: copy(line),
            left: without_ours(line).as_ref().map(copy),
        }
    }

    /// Whether it is of this value.
    pub fn is_of(&self, line: &HeaderValue) -> bool {
        self.line == line
    }

    /// What is left.
    pub fn left(&self) -> Option<HeaderValue> {
        self.left.clone()
    }
}

/// Takes our cookies, and those that hold a token of ours, out of a `Cookie` value; none when nothing is left, the value itself
/// when none was ours.
pub fn without_ours(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    let is_ours = |pair: &[u8]| is_ours(pair) || names::holds_our_token(pair);
    if !is_ours(bytes) {
        return Some(value.clone());
    }
    let kept: Vec<&[u8]> = bytes
        .split(|byte| *byte == b';')
        .filter(|pair| !is_ours(pair))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .collect();
    if kept.is_empty() {
        None
    } else {
        HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
    }
}

/// Narrows a `Set-Cookie` of an app: one that uses our names is dropped; `Domain` is taken off, so that it holds for its
/// own host alone.
pub fn narrowed(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    let mut parts = bytes.split(|byte| *byte == b';');
    if parts.next().is_some_and(is_ours) {
        return None;
    }
    if !parts.clone().any(is_domain) {
        return Some(value.clone());
    }
    let kept: Vec<&[u8]> = bytes
        .split(|byte| *byte == b';')
        .enumerate()
        .filter(|(index, part)| *index == 0 || !is_domain(part))
        .map(|(_, part)| part.trim_ascii())
        .collect();
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
}

/// Whether one of our names stands anywhere in a pair, in any case. Apps read cookies in more ways than browsers write
/// them: after a comma, in quotes, nameless with the name in the value (`=__Host-x=1`); no app has use for our names.
fn is_ours(pair: &[u8]) -> bool {
    let prefix = GATEWAY_COOKIE_PREFIX.as_bytes();
    memchr::memchr_iter(prefix[0], pair)
        .filter_map(|at| pair.get(at..at + prefix.len()))
        .any(|part| part.eq_ignore_ascii_case(prefix))
}

fn is_domain(attribute: &[u8]) -> bool {
    let name = attribute.split(|byte| *byte == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"domain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hdr_5_our_cookies_never_reach_an_app() {
        #[track_caller]
        fn check(value: &str, expected: Option<&str>) {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            assert_eq!(
                without_ours(&value).as_ref().map(|value| value.to_str().expect("text")),
                expected,
                "{value:?}"
            );
        }
        check("a=1; b=2", Some("a=1; b=2"));
        check("a=1; __Host-portico_access=x; b=2", Some("a=1; b=2"));
        check("__Host-portico_access=x", None);
        check("__host-PORTICO_nonce_abcdefgh=x;a=1", Some("a=1"));
        check("  __Host-portico_access = x ; a=1", Some("a=1"));
        check("\"__Host-portico_access\"=x; a=1", Some("a=1"));
        check("=__Host-portico_access=x; a=1", Some("a=1"));
        check("__Host-portico_access; a=1", Some("a=1"));
        check("a=1, __Host-portico_access=x; b=2", Some("b=2"));
        check("a=__Host-portico_access=x", None);
        check("'__Host-portico_access'=x; \u{a0}__Host-portico_access=x; b=2", Some("b=2"));
        let token = format!("pt_{}", "x".repeat(43));
        check(&format!("a=1; token={token}; b=2"), Some("a=1; b=2"));
        check(&format!("t=\"{token}\""), None);
        check(";;__Host-portico_access=x;;a=\"q;\"", Some("a=\"q; \""));
    }

    #[test]
    fn hdr_7_apps_set_cookies_for_their_own_host_alone() {
        #[track_caller]
        fn check(value: &str, expected: Option<&str>) {
            let value = HeaderValue::from_str(value).expect("a value");
            assert_eq!(
                narrowed(&value).as_ref().map(|value| value.to_str().expect("text")),
                expected,
                "{value:?}"
            );
        }
        check("a=1; Path=/; HttpOnly", Some("a=1; Path=/; HttpOnly"));
        check("a=1; Domain=codespaces.localhost; Path=/", Some("a=1; Path=/"));
        check("a=1;domain = .x", Some("a=1"));
        check("__Host-portico_access=x; Path=/", None);
        check("=__host-portico_access=x", None);
        check("domain=1; Path=/", Some("domain=1; Path=/"));
    }
}
