//! Whose word on who asks is taken: a named balancer's and a named proxy's, and nobody else's (HDR-4).

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    gateway::{PASSWORD, eventually, run},
    lone::Lone,
};

impl Lone {
    /// Signs in on a connection that begins so; what is answered.
    fn sign_in(&self, first: &[u8], fields: &str) -> String {
        let body = json!({ "name": "ada", "password": PASSWORD }).to_string();
        let head = format!(
            "POST /api/v1/sign-in HTTP/1.1\r\nHost: portico.localhost:{}\r\nContent-Type: application/json\r\n{fields}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address.port(),
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        // What begins wrongly may not be read to its end.
        drop(stream.write_all(&[first, head.as_bytes()].concat()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// From where people signed in, the latest last.
    fn addresses(&self, count: usize) -> Vec<String> {
        let mut addresses = eventually("the sign-ins are in the log", || {
            let lines = run(self.data.path(), &["audit", "--lines", "--event", "session.created"], "");
            let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let found: Vec<_> = events.map(|event| event["address"].as_str().unwrap_or("-").to_owned()).collect();
            (found.len() >= count).then_some(found)
        });
        addresses.reverse();
        addresses
    }
}

fn start(settings: &[(&str, &str)]) -> Lone {
    let gateway = Lone::start("http://portico.localhost", settings);
    run(gateway.data.path(), &["user", "create", "ada", "--password-stdin"], PASSWORD);
    gateway
}

/// Version 2 of the PROXY protocol.
fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

#[test]
fn hdr_4_a_named_balancer_says_whose_connection_it_passes_on() {
    let four = second(0x21, 0x11, &[192, 0, 2, 9, 10, 0, 0, 1, 0, 1, 0, 2]);
    let mut six = vec![0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 7;
    let named = start(&[("PORTICO_PROXY_PROTOCOL", "127.0.0.1")]);
    let good: [(&[u8], &str); 5] = [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::8 2001:db8::1 1 2\r\n", "2001:db8::8"),
        (&four, "192.0.2.9"),
        (&second(0x21, 0x21, &six), "2001:db8::7"),
        // A balancer's own connection.
        (&second(0x20, 0x00, &[]), "127.0.0.1"),
    ];
    for (first, address) in good {
        // What the client itself writes is nobody's word.
        let answer = named.sign_in(first, "X-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.2\r\n");
        assert!(answer.starts_with("HTTP/1.1 20"), "{address}: {answer}");
    }
    for first in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 x 10.0.0.1 1 2\r\n",
        &second(0x31, 0x11, &[0; 12]),
    ] {
        assert_eq!(named.sign_in(first, ""), "", "{first:?} is no such header");
    }
    assert_eq!(named.addresses(good.len()), good.map(|(_, address)| address));

    let unnamed = start(&[("PORTICO_PROXY_PROTOCOL", "192.0.2.1")]);
    for (first, _) in &good[..4] {
        let answer = unnamed.sign_in(first, "");
        assert!(!answer.contains("HTTP/1.1 20"), "{answer}");
    }
    let answer = unnamed.sign_in(b"", "");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert_eq!(unnamed.addresses(1), ["127.0.0.1"]);
}

#[test]
fn hdr_4_a_named_proxy_is_believed_in_the_one_header_that_it_writes() {
    let both = "X-Forwarded-For: 192.0.2.8\r\nForwarded: for=192.0.2.9\r\n";
    for (settings, address) in [
        (&[("PORTICO_TRUSTED_PROXIES", "127.0.0.1")][..], "192.0.2.8"),
        (
            &[("PORTICO_TRUSTED_PROXIES", "127.0.0.1"), ("PORTICO_FORWARDED_HEADER", "forwarded")],
            "192.0.2.9",
        ),
        (
            &[("PORTICO_TRUSTED_PROXIES", "192.0.2.1"), ("PORTICO_FORWARDED_HEADER", "forwarded")],
            "127.0.0.1",
        ),
    ] {
        let gateway = start(settings);
        let answer = gateway.sign_in(b"", both);
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        assert_eq!(gateway.addresses(1), [address], "{settings:?}");
    }
}
