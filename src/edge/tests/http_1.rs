//! Plain and over TLS: certificates, and the times of a connection.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const SHORT: Duration = Duration::from_secs(1);

/// Reads until the gateway closes.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    // A reset is an end as well.
    drop(soon(stream.read_to_end(&mut read)).await);
    String::from_utf8_lossy(&read).into_owned()
}

impl Bench {
    fn get(&self, path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\n\r\n",
            self.host(3000),
            self.token
        )
    }
}

#[tokio::test]
async fn host_7_certificates_are_chosen_by_name_and_protocols_by_alpn() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let port = bench.host(3000);
    let mut shown = Vec::new();
    for (name, protocols, expected) in [
        ("portico.test", &["h2", "http/1.1"][..], Some("h2")),
        (&port, &["http/1.1"], Some("http/1.1")),
        ("somebody.else", &[], None),
    ] {
        let stream = bench.tls(name, protocols).await;
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.alpn_protocol(), expected.map(str::as_bytes), "{name}");
        assert!(connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3));
        let certificate = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .expect("a certificate");
        shown.push(certificate.clone().into_owned());
    }
    assert!(shown[0] != shown[1]);
    assert!(shown[0] == shown[2], "the first is shown to who asks for no name of ours");

    let last = bench.get("/a?b").replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let asked = async |name: &str| {
        let mut stream = bench.tls(name, &[]).await;
        stream.write_all(last.as_bytes()).await.expect("written");
        let answer = rest(&mut stream).await;
        assert!(answer.contains("strict-transport-security: max-age=7\r\n"), "{answer}");
        answer
    };
    // The gateway's own name, a foreign one, and none: clients name no address.
    for name in ["portico.test", "somebody.else", "127.0.0.1"] {
        let answer = asked(name).await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{name}: {answer}");
    }
    let answer = asked(&port).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("host=localhost:3000 cookie= uri=/a?b"), "{answer}");
}

#[tokio::test]
async fn sessions_resume_with_tickets() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let config = Arc::new(unchecked_tls_client().expect("a provider"));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let connector = TlsConnector::from(Arc::clone(&config));
        let name = ServerName::try_from("portico.test").expect("a name");
        let mut stream = soon(connector.connect(name, bench.plain().await)).await.expect("a handshake");
        kinds.push(stream.get_ref().1.handshake_kind());
        let request = b"GET / HTTP/1.1\r\nHost: portico.test\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("written");
        // Tickets come with the first bytes that are read.
        rest(&mut stream).await;
    }
    assert_eq!(kinds, [Some(rustls::HandshakeKind::Full), Some(rustls::HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let options = Options {
        handshake_timeout: SHORT,
        ..LIMITS
    };
    let (bench, _endings) = bench(options, true).await;
    assert_eq!(rest(&mut bench.plain().await).await, "");
}

#[tokio::test]
async fn heads_and_idleness_have_times_of_their_own() {
    let slow = Options {
        header_timeout: SHORT,
        ..LIMITS
    };
    let (bench_of_heads, _endings) = bench(slow, false).await;
    let mut stream = bench_of_heads.plain().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("written");
    assert_eq!(rest(&mut stream).await, "");
    // The same after an answer.
    let mut stream = bench_of_heads.plain().await;
    stream.write_all(bench_of_heads.get("/").as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"uri=/") {
        assert!(
            soon(stream.read_buf(&mut answer)).await.expect("an answer") > 0,
            "closed: {answer:?}"
        );
    }
    stream.write_all(b"GET /").await.expect("written");
    assert_eq!(rest(&mut stream).await, "");

    let idle = Options {
        idle_timeout: SHORT,
        ..LIMITS
    };
    let (bench, _endings) = bench(idle, false).await;
    assert_eq!(rest(&mut bench.plain().await).await, "");
    let mut stream = bench.plain().await;
    stream.write_all(bench.get("/").as_bytes()).await.expect("written");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let options = Options {
        body_timeout: SHORT,
        ..LIMITS
    };
    let (bench, mut endings) = bench(options, false).await;
    let mut stream = bench.plain().await;
    let head = bench
        .get("/upload")
        .replace("GET", "POST")
        .replace("\r\n\r\n", "\r\nContent-Length: 10\r\n\r\nabc");
    stream.write_all(head.as_bytes()).await.expect("written");
    soon(endings.recv()).await.expect("the app's read ends");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("stood still"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let options = Options {
        write_timeout: SHORT,
        ..LIMITS
    };
    for tls in [false, true] {
        let (bench, mut endings) = bench(options, tls).await;
        let get = bench.get("/endless");
        let mut secure;
        let mut plain;
        let stream: &mut (dyn tokio::io::AsyncWrite + Send + Unpin) = if tls {
            secure = bench.tls(&bench.host(3000), &[]).await;
            &mut secure
        } else {
            plain = bench.plain().await;
            &mut plain
        };
        stream.write_all(get.as_bytes()).await.expect("written");
        soon(endings.recv()).await.expect("the app is told");
    }
}

#[tokio::test]
async fn connections_to_an_app_are_used_again() {
    const REQUESTS: u32 = 20;
    let (bench, _endings) = bench(LIMITS, false).await;
    let mut stream = bench.plain().await;
    let mut last = 0;
    for _ in 0..REQUESTS {
        stream.write_all(bench.get("/a").as_bytes()).await.expect("written");
        let mut answer = String::new();
        while !answer.ends_with("uri=/a") {
            let mut piece = [0; 1024];
            let read = soon(stream.read(&mut piece)).await.expect("read");
            assert!(read > 0, "{answer}");
            answer.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        let number = answer.split("x-connection: ").nth(1).and_then(|rest| rest.split('\r').next());
        last = number.expect("it says which").parse().expect("a number");
    }
    // Now and then a request comes before the connection is back; never most of the time.
    assert!(last <= REQUESTS / 2, "the app saw {last} connections");
}

/// Found by a suite of requests that was not ours: the app got these without their bodies.
#[tokio::test]
async fn a_body_of_unknown_length_arrives_with_any_method() {
    for method in ["GET", "DELETE", "POST", "QUERY"] {
        let (bench, _endings) = bench(LIMITS, false).await;
        let mut stream = bench.plain().await;
        let head = bench.get("/upload").replace("GET", method);
        let chunks = "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nABCDE\r\n0\r\n\r\n";
        stream
            .write_all(head.replace("\r\n\r\n", chunks).as_bytes())
            .await
            .expect("written");
        let answer = rest(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ABCDE"),
            "{method}: {answer}"
        );
    }
}
