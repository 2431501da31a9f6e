//! Header fields on their way to an app and back: what is ours, what belongs to one connection, what is too much.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    browser::NAVIGATION,
    gateway::{Gateway, gateway},
    wire::{Call, Reply},
};

const EVIL: &str = "6.6.6.6";

fn to_app(gateway: &Gateway) -> Call {
    Call::get(gateway.app(), "/").token(&gateway.ada.token)
}

/// The fields that the app saw, as `name: value`.
fn seen(reply: &Reply) -> Vec<&str> {
    assert_eq!(reply.stamps("ADA"), 1, "{}", reply.text);
    reply
        .text
        .split_once("ADA\n")
        .map_or("", |(_, request)| request)
        .lines()
        .skip(1)
        .collect()
}

fn saw(reply: &Reply, name: &str) -> bool {
    seen(reply)
        .iter()
        .any(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))
}

#[test]
fn hdr_1_what_belongs_to_a_connection_stays_there() {
    let gateway = gateway();
    let names = [
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
    ];
    let call = names.iter().fold(to_app(gateway), |call, name| call.field(name, "canary"));
    let reply = call
        .field("Connection", "close, upgrade, http2-settings, x-mine")
        .field("X-Mine", "canary")
        .send();
    assert!(!reply.text.contains("canary"), "{}", reply.text);
    for name in names.iter().chain(&["connection", "transfer-encoding"]) {
        assert!(!saw(&reply, name), "{name}: {}", reply.text);
    }
    let fields: String = names
        .iter()
        .filter(|name| **name != "upgrade")
        .map(|name| format!("{name}: canary\r\n"))
        .collect();
    let answer = format!("HTTP/1.1 200 S\r\n{fields}Connection: X-Mine\r\nX-Mine: canary\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n");
    let reply = to_app(gateway).field("X-Answer", BASE64_STANDARD.encode(answer)).send();
    assert_eq!((reply.status(), reply.fields("x-kept")), (200, vec!["1"]), "{}", reply.text);
    assert!(!reply.text.contains("canary"), "{}", reply.text);
}

#[test]
fn hdr_2_nominating_what_says_who_asks_is_refused() {
    let gateway = gateway();
    for name in [
        "Host",
        "COOKIE",
        "authorization",
        "Content-Length",
        "x-forwarded-for",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Real-IP",
        "X-Portico-Token",
        "x-request-id",
        "Origin",
        "Sec-Fetch-Site",
    ] {
        for (first, second) in [
            (name.to_owned(), "close"),
            (format!("close,\t{name} , x"), "keep-alive"),
            ("close".into(), name),
        ] {
            let call = to_app(gateway).field("Connection", first).field("Connection", second);
            let reply = call.send();
            assert_eq!((reply.status(), reply.stamps("ADA")), (400, 0), "{name}: {}", reply.text);
        }
    }
}

#[test]
fn hdr_3_underscores_disguise_nothing() {
    let gateway = gateway();
    for name in [
        "X_Forwarded_For",
        "X_Forwarded-Host",
        "x_real_ip",
        "X_PORTICO_TOKEN",
        "X-Portico_User",
        "Content_Length",
        "Transfer_Encoding",
        "X_Request_Id",
        "X_Original_URL",
        "CF_Connecting_IP",
        "Proxy_Authorization",
        "Keep_Alive",
    ] {
        let reply = to_app(gateway).field(name, "1").send();
        assert_eq!((reply.status(), reply.stamps("ADA")), (400, 0), "{name}: {}", reply.text);
    }
    assert!(seen(&to_app(gateway).field("my_header", "1").send()).contains(&"my_header: 1"));
}

#[test]
fn hdr_4_only_the_gateway_says_who_asks_and_where() {
    let gateway = gateway();
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Original-URI",
        "X-Original-Host",
        "X-Rewrite-URL",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Portico-User",
        "Proxy",
    ];
    let call = names.iter().fold(to_app(gateway), |call, name| {
        call.field(name, EVIL).field(&name.to_ascii_uppercase(), EVIL)
    });
    let reply = call.send();
    assert!(!reply.text.contains(EVIL), "{}", reply.text);
    let seen = seen(&reply);
    for line in ["x-forwarded-for: 127.0.0.1", "forwarded: for=127.0.0.1"] {
        assert_eq!(seen.iter().filter(|found| **found == line).count(), 1, "{line}: {}", reply.text);
    }
}

#[test]
fn hdr_6_our_own_pages_repeat_nothing_that_was_sent() {
    let gateway = gateway();
    let nothing_listens = gateway.port(&gateway.ada, 9);
    for host in [nothing_listens, gateway.app(), gateway.editor(&gateway.ada), gateway.host()] {
        for fields in [&NAVIGATION[..], &[]] {
            let call = Call::get(host.clone(), "/nowhere").fields(fields).cookie("a=canary-cookie");
            let reply = call.field("Authorization", "Bearer canary-authorization").send();
            assert!(!reply.text.contains("canary"), "{host}: {}", reply.text);
        }
    }
}

#[test]
fn hdr_8_nothing_is_put_into_our_fields() {
    let gateway = gateway();
    let id = |sent: &str| {
        let reply = to_app(gateway).field("X-Request-Id", sent).send();
        let line = seen(&reply).into_iter().find_map(|line| line.strip_prefix("x-request-id: "));
        line.map(str::to_owned).unwrap_or_else(|| panic!("{}", reply.text))
    };
    assert_eq!(id("Trace-17"), "Trace-17");
    for odd in ["", "a b", "a;b", "\u{e9}", "a\tb", &"a".repeat(65)] {
        let given = id(odd);
        assert!(given != odd && given.len() == 16, "{odd:?} became {given:?}");
    }
    for path in ["/%0d%0aX-Evil:1", "/?a=%0D%0ASet-Cookie:%20x=1", "/%00", "/%22%3E%3Cscript%3E"] {
        for host in [gateway.app(), gateway.editor(&gateway.ada)] {
            let reply = Call::get(host, path).fields(&NAVIGATION).send();
            assert_eq!(
                (reply.status(), reply.fields("x-evil").len(), reply.fields("set-cookie").len()),
                (303, 0, 1),
                "{}",
                reply.text
            );
        }
    }
}

#[test]
fn hdr_9_heads_beyond_measure_are_refused_with_a_page() {
    let gateway = gateway();
    let with = |count: usize, bytes: usize| {
        let value = "x".repeat(bytes);
        // What says who asks counts among the first hundred, as browsers send it.
        let call = to_app(gateway).fields(&NAVIGATION);
        (0..count).fold(call, |call, index| call.field(&format!("F{index}"), &value)).send()
    };
    assert_eq!(with(90, 10).stamps("ADA"), 1);
    assert_eq!(with(3, 16_000).stamps("ADA"), 1);
    for (count, bytes) in [(120, 10), (1, 16 * 1024), (6, 12_000)] {
        let reply = with(count, bytes);
        assert_eq!((reply.status(), reply.stamps("ADA")), (431, 0), "{}", reply.text);
        assert!(reply.body().contains("</html>"), "it says so: {}", reply.text);
    }
}
