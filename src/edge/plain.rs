//! The listener of plain HTTP beside one that speaks TLS: sends to https and answers ACME's challenges, nothing else.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Fronts, authority_of, listener::Gate, proxy_protocol, redirect};
use crate::{issuance::Challenges, ops::Metrics, route::Sites};

/// Most connections at once: each is one short answer.
const CONNECTIONS: usize = 512;
/// How long one connection may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest head that is read.
const HEAD_BYTES: usize = 32 * 1024;
/// Where a certificate authority looks for what it asked for (RFC 8555 §8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// What plain HTTP is answered with.
#[derive(Clone)]
pub struct Plain {
    pub sites: Sites,
    pub fronts: Arc<Fronts>,
    pub challenges: Challenges,
    pub metrics: Metrics,
}

/// Accepts and answers until `drain` is cancelled.
pub async fn serve(plain: Plain, listener: TcpListener, gate: Gate, drain: CancellationToken) {
    let (room, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let address = peer.ip().to_canonical();
        let (Ok(slot), Ok(place)) = (Arc::clone(&room).try_acquire_owned(), gate.place(address)) else {
            plain.metrics.closed("too_many_plain");
            continue;
        };
        let (plain, drain) = (plain.clone(), drain.clone());
        connections.spawn(async move {
            let balanced = plain.fronts.balancers.contains(address);
            tokio::select! {
                _ended = timeout(PATIENCE, plain.connection(stream, balanced)) => {}
                () = drain.cancelled() => {}
            }
            drop((slot, place));
        });
    }
    connections.close();
    connections.wait().await;
}

impl Plain {
    async fn connection(self, mut stream: TcpStream, balanced: bool) {
        if balanced && proxy_protocol::read(&mut stream).await.is_err() {
            return self.metrics.closed("proxy_protocol");
        }
        let service = service_fn(move |request| {
            let answer = self.answer(request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        // An error is the client's: it went away, or speaks no HTTP.
        drop(serving.await);
    }

    fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let (head, _) = request.into_parts();
        if let Some(token) = head.uri.path().strip_prefix(CHALLENGE_PATH) {
            return self.challenges.answer(token).map_or_else(
                || text(StatusCode::NOT_FOUND, "No such challenge.\n".into()),
                |proof| text(StatusCode::OK, proof),
            );
        }
        let Some(authority) = authority_of(&head).ok().and_then(|written| written.parse().ok()) else {
            return text(StatusCode::BAD_REQUEST, "The request names no host, or two.\n".into());
        };
        match redirect::location(&self.sites, &self.sites.route(&authority), &head.uri) {
            Some(location) => redirect::to(location),
            None => text(StatusCode::MISDIRECTED_REQUEST, "This host is not served here.\n".into()),
        }
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::edge::tests::LIMITS;

    #[tokio::test]
    async fn tls_5_plain_http_goes_to_https_on_our_hosts_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let challenges = Challenges::default();
        let _kept = challenges.put("token-1".into(), "token-1.proof".into());
        let plain = Plain {
            sites: Sites::new("https://portico.test".parse().expect("an origin"), "codespaces.example"),
            fronts: Arc::default(),
            challenges,
            metrics: Metrics::new(),
        };
        let drain = CancellationToken::new();
        let served = tokio::spawn(serve(plain, listener, Gate::new(LIMITS), drain.clone()));
        let ask = async |head: &str| {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let answer = ask("POST /a?b HTTP/1.1\r\nHost: portico.test\r\nContent-Length: 0").await;
        assert!(
            answer.starts_with("HTTP/1.1 308") && answer.contains("location: https://portico.test/a?b\r\n"),
            "{answer}"
        );
        let answer = ask("GET / HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: portico.test").await;
        assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("evil"), "{answer}");
        assert!(
            ask("GET / HTTP/1.1\r\nHost: a\r\nHost: portico.test")
                .await
                .starts_with("HTTP/1.1 400")
        );
        assert!(
            ask("GET /.well-known/acme-challenge/token-1 HTTP/1.1\r\nHost: x")
                .await
                .ends_with("\r\n\r\ntoken-1.proof")
        );
        for token in ["", "token-2", "../token-1", "token-1/"] {
            let answer = ask(&format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: portico.test")).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{token} {answer}");
        }
        let _silent = TcpStream::connect(address).await.expect("it listens");
        drain.cancel();
        served.await.expect("it ends although somebody is silent");
    }
}
