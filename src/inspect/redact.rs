//! What is a secret, and what stands where one was: pure rules over heads, addresses and bodies.
//!
//! Whoever sends chooses the bytes, so every rule looks at each of them a bounded number of times: a run is measured once
//! and passed whole.
//!
//! Rather too much is taken out than too little: who reads the log can look at the app, and a secret that was kept can be
//! read by whoever comes into the owner's account.

mod named;
mod text;

use http::HeaderMap;

pub use self::text::target;

use self::text::{Place, in_text, is_random};
use super::{Field, Head, MAX_HEAD};
use crate::forward::{cookies, names};

/// What stands where a secret was.
pub const REMOVED: &str = "REMOVED";

/// Names of secrets, in part; compared without separators.
const PARTS: [&str; 17] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "apikey",
    "accesskey",
    "privatekey",
    "subscriptionkey",
    "credential",
    "session",
    "signature",
    "jwt",
    "csrf",
    "xsrf",
    "cookie",
    "saml",
];
/// Names of secrets, in full.
const WHOLE: [&str; 14] = [
    "code",
    "state",
    "nonce",
    "key",
    "sig",
    "sid",
    "pass",
    "otp",
    "pin",
    "ticket",
    "auth",
    "assertion",
    "bearer",
    "hmac",
];
/// Fields that are addresses.
const ADDRESSES: [&str; 6] = [
    "referer",
    "location",
    "content-location",
    "refresh",
    "x-original-url",
    "x-forwarded-uri",
];

/// Keeps a head without its secrets, and without what is the gateway's own.
pub fn head(headers: &HeaderMap) -> Head {
    let mut head = Head::default();
    let mut room = MAX_HEAD;
    for (name, value) in headers {
        let Some(field) = field(name.as_str(), value) else { continue };
        let Some(left) = room.checked_sub(field.name.len() + field.value.len()) else {
            head.cut = true;
            continue;
        };
        room = left;
        head.fields.push(field);
    }
    head
}

/// A field as it is kept; none if it is the gateway's own.
fn field(name: &str, value: &http::HeaderValue) -> Option<Field> {
    if names::is_gateways_own(name) {
        return None;
    }
    let kept = |value: Vec<u8>, removed| Field {
        name: name.to_owned(),
        value,
        removed,
    };
    let bytes = value.as_bytes();
    Some(match name {
        "cookie" => kept(cookie_names(cookies::without_ours(value)?.as_bytes()), true),
        "set-cookie" => kept(set_cookie(cookies::narrowed(value)?.as_bytes()), true),
        "www-authenticate" => kept(bytes.to_vec(), false),
        "sec-websocket-protocol" => match protocols(bytes) {
            Some(without) => kept(without, true),
            None => kept(bytes.to_vec(), false),
        },
        _ if names_secret(name, bytes) || is_credential(bytes) => kept(REMOVED.into(), true),
        _ => match in_text(bytes, Place::of(name)) {
            Some(without) => kept(without, true),
            None => kept(bytes.to_vec(), false),
        },
    })
}

/// What a name says of its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Means {
    Nothing,
    /// A secret, unless it is a number: `max_tokens` counts, `tokens` may hold some.
    SecretOrCount,
    /// A word that names a secret among other things: `code`, `key`.
    MaybeSecret,
    Secret,
}

fn meaning(name: &str) -> Means {
    examined(name.len());
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    if plain.ends_with("tokens") {
        return Means::SecretOrCount;
    }
    // Who wrote a text is no secret.
    let is_auth = (plain.contains("auth") && plain.replace("author", "").contains("auth")) || plain.contains("authoriz");
    if is_auth || PARTS.iter().any(|part| plain.contains(part)) {
        Means::Secret
    } else if WHOLE.contains(&plain.as_str()) {
        Means::MaybeSecret
    } else {
        Means::Nothing
    }
}

/// Whether a value is a secret by its name.
fn names_secret(name: &str, value: &[u8]) -> bool {
    match meaning(name) {
        Means::Nothing => false,
        Means::SecretOrCount => !is_count(value),
        Means::MaybeSecret | Means::Secret => true,
    }
}

fn is_count(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    value.iter().all(|byte| byte.is_ascii_digit() || b"+-.,_".contains(byte))
}

/// The protocols that a WebSocket offers, without the credential that scripts hand over there, for want of a field of
/// their own: `bearer, CREDENTIAL` or `bearer.CREDENTIAL`.
fn protocols(value: &[u8]) -> Option<Vec<u8>> {
    let (mut found, mut follows) = (false, false);
    let mut kept = Vec::new();
    for offered in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let text = String::from_utf8_lossy(offered);
        let (before, last) = text.rsplit_once('.').unwrap_or_default();
        let is_named = before.split('.').any(|part| meaning(part) != Means::Nothing);
        if follows || is_random(&text) || in_text(offered, Place::Text).is_some() {
            found = true;
            kept.push(REMOVED.to_owned());
        } else if is_named && !last.is_empty() {
            found = true;
            kept.push(format!("{before}.{REMOVED}"));
        } else {
            follows = meaning(&text) != Means::Nothing;
            kept.push(text.into_owned());
        }
    }
    found.then(|| kept.join(", ").into_bytes())
}

/// Whether a value says by its first word that it is a credential.
fn is_credential(value: &[u8]) -> bool {
    let word = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    word.len() < value.len() && is_scheme(word)
}

/// Whether a credential follows this word.
fn is_scheme(word: &[u8]) -> bool {
    let schemes = [&b"bearer"[..], b"basic", b"digest", b"negotiate", b"token"];
    schemes.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

fn cookie_names(value: &[u8]) -> Vec<u8> {
    let pairs = value
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty());
    let named: Vec<Vec<u8>> = pairs.map(cookie_name).collect();
    named.join(&b"; "[..])
}

fn set_cookie(value: &[u8]) -> Vec<u8> {
    let mut parts = value.splitn(2, |byte| *byte == b';');
    let name = cookie_name(parts.next().unwrap_or_default().trim_ascii());
    match parts.next() {
        Some(attributes) => [&name[..], b";", attributes].concat(),
        None => name,
    }
}

/// `a=secret` without its value. What has no name is all value.
fn cookie_name(pair: &[u8]) -> Vec<u8> {
    let end = pair.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
    [&pair[..end], REMOVED.as_bytes()].concat()
}

/// Whether a body of this kind is kept: text that no encoding hides.
pub fn is_text(headers: &HeaderMap) -> bool {
    let plain = headers
        .get(http::header::CONTENT_ENCODING)
        .is_none_or(|encoding| encoding == "identity");
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let known = matches!(
        kind.as_str(),
        "application/json"
            | "application/xml"
            | "application/javascript"
            | "application/x-javascript"
            | "application/x-www-form-urlencoded"
            | "application/x-ndjson"
            | "application/graphql"
            | "application/problem+json"
    );
    plain && (known || kind.starts_with("text/") || kind.ends_with("+json") || kind.ends_with("+xml"))
}

/// A kept body without its secrets; none if there are none.
pub fn body(kept: &[u8], is_form: bool) -> Option<Vec<u8>> {
    if is_form {
        return text::form(&String::from_utf8_lossy(kept)).map(String::into_bytes);
    }
    let named = named::values(kept);
    let words = in_text(named.as_deref().unwrap_or(kept), Place::Text);
    words.or(named)
}

/// How many bytes at the beginning of a text are of a kind.
fn span(text: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
    let length = text.iter().take_while(|byte| is_one(**byte)).count();
    examined(length + 1);
    length
}

/// Counts, for the test that says that every byte is looked at a bounded number of times.
#[cfg(test)]
fn examined(bytes: usize) {
    tests::EXAMINED.set(tests::EXAMINED.get() + bytes);
}

#[cfg(not(test))]
const fn examined(_: usize) {}

#[cfg(test)]
mod tests;
