//! Guessing passwords, and taking more places than one may (RATE-1, RATE-2, LIM-1, WS-5), at gateways of their own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

use super::{
    gateway::{PASSWORD, create, empty_repository, eventually, run},
    lone::Lone,
    secrecy::faceless,
    wire::{Call, Reply},
};

fn host(gateway: &Lone) -> String {
    format!("portico.localhost:{}", gateway.address.port())
}

fn sign_in(gateway: &Lone, name: &str, password: &str) -> Reply {
    let body = json!({ "name": name, "password": password });
    Call::post(host(gateway), "/api/v1/sign-in").json(&body).at(gateway.address).send()
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

/// Connects as a balancer does for a client, and asks whether the gateway is well.
fn asked_for(gateway: &Lone, client: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let head = format!(
        "PROXY TCP4 {client} 192.0.2.1 1 2\r\nGET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n",
        host(gateway)
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

/// Deletes what a codespace left running, however its test ends.
struct Made<'a>(&'a Lone, String);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            run(self.0.data.path(), &["codespace", "delete", "--force", &self.1], "");
        }
    }
}

#[test]
fn ws_5_one_socket_too_many_is_told_the_limit() {
    let gateway = Lone::start("http://portico.localhost", &[("PORTICO_LIMITS_SOCKETS_PER_USER", "2")]);
    let data = gateway.data.path();
    run(data, &["user", "create", "ada", "--password-stdin"], PASSWORD);
    let token = run(data, &["token", "create", "--user", "ada", "--scope", "all"], "");
    let made = Made(&gateway, create(gateway.address, &token, &empty_repository()));
    let call = Call::get(host(&gateway), &format!("/api/v1/codespaces/{}/exec", made.1));
    let call = call.field("Authorization", format!("Bearer {token}")).socket();
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
