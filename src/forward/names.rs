//! Which header names are whose.

use std::sync::LazyLock;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use http::{HeaderName, HeaderValue};
use memchr::memmem::Finder;

/// Begins the name of every cookie of ours; nothing of that name crosses, in either direction (HDR-5, HDR-7).
pub const GATEWAY_COOKIE_PREFIX: &str = "__host-portico_";
/// The header in which programs send a token, removed before the app (`product.md` §5).
pub const TOKEN_HEADER: &str = "x-portico-token";

/// Begins every token of ours.
const TOKEN_PREFIX: &[u8] = b"pt_";
/// What follows in one: 32 bytes in base64url.
const TOKEN_CHARACTERS: usize = 43;

/// Whether an `Authorization` holds a token of ours, sent in the wrong header; an app must not see it, whatever stands
/// before it (HDR-5).
pub fn is_our_token(authorization: &[u8]) -> bool {
    let holds = |text: &[u8]| {
        text.split(|byte| b" \t,;:=\"'".contains(byte))
            .any(|word| word.starts_with(TOKEN_PREFIX))
    };
    holds(authorization) || basic(authorization).is_some_and(|pair| holds(&pair))
}

/// Whether a value of any other field holds a whole token of ours as a word of its own. Of fewer characters it is the
/// app's: `pt_BR` is a language.
pub fn holds_our_token(value: &[u8]) -> bool {
    static BEGINNINGS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(TOKEN_PREFIX));
    // Where the word begins in which the search is, dots included: nothing is read twice, however many beginnings there are.
    let (mut word, mut seen) = (0, 0);
    BEGINNINGS.find_iter(value).any(|at| {
        let before = value[seen..at].iter().rposition(|byte| !is_of_token(*byte) && *byte != b'.');
        word = before.map_or(word, |last| seen + last + 1);
        seen = at;
        // The last part of a JSON web token (RFC 7519 §3) may look like one of ours.
        let begins = match at.checked_sub(1).map(|last| value[last]) {
            Some(b'.') => !value[word..].starts_with(b"eyJ"),
            Some(last) => !is_of_token(last),
            None => true,
        };
        let characters = value[at + TOKEN_PREFIX.len()..].iter().take(TOKEN_CHARACTERS);
        begins && characters.take_while(|byte| is_of_token(**byte)).count() == TOKEN_CHARACTERS
    })
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The protocols that a browser offers for a WebSocket without those that hold a token of ours, which is where a page can
/// put one; none if nothing is left.
pub fn without_our_tokens(protocols: &HeaderValue) -> Option<HeaderValue> {
    if !holds_our_token(protocols.as_bytes()) {
        return Some(protocols.clone());
    }
    let others = protocols.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let others: Vec<_> = others.filter(|protocol| !holds_our_token(protocol)).collect();
    HeaderValue::from_bytes(&others.join(&b", "[..]))
        .ok()
        .filter(|left| !left.is_empty())
}

/// The name and the password of `Basic` (RFC 7617), as `name:password`.
fn basic(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, pair) = authorization.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = pair.trim_ascii();
    let padding = pair.iter().rev().take_while(|byte| **byte == b'=').count();
    BASE64_STANDARD_NO_PAD.decode(&pair[..pair.len() - padding]).ok()
}

/// Whether a value of `Connection` is one of the two that nearly all are, which name no field that would cross
/// (RFC 9110 §7.6.1).
pub fn nominates_nothing(connection: &HeaderValue) -> bool {
    let option = connection.as_bytes();
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
}

/// Whether a field belongs to one connection and never crosses (RFC 9110 §7.6.1, HDR-1).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Whether a client's field is dropped because the gateway alone speaks under that name (HDR-4).
pub fn is_gateways_own(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name.starts_with("x-portico-")
        || matches!(
            name,
            "forwarded"
                | "x-real-ip"
                | "x-original-url"
                | "x-original-uri"
                | "x-original-host"
                | "x-rewrite-url"
                | "x-host"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "proxy"
                | "x-request-id"
        )
}

/// Whether a field must not be nominated in `Connection`: taking it away would change who the request is from or where
/// it goes (HDR-2).
pub fn must_not_be_nominated(name: &str) -> bool {
    matches!(
        name,
        "host" | "cookie" | "authorization" | "content-length" | "content-type" | "origin" | "referer"
    ) || is_gateways_own(name)
        || name.starts_with("sec-")
}

/// Whether a name with underscores would be one of ours if an app took `_` for `-`, as CGI and WSGI do (HDR-3).
pub fn is_ours_in_disguise(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let plain = name.replace('_', "-");
    is_gateways_own(&plain)
        || plain.parse().is_ok_and(|name| is_hop_by_hop(&name))
        || matches!(
            plain.as_str(),
            "host" | "cookie" | "authorization" | "content-length" | "transfer-encoding"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hdr_5_our_tokens_are_known_in_every_spelling() {
        for (authorization, expected) in [
            ("Bearer pt_abc", true),
            ("bearer   pt_abc", true),
            ("Bearer\tpt_abc", true),
            ("token pt_abc", true),
            ("pt_abc", true),
            ("Basic x, Bearer pt_abc", true),
            ("Bearer \"pt_abc\"", true),
            ("Token token=pt_abc", true),
            ("Bearer eyJhbGciOiJub25lIn0.e30.pt_abc", false),
            ("Bearer ghpt_abc", false),
            ("Basic YTpi", false),
            ("Basic YTpwdF9hYmM=", true),
            ("basic  cHRfYWJjOg==", true),
        ] {
            assert_eq!(is_our_token(authorization.as_bytes()), expected, "{authorization}");
        }
    }

    #[test]
    fn hdr_5_whole_tokens_of_ours_are_known_in_any_field() {
        let token = format!("pt_{}", "aB3-_".repeat(9))[..46].to_owned();
        for (value, expected) in [
            ("{}", true),
            ("a={}; b", true),
            ("bearer.{}", true),
            ("\"{}\"", true),
            ("/a?token={}&b", true),
            ("pt_BR, {}x", true),
            ("eyJh.e30.x {}", true),
            ("eyJh.e30.{}", false),
            ("Bearer eyJh.e30.{}", false),
            ("x{}", false),
            ("-{}", false),
            ("eyJh.pt_.{}", false),
            ("eyJh.e30.x,pt_.{}", true),
            (".pt_.pt_.{}", true),
            ("pt_pt_{}", true),
            ("pt_BR", false),
            ("script_BR;pt_pt_", false),
            ("", false),
        ] {
            let value = value.replace("{}", &token);
            assert_eq!(holds_our_token(value.as_bytes()), expected, "{value}");
        }
        assert!(!holds_our_token(&token.as_bytes()[..45]));
        for (offered, left) in [
            ("graphql-ws, {}", Some("graphql-ws")),
            ("{},a,\tbearer.{} , b", Some("a, b")),
            ("a,b ,c", Some("a,b ,c")),
            ("{}", None),
        ] {
            let offered = HeaderValue::from_str(&offered.replace("{}", &token)).expect("a value");
            assert_eq!(without_our_tokens(&offered), left.map(HeaderValue::from_static), "{offered:?}");
        }
    }
}
