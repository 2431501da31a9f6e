//! What must not be seen: our credentials by apps and in logs, and by strangers what exists.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::LazyLock,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use regex::Regex;
use serde_json::json;

use super::{
    browser::NAVIGATION,
    gateway::{BOBS, PORT, eventually, gateway},
    wire::{Call, Reply},
};

/// A name of which there is no codespace.
pub const NOBODYS: &str = "nobodys-name-x7k2";

#[test]
fn hdr_5_apps_never_see_our_credentials() {
    let gateway = gateway();
    let editor = gateway.editor_cookie(&gateway.session("ada"), &gateway.ada);
    let cookie = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let secret = cookie.split_once('=').expect("a pair").1;
    let spellings = [
        "{}",
        " {}",
        "\t{}",
        ";;{};;",
        "\"{}\"",
        "={}",
        "'{}'",
        ".{}",
        "a&{}",
        "a=1,{}",
        "a=1, {}",
        "a=1 {}",
        "a={}",
        "a=\"x; {}\"",
        "$Version=1; {}; $Path=/",
        "{};{}",
        "{}, a=1",
        "a=1; {}; b=2",
    ];
    for spelling in spellings {
        for name in [
            "__Host-portico_access",
            "__host-PORTICO_access",
            "__Host-portico_session",
            "__Host-portico_nonce_abcdefgh",
        ] {
            let sent = spelling.replace("{}", &format!("{name}={secret}"));
            let call = Call::get(gateway.app(), "/")
                .token(&gateway.ada.token)
                .cookie("app=kept")
                .cookie(&sent);
            let reply = call.field("Authorization", format!("Bearer {}", gateway.ada.token)).send();
            assert_eq!(reply.stamps("ADA"), 1, "{sent:?}: {}", reply.text);
            assert!(
                !reply.text.contains(secret) && reply.text.contains("app=kept"),
                "{sent:?}: {}",
                reply.text
            );
            assert!(!reply.text.contains(&gateway.ada.token), "{}", reply.text);
        }
    }
    let own = Call::get(gateway.app(), "/")
        .token(&gateway.ada.token)
        .field("Authorization", "Bearer the app's own")
        .send();
    assert!(own.text.contains("authorization: Bearer the app's own"), "{}", own.text);
}

/// Where a page or a program puts a token that does not know of its header.
#[test]
fn hdr_5_our_tokens_reach_no_app_in_whatever_field() {
    let gateway = gateway();
    let token = &gateway.ada.token;
    for (name, sent, left) in [
        ("Sec-WebSocket-Protocol", "{}", None),
        ("Sec-WebSocket-Protocol", "graphql-ws, {}", Some("graphql-ws")),
        ("Sec-WebSocket-Protocol", "bearer.{},graphql-ws", Some("graphql-ws")),
        ("Sec-WebSocket-Protocol", "graphql-ws, other", Some("graphql-ws, other")),
        ("X-Api-Key", "{}", None),
        ("Cookie", "a=1; token={}; b=2", Some("a=1; b=2")),
        ("Private-Token", "{}", None),
        ("X-Custom", "Bearer {}", None),
        ("Proxy-Authorization", "Bearer {}", None),
        ("Authorization", "Basic {}", None),
        ("Accept-Language", "pt_BR, pt", Some("pt_BR, pt")),
        ("X-Api-Key", "pt_the-apps-own", Some("pt_the-apps-own")),
    ] {
        let sent = sent.replace("{}", token);
        for upgrade in [false, true] {
            let call = Call::post(gateway.app(), "/").token(token).field(name, &sent).body("body".into());
            // What is no socket to the app tells what it got all the same.
            let call = if upgrade {
                call.field("Upgrade", "x").field("Connection", "upgrade")
            } else {
                call
            };
            let reply = call.send();
            assert_eq!(reply.stamps("ADA"), 1, "{name}: {sent}: {}", reply.text);
            assert!(!reply.text.contains(token.as_str()), "{name}: {sent}: {}", reply.text);
            let line = format!("\r\n{}: ", name.to_ascii_lowercase());
            let got = reply
                .body()
                .split_once(&line)
                .map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default());
            assert_eq!(got, left, "{name}: {sent}: {}", reply.text);
        }
    }
    let trailing = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {token}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Key\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-Key: {token}\r\n\r\n",
        gateway.app()
    );
    let reply = super::wire::raw(trailing.as_bytes());
    assert!(reply.stamps("ADA") == 1 && !reply.text.contains(token.as_str()), "{}", reply.text);
}

#[test]
fn hdr_7_apps_set_nothing_for_others() {
    let gateway = gateway();
    let answer = "HTTP/1.1 200 S\r\nSet-Cookie: a=1; Domain=codespaces.localhost; Path=/\r\nSet-Cookie: __Host-portico_access=e; Path=/; Secure\r\n\
         Set-Cookie: =__host-Portico_access=e\r\nSet-Cookie: \"__Host-portico_session\"=e\r\nClear-Site-Data: \"cookies\"\r\nAlt-Svc: h3=\":1\"\r\n\
         NEL: {}\r\nReport-To: {}\r\nStrict-Transport-Security: max-age=1\r\nX-Portico-Token: e\r\nPublic-Key-Pins: pin-sha256=e\r\n\
         Public-Key-Pins-Report-Only: pin-sha256=e\r\nProxy-Authenticate: Basic\r\nProxy-Authentication-Info: e\r\nProxy-Connection: close\r\n\
         Proxy-Status: e\r\nProxy-Support: e\r\nclear-site-data: *\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nService-Worker-Allowed: /\r\n\
         X-Own: kept\r\nContent-Length: 0\r\n\r\n";
    let call = Call::get(gateway.app(), "/")
        .token(&gateway.ada.token)
        .field("X-Answer", BASE64_STANDARD.encode(answer));
    let reply = call.send();
    assert_eq!(
        (reply.status(), reply.fields("set-cookie")),
        (200, vec!["a=1; Path=/"]),
        "{}",
        reply.text
    );
    for name in [
        "clear-site-data",
        "alt-svc",
        "nel",
        "report-to",
        "strict-transport-security",
        "x-portico-token",
        "public-key-pins",
        "public-key-pins-report-only",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "proxy-status",
        "proxy-support",
        "keep-alive",
        "upgrade",
    ] {
        assert!(reply.fields(name).is_empty(), "{name}: {}", reply.text);
    }
    assert_eq!(
        (reply.fields("service-worker-allowed"), reply.fields("x-own")),
        (vec!["/"], vec!["kept"]),
        "{}",
        reply.text
    );
}

/// An answer without what is random or the name that was asked for.
pub fn faceless(reply: &Reply, names: &[&str]) -> String {
    static RANDOM: LazyLock<Regex> = LazyLock::new(|| {
        let random = r"(state=[\w.-]+|portico_nonce_\w+=[\w-]+|(?m)^date: .*$|(?m)^x-request-id: .*$)";
        Regex::new(random).expect("a pattern")
    });
    static PORTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"NAME-\d+").expect("a pattern"));
    static LENGTH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^content-length: .*$").expect("a pattern"));
    let text = names.iter().fold(reply.text.clone(), |text, name| text.replace(name, "NAME"));
    let text = PORTS.replace_all(&text, "NAME-PORT").into_owned();
    LENGTH.replace_all(&RANDOM.replace_all(&text, ""), "").into_owned()
}

#[test]
fn enum_1_and_3_strangers_cannot_tell_what_exists() {
    let gateway = gateway();
    let (ada, bob) = (gateway.ada.codespace.as_str(), gateway.bob.codespace.as_str());
    let names = [ada, bob, NOBODYS];
    let editors = names.map(|name| format!("{name}.{}", gateway.domain()));
    let ports = [(ada, PORT), (ada, 9), (bob, BOBS), (NOBODYS, PORT)].map(|(name, port)| format!("{name}-{port}.{}", gateway.domain()));
    let framed = [
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "iframe"),
        ("Sec-Fetch-Site", "same-site"),
    ];
    let kinds: [&[(&str, &str)]; 6] = [
        &NAVIGATION,
        &framed,
        &[],
        &[("Sec-Fetch-Mode", "cors"), ("Origin", "http://evil.example")],
        &[("Service-Worker", "script")],
        &[("X-Portico-Token", "pt_wrong")],
    ];
    for hosts in [&editors[..], &ports[..]] {
        for kind in kinds {
            for (method, path) in [
                ("GET", "/a"),
                ("POST", "/a"),
                ("GET", "/.portico/authorize?state=x"),
                ("POST", "/.portico/redeem"),
            ] {
                let answers: BTreeSet<String> = hosts
                    .iter()
                    .map(|host| faceless(&Call::new(method, host.clone(), path).fields(kind).send(), &names))
                    .collect();
                assert_eq!(answers.len(), 1, "{method} {path} {kind:?}: {answers:#?}");
            }
        }
    }
}

#[test]
fn enum_2_somebody_elses_looks_like_nobodys() {
    let gateway = gateway();
    let names = [gateway.ada.codespace.as_str(), NOBODYS];
    let alike = |what: &str, call: &dyn Fn(&str) -> Call| {
        let replies = names.map(|name| call(name).send());
        assert_eq!(replies[0].status(), 404, "{what}: {}", replies[0].text);
        assert_eq!(faceless(&replies[0], &names), faceless(&replies[1], &names), "{what}");
    };
    let token = &gateway.bob.token;
    for (method, rest, body) in [
        ("GET", "", json!({})),
        ("PATCH", "", json!({ "display_name": "x" })),
        ("DELETE", "?force=true", json!({})),
        ("POST", "/start", json!({})),
        ("POST", "/stop", json!({})),
        ("GET", "/activity", json!({})),
        ("GET", "/work", json!({})),
        ("GET", "/logs", json!({})),
        ("GET", "/ports", json!({})),
        ("PATCH", "/ports/3000", json!({ "visibility": "public" })),
        ("GET", "/terminals", json!({})),
        ("POST", "/terminals", json!({})),
        ("DELETE", "/terminals/x", json!({})),
    ] {
        alike(rest, &|name| {
            let call = Call::new(method, gateway.host(), &format!("/api/v1/codespaces/{name}{rest}")).json(&body);
            call.field("Authorization", format!("Bearer {token}"))
        });
    }
    for rest in ["terminals/x/attach", "exec"] {
        alike(rest, &|name| {
            let call = Call::get(gateway.host(), &format!("/api/v1/codespaces/{name}/{rest}")).socket();
            call.field("Authorization", format!("Bearer {token}"))
        });
    }
    alike("editor", &|name| {
        Call::get(format!("{name}.{}", gateway.domain()), "/")
            .fields(&NAVIGATION)
            .token(token)
    });
    alike("port", &|name| {
        Call::get(format!("{name}-{PORT}.{}", gateway.domain()), "/").token(token)
    });
}

#[test]
fn lim_2_strangers_cannot_make_the_gateway_hold_much() {
    let gateway = gateway();
    let name = "x".repeat(100 * 1024);
    let sign_in = |call: Call| call.json(&json!({ "name": name, "password": "x" })).send().status();
    assert_eq!(sign_in(Call::post(gateway.host(), "/api/v1/sign-in")), 413);
    assert_eq!(sign_in(Call::post(gateway.host(), "/api/v1/setup")), 413);
    let form = Call::post(gateway.app(), "/.portico/redeem").body(format!("ticket={name}"));
    assert_eq!(form.send().status(), 400);
}

#[test]
fn to_1_slow_and_silent_clients_hold_nobody_up() {
    let gateway = gateway();
    let mut held: Vec<_> = (0..200).map(|_| TcpStream::connect(gateway.address).expect("connected")).collect();
    let mut write = |some: std::ops::Range<usize>, bytes: &[u8]| {
        for stream in &mut held[some] {
            stream.write_all(bytes).expect("written");
        }
        // Meanwhile that was read, as a rule.
        assert_eq!(Call::get(gateway.app(), "/").token(&gateway.ada.token).send().stamps("ADA"), 1);
    };
    // No head begins with a carriage return that stands alone, but who sends one in pieces is not told so before its end.
    write(50..100, b"\r");
    write(0..100, b"GET / HTTP/1.1\r\nHost: a");
    // An end with a line feed that stands alone, in pieces: whoever sent it is answered, and waits for nothing.
    write(25..50, b"\r\nConnection: close");
    write(25..50, b"\n\r\n");
    let begun = Instant::now();
    // The gateway of these tests gives a head eight seconds.
    for (index, stream) in held.iter_mut().take(100).enumerate() {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "a slow head is given up"),
        }
        let is_answered = answer.starts_with(b"HTTP/1.1 421 ");
        assert_eq!(
            is_answered,
            (25..50).contains(&index),
            "{index}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    let given_up = begun.elapsed();
    assert!(
        given_up < Duration::from_secs(30),
        "after {given_up:?}, which is nearer to what idle connections have"
    );
    // Who has said nothing so far may be silent for longer.
    for stream in held.iter_mut().skip(100) {
        stream.write_all(b"GET / HTTP/1.1\r\n").expect("written");
        stream.write_all(b"Host: a\r\nConnection: close\r\n\r\n").expect("written");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    }
}

#[test]
fn log_1_and_2_no_credential_is_in_the_log_at_any_level() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let flow = gateway.flow_to_port(&editor, &gateway.ada, PORT);
    let port = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let (link, hook) = (super::links::used_link(), super::links::called_hook());
    let long = "M".repeat(5000);
    Call::get(gateway.host(), "/setup?query=canary-query").send();
    super::wire::raw(format!("{long} /\u{202e} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.app()).as_bytes());
    Call::get(gateway.host(), "/setup").field("X-Request-Id", "the-last-one").send();
    let orders = gateway
        .data
        .join("codespaces")
        .join(&gateway.ada.codespace)
        .join("state/bootstrap.json");
    let orders: serde_json::Value = serde_json::from_slice(&fs::read(orders).expect("orders")).expect("JSON");
    let log = eventually("the log tells the last request", || {
        let log = fs::read_to_string(gateway.data.join("log")).expect("a log");
        log.contains("the-last-one").then_some(log)
    });
    let value = |pair: &str| pair.split_once('=').expect("a pair").1.to_owned();
    let ticket = flow.ticket.split('~').next().unwrap_or_default().to_owned();
    for (what, secret) in [
        ("session", value(&session)),
        ("editor's cookie", value(&editor)),
        ("port's cookie", value(&port)),
        ("nonce", value(&flow.nonce)),
        ("ticket", ticket),
        ("share link", link),
        ("webhook", hook),
        ("token", gateway.ada.token.clone()),
        ("password", super::gateway::PASSWORD.into()),
        ("agent's credential", orders["credential"].as_str().expect("text").into()),
        (
            "token inside",
            orders["environment"]["PORTICO_TOKEN"].as_str().expect("text").into(),
        ),
        ("agent's key", "direct_key".into()),
        ("query", "canary-query".into()),
        ("panic", "panicked".into()),
        ("long method", "M".repeat(100)),
        ("direction of text", "\u{202e}".into()),
    ] {
        assert!(!log.contains(&secret), "the {what} is in the log");
    }
    assert!(log.contains("portico::access"), "there is a log");
}
