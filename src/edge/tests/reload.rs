//! Certificates that change under a gateway which goes on (TLS-2).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::clock::ManualClock;

impl Bench {
    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        let stream = self.tls("portico.test", &[]).await;
        let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
        chain.first().expect("one").to_vec()
    }

    /// Asks once on an open connection.
    async fn ask(&self, stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\n\r\n",
            self.host(3000),
            self.token
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = vec![0; 64 * 1024];
        let mut length = 0;
        while !answer[..length].ends_with(b"uri=/") {
            match soon(stream.read(&mut answer[length..])).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => length += read,
            }
        }
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_2_a_hundred_swaps_under_load_drop_nothing() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let tls = bench.speech.clone().expect("it speaks TLS");
    let mut old = bench.tls(&bench.host(3000), &[]).await;
    assert!(bench.ask(&mut old).await.expect("an answer").starts_with("HTTP/1.1 200"));
    let first = bench.shown().await;
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async {
        while !done.load(Relaxed) {
            let mut stream = bench.tls(&bench.host(3000), &[]).await;
            for _ in 0..3 {
                let answer = bench.ask(&mut stream).await.expect("nothing is dropped");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                asked.fetch_add(1, Relaxed);
            }
        }
    };
    let swaps = async {
        for swap in 0..100 {
            let before = asked.load(Relaxed);
            certificates(bench.files.path());
            tls.reload().expect("good certificates");
            // The next swap when something was asked under this one.
            while asked.load(Relaxed) == before {
                tokio::task::yield_now().await;
            }
            if swap % 33 == 0 {
                assert!(
                    bench
                        .ask(&mut old)
                        .await
                        .expect("the old connection goes on")
                        .starts_with("HTTP/1.1 200")
                );
            }
        }
        done.store(true, Relaxed);
    };
    tokio::join!(load, swaps);
    assert!(bench.shown().await != first);
}

#[tokio::test]
async fn tls_2_a_broken_pair_keeps_the_old_one() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let tls = bench.speech.clone().expect("it speaks TLS");
    let first = bench.shown().await;
    let file = |name: &str| bench.files.path().join(name);
    let good = std::fs::read(file("codespaces.key")).expect("read");
    for broken in [&b"no key"[..], &good, b""] {
        std::fs::write(file("gateway.key"), broken).expect("written");
        let error = tls.reload().expect_err("it cannot be used").to_string();
        assert!(error.contains("gateway.key"), "{error}");
        assert!(bench.shown().await == first);
    }
    std::fs::remove_file(file("gateway.pem")).expect("removed");
    assert!(tls.reload().is_err());
    assert!(bench.shown().await == first);
}

#[tokio::test]
async fn tls_2_files_that_changed_are_read_by_themselves_and_old_ones_are_told_of() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let tls = bench.speech.clone().expect("it speaks TLS");
    let first = bench.shown().await;
    let clock: SharedClock = Arc::new(ManualClock::at(time::OffsetDateTime::now_utc()));
    let (poke, close) = (Arc::new(tokio::sync::Notify::new()), CancellationToken::new());
    let watching = {
        let ledger = crate::issuance::Ledger::new(bench.metrics.clone());
        let (tls, poke, close) = (tls, Arc::clone(&poke), close.clone());
        tokio::spawn(async move { watch_certificates(tls, &poke, clock, ledger, close).await })
    };
    certificates(bench.files.path());
    let changed = async { while bench.shown().await == first {} };
    soon(changed).await;
    let second = bench.shown().await;
    certificates(bench.files.path());
    poke.notify_one();
    let changed = async { while bench.shown().await == second {} };
    soon(changed).await;
    let metrics = bench.metrics.text(std::iter::empty());
    for hosts in ["gateway", "codespaces"] {
        assert!(
            metrics.contains(&format!("portico_certificate_expires_seconds{{hosts=\"{hosts}\"}} ")),
            "{metrics}"
        );
    }
    close.cancel();
    watching.await.expect("it ends");
}
