//! WebSockets: the same door as HTTP, bounded where they end here, ended when their permit falls.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    browser::redeem,
    gateway::{BOBS, Gateway, PORT, gateway},
    wire::{Call, Connection},
};

fn open(call: &Call) -> Connection {
    let mut connection = Connection::open();
    let reply = connection.exchange(call);
    assert_eq!(reply.status(), 101, "{}", reply.text);
    connection
}

fn exec(gateway: &Gateway) -> Call {
    let path = format!("/api/v1/codespaces/{}/exec", gateway.ada.codespace);
    Call::get(gateway.host(), &path)
        .socket()
        .field("Authorization", format!("Bearer {}", gateway.ada.token))
}

#[test]
fn ws_3_a_socket_needs_what_a_request_needs() {
    let gateway = gateway();
    let (app, bobs) = (gateway.app(), gateway.port(&gateway.bob, BOBS));
    let editor = gateway.editor_cookie(&gateway.session("ada"), &gateway.ada);
    let cookie = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let own = format!("http://{app}");
    for (host, fields) in [
        (&app, vec![]),
        (&app, vec![("X-Portico-Token", "pt_wrong")]),
        (&app, vec![("X-Portico-Token", gateway.bob.token.as_str())]),
        (&bobs, vec![("X-Portico-Token", gateway.ada.token.as_str())]),
        (&bobs, vec![("Cookie", cookie.as_str())]),
        (&app, vec![("Cookie", "__Host-portico_access=x"), ("Origin", own.as_str())]),
        (&app, vec![("Authorization", "Bearer x")]),
    ] {
        let plain = Call::get(host.clone(), "/socket").fields(&fields).send();
        let socket = Call::get(host.clone(), "/socket").fields(&fields).socket().send();
        assert_eq!(
            (socket.status(), socket.stamps("ADA"), socket.stamps("BOB")),
            (plain.status(), 0, 0),
            "{fields:?}: {}",
            socket.text
        );
        assert!(matches!(socket.status(), 401 | 404), "{}", socket.text);
    }
    open(&Call::get(app, "/socket").cookie(&cookie).field("Origin", &own).socket());
}

#[test]
fn ws_6_both_halves_of_the_handshake_are_checked() {
    let gateway = gateway();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (version, keys) in [
        ("13", &[][..]),
        ("13", &["short"]),
        ("13", &["dGhlIHNhbXBsZSBub25jZSEhISE="]),
        ("13", &["!!!!!!!!!!!!!!!!!!!!!!!!"]),
        ("13", &[key, key]),
        ("8", &[key]),
        ("", &[key]),
    ] {
        let call = Call::get(gateway.app(), "/socket").token(&gateway.ada.token);
        let call = call.fields(&[
            ("Upgrade", "websocket"),
            ("Connection", "upgrade"),
            ("Sec-WebSocket-Version", version),
        ]);
        let reply = keys.iter().fold(call, |call, key| call.field("Sec-WebSocket-Key", *key)).send();
        assert_eq!(
            (reply.status(), reply.stamps("ADA")),
            (400, 0),
            "{version} {keys:?}: {}",
            reply.text
        );
    }
    for answer in [
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\nevil",
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nevil",
        "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nevil",
    ] {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let call = Call::get(gateway.app(), "/").token(&gateway.ada.token).socket();
        let reply = call.field("X-Answer", BASE64_STANDARD.encode(answer)).send();
        assert!(reply.status() == 502 && !reply.text.contains("evil"), "{}", reply.text);
    }
}

/// A client's frame with a mask of zeros.
fn frame(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[first], length, &[0; 4], payload].concat()
}

#[test]
fn ws_4_sockets_that_end_here_are_bounded() {
    let gateway = gateway();
    let two_megabytes = [&[0xff][..], &(2u64 << 20).to_be_bytes()].concat();
    for (what, code, bytes) in [
        ("a frame of 2 MiB", 1009, frame(0x82, &two_megabytes, b"")),
        ("a message of 2 MiB in frames", 1009, {
            let piece = vec![0; 512 << 10];
            let length = [&[0xff][..], &(512u64 << 10).to_be_bytes()].concat();
            let mut bytes = frame(0x02, &length, &piece);
            for _ in 0..3 {
                bytes.extend(frame(0x00, &length, &piece));
            }
            bytes
        }),
        ("text that is no UTF-8", 1007, frame(0x81, &[0x82], &[0xff, 0xfe])),
        ("a control frame of 126 bytes", 1002, frame(0x89, &[0xfe, 0, 126], &[0; 126])),
        ("a control frame in pieces", 1002, frame(0x09, &[0x80], b"")),
        ("a compressed frame", 1002, frame(0xc1, &[0x81], b"a")),
        ("an unknown kind", 1002, frame(0x83, &[0x80], b"")),
        ("no mask", 1002, vec![0x81, 1, b'a']),
        ("going on with nothing", 1002, frame(0x80, &[0x81], b"a")),
    ] {
        let mut connection = open(&exec(gateway));
        connection.write(&bytes);
        let rest = connection.rest();
        assert!(
            rest.len() < 4096,
            "{what}: the socket is closed and says little, not {} bytes",
            rest.len()
        );
        assert_eq!(close_code(&rest), Some(code), "{what}: {rest:?}");
    }
    // A close is answered with a close, or the other side must take the socket for broken.
    let mut connection = open(&exec(gateway));
    connection.write(&frame(0x88, &[0x82], &1000_u16.to_be_bytes()));
    assert_eq!(connection.rest(), [0x88, 2, 3, 232]);
}

/// Four sockets whose clients answer what they are asked, and as many whose clients read and say nothing: side by side,
/// since it takes its time.
#[test]
fn ws_4_who_does_not_answer_is_taken_for_dead_and_who_does_is_not() {
    let gateway = gateway();
    let api = |rest: &str| {
        let path = format!("/api/v1/codespaces/{}/{rest}", gateway.ada.codespace);
        let call = Call::get(gateway.host(), &path).socket();
        call.field("Authorization", format!("Bearer {}", gateway.ada.token))
    };
    let terminals = format!("/api/v1/codespaces/{}/terminals", gateway.ada.codespace);
    let made = Call::post(gateway.host(), &terminals).json(&json!({ "command": ["sleep", "1000"] }));
    let made = made.field("Authorization", format!("Bearer {}", gateway.ada.token)).send();
    let terminal = made.json()["id"].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_owned();
    let short = |first: u8, payload: &[u8]| frame(first, &[0x80 | u8::try_from(payload.len()).expect("it is short")], payload);
    let order = short(0x81, br#"{"command":["sleep","1000"]}"#);
    // The app takes its time, and the client has said all.
    let slow = [short(0x82, b"GET / HTTP/1.1\r\nx-wait: 200000\r\n\r\n"), short(0x82, b"")].concat();
    let kinds = [
        ("a terminal", api(&format!("terminals/{terminal}/attach")), vec![]),
        ("a command", api("exec"), order),
        ("a connection to a port", api(&format!("ports/{PORT}/connect")), vec![]),
        ("one whose client has no more to send", api(&format!("ports/{PORT}/connect")), slow),
    ];
    thread::scope(|scope| {
        for (what, call, first) in &kinds {
            for answers in [false, true] {
                scope.spawn(move || {
                    let mut connection = open(call);
                    connection.write(first);
                    let begun = Instant::now();
                    let mut pings = vec![begun];
                    let ended = loop {
                        match connection.frame() {
                            Some((0x89, payload)) => {
                                pings.push(Instant::now());
                                assert!(payload.is_empty(), "{what}: {payload:?}");
                                if answers {
                                    connection.write(&frame(0x8a, &[0x80], b""));
                                }
                            }
                            Some(_) => {}
                            None => break begun.elapsed(),
                        }
                        if begun.elapsed() > Duration::from_secs(95) {
                            break begun.elapsed();
                        }
                    };
                    for pair in pings.windows(2) {
                        let gap = (pair[1] - pair[0]).as_secs_f64();
                        assert!((19.0..31.0).contains(&gap), "{what}: asked after {gap} s");
                    }
                    let ended = ended.as_secs_f64();
                    let expected = if answers { 95.0..130.0 } else { 74.0..82.0 };
                    assert!(expected.contains(&ended), "{what}: over after {ended} s, answering: {answers}");
                });
            }
        }
    });
}

/// The code of a close that is the last frame.
fn close_code(bytes: &[u8]) -> Option<u16> {
    let at = bytes.iter().rposition(|byte| *byte == 0x88)?;
    let payload = bytes.get(at + 2..)?;
    let whole = payload.len() == usize::from(bytes[at + 1]);
    Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?])).filter(|_| whole)
}

#[test]
fn sess_3_what_is_open_ends_with_its_permit() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let cookie = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let own = format!("http://{}", gateway.app());
    let socket = Call::get(gateway.app(), "/socket").cookie(&cookie).field("Origin", &own).socket();
    let own_editor = format!("http://{}", gateway.editor(&gateway.ada));
    let path = format!("/.portico/api/v1/codespaces/{}/exec", gateway.ada.codespace);
    let editors = Call::get(gateway.editor(&gateway.ada), &path)
        .cookie(&editor)
        .field("Origin", own_editor)
        .socket();
    let mut sockets = [open(&socket), open(&editors)];
    let late = gateway.flow_to_port(&editor, &gateway.ada, PORT);
    let out = Call::post(gateway.host(), "/api/v1/sign-out").json(&json!({})).cookie(&session);
    assert_eq!(out.field("Origin", format!("http://{}", gateway.host())).send().status(), 204);
    for socket in &mut sockets {
        socket.rest();
    }
    assert_eq!(
        Call::get(gateway.app(), "/")
            .cookie(&cookie)
            .field("Sec-Fetch-Site", "none")
            .send()
            .status(),
        401
    );
    assert_eq!(
        redeem(gateway.app(), &late.ticket).cookie(&late.nonce).send().status(),
        400,
        "a ticket of a session that is over"
    );
}
