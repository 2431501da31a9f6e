//! What kind of client asks: a person's navigation, a page's fetch, a WebSocket, a program.

use http::{HeaderMap, Method, header, request::Parts};

use crate::policy::browser::Cause;

/// The kinds that are answered differently when something is in the way (AUTH-1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A page for a person: can be sent to sign-in and shown an HTML page.
    Navigation {
        /// Inside a frame.
        framed: bool,
    },
    /// A service worker's script: without a valid cookie it gets one that removes the worker.
    WorkerScript,
    /// A CORS preflight, which never carries credentials.
    Preflight,
    WebSocket,
    /// `fetch`, an image, a command line.
    Program,
}

/// Tells the kind of client from a head.
pub fn kind(method: &Method, headers: &HeaderMap) -> Kind {
    let text = |name: &str| text(headers, name);
    if is_websocket(headers) {
        return Kind::WebSocket;
    }
    if *method == Method::OPTIONS && headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return Kind::Preflight;
    }
    if text("service-worker") == Some("script") {
        return Kind::WorkerScript;
    }
    if *method != Method::GET && *method != Method::HEAD {
        return Kind::Program;
    }
    let dest = text("sec-fetch-dest");
    match text("sec-fetch-mode") {
        Some("navigate") if dest.is_none_or(|dest| matches!(dest, "document" | "empty")) => Kind::Navigation { framed: false },
        Some("navigate") if matches!(dest, Some("iframe" | "frame")) => Kind::Navigation { framed: true },
        None if text("accept").is_some_and(|accept| accept.contains("text/html")) => Kind::Navigation { framed: false },
        _ => Kind::Program,
    }
}

/// Whether the client asks for a WebSocket in the way of HTTP/1.1 (RFC 6455 §4.1).
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrade && has_token(headers, &header::CONNECTION, b"upgrade")
}

/// What the head says about the page that caused the request.
pub fn cause(head: &Parts) -> Cause<'_> {
    Cause {
        safe_method: head.method == Method::GET || head.method == Method::HEAD,
        websocket: is_websocket(&head.headers),
        origin: origin(&head.headers),
        referer: text(&head.headers, "referer"),
        site: text(&head.headers, "sec-fetch-site"),
        mode: text(&head.headers, "sec-fetch-mode"),
        dest: text(&head.headers, "sec-fetch-dest"),
        navigates: text(&head.headers, "upgrade-insecure-requests") == Some("1"),
    }
}

/// The one `Origin`; where there are two, or one that is no text, what equals no origin of ours.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let first = origins.next()?;
    Some(first.to_str().ok().filter(|_| origins.next().is_none()).unwrap_or("unreadable"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a list field has a token, in any case.
pub fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        #[track_caller]
        fn check(method: &str, fields: &[(&str, &str)], expected: Kind) {
            let request = fields
                .iter()
                .fold(http::Request::builder().method(method), |request, (name, value)| {
                    request.header(*name, *value)
                });
            let request = request.body(()).expect("a request");
            assert_eq!(kind(request.method(), request.headers()), expected, "{method} {fields:?}");
        }
        let page = Kind::Navigation { framed: false };
        check("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], page);
        check("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "empty")], page);
        check(
            "GET",
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            Kind::Navigation { framed: true },
        );
        check("GET", &[("accept", "text/html,*/*")], page);
        check("GET", &[("accept", "*/*")], Kind::Program);
        check("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/html")], Kind::Program);
        check(
            "GET",
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")],
            Kind::Program,
        );
        check(
            "POST",
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
            Kind::Program,
        );
        check("GET", &[("service-worker", "script")], Kind::WorkerScript);
        check(
            "OPTIONS",
            &[("origin", "http://a"), ("access-control-request-method", "PUT")],
            Kind::Preflight,
        );
        check("OPTIONS", &[], Kind::Program);
        check(
            "GET",
            &[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")],
            Kind::WebSocket,
        );
        check("GET", &[("upgrade", "websocket"), ("accept", "text/html")], page);
    }
}
