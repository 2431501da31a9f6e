//! The head that a client receives from an app: connection fields and what would reach beyond the app's host taken out.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

use super::{
    cookies, names,
    world::{Translation, World},
};

/// An answer whose end recipients would see in different places; it is not passed on (SMUG-8).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("its answer gives its length in more than one way, or in a wrong one")]
pub struct Ambiguous;

/// Checks how an app says where its answer ends: in one way, and in one that every recipient understands (RFC 9112 §6.3).
pub fn check_framing(headers: &HeaderMap) -> Result<(), Ambiguous> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let plain = length.is_none_or(|length| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit));
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = encodings
        .next()
        .is_none_or(|encoding| length.is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let once = lengths.next().is_none() && encodings.next().is_none();
    if plain && chunked && once { Ok(()) } else { Err(Ambiguous) }
}

/// Keeps a page of an app out of frames on other pages than those named (CSRF-3, FRAME-1).
///
/// Added to whatever policy the app has, so it never opens what the app closes. Browsers ignore `X-Frame-Options` beside
/// `frame-ancestors`, so an app that says the stricter thing there keeps its word.
pub fn confine_frames(headers: &mut HeaderMap, ancestors: &str) {
    let stricter = headers.get(header::X_FRAME_OPTIONS).is_some_and(|options| {
        [&b"deny"[..], b"sameorigin"]
            .iter()
            .any(|word| options.as_bytes().eq_ignore_ascii_case(word))
    });
    if let Ok(policy) = HeaderValue::from_str(&format!("frame-ancestors {ancestors}"))
        && !stricter
    {
        headers.append(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Keeps what strangers may see of a codespace out of search engines (SHARE-5).
pub fn hide_from_search(headers: &mut HeaderMap) {
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
}

/// Filters a response's fields in place (HDR-1, HDR-7); framing is left to the connection. Gives how many cookies reached
/// for other hosts, and were narrowed or taken away.
pub fn filter(headers: &mut HeaderMap, world: World, translation: Translation<'_>) -> u64 {
    let leaving: Vec<HeaderName> = headers.keys().filter(|name| !crosses(name)).cloned().collect();
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter(|value| !names::nominates_nothing(value))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::CONTENT_TYPE && *name != header::SET_COOKIE && *name != header::CONTENT_LENGTH)
        .collect();
    for name in leaving.iter().chain(&nominated) {
        headers.remove(name);
    }
    let narrowed = narrow_cookies(headers);
    if world == World::Localhost {
        for name in [header::LOCATION, header::CONTENT_LOCATION, header::ACCESS_CONTROL_ALLOW_ORIGIN] {
            translate(headers, &name, translation);
        }
    }
    narrowed
}

/// Announces the trailers of a chunked answer to a client that asked for them; HTTP/1.1 sends no others.
pub fn announce_trailers(headers: &mut HeaderMap, announced: HeaderValue) {
    headers.insert(header::TRAILER, announced);
}

/// The same for a 101, which has no content whatever an app says of its length (RFC 9110 §8.6).
pub fn filter_switch(headers: &mut HeaderMap, world: World, translation: Translation<'_>) -> u64 {
    let narrowed = filter(headers, world, translation);
    headers.remove(header::CONTENT_LENGTH);
    narrowed
}

/// Whether a field of an app's may reach its client.
pub(super) fn crosses(name: &HeaderName) -> bool {
    let reaches_beyond = matches!(
        name.as_str(),
        "clear-site-data"
            | "alt-svc"
            | "public-key-pins"
            | "public-key-pins-report-only"
            | "nel"
            | "report-to"
            | "strict-transport-security"
    );
    !reaches_beyond && !names::is_hop_by_hop(name) && !name.as_str().starts_with("proxy-") && !name.as_str().starts_with("x-portico-")
}

fn narrow_cookies(headers: &mut HeaderMap) -> u64 {
    if !headers.contains_key(header::SET_COOKIE) {
        return 0;
    }
    let set = headers.get_all(header::SET_COOKIE).iter();
    let narrowed: Vec<_> = set.map(|cookie| (cookies::narrowed(cookie), cookie.len())).collect();
    headers.remove(header::SET_COOKIE);
    let mut changed = 0;
    for (cookie, length) in narrowed {
        changed += u64::from(cookie.as_ref().is_none_or(|cookie| cookie.len() != length));
        if let Some(cookie) = cookie {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    changed
}

fn translate(headers: &mut HeaderMap, name: &HeaderName, translation: Translation<'_>) {
    let outward = headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .and_then(|url| translation.outward(url));
    if let Some(value) = outward.and_then(|url| HeaderValue::from_str(&url).ok()) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Scheme, Sites};

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter();
        pairs
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn smug_8_one_end_in_one_way() {
        #[track_caller]
        fn check(fields: &[(&'static str, &'static str)], expected: bool) {
            assert_eq!(check_framing(&map(fields)).is_ok(), expected, "{fields:?}");
        }
        check(&[], true);
        check(&[("content-length", "5")], true);
        check(&[("transfer-encoding", "Chunked")], true);
        check(&[("content-length", "5"), ("transfer-encoding", "chunked")], false);
        check(&[("content-length", "5"), ("content-length", "5")], false);
        check(&[("content-length", "5, 5")], false);
        check(&[("content-length", "+5")], false);
        check(&[("content-length", "")], false);
        check(&[("transfer-encoding", "gzip, chunked")], false);
        check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false);
        check(&[("transfer-encoding", "identity")], false);
    }

    #[test]
    fn frame_1_frames_are_confined_and_never_opened() {
        #[track_caller]
        fn check(fields: &[(&'static str, &'static str)], expected: &[&str]) {
            let mut headers = map(fields);
            confine_frames(&mut headers, "'self' https://a");
            let policies: Vec<_> = headers.get_all("content-security-policy").iter().collect();
            assert_eq!(policies, expected, "{fields:?}");
        }
        let ours = "frame-ancestors 'self' https://a";
        check(&[], &[ours]);
        check(
            &[("content-security-policy", "frame-ancestors 'none'")],
            &["frame-ancestors 'none'", ours],
        );
        check(&[("x-frame-options", "ALLOWALL")], &[ours]);
        check(&[("x-frame-options", "Deny")], &[]);
        check(&[("x-frame-options", "SAMEORIGIN")], &[]);
    }

    #[test]
    fn what_would_reach_beyond_the_app_stays_behind() {
        let sites = Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost");
        let name = "amber-x".parse().expect("a name");
        let translation = Translation {
            sites: &sites,
            name: &name,
            app_scheme: Scheme::Http,
        };
        let fields = [
            ("content-type", "text/html"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("clear-site-data", "\"cookies\""),
            ("alt-svc", "h3=\":443\""),
            ("strict-transport-security", "max-age=1"),
            ("service-worker-allowed", "/"),
            ("set-cookie", "a=1; Domain=codespaces.localhost"),
            ("set-cookie", "__Host-portico_access=evil; Path=/"),
            ("location", "http://localhost:3000/login"),
            ("access-control-allow-origin", "http://localhost:8000"),
        ];
        let mut headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        filter(&mut headers, World::Localhost, translation);
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        let expected = [
            "access-control-allow-origin: http://amber-x-8000.codespaces.localhost:8080",
            "content-type: text/html",
            "location: http://amber-x-3000.codespaces.localhost:8080/login",
            "service-worker-allowed: /",
            "set-cookie: a=1",
        ];
        assert_eq!(lines, expected);
    }
}
