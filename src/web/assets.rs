//! The files of `static/`, embedded in the binary.
//!
//! Owns their content types, their ETags and how long a browser may keep them. Refuses to know where they are mounted:
//! the gateway host has them under `/static/`, codespace hosts under `/.portico/static/`.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS},
};
use rust_embed::{Embed, EmbeddedFile};

#[derive(Embed)]
#[folder = "static/"]
struct Files;

/// Where the gateway host has its files.
pub const GATEWAY_PREFIX: &str = "/static/";

/// Where codespace hosts have them, out of the app's way.
pub const CODESPACE_PREFIX: &str = "/.portico/static/";

/// The URL of a file, with its hash, so that a browser may keep it for ever.
pub fn url(prefix: &str, name: &str) -> String {
    match Files::get(name) {
        Some(file) => format!("{prefix}{name}?v={}", short_hash(&file)),
        None => format!("{prefix}{name}"),
    }
}

/// The text of a file; empty if there is none of that name.
pub(super) fn text(name: &str) -> String {
    Files::get(name)
        .and_then(|file| String::from_utf8(file.data.into_owned()).ok())
        .unwrap_or_default()
}

/// Answers a request for a file; `target` is what stands behind the prefix, its query included.
///
/// A target with `?v=` and the hash of the file as it is may be kept for a year; any other must be asked for again.
pub fn serve(target: &str, headers: &HeaderMap) -> Response<Bytes> {
    let (name, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((file, content_type)) = Files::get(name).zip(content_type(name)) else {
        return plain(StatusCode::NOT_FOUND, "There is no such file.\n");
    };
    let hash = short_hash(&file);
    let etag = format!("\"{hash}\"");
    let fresh = headers.get_all(IF_NONE_MATCH).iter().any(|value| matches(value, &etag));
    let mut response = Response::new(if fresh { Bytes::new() } else { bytes_of(file) });
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let keep = if query.strip_prefix("v=") == Some(&hash) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        answer.insert(ETAG, etag);
    }
    response
}

/// The content type of a file that browsers may have; none for what only the build of `static/` needs.
fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

/// The first half of the file's SHA-256, in hexadecimal.
fn short_hash(file: &EmbeddedFile) -> String {
    let mut text = String::with_capacity(32);
    for byte in &file.metadata.sha256_hash()[..16] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of(file: EmbeddedFile) -> Bytes {
    match file.data {
        std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
        std::borrow::Cow::Owned(data) => data.into(),
    }
}

/// Whether an `If-None-Match` names this ETag; weak comparison, as RFC 9110 §13.1.2 has it.
fn matches(value: &HeaderValue, etag: &str) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',')
            .map(|item| item.trim().trim_start_matches("W/"))
            .any(|item| item == etag || item == "*")
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str, none_match: Option<&'static str>) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        if let Some(value) = none_match {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
        }
        serve(target, &headers)
    }

    #[test]
    fn keeps_for_ever_only_what_carries_its_hash() {
        let versioned = url("", "page.css");
        assert!(versioned.starts_with("page.css?v="), "{versioned}");
        let long = get(&versioned, None);
        assert_eq!(long.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
        for other in ["page.css", "page.css?v=0", "page.css?v="] {
            assert_eq!(get(other, None).headers()[CACHE_CONTROL], "no-cache", "{other}");
        }
        assert_eq!(get("page.css", Some("\"0\", *")).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn hands_out_nothing_else() {
        for target in [
            "",
            "/",
            "nothing.css",
            "../Cargo.toml",
            "build.sh",
            "package.json",
            "vendor",
            "/page.css",
        ] {
            assert_eq!(get(target, None).status(), StatusCode::NOT_FOUND, "{target:?}");
        }
    }
}
