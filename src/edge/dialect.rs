//! What HTTP/2 says differently, said as HTTP/1.1 does, so that the pipeline knows one language.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::Protocol;

use super::Body;

/// What a request was before it was translated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Said {
    Plainly,
    /// A WebSocket in the way of RFC 8441: an extended CONNECT.
    ExtendedConnect,
}

/// Translates a request of HTTP/2.
pub(super) fn translate<B>(request: &mut Request<B>) -> Said {
    if request.version() != Version::HTTP_2 {
        return Said::Plainly;
    }
    join_cookies(request.headers_mut());
    if request.method() != Method::CONNECT || !asks_for_websocket(request.extensions()) {
        return Said::Plainly;
    }
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    // HTTP/2 has none: the upstream gets one of ours, and its answer to that is checked.
    if let Ok(key) = HeaderValue::from_str(&STANDARD.encode(rand::random::<[u8; 16]>())) {
        headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
    Said::ExtendedConnect
}

/// Translates the answer back.
pub(super) fn answer(said: Said, response: &mut Response<Body>) {
    if said == Said::Plainly {
        return;
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        for name in [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT] {
            response.headers_mut().remove(name);
        }
    } else if response.status().is_success() {
        // To an extended CONNECT any success would mean that the tunnel is there.
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
}

fn asks_for_websocket(extensions: &Extensions) -> bool {
    extensions
        .get::<Protocol>()
        .is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"))
}

/// Joins the crumbs of a `Cookie` field, which HTTP/2 lets clients send one by one (RFC 9113 §8.2.3, SMUG-10).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_become_one_field() {
        let mut request = Request::builder().version(Version::HTTP_2).uri("https://a/");
        for crumb in ["a=1", "b=2; c=3", "d=\u{e9}"] {
            request = request.header("cookie", crumb);
        }
        let mut request = request.body(()).expect("a request");
        assert_eq!(translate(&mut request), Said::Plainly);
        let cookies: Vec<_> = request.headers().get_all("cookie").iter().collect();
        assert_eq!(
            cookies,
            [HeaderValue::from_bytes("a=1; b=2; c=3; d=\u{e9}".as_bytes()).expect("a value")]
        );
    }

    #[test]
    fn only_an_extended_connect_for_a_websocket_becomes_one() {
        #[track_caller]
        fn check(method: Method, protocol: Option<&'static str>, version: Version, expected: Said) {
            let mut request = Request::builder().method(method).version(version).uri("https://a/b");
            if let Some(protocol) = protocol {
                request = request.extension(Protocol::from_static(protocol));
            }
            let mut request = request.body(()).expect("a request");
            assert_eq!(translate(&mut request), expected);
            let became = request.method() == Method::GET && request.headers().contains_key("sec-websocket-key");
            assert_eq!(became, expected == Said::ExtendedConnect);
        }
        check(Method::CONNECT, Some("websocket"), Version::HTTP_2, Said::ExtendedConnect);
        check(Method::CONNECT, Some("connect-udp"), Version::HTTP_2, Said::Plainly);
        check(Method::CONNECT, None, Version::HTTP_2, Said::Plainly);
        check(Method::GET, Some("websocket"), Version::HTTP_2, Said::Plainly);
        check(Method::CONNECT, Some("websocket"), Version::HTTP_11, Said::Plainly);
    }

    #[test]
    fn no_answer_but_the_switch_is_a_tunnel() {
        #[track_caller]
        fn check(status: u16, expected: u16) {
            let mut response = Response::builder()
                .status(status)
                .header("sec-websocket-accept", "x")
                .body(Body::empty())
                .expect("a response");
            answer(Said::ExtendedConnect, &mut response);
            assert_eq!(response.status(), expected);
        }
        check(101, 200);
        check(200, 400);
        check(204, 400);
        check(303, 303);
        check(404, 404);
    }
}
