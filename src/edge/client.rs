//! What kind of client asks: a person's navigation, a page's fetch, a WebSocket, a program.

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use super::grpc;
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
    /// A call of gRPC, which reads a status of its own.
    Grpc,
    /// `fetch`, an image, a command line.
    Program,
}

/// The fields that tell who asks, read in one pass; of a field that stands twice the first counts.
#[derive(Clone, Copy, Default)]
struct Hints<'a> {
    origin: Option<&'a HeaderValue>,
    second_origin: bool,
    upgrade: Option<&'a HeaderValue>,
    request_method: bool,
    accept: Option<&'a str>,
    referer: Option<&'a str>,
    site: Option<&'a str>,
    mode: Option<&'a str>,
    dest: Option<&'a str>,
    navigates: Option<&'a str>,
    service_worker: Option<&'a str>,
    content_type: Option<&'a str>,
    purpose: bool,
    attended: bool,
    brands: bool,
}

impl<'a> Hints<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let mut hints = Self::default();
        let mut seen = [false; 8];
        for (name, value) in headers {
            let (index, text) = match name.as_str() {
                "accept" => (0, &mut hints.accept),
                "referer" => (1, &mut hints.referer),
                "sec-fetch-site" => (2, &mut hints.site),
                "sec-fetch-mode" => (3, &mut hints.mode),
                "sec-fetch-dest" => (4, &mut hints.dest),
                "upgrade-insecure-requests" => (5, &mut hints.navigates),
                "service-worker" => (6, &mut hints.service_worker),
                "content-type" => (7, &mut hints.content_type),
                "origin" => {
                    hints.second_origin = hints.origin.is_some();
                    hints.origin = hints.origin.or(Some(value));
                    continue;
                }
                "upgrade" => {
                    hints.upgrade = hints.upgrade.or(Some(value));
                    continue;
                }
                "access-control-request-method" => {
                    hints.request_method = true;
                    continue;
                }
                "sec-fetch-user" => {
                    hints.attended = value.as_bytes() == b"?1";
                    continue;
                }
                // Browsers that send this also send the one above.
                "sec-ch-ua" => {
                    hints.brands = true;
                    continue;
                }
                "sec-purpose" => {
                    hints.purpose = true;
                    continue;
                }
                _ => continue,
            };
            if !std::mem::replace(&mut seen[index], true) {
                *text = value.to_str().ok();
            }
        }
        hints
    }

    fn is_websocket(&self, headers: &HeaderMap) -> bool {
        let upgrade = self
            .upgrade
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        upgrade && has_token(headers, &header::CONNECTION, b"upgrade")
    }

    /// The one `Origin`; where there are two, or one that is no text, what equals no origin of ours.
    fn origin(&self) -> Option<&'a str> {
        let first = self.origin?;
        Some(first.to_str().ok().filter(|_| !self.second_origin).unwrap_or("unreadable"))
    }
}

/// Tells the kind of client from a head.
pub fn kind(method: &Method, headers: &HeaderMap) -> Kind {
    let hints = Hints::read(headers);
    if hints.is_websocket(headers) {
        return Kind::WebSocket;
    }
    if *method == Method::OPTIONS && hints.origin.is_some() && hints.request_method {
        return Kind::Preflight;
    }
    if hints.service_worker == Some("script") {
        return Kind::WorkerScript;
    }
    if *method == Method::POST && hints.content_type.is_some_and(grpc::is_grpc) {
        return Kind::Grpc;
    }
    if *method != Method::GET && *method != Method::HEAD {
        return Kind::Program;
    }
    match hints.mode {
        Some("navigate") if hints.dest.is_none_or(|dest| matches!(dest, "document" | "empty")) => Kind::Navigation { framed: false },
        Some("navigate") if matches!(hints.dest, Some("iframe" | "frame")) => Kind::Navigation { framed: true },
        None if hints.accept.is_some_and(|accept| accept.contains("text/html")) => Kind::Navigation { framed: false },
        _ => Kind::Program,
    }
}

/// What the head says about the page that caused the request.
pub fn cause(head: &Parts) -> Cause<'_> {
    let hints = Hints::read(&head.headers);
    Cause {
        safe_method: head.method == Method::GET || head.method == Method::HEAD,
        websocket: hints.is_websocket(&head.headers),
        origin: hints.origin(),
        referer: hints.referer,
        site: hints.site,
        mode: hints.mode,
        dest: hints.dest,
        navigates: hints.navigates == Some("1"),
        speculative: hints.purpose,
        unattended: hints.brands && !hints.attended,
    }
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
        check("POST", &[("content-type", "application/grpc+proto")], Kind::Grpc);
        check("POST", &[("content-type", "application/grpc-web+proto")], Kind::Program);
        check("GET", &[("content-type", "application/grpc")], Kind::Program);
        check("OPTIONS", &[], Kind::Program);
        check(
            "GET",
            &[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")],
            Kind::WebSocket,
        );
        check("GET", &[("upgrade", "websocket"), ("accept", "text/html")], page);
    }
}
