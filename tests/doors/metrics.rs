//! What the listener of metrics says of things that happened (DOM-1, HDR-7), at gateways of their own.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    gateway::{PASSWORD, eventually, free_address, run},
    lone::Lone,
    wire::Call,
};

/// The port of the app here.
const APP: u16 = 28_473;

/// A gateway with such settings, and what its metrics say by the name of a line.
fn measured(settings: &[(&str, &str)]) -> (Lone, impl Fn(&str) -> Option<String>) {
    let address = free_address();
    let listen = address.to_string();
    let settings = [&[("PORTICO_METRICS_LISTEN", &*listen)], settings].concat();
    let gateway = Lone::start("http://portico.localhost", &settings);
    let says = move |name: &str| {
        let reply = Call::get(address.to_string(), "/metrics").at(address).send();
        assert_eq!(reply.status(), 200, "{}", reply.text);
        let line = reply.body().lines().find_map(|line| line.strip_prefix(&format!("{name} ")))?;
        Some(line.to_owned())
    };
    (gateway, says)
}

#[test]
fn dom_1_metrics_tell_that_both_are_of_one_site() {
    let (_gateway, says) = measured(&[]);
    assert_eq!(says("portico_same_site").as_deref(), Some("0"));
    let (_gateway, says) = measured(&[("PORTICO_DOMAIN", "apps.portico.localhost"), ("PORTICO_ALLOW_SAME_SITE", "true")]);
    assert_eq!(says("portico_same_site").as_deref(), Some("1"));
}

#[test]
fn hdr_7_metrics_count_cookies_that_lost_something() {
    let (gateway, says) = measured(&[]);
    let count = || says("portico_cookies_narrowed_total").and_then(|count| count.parse::<u32>().ok());
    run(gateway.data.path(), &["user", "create", "ada", "--password-stdin"], PASSWORD);
    let mut ada = gateway.person("ada");
    let host = ada.serve_app(APP, "APP");
    let answered = |answer: String, call: Call| {
        let call = call.token(&ada.person.token).field("X-Answer", BASE64_STANDARD.encode(answer));
        call.at(gateway.address).send()
    };
    let get = || Call::get(host.clone(), "/");
    assert_eq!(count(), Some(0));
    let own = "HTTP/1.1 200 S\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(own.to_owned(), get()).fields("set-cookie"), ["a=1; Path=/"]);
    assert_eq!(count(), Some(0), "what is an app's own is left alone");

    let wide = "Set-Cookie: a=1; Domain=codespaces.localhost\r\nSet-Cookie: __Host-portico_access=e\r\nSet-Cookie: =__host-Portico_x=e\r\n";
    let plain = answered(format!("HTTP/1.1 200 S\r\n{wide}Content-Length: 0\r\n\r\n"), get());
    assert_eq!((plain.status(), plain.fields("set-cookie")), (200, vec!["a=1"]), "{}", plain.text);
    eventually("three are counted", || (count() == Some(3)).then_some(()));
    // Of what opens a socket too, and of what refuses to.
    let accept = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let opened = answered(format!("HTTP/1.1 101 S\r\n{accept}{wide}\r\nhello"), get().socket());
    assert_eq!(
        (opened.status(), opened.fields("set-cookie")),
        (101, vec!["a=1"]),
        "{}",
        opened.text
    );
    eventually("six are counted", || (count() == Some(6)).then_some(()));
    let refused = answered(format!("HTTP/1.1 403 S\r\n{wide}Content-Length: 0\r\n\r\n"), get().socket());
    assert_eq!(
        (refused.status(), refused.fields("set-cookie")),
        (403, vec!["a=1"]),
        "{}",
        refused.text
    );
    eventually("nine are counted", || (count() == Some(9)).then_some(()));
}
