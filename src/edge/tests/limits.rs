//! What a port's owner limits: each refusal says which limit it was and who can raise it, and nothing else is limited.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{codespace::PortChange, domain::Port};

impl Bench {
    async fn limit(&self, port: u16, limits: &str) {
        let change = PortChange {
            limits: Some(limits.parse().expect("limits")),
            ..PortChange::default()
        };
        let port = Port::new(port).expect("a port");
        let (name, actor) = (self.codespace.name(), Actor::gateway());
        self.codespaces.change_port(name, port, change, &actor).await.expect("changed");
    }

    /// One request over a connection of its own; the answer's head and body.
    async fn upload(&self, port: u16, rest: &str) -> String {
        let mut stream = self.plain().await;
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nConnection: close\r\n",
            self.host(port),
            self.token
        );
        stream.write_all(format!("{head}{rest}").as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        // An answer that comes before the request's end may be followed by a reset.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[track_caller]
fn check(answer: &str, status: u16, said: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    assert!(answer.contains(said), "{said}: {answer}");
}

const SMALL: &str = "Content-Length: 2\r\n\r\nok";

#[tokio::test]
async fn limits_hold_at_once_and_say_who_can_raise_them() {
    let (bench, _endings) = bench(LIMITS, false).await;
    bench.limit(3000, "rate=1").await;
    check(&bench.upload(3000, SMALL).await, 200, "");
    // On a slow machine a second passes between two of them.
    let too_fast = async {
        loop {
            let answer = bench.upload(3000, SMALL).await;
            if !answer.starts_with("HTTP/1.1 200 ") {
                return answer;
            }
        }
    };
    let refused = soon(too_fast).await;
    check(&refused, 429, "at most 1 request a second");
    assert!(
        refused.contains("a limit that you set") && refused.to_lowercase().contains("retry-after"),
        "{refused}"
    );
    check(&bench.upload(3001, SMALL).await, 200, "");

    bench.limit(3000, "body=3").await;
    check(&bench.upload(3000, SMALL).await, 200, "");
    check(&bench.upload(3000, "Content-Length: 4\r\n\r\nfour").await, 413, "at most 3 bytes");
    check(
        &bench.upload(3000, "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await,
        200,
        "",
    );
    check(
        &bench.upload(3000, "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n").await,
        413,
        "at most 3 bytes",
    );

    bench.limit(3000, "from=192.0.2.0/24").await;
    check(&bench.upload(3000, SMALL).await, 403, "certain addresses only");
    bench.limit(3000, "from=127.0.0.0/8").await;
    check(&bench.upload(3000, SMALL).await, 200, "");

    bench.limit(3000, "connections=1").await;
    let mut open = bench.plain().await;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\n",
        bench.host(3000),
        bench.token
    );
    open.write_all(format!("{head}Content-Length: 100\r\n\r\nbegin").as_bytes())
        .await
        .expect("written");
    let crowded = async {
        loop {
            let answer = bench.upload(3000, SMALL).await;
            if answer.starts_with("HTTP/1.1 429 ") {
                return answer;
            }
        }
    };
    check(&soon(crowded).await, 429, "at most 1 at once, requests and sockets together");
    drop(open);
    let free = async { while !bench.upload(3000, SMALL).await.starts_with("HTTP/1.1 200 ") {} };
    soon(free).await;
    bench.limit(3000, "").await;
    check(&bench.upload(3000, SMALL).await, 200, "");
}

#[tokio::test]
async fn resume_1_the_button_that_wakes_is_within_the_limits_of_its_port() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let press = async || {
        let mut stream = bench.plain().await;
        let (host, token) = (bench.host(3000), &bench.token);
        let head = format!("POST /.portico/wake HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nX-Portico-Token: {token}\r\n");
        let request = format!("{head}Connection: close\r\nContent-Length: 8\r\n\r\nnext=%2F");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("an answer");
        answer
    };
    check(&press().await, 303, "");
    bench.limit(3000, "body=0").await;
    check(&press().await, 303, "");
    bench.limit(3000, "from=192.0.2.0/24").await;
    check(&press().await, 403, "certain addresses only");
}
