//! What an app may take for granted at home holds behind the gateway: its redirects, its time, pieces of files, and the
//! word to go on with a body.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    gateway::{PORT, SIBLING, gateway},
    wire::{Call, Connection, Reply},
};

/// Has the app answer these bytes.
fn answer(bytes: &str) -> Reply {
    let gateway = gateway();
    let call = Call::get(gateway.app(), "/").token(&gateway.ada.token);
    call.field("X-Answer", BASE64_STANDARD.encode(bytes)).send()
}

#[test]
fn redirects_to_localhost_come_back_as_forwarded_addresses() {
    let gateway = gateway();
    let (own, sibling) = (gateway.app(), gateway.port(&gateway.ada, SIBLING));
    let redirected = |location: &str| {
        let reply = answer(&format!("HTTP/1.1 302 S\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(reply.status(), 302, "{}", reply.text);
        reply.fields("location")[0].to_owned()
    };
    for host in ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"] {
        assert_eq!(redirected(&format!("http://{host}:{PORT}/a?b#c")), format!("http://{own}/a?b#c"));
        assert_eq!(redirected(&format!("http://{host}:{SIBLING}")), format!("http://{sibling}"));
        assert_eq!(redirected(&format!("//{host}:{PORT}/")), format!("http://{own}/"));
    }
    for other in [
        "/a",
        "a",
        "https://example.com/",
        "http://localhost.example.com:3000/",
        "http://localhost:3000@example.com/",
    ] {
        assert_eq!(redirected(other), other);
    }
    let path = format!("/api/v1/codespaces/{}/ports/{SIBLING}", gateway.ada.codespace);
    let set = |world: &str| {
        let call = Call::new("PATCH", gateway.host(), &path).json(&json!({ "host_header": world }));
        let reply = call.field("Authorization", format!("Bearer {}", gateway.ada.token)).send();
        assert_eq!(reply.status(), 200, "{}", reply.text);
    };
    set("preserve");
    let bytes = format!("HTTP/1.1 302 S\r\nLocation: http://localhost:{PORT}/\r\nContent-Length: 0\r\n\r\n");
    let call = Call::get(sibling, "/").token(&gateway.ada.token);
    let kept = call.field("X-Answer", BASE64_STANDARD.encode(bytes)).send();
    set("localhost");
    assert_eq!(kept.fields("location"), [format!("http://localhost:{PORT}/")], "{}", kept.text);
}

#[test]
fn a_client_that_waits_for_the_word_gets_it_and_the_app_gets_the_body() {
    let gateway = gateway();
    let mut connection = Connection::open();
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        gateway.app(),
        gateway.ada.token
    );
    connection.write(head.as_bytes());
    assert_eq!(connection.response().status(), 100);
    connection.write(b"hello");
    let reply = connection.response();
    assert!(reply.status() == 200 && reply.text.ends_with("\r\n\r\nhello"), "{}", reply.text);
    assert_eq!(reply.stamps("ADA"), 1);
}

#[test]
fn what_comes_before_an_answer_does_not_spoil_it() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let reply = answer(&format!("{hints}HTTP/1.1 200 S\r\nContent-Length: 2\r\n\r\nhi"));
    assert_eq!((reply.statuses(), reply.body()), (vec![200], "hi"), "{}", reply.text);
}

#[test]
fn pieces_of_files_pass_as_they_are() {
    let gateway = gateway();
    let asked = [("Range", "bytes=2-3,7-"), ("If-Range", "\"v1\"")];
    let seen = Call::get(gateway.app(), "/film").token(&gateway.ada.token).fields(&asked).send();
    for (name, value) in asked {
        assert!(
            seen.body().contains(&format!("\r\n{}: {value}\r\n", name.to_ascii_lowercase())),
            "{}",
            seen.text
        );
    }
    let piece = answer("HTTP/1.1 206 S\r\nContent-Range: bytes 2-3/9\r\nAccept-Ranges: bytes\r\nContent-Length: 2\r\n\r\ncd");
    let fields = ["content-range", "accept-ranges", "content-length"].map(|name| piece.fields(name)[0]);
    assert_eq!((piece.status(), fields, piece.body()), (206, ["bytes 2-3/9", "bytes", "2"], "cd"));
    let beyond = answer("HTTP/1.1 416 S\r\nContent-Range: bytes */9\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((beyond.status(), beyond.fields("content-range")), (416, vec!["bytes */9"]));
}

/// Longer than this gateway waits for a request's head.
#[test]
fn an_app_may_take_its_time() {
    let gateway = gateway();
    let call = Call::get(gateway.app(), "/poll").token(&gateway.ada.token).field("X-Wait", "10000");
    assert_eq!(call.send().status(), 200);
}

#[test]
fn the_id_of_a_refusal_explains_it_to_the_owner() {
    let gateway = gateway();
    let refused = Call::get(gateway.app(), "/data.json").field("X-Portico-Token", "pt_wrong").send();
    assert_eq!(refused.status(), 401, "{}", refused.text);
    let id = refused.fields("x-request-id")[0];
    let explain = |token: &str| {
        let call = Call::get(gateway.host(), &format!("/api/v1/explain?trace={id}"));
        call.field("Authorization", format!("Bearer {token}")).send()
    };
    let told = explain(&gateway.ada.token).json();
    assert_eq!(
        (told["port"].as_u64(), told["recent"][0]["path"].as_str()),
        (Some(PORT.into()), Some("/data.json")),
        "{told}"
    );
    assert!(
        told["recent"][0]["what"]
            .as_str()
            .is_some_and(|what| what.contains("token is wrong")),
        "{told}"
    );
    assert_eq!(
        (told["upstream"]["status"].as_u64(), told["advice"].as_array().map(Vec::len)),
        (Some(200), Some(0)),
        "{told}"
    );
    assert_eq!(explain(&gateway.bob.token).status(), 404);
}

#[test]
fn a_sibling_that_sends_no_cookie_is_told_how() {
    let gateway = gateway();
    let sibling = format!("http://{}", gateway.port(&gateway.ada, SIBLING));
    let ask = |origin: &str, dest: &str| {
        let marks = [
            ("Origin", origin),
            ("Sec-Fetch-Site", "same-site"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", dest),
        ];
        Call::get(gateway.app(), "/module.js").fields(&marks).send()
    };
    let hint = |reply: &Reply| reply.json()["hint"].as_str().unwrap_or_default().to_owned();
    let script = ask(&sibling, "script");
    assert_eq!(script.status(), 401);
    assert!(hint(&script).contains("crossorigin=\"use-credentials\""), "{}", script.text);
    assert!(hint(&ask(&sibling, "empty")).contains("credentials: 'include'"));
    assert_eq!(hint(&ask("https://evil.example", "script")), "");
}
