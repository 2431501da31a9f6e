//! What is a secret, and what stands where one was: pure rules over heads, addresses and bodies.
//!
//! Rather too much is taken out than too little: who reads the log can look at the app, and a secret that was kept can be
//! read by whoever comes into the owner's account.

use std::borrow::Cow;

use http::HeaderMap;

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
/// Values that are random are at least so long.
const RANDOM_BYTES: usize = 20;

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
        _ if is_secret(name) || is_credential(bytes) => kept(REMOVED.into(), true),
        _ => match in_text(bytes) {
            Some(without) => kept(without, true),
            None => kept(bytes.to_vec(), false),
        },
    })
}

/// Whether a name is that of a secret.
fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    // `max_tokens` counts; and who wrote a text is no secret.
    if plain.ends_with("tokens") {
        return false;
    }
    WHOLE.contains(&plain.as_str())
        || PARTS.iter().any(|part| plain.contains(part))
        || (plain.contains("auth") && plain.replace("author", "").contains("auth"))
        || plain.contains("authoriz")
}

/// Whether a value says by its first word that it is a credential.
fn is_credential(value: &[u8]) -> bool {
    let word = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    word.len() < value.len()
        && [&b"bearer"[..], b"basic", b"digest", b"negotiate", b"token"]
            .iter()
            .any(|one| word.eq_ignore_ascii_case(one))
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

/// A path and query without the query's secrets; none if there are none.
pub fn target(target: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    query_values(query).map(|query| format!("{path}?{query}"))
}

/// Takes the secrets out of `a=b&c=d`; none if there are none.
fn query_values(query: &str) -> Option<String> {
    let mut found = false;
    let pieces: Vec<Cow<'_, str>> = query
        .split('&')
        .map(|piece| {
            let parsed = form_urlencoded::parse(piece.as_bytes()).next();
            let is_secret = parsed.is_some_and(|(name, value)| {
                let value: &str = if value.is_empty() && !piece.contains('=') { &name } else { &value };
                (is_secret(&name) && piece.contains('=') && !value.is_empty())
                    || is_random(value)
                    || secret_word(value.as_bytes()).is_some()
            });
            if !is_secret {
                return Cow::Borrowed(piece);
            }
            found = true;
            match piece.split_once('=') {
                Some((name, _)) => Cow::Owned(format!("{name}={REMOVED}")),
                None => Cow::Borrowed(REMOVED),
            }
        })
        .collect();
    found.then(|| pieces.join("&"))
}

/// Whether a value looks as if a machine had drawn it for a secret: a long run of letters and digits. Ids in groups, as
/// UUIDs are, and words with dashes have none.
fn is_random(value: &str) -> bool {
    let runs = value.as_bytes().split(|byte| !byte.is_ascii_alphanumeric());
    runs.filter(|run| run.len() >= RANDOM_BYTES)
        .any(|run| run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic))
}

/// Takes addresses' queries and words that are secrets by their look out of a text; none if there are none.
fn in_text(text: &[u8]) -> Option<Vec<u8>> {
    let mut found = false;
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest[0] == b'?' {
            let end = rest[1..]
                .iter()
                .position(|byte| !is_of_query(*byte))
                .map_or(rest.len(), |at| at + 1);
            let query = str::from_utf8(&rest[1..end]).ok().and_then(query_values);
            found |= query.is_some();
            out.push(b'?');
            match query {
                Some(query) => out.extend_from_slice(query.as_bytes()),
                None => out.extend_from_slice(&rest[1..end]),
            }
            rest = &rest[end..];
        } else if let Some(length) = begins_word(&out).then(|| secret_word(rest)).flatten() {
            found = true;
            out.extend_from_slice(REMOVED.as_bytes());
            rest = &rest[length..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    found.then_some(out)
}

fn is_of_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"'<>`\\#,".contains(&byte)
}

fn begins_word(before: &[u8]) -> bool {
    !before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The length of a token of ours, of a JSON Web Token or of a credential of `Authorization`, if a text begins with one.
fn secret_word(text: &[u8]) -> Option<usize> {
    let length = |text: &[u8]| {
        text.iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(byte))
            .count()
    };
    for scheme in [&b"bearer "[..], b"basic "] {
        if text.get(..scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme)) && length(&text[scheme.len()..]) >= 8 {
            return Some(scheme.len() + length(&text[scheme.len()..]));
        }
    }
    let found = length(text);
    let dots = text[..found].iter().filter(|byte| **byte == b'.').count();
    let is_ours = text.starts_with(b"pt_") && found >= RANDOM_BYTES;
    let is_web_token = text.starts_with(b"eyJ") && dots >= 2;
    (is_ours || is_web_token).then_some(found)
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
        let text = String::from_utf8_lossy(kept);
        return query_values(&text).map(String::into_bytes);
    }
    let named = named_values(kept);
    let words = in_text(named.as_deref().unwrap_or(kept));
    words.or(named)
}

/// Takes the values of secrets' names out of JSON, of whatever looks like it, and out of lines like those of a head.
fn named_values(text: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut found = false;
    let mut at = 0;
    let mut line_began = true;
    while at < text.len() {
        if line_began && let Some(value) = secret_line(&text[at..]) {
            out.extend_from_slice(&text[at..at + value.start]);
            out.extend_from_slice(REMOVED.as_bytes());
            (at, found, line_began) = (at + value.end, true, false);
            continue;
        }
        line_began = text[at] == b'\n';
        if text[at] == b'"' {
            let end = string_end(text, at);
            out.extend_from_slice(&text[at..end]);
            let name = text.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
            let value = value_after(text, end).filter(|_| is_secret(&String::from_utf8_lossy(name)));
            at = end;
            if let Some((start, end)) = value.and_then(|start| Some((start, secret_end(text, start)?))) {
                out.extend_from_slice(&text[at..start]);
                out.extend_from_slice(b"\"REMOVED\"");
                (at, found) = (end, true);
            }
            continue;
        }
        out.push(text[at]);
        at += 1;
    }
    found.then_some(out)
}

/// Where the value stands in a line `Name: value` of a secret's name.
fn secret_line(text: &[u8]) -> Option<std::ops::Range<usize>> {
    let end = text.iter().position(|byte| *byte == b'\n' || *byte == b'\r').unwrap_or(text.len());
    let colon = text[..end].iter().position(|byte| *byte == b':')?;
    let name = str::from_utf8(&text[..colon]).ok()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let start = colon + 1 + text[colon + 1..end].iter().take_while(|byte| **byte == b' ').count();
    (is_name && is_secret(name) && start < end).then_some(start..end)
}

/// Where a JSON string ends that begins with a quote; the end of the text if it was cut.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where the value of a JSON name begins.
fn value_after(text: &[u8], end: usize) -> Option<usize> {
    let blank = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let colon = end + blank(end);
    (text.get(colon) == Some(&b':')).then(|| colon + 1 + blank(colon + 1))
}

/// Where a secret's JSON value ends; none for one that tells nothing.
fn secret_end(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => Some(string_end(text, start)),
        b'{' | b'[' => {
            let (mut at, mut depth) = (start, 0_usize);
            while at < text.len() {
                match text[at] {
                    b'"' => {
                        at = string_end(text, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            Some(text.len())
        }
        b'0'..=b'9' | b'-' => Some(
            start
                + text[start..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
                    .count(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn shown(fields: &[(&'static str, &str)]) -> Vec<String> {
        let headers = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (http::HeaderName::from_static(name), value)
        });
        let head = head(&headers.collect());
        head.fields
            .iter()
            .map(|field| format!("{}: {}", field.name, String::from_utf8_lossy(&field.value)))
            .collect()
    }

    #[test]
    fn heads_lose_their_secrets_and_what_is_ours() {
        #[track_caller]
        fn check(name: &'static str, value: &str, expected: &str) {
            let expected: Vec<String> = (!expected.is_empty()).then(|| format!("{name}: {expected}")).into_iter().collect();
            assert_eq!(shown(&[(name, value)]), expected, "{name}: {value}");
        }
        check("accept", "text/html", "text/html");
        check("authorization", "Bearer canary", REMOVED);
        check("proxy-authorization", "Basic canary", REMOVED);
        check("x-portico-token", "pt_canary", "");
        check("x-forwarded-for", "192.0.2.1", "");
        check("x-api-key", "canary", REMOVED);
        check("ocp-apim-subscription-key", "canary", REMOVED);
        check("x-csrftoken", "canary", REMOVED);
        check("x-auth-email", "canary", REMOVED);
        check("x-author", "Ada", "Ada");
        check("www-authenticate", "Basic realm=\"x\"", "Basic realm=\"x\"");
        check("cookie", "a=canary; __Host-portico_access=canary; b", "a=REMOVED; REMOVED");
        check("cookie", "__Host-portico_access=canary", "");
        check("set-cookie", "sid=canary; Path=/; HttpOnly", "sid=REMOVED; Path=/; HttpOnly");
        check(
            "referer",
            "http://a.example/x?token=canary&q=1#f",
            "http://a.example/x?token=REMOVED&q=1#f",
        );
        check("location", "/cb?code=canary&state=canary", "/cb?code=REMOVED&state=REMOVED");
        check("x-odd", "Bearer canary", REMOVED);
        check("x-odd", "see eyJhbGciOi.eyJzdWIi.canary now", "see REMOVED now");
        check("x-odd", "pt_canarycanarycanary", REMOVED);
        check("x-odd", "caf\u{e9}", "caf\u{e9}");
    }

    #[test]
    fn a_head_is_bounded() {
        let long = "x".repeat(MAX_HEAD);
        let headers = shown(&[("a", "1"), ("b", &long), ("c", "3")]);
        assert_eq!(headers, ["a: 1", "c: 3"]);
    }

    #[test]
    fn addresses_lose_the_values_of_secrets() {
        #[track_caller]
        fn check(given: &str, expected: &str) {
            assert_eq!(target(given).as_deref().unwrap_or(given), expected);
        }
        check("/a", "/a");
        check(
            "/a?page=2&author=ada&q=long+words+of+a+question",
            "/a?page=2&author=ada&q=long+words+of+a+question",
        );
        check("/a?token=canary&b=1", "/a?token=REMOVED&b=1");
        check("/a?%74oken=canary", "/a?%74oken=REMOVED");
        check("/a?user[password]=canary", "/a?user[password]=REMOVED");
        check("/a?code=canary&X-Amz-Signature=canary", "/a?code=REMOVED&X-Amz-Signature=REMOVED");
        check("/a?x=4f9d2c7b1e8a4c0d9f3e", "/a?x=REMOVED");
        check(
            "/a?id=550e8400-e29b-41d4-a716-446655440000",
            "/a?id=550e8400-e29b-41d4-a716-446655440000",
        );
        check("/a?4f9d2c7b1e8a4c0d9f3e", "/a?REMOVED");
        check("/a?token", "/a?token");
        check("/a?token=", "/a?token=");
        check("/a?max_tokens=100", "/a?max_tokens=100");
    }

    #[test]
    fn bodies_lose_the_values_of_secrets() {
        #[track_caller]
        fn check(given: &str, expected: &str) {
            let found = body(given.as_bytes(), false);
            assert_eq!(String::from_utf8_lossy(found.as_deref().unwrap_or(given.as_bytes())), expected);
        }
        check(r#"{"name":"ada","age":36}"#, r#"{"name":"ada","age":36}"#);
        check(r#"{"password" : "can\"ary", "n": 1}"#, r#"{"password" : "REMOVED", "n": 1}"#);
        check(r#"{"access_token":"canary","ok":true}"#, r#"{"access_token":"REMOVED","ok":true}"#);
        check(
            r#"{"credentials":{"a":"}canary","b":[1]},"n":1}"#,
            r#"{"credentials":"REMOVED","n":1}"#,
        );
        check(
            r#"{"pin":1234,"isSession":true,"max_tokens":5}"#,
            r#"{"pin":"REMOVED","isSession":true,"max_tokens":5}"#,
        );
        check(r#"{"a":[{"secret":"cana"#, r#"{"a":[{"secret":"REMOVED""#);
        check("see Bearer canarycanary.", "see REMOVED");
        check(
            "GET / HTTP/1.1\r\ncookie: canary\r\nhost: a\r\n",
            "GET / HTTP/1.1\r\ncookie: REMOVED\r\nhost: a\r\n",
        );
        check("<a href=\"/x?token=canary&b=1\">", "<a href=\"/x?token=REMOVED&b=1\">");
        assert_eq!(
            body(b"user=ada&password=canary", true).as_deref(),
            Some(&b"user=ada&password=REMOVED"[..])
        );
        assert_eq!(body(b"user=ada", true), None);
    }

    #[test]
    fn kinds_of_bodies() {
        #[track_caller]
        fn check(kind: &str, encoding: Option<&str>, expected: bool) {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_str(kind).expect("a value"));
            if let Some(encoding) = encoding {
                headers.insert("content-encoding", HeaderValue::from_str(encoding).expect("a value"));
            }
            assert_eq!(is_text(&headers), expected, "{kind} {encoding:?}");
        }
        check("text/html; charset=utf-8", None, true);
        check("Application/JSON", Some("identity"), true);
        check("application/vnd.api+json", None, true);
        check("application/json", Some("gzip"), false);
        check("image/png", None, false);
        check("multipart/form-data; boundary=x", None, false);
        check("application/octet-stream", None, false);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_and_done_once(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b']'), Just(b':'), Just(b'?'), Just(b'\n'), any::<u8>()], 0..200), form: bool) {
            if let Some(once) = body(&text, form) {
                prop_assert!(once.len() <= text.len() * 10 + 10);
            }
        }
    }
}
