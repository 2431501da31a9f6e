//! What visitors of a shared port are told when nothing runs there: how it is, never why.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    codespace::PortChange,
    domain::{Phase, Port, Visibility},
};

#[tokio::test]
async fn why_a_codespace_stopped_is_its_owners_matter() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let public = PortChange {
        visibility: Some(Visibility::Public),
        ..PortChange::default()
    };
    let (name, by) = (bench.codespace.name(), Actor::gateway());
    let port = Port::new(3000).expect("a port");
    bench.codespaces.change_port(name, port, public, &by).await.expect("changed");
    bench.codespaces.stop(name, &by).await.expect("told to");
    soon(bench.codespace.until(|snapshot| snapshot.phase() == Phase::Stopped)).await;
    let reason = bench.codespace.snapshot().record.reason.clone().expect("a reason");
    // One that opens what runs, and starts nothing.
    let owner = bench.auth.user_by_name(&"mara".parse().expect("a name")).expect("the owner");
    let (scope, now) = (Scope::Port(name.clone(), port), crate::clock::Clock::now(&SystemClock));
    let made = bench
        .auth
        .create_token(&owner.id, "test", scope, None, &by, now)
        .await
        .expect("made");
    let narrow = secrecy::ExposeSecret::expose_secret(&made.plain);
    for (token, told) in [(Some(narrow), true), (None, false)] {
        let token = token.map(|token| format!("X-Portico-Token: {token}\r\n")).unwrap_or_default();
        let page = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Site: none\r\nX-Portico-Skip-Warning: 1\r\n";
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\n{token}{page}Connection: close\r\n\r\n",
            bench.host(3000)
        );
        let mut stream = bench.plain().await;
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert_eq!(answer.contains(&reason), told, "{reason}: {answer}");
    }
}
