//! What strangers cost, where the operator caps it, and what they reach while everything is closed (SHARE-5).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    codespace::PortChange,
    domain::{Extent, Port, Visibility},
    forward::client::Written,
};

const CAPS: StrangerCaps = StrangerCaps {
    requests_per_address: Some(2),
    bytes_per_port: Some(8 * 1024 * 1024),
    requests_per_port: None,
    bytes_per_address: None,
};

impl Bench {
    async fn publish(&self, port: u16) {
        let public = PortChange {
            visibility: Some(Visibility::Public),
            ..PortChange::default()
        };
        let (name, port) = (self.codespace.name(), Port::new(port).expect("a port"));
        self.codespaces
            .change_port(name, port, public, &Actor::gateway())
            .await
            .expect("changed");
    }

    /// Begins to ask a port; what comes until `enough`, or until the other side ends.
    async fn visit(&self, port: u16, path: &str, fields: &str, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, TcpStream) {
        let mut stream = self.plain().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host(port));
        stream.write_all(request.as_bytes()).await.expect("written");
        let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while !enough(&got) {
            match soon(stream.read(&mut buffer)).await {
                Ok(count) if count > 0 => got.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
        (got, stream)
    }

    async fn answer(&self, port: u16, fields: &str) -> String {
        let (got, _) = self.visit(port, "/", &format!("Connection: close\r\n{fields}"), |_| false).await;
        String::from_utf8_lossy(&got).into_owned()
    }
}

#[track_caller]
fn is(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
}

#[tokio::test]
async fn share_5_strangers_are_capped_by_address_and_nobody_else_is() {
    let fronts = Fronts {
        proxies: std::iter::once("127.0.0.0/8".parse().expect("a range")).collect(),
        written: Written::XForwarded,
        ..Fronts::default()
    };
    let (bench, _endings) = bench_of(fronts, CAPS, LIMITS, false).await;
    bench.publish(3000).await;
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    for _ in 0..2 {
        is(&bench.answer(3000, &from("192.0.2.7")).await, 200);
    }
    let refused = bench.answer(3000, &from("192.0.2.7")).await;
    is(&refused, 429);
    assert!(
        refused.contains("sharing.stranger_requests_per_address") && refused.contains("urn:portico:strangers-capped"),
        "{refused}"
    );
    let retry = refused
        .to_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: ")?.parse::<u64>().ok());
    assert!(retry.is_some_and(|seconds| (1..=61).contains(&seconds)), "{refused}");
    is(&bench.answer(3000, &from("192.0.2.8")).await, 200);
    for _ in 0..4 {
        let token = format!("X-Portico-Token: {}\r\n{}", bench.token, from("192.0.2.7"));
        is(&bench.answer(3000, &token).await, 200);
    }
}

#[tokio::test]
async fn share_5_bytes_over_the_cap_are_cut_off_in_answers_and_sockets() {
    let (bench, mut endings) = bench_of(Fronts::default(), CAPS, LIMITS, false).await;
    bench.publish(3000).await;
    let socket =
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let switched = |got: &[u8]| got.ends_with(b"\r\n\r\n");
    let (head, mut open) = bench.visit(3000, "/socket", socket, switched).await;
    is(&String::from_utf8_lossy(&head), 101);
    let (got, _) = bench.visit(3000, "/endless", "", |_| false).await;
    assert!(got.len() > 4 * 1024 * 1024, "not before its time: {}", got.len());
    soon(endings.recv()).await.expect("the app is told");
    let mut rest = Vec::new();
    drop(soon(open.read_to_end(&mut rest)).await);
    is(&bench.answer(3000, "").await, 429);

    // A socket is counted as it goes, in both directions.
    bench.publish(3001).await;
    let (head, mut echo) = bench.visit(3001, "/socket", socket, switched).await;
    is(&String::from_utf8_lossy(&head), 101);
    let (mut piece, mut echoed) = (vec![b'x'; 64 * 1024], 0);
    let cut = async {
        while echo.write_all(&piece).await.is_ok() && echo.read_exact(&mut piece).await.is_ok() {
            echoed += piece.len();
        }
    };
    soon(cut).await;
    assert!((3 * 1024 * 1024..=4 * 1024 * 1024).contains(&echoed), "{echoed}");
}

#[tokio::test]
async fn share_5_while_everything_is_closed_only_owners_come_in() {
    let (bench, _endings) = bench(LIMITS, false).await;
    bench.publish(3000).await;
    is(&bench.answer(3000, "").await, 200);
    let (_, mut open) = bench.visit(3000, "/endless", "", |got| got.len() > 100_000).await;
    let by = Actor::gateway();
    bench.codespaces.close(Extent::All, "incident", &by).await.expect("closed");
    is(&bench.answer(3000, "").await, 401);
    let ends = async {
        let mut buffer = vec![0; 64 * 1024];
        while matches!(open.read(&mut buffer).await, Ok(count) if count > 0) {}
    };
    soon(ends).await;
    is(&bench.answer(3000, &format!("X-Portico-Token: {}\r\n", bench.token)).await, 200);
    assert!(bench.codespaces.open_again(&Extent::All, &by).await.expect("opened"));
    is(&bench.answer(3000, "").await, 200);
}
