//! The listener of plain HTTP beside one that speaks TLS: sends to https and answers ACME's challenges, nothing else.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

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

use super::{Fronts, authority_of, caller::Caller, listener::Gate, proxy_protocol, redirect};
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
        if plain.fronts.codespaces.contains(peer.ip()) {
            plain.metrics.closed("codespace");
            continue;
        }
        let Ok(slot) = Arc::clone(&room).try_acquire_owned() else {
            plain.metrics.closed("too_many_plain");
            continue;
        };
        let (plain, gate, drain) = (plain.clone(), gate.clone(), drain.clone());
        connections.spawn(async move {
            tokio::select! {
                _ended = timeout(PATIENCE, plain.connection(stream, peer.ip().to_canonical(), &gate)) => {}
                () = drain.cancelled() => {}
            }
            drop(slot);
        });
    }
    connections.close();
    connections.wait().await;
}

impl Plain {
    async fn connection(self, mut stream: TcpStream, peer: IpAddr, gate: &Gate) {
        let mut address = peer;
        if self.fronts.balancers.contains(peer) {
            match proxy_protocol::read(&mut stream).await {
                Ok(source) => address = source.unwrap_or(peer),
                Err(_) => return self.metrics.closed("proxy_protocol"),
            }
        }
        let Ok((caller, _place)) = gate.admit(address, &self.fronts) else {
            return self.metrics.closed("too_many_plain");
        };
        let service = service_fn(move |request| {
            let answer = self.admit(request, &caller);
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

    /// Answers, if whoever asks through a named proxy has room. An answer is made at once, so the room is free again.
    fn admit<B>(&self, request: Request<B>, caller: &Caller) -> Response<Full<Bytes>> {
        let client = caller.client(request.headers(), &self.fronts);
        match caller.place_behind(client.address) {
            Ok(_place) => self.answer(request),
            Err(_) => {
                let more =
                    "Too many requests from your address at once. Whoever runs this gateway can raise limits.connections_per_address.\n";
                text(StatusCode::TOO_MANY_REQUESTS, more.into())
            }
        }
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

    fn only(address: &str) -> crate::domain::Networks {
        std::iter::once(address.parse().expect("an address")).collect()
    }

    fn answering(fronts: Fronts) -> Plain {
        Plain {
            sites: Sites::new("https://portico.test".parse().expect("an origin"), "codespaces.example"),
            fronts: Arc::new(fronts),
            challenges: Challenges::default(),
            metrics: Metrics::new(),
        }
    }

    /// With room for one of each address.
    fn narrow() -> Gate {
        Gate::new(crate::edge::listener::Options {
            connections_per_address: 1,
            ..LIMITS
        })
    }

    #[tokio::test]
    async fn lim_1_clients_behind_a_balancer_have_places_of_their_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let plain = answering(Fronts {
            balancers: only("127.0.0.1"),
            ..Fronts::default()
        });
        tokio::spawn(serve(plain, listener, narrow(), CancellationToken::new()));
        let connect = async |client: &str| {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let first = format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: portico.test\r\n");
            stream.write_all(first.as_bytes()).await.expect("sent");
            stream
        };
        let end = async |mut stream: TcpStream| {
            let mut answer = String::new();
            stream.write_all(b"\r\n").await.expect("sent");
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let (mut first, mut second) = (connect("192.0.2.1").await, connect("192.0.2.1").await);
        let other = connect("192.0.2.2").await;
        assert!(end(other).await.starts_with("HTTP/1.1 308"), "another address");
        // Whichever came second is closed, with or without a reset; the other one is waited for.
        let (mut one, mut two) = ([0], [0]);
        let kept = tokio::select! {
            read = first.read(&mut one) => { assert_eq!(read.unwrap_or(0), 0); second }
            read = second.read(&mut two) => { assert_eq!(read.unwrap_or(0), 0); first }
        };
        assert!(end(kept).await.starts_with("HTTP/1.1 308"));
        assert!(end(connect("192.0.2.1").await).await.starts_with("HTTP/1.1 308"), "room again");
    }

    #[test]
    fn lim_1_a_proxys_clients_are_counted_by_request() {
        let plain = answering(Fronts {
            proxies: only("10.0.0.1"),
            ..Fronts::default()
        });
        let gate = narrow();
        let ask = |peer: &str, client: &str| {
            let (caller, _) = gate.admit(peer.parse().expect("an address"), &plain.fronts).expect("room");
            let request = Request::get("/").header("host", "portico.test").header("x-forwarded-for", client);
            plain.admit(request.body(()).expect("a request"), &caller).status()
        };
        let admitted = gate.admit([10, 0, 0, 1].into(), &plain.fronts);
        let (proxy, _) = admitted.expect("room");
        let held = proxy.place_behind([192, 0, 2, 1].into());
        assert!(held.is_ok());
        assert_eq!(ask("10.0.0.1", "192.0.2.1"), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(ask("10.0.0.1", "192.0.2.2"), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(
            ask("10.0.0.9", "192.0.2.1"),
            StatusCode::PERMANENT_REDIRECT,
            "nobody else is believed"
        );
        drop(held);
        assert_eq!(ask("10.0.0.1", "192.0.2.1"), StatusCode::PERMANENT_REDIRECT);
    }

    #[tokio::test]
    async fn tls_5_plain_http_goes_to_https_on_our_hosts_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let plain = answering(Fronts::default());
        let _kept = plain.challenges.put("token-1".into(), "token-1.proof".into());
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
