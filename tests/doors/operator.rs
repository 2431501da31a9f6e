//! The operator's socket, by which the command line acts without a token on the gateway's own machine (ADMIN-1).

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
};

use super::gateway::gateway;

#[test]
fn admin_1_a_page_has_no_say_on_the_operators_socket() {
    let path = gateway().data.join("portico.sock");
    let ask = |fields: &str| {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        let head = format!("GET /api/v1/users HTTP/1.1\r\nHost: portico\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 200 "), "the operator needs no token");
    let host = gateway().host();
    for origin in [
        format!("http://{host}"),
        format!("https://{host}"),
        "http://evil.example".into(),
        "null".into(),
    ] {
        let answer = ask(&format!("Origin: {origin}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
    }
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else on the machine connects");
}
