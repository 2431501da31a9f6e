//! Hosts, targets and framing: what reaches an app is one request, whole, and the one that was authorized.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    gateway::{BOBS, gateway},
    wire::{Call, Connection, Reply, raw},
};

/// A request to ada's app with her token; `fields` and what follows are written as they are.
fn to_app(method_and_target: &str, fields: &str, rest: &str) -> Reply {
    let gateway = gateway();
    let (host, token) = (gateway.app(), &gateway.ada.token);
    raw(format!("{method_and_target} HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: {token}\r\n{fields}\r\n{rest}").as_bytes())
}

fn follow_up() -> String {
    let gateway = gateway();
    format!(
        "GET /smuggled HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\n\r\n",
        gateway.app(),
        gateway.ada.token
    )
}

/// It is refused with this status, the connection is closed, and the app saw nothing.
#[track_caller]
fn refused(reply: &Reply, status: u16) {
    assert_eq!((reply.statuses(), reply.stamps("ADA")), (vec![status], 0), "{}", reply.text);
    assert!(reply.closed, "the connection is not used again");
}

#[test]
fn smug_1_lengths_given_twice_or_wrongly_are_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: \r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        refused(&to_app("POST /", fields, "0\r\n\r\n"), 400);
    }
}

#[test]
fn smug_1_of_a_length_and_chunks_nothing_is_left_over() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let reply = to_app("POST /", fields, &format!("0\r\n\r\n{}", follow_up()));
        assert!(
            reply.closed && reply.statuses().len() == 1 && !reply.text.contains("/smuggled"),
            "{}",
            reply.text
        );
        assert!(
            !reply.text.contains("content-length: 5"),
            "what the app gets is framed anew: {}",
            reply.text
        );
    }
}

#[test]
fn smug_2_heads_that_recipients_read_differently_are_refused() {
    for fields in [
        "X: a\r\n b\r\n",
        "X : a\r\n",
        ": a\r\n",
        "X: a\rB: c\r\n",
        "X: a\0b\r\n",
        " X: a\r\n",
    ] {
        refused(&to_app("GET /", fields, ""), 400);
    }
}

#[test]
fn smug_1_equal_lengths_are_one_to_the_app() {
    // hyper makes one of two that are equal before anybody can see it, as RFC 9110 §8.6 allows: the app gets one.
    let reply = to_app("POST /", "Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n", "hello");
    let lengths = reply.text.matches("content-length: 5\r\n").count();
    assert_eq!((reply.stamps("ADA"), lengths), (1, 1), "{}", reply.text);
}

#[test]
fn smug_2_what_is_tolerated_is_written_anew() {
    let gateway = gateway();
    let (host, token) = (gateway.app(), &gateway.ada.token);
    for head in [
        format!("GET /a HTTP/1.1\nHost: {host}\nX-Portico-Token: {token}\nConnection: close\n\n"),
        format!("\r\n\r\nGET /a HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: {token}\r\nConnection: close\r\n\r\n"),
        format!("GET /a HTTP/1.1\r\nHost:\t {host} \t\r\nX-Portico-Token: {token}\r\nConnection: close\r\n\r\n"),
    ] {
        let reply = raw(head.as_bytes());
        let at_app = reply.text.split_once("ADA\n").map_or("", |(_, request)| request);
        assert!(at_app.starts_with("GET /a HTTP/1.1\r\nhost: localhost:"), "{}", reply.text);
        assert!(!at_app.replace("\r\n", "").contains(['\r', '\n', '\t']), "{}", reply.text);
    }
}

#[test]
fn smug_3_chunks_beyond_measure_are_refused_and_trailers_stay() {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(20_000));
    for chunks in [
        long.as_str(),
        "5 x\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "\r\nhello\r\n0\r\n\r\n",
    ] {
        let reply = to_app("POST /", "Transfer-Encoding: chunked\r\n", &format!("{chunks}{}", follow_up()));
        assert!(
            reply.closed && !reply.text.contains("ADA\nGET /smuggled"),
            "{chunks:.40}: {}",
            reply.text
        );
    }
    let fields = "Transfer-Encoding: chunked\r\nTrailer: Cookie, X-Checksum\r\nTE: trailers\r\nConnection: close\r\n";
    let trailers = "5\r\nhello\r\n0\r\nCookie: canary\r\nX-Checksum: canary\r\nX-Portico-Token: canary\r\n\r\n";
    let reply = to_app("POST /", fields, trailers);
    assert!(reply.stamps("ADA") == 1 && !reply.text.contains("canary"), "{}", reply.text);
    assert!(reply.text.contains("te: trailers\r\n"), "gRPC needs it: {}", reply.text);
}

#[test]
fn smug_7_a_body_that_nobody_read_is_no_request() {
    let gateway = gateway();
    let inside = follow_up();
    for (fields, length) in [("", inside.len()), ("", 10_000_000), ("Expect: 100-continue\r\n", inside.len())] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\n{fields}Content-Length: {length}\r\n\r\n",
            gateway.app()
        );
        let reply = raw(format!("{head}{inside}").as_bytes());
        let answers: Vec<u16> = reply.statuses().into_iter().filter(|status| *status != 100).collect();
        assert_eq!((answers, reply.stamps("ADA")), (vec![401], 0), "{}", reply.text);
    }
}

#[test]
fn smug_4_chunks_are_framed_anew() {
    let reply = to_app(
        "POST /",
        "Transfer-Encoding: chunked\r\n",
        "5;ext=\"a\"\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    assert!(reply.text.contains("5\r\nhello\r\n0\r\n"), "{}", reply.text);
    assert!(!reply.text.contains("ext=") && !reply.text.contains("6.6.6.6"), "{}", reply.text);
    let size = regex::Regex::new(r"(?m)^([0-9a-f]+)\r$").expect("a pattern");
    // A size of more digits than sixteen is the same size where zeros lead it, and leaves without them.
    for zeros in [1, 12, 16, 300] {
        let zeros = "0".repeat(zeros);
        let chunks = format!("{zeros}5\r\nhello\r\n{zeros}6\r\n world\r\n{zeros}0\r\n\r\n{}", follow_up());
        let reply = to_app("POST /", "Transfer-Encoding: chunked\r\n", &chunks);
        assert_eq!(reply.stamps("ADA"), 2, "one request and the one that follows: {}", reply.text);
        let sent = reply.text.split("ADA\n").nth(1).unwrap_or_default();
        let body = sent.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let sizes: Vec<&str> = size.captures_iter(body).filter_map(|found| Some(found.get(1)?.as_str())).collect();
        assert!(
            sizes.last() == Some(&"0") && sizes[..sizes.len() - 1].iter().all(|size| !size.starts_with('0')),
            "{sizes:?}: {}",
            reply.text
        );
    }
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ] {
        let reply = to_app("POST /", "Transfer-Encoding: chunked\r\n", chunks);
        assert!(reply.closed && reply.stamps("ADA") == 0, "{}", reply.text);
    }
}

#[test]
fn smug_5_nothing_passes_before_the_apps_own_101() {
    let socket =
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    // The app has no socket here and answers 200: what follows the head is a request like any other.
    let gateway = gateway();
    let head = |path: &str| {
        let (host, token) = (gateway.app(), &gateway.ada.token);
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: {token}\r\n{socket}\r\n")
    };
    let mut connection = Connection::open();
    connection.write(format!("{}{}", head("/"), follow_up()).as_bytes());
    let (refused, followed) = (connection.response(), connection.response());
    assert_eq!((refused.status(), refused.stamps("ADA")), (502, 0), "{}", refused.text);
    assert_eq!((followed.status(), followed.stamps("ADA")), (200, 1), "{}", followed.text);
    // With a length, what follows is a body, and no request.
    let fields = format!("{socket}Content-Length: {}\r\n", follow_up().len());
    assert_eq!(to_app("GET /", &fields, &follow_up()).stamps("ADA"), 0);
    let mut connection = Connection::open();
    connection.write(format!("{}bytes behind the head", head("/socket")).as_bytes());
    let opened = connection.response();
    assert_eq!(opened.status(), 101, "{}", opened.text);
    assert_eq!(connection.until(b"head"), b"ADAbytes behind the head");
}

#[test]
fn smug_6_and_8_answers_that_are_none_become_502() {
    let answered = |answer: &str| {
        to_app(
            "GET /",
            &format!("X-Answer: {}\r\nX-Hang-Up: 1\r\n", BASE64_STANDARD.encode(answer)),
            "",
        )
    };
    for answer in [
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 S\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 S\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 S\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 S\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 S\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 S\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.0 200 S\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "no HTTP at all\r\n\r\n",
        "",
    ] {
        assert_eq!(answered(answer).status(), 502, "{answer:?}");
    }
    let hinted = |count| {
        format!(
            "{}HTTP/1.1 200 S\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 102 P\r\n\r\n".repeat(count)
        )
    };
    assert!(answered(&hinted(16)).text.ends_with("\r\n\r\nok"));
    assert_eq!(answered(&hinted(17)).status(), 502, "an app that only chats");
    let short = answered("HTTP/1.1 200 S\r\nContent-Length: 50\r\n\r\nshort");
    assert!(short.closed && short.text.ends_with("short"), "{}", short.text);
    // What an app sends beyond its answer is no answer to anybody's next request.
    let more = answered("HTTP/1.1 200 S\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 S\r\nContent-Length: 4\r\n\r\nevil");
    assert!(more.text.ends_with("\r\n\r\nok"), "{}", more.text);
    assert_eq!(to_app("GET /", "", "").stamps("ADA"), 1);
}

#[test]
fn host_1_and_4_one_host_that_agrees_with_the_target() {
    let gateway = gateway();
    let (host, other) = (gateway.app(), gateway.port(&gateway.bob, BOBS));
    let token = format!("X-Portico-Token: {}\r\n", gateway.ada.token);
    for head in [
        format!("GET / HTTP/1.1\r\n{token}\r\n"),
        format!("GET / HTTP/1.0\r\n{token}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n{token}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {host}, {other}\r\n{token}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x@{host}\r\n{token}\r\n"),
        format!("GET http://{other}/ HTTP/1.1\r\nHost: {host}\r\n{token}\r\n"),
        format!("GET http://x@{host}/ HTTP/1.1\r\nHost: {host}\r\n{token}\r\n"),
    ] {
        refused(&raw(head.as_bytes()), 400);
    }
    assert_eq!(Call::get("evil.example".into(), "/").token(&gateway.ada.token).send().status(), 421);
    let mut spelled = Call::get(host.to_uppercase(), "/").token(&gateway.ada.token);
    for name in [
        "X-Forwarded-Host",
        "X-Host",
        "X-Original-Host",
        "Forwarded",
        "X-Original-URL",
        "X-Rewrite-URL",
    ] {
        spelled = spelled.field(name, &other);
    }
    let reply = spelled.send();
    assert!(reply.stamps("ADA") == 1 && !reply.text.contains(&other), "HOST-3: {}", reply.text);
}

#[test]
fn meth_1_path_2_and_4_odd_methods_and_targets_are_refused() {
    for method in ["CONNECT", "TRACE", "1A", &"A".repeat(33)] {
        let reply = to_app(&format!("{method} /"), "", "");
        assert!(matches!(reply.status(), 400 | 405) && reply.stamps("ADA") == 0, "{}", reply.text);
    }
    for target in ["*", "/a\\b", "a", "/a b", "/a\u{e9}", "/a\0", "/a#b", "/#", "/a?b#c"] {
        refused(&to_app(&format!("GET {target}"), "", ""), 400);
    }
    assert_eq!(to_app(&format!("GET /{}", "a".repeat(9000)), "", "").status(), 414);
}

#[test]
fn path_2_a_fragment_is_refused_in_every_request_of_a_connection() {
    let (host, token) = (gateway().app(), &gateway().ada.token);
    let head = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: {token}\r\n{more}\r\n");
    let (marked, plain) = (head("GET /marked#x", ""), head("GET /plain", ""));
    for (before, answered) in [
        ("\r\n\r\n".to_owned(), 0),
        (plain.clone(), 1),
        (format!("{plain}\r\n{plain}"), 2),
        (format!("{}#####", head("POST /plain", "Content-Length: 5\r\n")), 1),
        (
            format!("{}5\r\n#####\r\n0\r\n\r\n", head("POST /plain", "Transfer-Encoding: chunked\r\n")),
            1,
        ),
    ] {
        let reply = raw(format!("{before}{marked}{plain}").as_bytes());
        let mut statuses = vec![200; answered];
        statuses.push(400);
        assert_eq!((reply.statuses(), reply.stamps("ADA")), (statuses, answered), "{}", reply.text);
        assert!(reply.closed && !reply.text.contains("/marked"), "{}", reply.text);
    }
}

#[test]
fn path_1_no_other_spelling_is_the_reserved_prefix() {
    let host = gateway().app();
    for path in [
        "/%2eportico/redeem",
        "//.portico/redeem",
        "/./.portico/redeem",
        "/.PORTICO/redeem",
        "/.portico%2fredeem",
        "/x/../.portico/redeem",
        "/.portico;a/redeem",
        "/%2e%70ortico/static/hop.js",
        "/.portico",
    ] {
        let reply = to_app(&format!("POST {path}"), "Connection: close\r\n", "");
        assert!(reply.text.contains(&format!("ADA\nPOST {path} HTTP/1.1")), "{}", reply.text);
        assert_eq!(Call::get(host.clone(), path).send().status(), 401, "{path}");
    }
}

#[test]
fn path_3_odd_paths_arrive_as_they_are() {
    let mut paths: Vec<String> = [
        "//x",
        "/a/../b",
        "/a/./b;c=d",
        "/%2e%2e/%zz%",
        "/?%0d%0aX:y",
        "/a?b?c=?",
        "/a%00b",
        "/?",
    ]
    .map(str::to_owned)
    .into();
    for byte in (b'!'..=b'~').filter(|byte| !matches!(byte, b'#' | b'\\' | b'<' | b'>')) {
        let char = char::from(byte);
        // No browser writes these there, and the parser takes none.
        let path = if byte == b'`' { '_' } else { char };
        let query = if matches!(byte, b'"' | b'<' | b'>') { '_' } else { char };
        paths.extend([
            format!("/a{path}b{path}"),
            format!("/?{query}={query}"),
            format!("/%{byte:02x}%{byte:02X}/{path}"),
        ]);
    }
    assert!(paths.len() > 200);
    // An absolute target without a path is one for `/`.
    let bare = format!("GET http://{}", gateway().app());
    let reply = to_app(&bare, "Connection: close\r\n", "");
    assert!(reply.text.contains("ADA\nGET / HTTP/1.1\r\n"), "{}", reply.text);
    for path in paths {
        let reply = to_app(&format!("GET {path}"), "Connection: close\r\n", "");
        assert!(
            reply.text.contains(&format!("ADA\nGET {path} HTTP/1.1\r\n")),
            "{path}: {}",
            reply.text
        );
    }
}

#[test]
fn hdr_10_a_head_that_grew_too_large_heals_itself() {
    let gateway = gateway();
    let cookies: String = (0..4).map(|index| format!("c{index}={}; ", "x".repeat(4500))).collect();
    let bombed = |host: String| Call::get(host, "/").cookie(&cookies).send();
    let reply = bombed(gateway.app());
    assert_eq!(
        (reply.status(), reply.fields("clear-site-data")),
        (431, vec!["\"cookies\""]),
        "{}",
        reply.text
    );
    let reply = bombed(gateway.host());
    assert_eq!((reply.status(), reply.fields("clear-site-data")), (431, vec![]), "{}", reply.text);

    // All that a browser keeps for a site, far beyond what is read of a head.
    let all: String = (0..180).map(|index| format!("c{index}={}; ", "x".repeat(4080))).collect();
    let reply = raw(format!("GET / HTTP/1.1\r\nHost: {}\r\nCookie: {all}\r\n\r\n{}", gateway.app(), follow_up()).as_bytes());
    refused(&reply, 431);
    assert_eq!(reply.fields("clear-site-data"), ["\"cookies\""], "{}", reply.text);

    // What is not the cookies' doing takes none away: any page can send such a head to its own host.
    let own: String = (0..5).map(|index| format!("X-Own-{index}: {}\r\n", "x".repeat(15_000))).collect();
    for more in [String::new(), format!("Cookie: {all}\r\n")] {
        let reply = raw(format!("GET / HTTP/1.1\r\nHost: {}\r\n{own}{more}\r\n", gateway.app()).as_bytes());
        refused(&reply, 431);
        assert_eq!(reply.fields("clear-site-data"), Vec::<&str>::new(), "{}", reply.text);
    }
}

#[test]
fn hdr_10_a_head_that_is_cut_at_any_byte_is_answered_with_the_page() {
    use portico::forward::admission::MAX_HEAD_BYTES;
    // So much is kept, and what comes in the piece after that is forgotten.
    let kept = MAX_HEAD_BYTES + 16 * 1024 + 1;
    let gateway = gateway();
    let begin = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\nCookie: c=",
        gateway.app()
    );
    let cut = |end: &str, at: usize| {
        let cookie = "x".repeat(kept - at - begin.len() - 2);
        let mut connection = Connection::open();
        connection.write(format!("{begin}{cookie}\r\n{}", &end[..at]).as_bytes());
        // Meanwhile that was read, as a rule: in whatever pieces it is read, the answer is the same.
        assert_eq!(Call::get(gateway.app(), "/").send().status(), 401);
        connection.write(format!("{}{}", &end[at..], follow_up()).as_bytes());
        let reply = connection.response();
        assert_eq!(
            (reply.status(), reply.fields("clear-site-data")),
            (431, vec!["\"cookies\""]),
            "cut at {at} of {end:?}: {}",
            reply.text
        );
        assert!(reply.body().contains("</html>"), "{}", reply.text);
        assert_eq!(connection.rest(), b"", "nothing of what follows is answered");
    };
    std::thread::scope(|scope| {
        for end in [
            "X-More: y\r\n\r\n",
            "Content-Length: 12\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
        ] {
            scope.spawn(move || (0..end.len()).for_each(|at| cut(end, at)));
        }
    });
}
