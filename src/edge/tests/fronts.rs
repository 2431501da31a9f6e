//! Behind proxies and balancers: whose request it is, and whom nobody believes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::forward::client::Written;

fn loopback() -> crate::domain::Networks {
    std::iter::once("127.0.0.0/8".parse().expect("a range")).collect()
}

fn proxies(written: Written) -> Fronts {
    Fronts {
        proxies: loopback(),
        written,
        ..Fronts::default()
    }
}

impl Bench {
    /// Sends bytes and a request for what the app sees, and returns the whole answer.
    async fn who(&self, before: &[u8], fields: &str) -> String {
        let mut stream = self.plain().await;
        let head = format!(
            "GET /who HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nConnection: close\r\n{fields}\r\n",
            self.host(3000),
            self.token
        );
        stream.write_all(&[before, head.as_bytes()].concat()).await.expect("sent");
        let mut answer = Vec::new();
        // Closed without a word, a reset included, is an empty answer.
        drop(soon(stream.read_to_end(&mut answer)).await);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn hdr_4_the_app_gets_the_address_that_a_named_proxy_wrote() {
    let (bench, _endings) = bench_behind(proxies(Written::XForwarded), LIMITS, false).await;
    let fields = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    let answer = bench.who(b"", fields).await;
    assert!(
        answer.ends_with("\r\n\r\nx-forwarded-for=192.0.2.7 forwarded=for=192.0.2.7"),
        "{answer}"
    );
    let answer = bench.who(b"", "").await;
    assert!(
        answer.ends_with("\r\n\r\nx-forwarded-for=127.0.0.1 forwarded=for=127.0.0.1"),
        "{answer}"
    );
    let (bench, _endings) = bench_behind(proxies(Written::Forwarded), LIMITS, false).await;
    let answer = bench
        .who(
            b"",
            "Forwarded: for=\"[2001:db8::7]:1\";proto=https;host=evil.test\r\nX-Forwarded-For: 6.6.6.6\r\n",
        )
        .await;
    assert!(
        answer.ends_with("\r\n\r\nx-forwarded-for=2001:db8::7 forwarded=for=\"[2001:db8::7]\""),
        "{answer}"
    );
}

#[tokio::test]
async fn hdr_4_nobody_else_is_believed() {
    let fronts = Fronts {
        proxies: std::iter::once("192.0.2.0/24".parse().expect("a range")).collect(),
        ..Fronts::default()
    };
    for fronts in [Fronts::default(), fronts] {
        let (bench, _endings) = bench_behind(fronts, LIMITS, false).await;
        let fields = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: http\r\nForwarded: for=6.6.6.6;proto=http\r\n";
        let answer = bench.who(b"", fields).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("x-forwarded-for=127.0.0.1 forwarded=for=127.0.0.1"),
            "{answer}"
        );
        let answer = bench.who(b"PROXY TCP4 6.6.6.6 10.0.0.1 1 2\r\n", "").await;
        assert!(
            answer.starts_with("HTTP/1.1 400"),
            "no PROXY header is read of a stranger: {answer}"
        );
    }
}

#[tokio::test]
async fn redir_2_who_spoke_plain_http_to_the_proxy_is_sent_to_https() {
    let (bench, _endings) = bench_behind(proxies(Written::XForwarded), LIMITS, false).await;
    let answer = bench.who(b"", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n").await;
    let location = format!("location: https://{}/who\r\n", bench.host(3000));
    assert!(answer.starts_with("HTTP/1.1 308") && answer.contains(&location), "{answer}");
    let answer = bench.who(b"", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "no loop: {answer}");
}

#[tokio::test]
async fn lim_1_a_proxys_clients_have_places_of_their_own() {
    let options = Options {
        connections_per_address: 1,
        ..LIMITS
    };
    let (bench, _endings) = bench_behind(proxies(Written::XForwarded), options, false).await;
    let mut endless = bench.plain().await;
    let head = format!(
        "GET /endless HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n",
        bench.host(3000),
        bench.token
    );
    endless.write_all(head.as_bytes()).await.expect("sent");
    let mut first = [0; 12];
    soon(endless.read_exact(&mut first)).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let answer = bench.who(b"", "X-Forwarded-For: 192.0.2.7\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 429") && answer.contains("connections_per_address"),
        "{answer}"
    );
    let answer = bench.who(b"", "X-Forwarded-For: 192.0.2.8\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(endless);
    let again = async { while !bench.who(b"", "X-Forwarded-For: 192.0.2.7\r\n").await.starts_with("HTTP/1.1 200") {} };
    soon(again).await;
}

#[tokio::test]
async fn nothing_in_a_codespace_has_a_way_in_whatever_else_its_network_is_named_for() {
    let inside = Fronts {
        codespaces: loopback(),
        balancers: loopback(),
        ..proxies(Written::XForwarded)
    };
    let (bench, _endings) = bench_behind(inside, LIMITS, false).await;
    for first in [&b""[..], b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"] {
        assert_eq!(
            bench.who(first, "X-Forwarded-For: 192.0.2.7\r\n").await,
            "",
            "closed without a word"
        );
    }
    let metrics = bench.metrics.text(std::iter::empty());
    assert!(
        metrics.contains("portico_connections_refused_total{reason=\"codespace\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_balancers_first_words_say_whose_connection_it_is() {
    let balanced = Fronts {
        balancers: loopback(),
        ..Fronts::default()
    };
    let options = Options {
        connections_per_address: 1,
        ..LIMITS
    };
    let (bench, _endings) = bench_behind(balanced, options, false).await;
    let version_2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[192, 0, 2, 8, 10, 0, 0, 1, 0, 1, 0, 2],
    ]
    .concat();
    for (header, address) in [
        (&b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"[..], "192.0.2.7"),
        (&version_2, "192.0.2.8"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let answer = bench.who(header, "X-Forwarded-For: 6.6.6.6\r\n").await;
        assert!(
            answer.ends_with(&format!("x-forwarded-for={address} forwarded=for={address}")),
            "{answer}"
        );
    }
    for header in [&b""[..], b"PROXY TCP4 x\r\n"] {
        assert_eq!(bench.who(header, "").await, "", "closed without a word");
    }
    // Counted where the client is, not where the balancer is.
    let mut held = bench.plain().await;
    held.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").await.expect("sent");
    let held_place = async { while !bench.who(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "").await.is_empty() {} };
    soon(held_place).await;
    assert!(
        bench
            .who(b"PROXY TCP4 192.0.2.9 10.0.0.1 1 2\r\n", "")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let metrics = bench.metrics.text(std::iter::empty());
    for line in [
        "portico_connections_refused_total{reason=\"proxy_protocol\"} 2",
        "portico_connections_refused_total{reason=\"too_many_of_address\"}",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn to_1_a_balancer_that_does_not_say_whose_it_is_is_cut() {
    let balanced = Fronts {
        balancers: loopback(),
        ..Fronts::default()
    };
    let options = Options {
        handshake_timeout: Duration::from_millis(100),
        ..LIMITS
    };
    let (bench, _endings) = bench_behind(balanced, options, false).await;
    let mut silent = bench.plain().await;
    silent.write_all(b"PROXY TCP4 192.0").await.expect("sent");
    let mut read = Vec::new();
    drop(soon(silent.read_to_end(&mut read)).await);
    assert!(read.is_empty());
}

#[tokio::test]
async fn tls_speaks_behind_a_balancer_that_only_passes_on() {
    let balanced = Fronts {
        balancers: loopback(),
        ..Fronts::default()
    };
    let (bench, _endings) = bench_behind(balanced, LIMITS, true).await;
    let mut stream = bench.plain().await;
    stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").await.expect("sent");
    let connector = TlsConnector::from(Arc::new(unchecked_tls_client().expect("a provider")));
    let name = ServerName::try_from(bench.host(3000)).expect("a name");
    let mut stream = soon(connector.connect(name, stream)).await.expect("a handshake");
    let head = format!(
        "GET /who HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nConnection: close\r\n\r\n",
        bench.host(3000),
        bench.token
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    drop(soon(stream.read_to_end(&mut answer)).await);
    assert!(String::from_utf8_lossy(&answer).ends_with("x-forwarded-for=192.0.2.7 forwarded=for=192.0.2.7"));
}

#[tokio::test]
async fn host_7_a_named_proxy_may_connect_by_a_name_of_its_own() {
    let proxied = Fronts {
        proxies: loopback(),
        ..Fronts::default()
    };
    let (bench, _endings) = bench_behind(proxied, LIMITS, true).await;
    let head = format!(
        "GET /a HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nConnection: close\r\n\r\n",
        bench.host(3000),
        bench.token
    );
    for (name, status) in [("127.0.0.1", 200), ("gateway.internal", 200), ("portico.test", 421)] {
        let mut stream = bench.tls(name, &[]).await;
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    }
}
