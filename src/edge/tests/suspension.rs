//! What an account shared ends with it (SHARE-5, SESS-3).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    codespace::PortChange,
    domain::{Port, Visibility},
};

impl Bench {
    /// Asks a port as a stranger; the first bytes of the answer, and the connection.
    async fn ask_as_stranger(&self, port: u16) -> (String, TcpStream) {
        let mut stream = self.plain().await;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", self.host(port));
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut first = vec![0; 12];
        soon(stream.read_exact(&mut first)).await.expect("an answer");
        (String::from_utf8_lossy(&first).into_owned(), stream)
    }
}

#[tokio::test]
async fn share_5_what_an_account_shared_is_closed_with_it_and_open_again_afterwards() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let public = PortChange {
        visibility: Some(Visibility::Public),
        ..PortChange::default()
    };
    let port = Port::new(3000).expect("a port");
    let by = Actor::gateway();
    bench
        .codespaces
        .change_port(bench.codespace.name(), port, public, &by)
        .await
        .expect("changed");
    assert_eq!(bench.ask_as_stranger(3000).await.0, "HTTP/1.1 200");
    let owner = bench.codespace.owner().clone();
    let now = crate::clock::Clock::now(&SystemClock);
    bench.auth.suspend(&owner, true, &by, now).await.expect("suspended");
    assert_eq!(bench.ask_as_stranger(3000).await.0, "HTTP/1.1 401", "as if it were private");
    bench.auth.suspend(&owner, false, &by, now).await.expect("restored");
    assert_eq!(bench.ask_as_stranger(3000).await.0, "HTTP/1.1 200");
}
