//! Guessing passwords, and taking more places than one may (RATE-1, RATE-2, LIM-1, WS-5), at gateways of their own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use serde_json::json;

use super::{
    gateway::{PASSWORD, PORTICO, eventually, run},
    lone::Lone,
    secrecy::faceless,
    wire::{Call, Reply},
};

fn sign_in(gateway: &Lone, name: &str, password: &str) -> Reply {
    let body = json!({ "name": name, "password": password });
    Call::post(gateway.host(), "/api/v1/sign-in").json(&body).at(gateway.address).send()
}

#[test]
fn rate_1_and_2_ten_wrong_passwords_are_told_alike_and_the_next_must_wait() {
    let gateway = Lone::start("http://portico.localhost", &[]);
    run(gateway.data.path(), &["user", "create", "ada", "--password-stdin"], PASSWORD);
    let tell = |reply: &Reply| faceless(reply, &[]);
    let mut told = Vec::new();
    for _ in 0..10 {
        let [real, nobodys] = ["ada", "eve"].map(|name| sign_in(&gateway, name, "a wrong password"));
        assert_eq!((real.status(), nobodys.status()), (401, 401), "{}", real.text);
        told.extend([tell(&real), tell(&nobodys)]);
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:#?}");
    // The eleventh, right or wrong, and of nobody's account as well.
    for (name, password) in [
        ("ada", "a wrong password"),
        ("ada", PASSWORD),
        ("ADA", PASSWORD),
        ("eve", "a wrong password"),
    ] {
        let reply = sign_in(&gateway, name, password);
        assert_eq!(reply.status(), 429, "{name}: {}", reply.text);
        let wait = reply.fields("retry-after").first().and_then(|wait| wait.parse::<u32>().ok());
        assert!(wait > Some(0) && reply.fields("set-cookie").is_empty(), "{}", reply.text);
    }
}

/// Tries a wrong password for a client behind a balancer.
fn guess(gateway: &Lone, client: &str, name: &str) -> Reply {
    let body = json!({ "name": name, "password": "a wrong password" }).to_string();
    let head = format!(
        "PROXY TCP4 {client} 192.0.2.1 1 2\r\nPOST /api/v1/sign-in HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        gateway.host(),
        body.len()
    );
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    stream.write_all(head.as_bytes()).expect("written");
    let mut text = String::new();
    drop(stream.read_to_string(&mut text));
    Reply { text, closed: true }
}

#[test]
fn rate_1_the_operator_sets_how_many_of_an_account_from_an_address_and_of_all() {
    let gateway = Lone::start(
        "http://portico.localhost",
        &[
            ("PORTICO_PROXY_PROTOCOL", "127.0.0.1"),
            ("PORTICO_LIMITS_ATTEMPTS_PER_ACCOUNT", "2 in 1d"),
            ("PORTICO_LIMITS_ATTEMPTS_PER_ADDRESS", "3 in 1d"),
            ("PORTICO_LIMITS_ATTEMPTS", "7 in 1d"),
        ],
    );
    // Each limit says when its own next attempt comes: a day for two, for three and for seven of them.
    let day = 24 * 60 * 60;
    for (client, name, limit) in [
        ("192.0.2.11", "ada", None),
        ("192.0.2.12", "ada", None),
        ("192.0.2.13", "ada", Some(day / 2)),
        ("192.0.2.21", "bob", None),
        ("192.0.2.21", "cyd", None),
        ("192.0.2.21", "dee", None),
        ("192.0.2.21", "eve", Some(day / 3)),
        ("192.0.2.31", "eve", None),
        ("192.0.2.32", "fay", None),
        ("192.0.2.33", "gus", Some(day / 7 + 1)),
    ] {
        let reply = guess(&gateway, client, name);
        let wait = reply.fields("retry-after").first().and_then(|wait| wait.parse::<u64>().ok());
        match limit {
            None => assert_eq!((reply.status(), wait), (401, None), "{client} {name}"),
            // What came back since the first attempt is less than an hour's.
            Some(limit) => assert!(
                reply.status() == 429 && wait.is_some_and(|wait| (limit - 3600..=limit).contains(&wait)),
                "{client} {name}: {limit}, not {}",
                reply.text
            ),
        }
    }
    let data = tempfile::tempdir().expect("a directory");
    for (variable, key) in [
        ("PORTICO_LIMITS_ATTEMPTS_PER_ACCOUNT", "limits.attempts_per_account"),
        ("PORTICO_LIMITS_ATTEMPTS_PER_ADDRESS", "limits.attempts_per_address"),
        ("PORTICO_LIMITS_ATTEMPTS", "limits.attempts"),
    ] {
        for wrong in ["0 in 1m", "10 in 2d", "10"] {
            let mut serve = Command::new(PORTICO);
            serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
            let output = serve.env(variable, wrong).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            let allowed = format!("\"{wrong}\" is not allowed for {key}, which is a number from 1 to 1000000 in a time from 1s to 1d");
            assert!(!output.status.success() && said.contains(&allowed), "{said}");
        }
    }
}

/// Connects as a balancer does for a client, and asks whether the gateway is well.
fn asked_for(gateway: &Lone, client: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let head = format!(
        "PROXY TCP4 {client} 192.0.2.1 1 2\r\nGET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n",
        gateway.host()
    );
    // One that has no place is closed before it was heard.
    drop(stream.write_all(head.as_bytes()));
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).unwrap_or(0);
    answer.truncate(count);
    (stream, answer)
}

#[test]
fn lim_1_an_address_has_so_many_connections_and_others_have_theirs() {
    let settings = [
        ("PORTICO_LIMITS_CONNECTIONS_PER_ADDRESS", "2"),
        ("PORTICO_PROXY_PROTOCOL", "127.0.0.1"),
    ];
    let gateway = Lone::start("http://portico.localhost", &settings);
    let is_answered = |(_, answer): &(TcpStream, Vec<u8>)| answer.starts_with(b"HTTP/1.1 200 ");
    let held = [(); 2].map(|()| asked_for(&gateway, "198.51.100.7"));
    assert!(held.iter().all(is_answered));
    for _ in 0..3 {
        let (_, answer) = asked_for(&gateway, "198.51.100.7");
        assert!(answer.is_empty(), "closed without a word: {}", String::from_utf8_lossy(&answer));
    }
    assert!(
        is_answered(&asked_for(&gateway, "198.51.100.8")),
        "somebody else's are counted apart"
    );
    drop(held);
    eventually("there is room again", || {
        is_answered(&asked_for(&gateway, "198.51.100.7")).then_some(())
    });
}

#[test]
fn ws_5_one_socket_too_many_is_told_the_limit() {
    let gateway = Lone::start("http://portico.localhost", &[("PORTICO_LIMITS_SOCKETS_PER_USER", "2")]);
    let data = gateway.data.path();
    run(data, &["user", "create", "ada", "--password-stdin"], PASSWORD);
    let made = gateway.person("ada");
    let call = Call::get(gateway.host(), &format!("/api/v1/codespaces/{}/exec", made.person.codespace));
    let call = call.field("Authorization", format!("Bearer {}", made.person.token)).socket();
    let open = || {
        let mut connection = super::wire::Connection::open_at(gateway.address);
        (connection.exchange(&call), connection)
    };
    let held = [open(), open()];
    assert!(held.iter().all(|(reply, _)| reply.status() == 101), "{}", held[1].0.text);
    for _ in 0..2 {
        let (refused, _) = open();
        assert_eq!(refused.status(), 429, "{}", refused.text);
        let problem = refused.json();
        assert_eq!(problem["type"], "urn:portico:too-many-sockets", "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|said| said.contains("limits.sockets_per_user")),
            "{problem}"
        );
    }
    drop(held);
    eventually("there is room again", || (open().0.status() == 101).then_some(()));
}
