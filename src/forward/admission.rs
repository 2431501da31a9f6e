//! Which request heads are refused before anything else looks at them (METH, PATH, HDR, SMUG rules).
//!
//! Owns the decision about a head as hyper read it. What hyper changes before that, nobody here can refuse:
//! - It cuts a `#` and what follows off a target (PATH-2). [`Fragment`] tells of it on HTTP/1.1, where the connection sees
//!   the bytes. Of a `:path` in HTTP/2, which only its decoder ever sees whole, the cut target is what is decided on and what
//!   the app gets, so that both read the same.
//! - It makes one `Content-Length` of several that are equal, as RFC 9110 §8.6 allows (SMUG-1): the app gets one. Several
//!   that differ, or a list, it refuses.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts};
use thiserror::Error;

use super::names;

/// Longest request target in bytes (PATH-4).
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Largest head in bytes, names and values (HDR-9).
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most fields (HDR-9).
pub const MAX_FIELDS: usize = 100;
/// Largest field in bytes (HDR-9).
pub const MAX_FIELD_BYTES: usize = 16 * 1024;

/// Why a head is refused; `Display` is for the client.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    #[error(
        "the request's headers are larger than this gateway accepts: at most {MAX_FIELDS} fields, {MAX_FIELD_BYTES} bytes each and {MAX_HEAD_BYTES} bytes together"
    )]
    HeadTooLarge,
    #[error("the address is longer than {MAX_TARGET_BYTES} bytes")]
    TargetTooLong,
    #[error("this method does not pass through here")]
    Method,
    #[error("the request target is not one that a browser would send")]
    Target,
    #[error("the request needs exactly one valid Host header that agrees with its target")]
    Host,
    #[error("the Connection header names a header that must stay")]
    Nominated,
    #[error("a header name uses underscores to look like one of the gateway's own")]
    Disguised,
    #[error("a header's name or value is malformed")]
    Field,
    #[error("the request's length is given in more than one way, or in a wrong one")]
    Framing,
}

/// Marks a request whose target held a `#`, which hyper takes off together with what follows.
#[derive(Clone, Copy, Debug)]
pub struct Fragment;

/// Marks a request whose head is not there to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// It was longer than anybody would read.
    Bytes,
    /// It had more fields than [`MAX_FIELDS`].
    Fields,
}

impl Refusal {
    /// The status that says it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target | Self::Host | Self::Nominated | Self::Disguised | Self::Field | Self::Framing => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a head; the authority is checked where it is parsed.
pub fn check(head: &Parts) -> Result<(), Refusal> {
    check_method(&head.method)?;
    check_target(&head.uri, &head.method)?;
    if head.extensions.get::<Fragment>().is_some() {
        return Err(Refusal::Target);
    }
    if head.extensions.get::<Cut>().is_some() {
        return Err(Refusal::HeadTooLarge);
    }
    check_sizes(&head.headers)?;
    check_fields(&head.headers, head.version)?;
    check_framing(&head.headers, head.version)?;
    check_names(&head.headers)
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    let text = method.as_str();
    let refused = matches!(*method, Method::CONNECT | Method::TRACE)
        || text == "PRI"
        || text.len() > 32
        || !text.starts_with(|first: char| first.is_ascii_alphabetic());
    if refused { Err(Refusal::Method) } else { Ok(()) }
}

fn check_target(uri: &Uri, method: &Method) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > MAX_TARGET_BYTES {
        return Err(Refusal::TargetTooLong);
    }
    let asterisk = target == "*";
    if asterisk != (asterisk && *method == Method::OPTIONS) {
        return Err(Refusal::Target);
    }
    let plain =
        asterisk || (target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#'));
    if plain { Ok(()) } else { Err(Refusal::Target) }
}

/// Whether a head would be small enough without its cookies.
pub fn is_small_but_for_cookies(head: &Parts) -> bool {
    // Of one with too many fields nobody knows what the others were.
    let known = head.extensions.get() != Some(&Cut::Fields);
    known && are_small(head.headers.iter().filter(|(name, _)| **name != header::COOKIE))
}

fn check_sizes(headers: &HeaderMap) -> Result<(), Refusal> {
    if are_small(headers.iter()) {
        Ok(())
    } else {
        Err(Refusal::HeadTooLarge)
    }
}

fn are_small<'a>(fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> bool {
    let (mut count, mut total) = (0, 0);
    for (name, value) in fields {
        let bytes = name.as_str().len() + value.len();
        if bytes > MAX_FIELD_BYTES {
            return false;
        }
        total += bytes + 4;
        count += 1;
    }
    count <= MAX_FIELDS && total <= MAX_HEAD_BYTES
}

/// Refuses what hyper takes from a frame of HTTP/2 but no reader of HTTP/1.1 would: a name with `"`, which is no token, and
/// a value with space around it (RFC 9113 §8.2.1, SMUG-10).
fn check_fields(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let malformed = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.as_bytes();
        name.as_str().contains('"') || blank(value.first()) || blank(value.last())
    };
    if version == Version::HTTP_2 && headers.iter().any(malformed) {
        return Err(Refusal::Field);
    }
    Ok(())
}

/// Refuses what hyper lets through although recipients disagree on it (RFC 9112 §6.3, SMUG-1).
fn check_framing(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = !length.is_empty() && length.len() <= 19 && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || lengths.next().is_some() || headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Refusal::Framing);
        }
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (version != Version::HTTP_11 || encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Refusal::Framing);
    }
    Ok(())
}

fn check_names(headers: &HeaderMap) -> Result<(), Refusal> {
    for nominated in headers
        .get_all(header::CONNECTION)
        .iter()
        .filter(|value| !names::nominates_nothing(value))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
    {
        let name = String::from_utf8_lossy(nominated.trim_ascii()).to_ascii_lowercase();
        if names::must_not_be_nominated(&name) {
            return Err(Refusal::Nominated);
        }
    }
    if headers.keys().any(|name| names::is_ours_in_disguise(name.as_str())) {
        return Err(Refusal::Disguised);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn table() {
        #[track_caller]
        fn check_one(method: &str, target: &str, fields: &[(&str, &str)], expected: Result<(), Refusal>) {
            assert_eq!(check(&head(method, target, fields)), expected, "{method} {target} {fields:?}");
        }
        check_one("GET", "/a%20b?x=1", &[("content-length", "0")], Ok(()));
        check_one("OPTIONS", "*", &[], Ok(()));
        check_one("GET", "*", &[], Err(Refusal::Target));
        check_one("PROPFIND", "/", &[], Ok(()));
        check_one("TRACE", "/", &[], Err(Refusal::Method));
        check_one("CONNECT", "a:80", &[], Err(Refusal::Method));
        check_one("GET", "/a\\b", &[], Err(Refusal::Target));
        check_one(
            "GET",
            &format!("/{}", "a".repeat(MAX_TARGET_BYTES)),
            &[],
            Err(Refusal::TargetTooLong),
        );
        check_one(
            "POST",
            "/",
            &[("content-length", "1"), ("transfer-encoding", "chunked")],
            Err(Refusal::Framing),
        );
        check_one(
            "POST",
            "/",
            &[("content-length", "1"), ("content-length", "1")],
            Err(Refusal::Framing),
        );
        check_one("POST", "/", &[("content-length", "+1")], Err(Refusal::Framing));
        check_one("POST", "/", &[("transfer-encoding", "gzip, chunked")], Err(Refusal::Framing));
        check_one("POST", "/", &[("transfer-encoding", "Chunked")], Ok(()));
        check_one("GET", "/", &[("connection", "keep-alive, Cookie")], Err(Refusal::Nominated));
        check_one("GET", "/", &[("connection", "x-forwarded-for")], Err(Refusal::Nominated));
        check_one("GET", "/", &[("connection", "x-mine")], Ok(()));
        check_one("GET", "/", &[("x_forwarded_for", "1")], Err(Refusal::Disguised));
        check_one("GET", "/", &[("x-portico_token", "1")], Err(Refusal::Disguised));
        check_one("GET", "/", &[("my_header", "1")], Ok(()));
        check_one("GET", "/", &[("x", &"a".repeat(MAX_FIELD_BYTES))], Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn smug_10_fields_of_http_2_are_fields_of_http_1() {
        let of_http_2 = |name: &[u8], value: &str| {
            let name = HeaderName::from_bytes(name).ok()?;
            let request = http::Request::builder().version(Version::HTTP_2).header(name, value);
            Some(check(&request.body(()).expect("a request").into_parts().0))
        };
        for byte in 0..=u8::MAX {
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let passes = of_http_2(&[b'x', byte], "1") == Some(Ok(()));
            assert_eq!(passes, token, "{:?}", char::from(byte));
        }
        for (value, expected) in [
            ("a b", Ok(())),
            ("", Ok(())),
            (" a", Err(Refusal::Field)),
            ("a\t", Err(Refusal::Field)),
        ] {
            assert_eq!(of_http_2(b"x", value), Some(expected), "{value:?}");
        }
    }
}
