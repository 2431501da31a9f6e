//! What a connection means to its requests: a server name reaches its own hosts alone (HOST-7), and browsers stay on https
//! (TLS-5).

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::{
    gateway::free_address,
    tls::{HOST, Speaking, put_pair},
};

/// The status of an answer, and its head.
struct Answer(u16, String);

fn read(mut stream: impl Read + Write, host: &str, path: &str, more: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a handshake");
    let mut answer = Vec::new();
    // What was refused early may end without a word of TLS.
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer);
    let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer(status.unwrap_or_else(|| panic!("{host}{path}: {answer:?}")), head)
}

/// Asks by a server name; no client names an address.
fn ask(gateway: &Speaking, name: &str, host: &str, path: &str, more: &str) -> Answer {
    let config = Arc::new(portico::edge::unchecked_tls_client().expect("a provider"));
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let client = ClientConnection::new(config, name).expect("a client");
    read(StreamOwned::new(client, gateway.connect()), host, path, more)
}

#[test]
fn host_7_a_server_name_reaches_its_own_hosts_alone() {
    const NO_NAME: &str = "127.0.0.1";
    const ASK: &str = "/api/v1/setup";
    let (own, port) = (format!("{HOST}:8443"), "amber-otter-3000.codespaces.localhost:8443");
    let named = Speaking::start(&[]);
    let of_port = "amber-otter-3000.codespaces.localhost";
    for (name, host, path, status) in [
        (HOST, &*own, ASK, 200),
        (of_port, port, "/", 401),
        // One certificate is for all of them, and each request is judged by itself.
        ("amber-otter.codespaces.localhost", port, "/", 401),
        (HOST, port, "/", 421),
        (of_port, &own, ASK, 421),
        (of_port, &own, "/readyz", 421),
        ("somebody.else", &own, ASK, 421),
        ("somebody.else", port, "/", 421),
        ("localhost", &own, ASK, 421),
        ("somebody.else", "somebody.else", ASK, 421),
        (NO_NAME, &own, ASK, 421),
        (NO_NAME, port, "/", 421),
        (NO_NAME, NO_NAME, ASK, 421),
        // A probe connects to an address.
        (NO_NAME, &own, "/readyz", 200),
        ("somebody.else", &own, "/healthz", 200),
        (NO_NAME, port, "/readyz", 421),
    ] {
        let Answer(found, head) = ask(&named, name, host, path, "");
        assert_eq!(found, status, "{name} for {host}{path}: {head}");
    }
    let numbered = Speaking::start_with(&["--tls", "local", "--url", "https://127.0.0.1:8443"], &[]);
    for (name, host, status) in [
        (NO_NAME, "127.0.0.1:8443", 200),
        (NO_NAME, port, 421),
        (of_port, port, 401),
        ("somebody.else", "127.0.0.1:8443", 421),
        (of_port, "127.0.0.1:8443", 421),
    ] {
        let Answer(found, head) = ask(&numbered, name, host, ASK, "");
        assert_eq!(found, status, "{name} for {host}: {head}");
    }
}

#[test]
fn tls_5_every_answer_of_every_host_keeps_browsers_on_https() {
    const GATEWAY: &str = "portico.example.org";
    const EDITOR: &str = "amber-otter.apps.example.net";
    const PORT: &str = "amber-otter-3000.apps.example.net";
    let directory = tempfile::tempdir().expect("a directory");
    put_pair(directory.path(), [GATEWAY, "*.apps.example.net"]);
    let (certificate, key) = (directory.path().join("pem"), directory.path().join("key"));
    let plain = free_address();
    let gateway = Speaking::start_with(
        &["--url", &format!("https://{GATEWAY}"), "--domain", "apps.example.net"],
        &[
            ("PORTICO_TLS_CERTIFICATE", &certificate),
            ("PORTICO_TLS_KEY", &key),
            ("PORTICO_REDIRECT_HTTP", Path::new(&plain.to_string())),
        ],
    );
    let large: String = (0..6).map(|index| format!("X-{index}: {}\r\n", "y".repeat(15 * 1024))).collect();
    for (name, host, path, more, status) in [
        (GATEWAY, GATEWAY, "/readyz", "", 200),
        (GATEWAY, GATEWAY, "/api/v1/user", "", 401),
        (GATEWAY, GATEWAY, "/api/v1/no-such-thing", "", 404),
        (GATEWAY, GATEWAY, "/readyz", &*large, 431),
        (EDITOR, EDITOR, "/", "", 401),
        (PORT, PORT, "/", "", 401),
        (PORT, PORT, "/", &*large, 431),
        (PORT, "no_name-3000.apps.example.net", "/", "", 404),
        (PORT, PORT, "/a\\b", "", 400),
        (GATEWAY, PORT, "/", "", 421),
        ("somebody.else", GATEWAY, "/", "", 421),
    ] {
        let Answer(found, head) = ask(&gateway, name, host, path, more);
        assert_eq!(found, status, "{host}{path}: {head}");
        let fields: Vec<_> = head.lines().filter(|line| line.starts_with("strict-transport-security:")).collect();
        assert_eq!(fields.len(), 1, "{host}{path}: {head}");
        let seconds = fields[0]
            .split_once("max-age=")
            .and_then(|(_, rest)| rest.split(';').next()?.parse().ok());
        assert!(seconds > Some(0_u64), "{host}{path}: {head}");
    }
    for host in [GATEWAY, EDITOR, PORT] {
        let Answer(status, head) = read(TcpStream::connect(plain).expect("it listens"), host, "/a?b", "");
        assert_eq!(status, 308, "{head}");
        assert!(head.contains(&format!("\r\nlocation: https://{host}/a?b")), "{head}");
        // Said in plain text it would be anybody's word (RFC 6797 §7.2).
        assert!(!head.contains("strict-transport-security"), "{head}");
    }
}

/// Certificates are published: one that named a codespace would tell of it.
#[test]
fn dom_4_one_certificate_is_for_every_codespace_and_names_none() {
    let gateway = Speaking::start(&[]);
    let client = Arc::new(portico::edge::unchecked_tls_client().expect("a provider"));
    let shown = |name: &str| {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let client = ClientConnection::new(Arc::clone(&client), name).expect("a client");
        let mut stream = StreamOwned::new(client, gateway.connect());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        stream.conn.peer_certificates().and_then(<[_]>::first).cloned().expect("it has one")
    };
    let hosts = [
        "amber-quiet-otter-x7k2",
        "amber-quiet-otter-x7k2-3000",
        "birch-calm-heron-p4q9-8080",
    ];
    let certificates = hosts.map(|label| shown(&format!("{label}.codespaces.localhost")));
    assert!(certificates.iter().all(|certificate| *certificate == certificates[0]));
    let holds = |text: &str| certificates[0].windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("*.codespaces.localhost"));
    for label in ["amber", "birch", "otter", "3000", "8080"] {
        assert!(!holds(label), "{label}");
    }
}
