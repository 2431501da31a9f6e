//! Trailers: the fields behind a body, of which only those cross that say something about the content (SMUG-3).
//!
//! gRPC ends each call with some. Everybody else gets them by asking for them (`TE: trailers`); nobody gets any that a
//! recipient might take for what belongs into a head (RFC 9110 §6.5.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{names, response};

/// Longest announcement that is passed on, in bytes.
const MAX_ANNOUNCED: usize = 1024;

/// Who may get trailers of an app.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trailers {
    Pass,
    Drop,
}

impl Trailers {
    /// Decides by the request as it goes to the app, and by the app's answer.
    pub fn of(asked: bool, answer: &HeaderMap) -> Self {
        if asked || is_grpc(answer) { Self::Pass } else { Self::Drop }
    }
}

/// Whether a head is of gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The trailers of a request that an app may see.
pub fn of_request(fields: HeaderMap) -> HeaderMap {
    kept(fields, |name, value| {
        may_trail(name)
            && !names::is_gateways_own(name.as_str())
            && !names::is_ours_in_disguise(name.as_str())
            && !names::holds_our_token(value.as_bytes())
    })
}

/// The trailers of an answer that a client may see; none if there are none.
pub fn of_answer(fields: HeaderMap, pass: Trailers) -> Option<HeaderMap> {
    if pass == Trailers::Drop {
        return None;
    }
    Some(kept(fields, |name, _| may_trail_answer(name))).filter(|fields| !fields.is_empty())
}

/// What an app's `Trailer` field announces and may come: HTTP/1.1 sends no others.
pub fn announced(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::TRAILER).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let list: Vec<String> = names.filter(may_trail_answer).map(|name| name.as_str().to_owned()).collect();
    let list = list.join(", ");
    let fits = !list.is_empty() && list.len() <= MAX_ANNOUNCED;
    HeaderValue::from_str(&list).ok().filter(|_| fits)
}

fn kept(mut fields: HeaderMap, may: impl Fn(&HeaderName, &HeaderValue) -> bool) -> HeaderMap {
    let leaving = fields.iter().filter(|(name, value)| !may(name, value));
    let leaving: Vec<HeaderName> = leaving.map(|(name, _)| name.clone()).collect();
    for name in leaving {
        fields.remove(name);
    }
    fields
}

/// Whether a field means the same behind a body, and nothing to whoever stands between.
fn may_trail(name: &HeaderName) -> bool {
    let text = name.as_str();
    let in_heads_alone = matches!(
        text,
        "host"
            | "cookie"
            | "set-cookie"
            | "authorization"
            | "www-authenticate"
            | "location"
            | "cache-control"
            | "clear-site-data"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "content-security-policy"
            | "expect"
            | "max-forwards"
            | "origin"
            | "pragma"
            | "range"
            | "referer"
            | "vary"
    ) || ["access-control-", "if-", "sec-", "proxy-", "x-portico-", "x-forwarded-"]
        .iter()
        .any(|prefix| text.starts_with(prefix));
    !in_heads_alone && !names::is_hop_by_hop(name)
}

/// The same of an answer, and whether it would cross in a head (HDR-7).
fn may_trail_answer(name: &HeaderName) -> bool {
    may_trail(name) && response::crosses(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter();
        pairs
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn smug_3_only_what_belongs_behind_a_body_passes() {
        let fields = [
            ("grpc-status", "0"),
            ("grpc-message", "ok"),
            ("x-checksum", "1"),
            ("set-cookie", "a=1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("access-control-allow-origin", "*"),
            ("x-portico-token", "pt_1"),
            ("alt-svc", "h3=\":1\""),
            ("report-to", "{}"),
            ("strict-transport-security", "max-age=0"),
        ];
        let passed = of_answer(map(&fields), Trailers::Pass).expect("some");
        let names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["grpc-status", "grpc-message", "x-checksum"]);
        assert_eq!(of_answer(map(&fields), Trailers::Drop), None);
        assert_eq!(of_answer(map(&fields[3..]), Trailers::Pass), None);
        let sent = of_request(map(&[
            ("x-sum", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("cookie", "a"),
            ("x-real-ip", "6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("transfer_encoding", "chunked"),
        ]));
        assert_eq!(sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn those_who_ask_get_them_and_grpc_always() {
        assert_eq!(Trailers::of(true, &map(&[])), Trailers::Pass);
        assert_eq!(
            Trailers::of(false, &map(&[("content-type", "application/grpc+proto")])),
            Trailers::Pass
        );
        assert_eq!(Trailers::of(false, &map(&[("content-type", "text/html")])), Trailers::Drop);
    }

    #[test]
    fn an_announcement_names_only_what_may_come() {
        let list = announced(&map(&[("trailer", "X-Checksum, Set-Cookie,content-length, ,grpc-status, NEL")]));
        assert_eq!(list.expect("some"), "x-checksum, grpc-status");
        assert_eq!(announced(&map(&[("trailer", "Host")])), None);
        assert_eq!(announced(&map(&[])), None);
    }
}
