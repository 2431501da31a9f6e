//! Our refusals and failures as gRPC clients read them: a status in the head of an answer that ends with it.
//!
//! A client of gRPC that is answered otherwise says "unknown" and shows the bytes. gRPC-Web is left out: what a page's
//! `fetch` is refused with is read by `fetch`.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::Body;

/// Most bytes of a message before it is written for the wire, where each may become three.
const MAX_MESSAGE: usize = 500;

/// The answer that says a status of HTTP and its text in gRPC's way, "trailers only".
pub(super) fn answer(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(code(status)));
    if let Ok(message) = HeaderValue::from_str(&written(text)) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    response
}

/// Whether a content type is gRPC's: `application/grpc`, with an encoding of messages or without.
pub(super) fn is_grpc(content_type: &str) -> bool {
    let rest = content_type
        .get(..16)
        .filter(|start| start.eq_ignore_ascii_case("application/grpc"));
    rest.is_some() && matches!(content_type.as_bytes().get(16), None | Some(b'+' | b';' | b' '))
}

/// The status code of gRPC: <https://grpc.io/docs/guides/status-codes>. A gateway that cannot reach the app for whatever
/// reason is "unavailable", which clients may try again.
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 | 410 => 7,
        404 => 5,
        405 => 12,
        413 | 429 => 8,
        500 => 13,
        502..=504 => 14,
        400..=499 => 3,
        _ => 2,
    }
}

/// Writes a message as gRPC does: printable ASCII but `%` as it is, every other byte as `%XX`.
fn written(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(MAX_MESSAGE)];
    text.bytes().fold(String::new(), |mut written, byte| {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => written.push(char::from(byte)),
            _ => write!(written, "%{byte:02X}").unwrap_or_default(),
        }
        written
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_grpc_are_known() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; x=y", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("application/json", false),
            ("application/grp\u{e9}+", false),
        ] {
            assert_eq!(is_grpc(kind), expected, "{kind}");
        }
    }

    #[test]
    fn a_status_and_its_text_are_in_the_head() {
        let answer = answer(StatusCode::UNAUTHORIZED, "100% of “it”\r\nx: y");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "16");
        assert_eq!(answer.headers()["grpc-message"], "100%25 of %E2%80%9Cit%E2%80%9D%0D%0Ax: y");
        assert!(hyper::body::Body::is_end_stream(answer.body()));
        let long = written(&"é".repeat(400));
        assert_eq!(long.len(), 3 * MAX_MESSAGE);
        for (status, expected) in [
            (403, 7),
            (404, 5),
            (400, 3),
            (421, 3),
            (429, 8),
            (502, 14),
            (503, 14),
            (504, 14),
            (507, 2),
        ] {
            assert_eq!(code(StatusCode::from_u16(status).expect("a status")), expected, "{status}");
        }
    }
}
