//! What apps speak: HTTP/2 and gRPC, trailers, TLS where none is expected, and nothing sensible at all.

use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::{
    client::conn::http2::{self, SendRequest},
    server::conn::http2 as server,
};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    codespace::{PortChange, Snapshot},
    domain::{Port, Visibility},
    protocol::tunnel::ListeningPort,
};

type Streamed = BoxBody<Bytes, Infallible>;

/// Port numbers of the apps here, by what they speak.
const HTTP_2: u16 = 5001;
const TLS_HTTP_2: u16 = 5002;
const RAW: u16 = 5003;
const NOBODY: u16 = 5004;
const TWICE: u16 = 5005;

impl Bench {
    async fn set(&self, port: u16, change: PortChange) {
        let port = Port::new(port).expect("a port");
        let (name, actor) = (self.codespace.name(), Actor::gateway());
        self.codespaces.change_port(name, port, change, &actor).await.expect("changed");
    }

    async fn speaks(&self, port: u16, protocol: &str) {
        let protocol = Some(protocol.to_owned());
        self.set(
            port,
            PortChange {
                protocol,
                ..PortChange::default()
            },
        )
        .await;
    }

    /// Has a connection handler listen instead of the app.
    async fn listen<F: Future<Output = ()> + Send + 'static>(&self, port: u16, serve: impl Fn(TcpStream) -> F + Clone + Send + 'static) {
        self.listen_at(Endpoint::Port(Port::new(port).expect("a port")), serve).await;
    }

    async fn listen_at<F: Future<Output = ()> + Send + 'static>(
        &self,
        endpoint: Endpoint,
        serve: impl Fn(TcpStream) -> F + Clone + Send + 'static,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        self.app.others.lock().insert(endpoint, address);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    }

    /// Has the agent say what listens on a port, and waits until that is known.
    async fn reports(&self, port: Port, beside: Option<&str>) {
        let listening = ListeningPort {
            port: port.number(),
            addresses: vec!["127.0.0.1".into()],
            pid: None,
            process: None,
            command: None,
            scheme: None,
            path: None,
            noise: None,
            beside: beside.map(str::to_owned),
        };
        let said = AgentEvent::Said {
            generation: Generation(1),
            message: FromAgent::Ports {
                ports: vec![listening.clone()],
            },
        };
        self.codespace
            .agent_events()
            .expect("it is there")
            .send(said)
            .await
            .expect("its task runs");
        let is_known = |now: &Snapshot| now.ports.get(&port).is_some_and(|view| view.listening.as_ref() == Some(&listening));
        soon(self.codespace.until(is_known)).await.expect("it runs");
    }

    /// One request over a connection of its own, by the user's token unless `token` is false; status and problem.
    async fn problem_of(&self, port: u16, token: bool) -> (u16, serde_json::Value) {
        let mut stream = self.plain().await;
        let token = if token {
            format!("X-Portico-Token: {}\r\n", self.token)
        } else {
            String::new()
        };
        let request = format!("GET /x HTTP/1.1\r\nHost: {}\r\n{token}Connection: close\r\n\r\n", self.host(port));
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("an answer");
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

/// Answers each message as it comes, then says how it went, as gRPC does.
async fn call(request: Request<Incoming>) -> Result<Response<Streamed>, Infallible> {
    let field = |name: &str| {
        request
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
            .to_owned()
    };
    let seen = format!(
        "{} te={} host={} token={}",
        request.uri(),
        field("te"),
        field("host"),
        field("x-portico-token")
    );
    let (pieces, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                drop(pieces.send(Ok::<_, Infallible>(Frame::data(data))));
            }
        }
        let trailers = [("grpc-status", "0"), ("grpc-message", "well"), ("set-cookie", "a=1")];
        let trailers = trailers.map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        drop(pieces.send(Ok(Frame::trailers(trailers.into_iter().collect()))));
    });
    let body = futures_util::stream::unfold(received, async |mut received| Some((received.recv().await?, received)));
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-seen", seen);
    Ok(response.body(StreamBody::new(Box::pin(body)).boxed()).expect("a response"))
}

async fn http_2_app(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static) {
    let serving = server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(call));
    drop(serving.await);
}

fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn client(bench: &Bench, port: u16) -> SendRequest<Streamed> {
    let stream = bench.tls(&bench.host(port), &["h2"]).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

/// A call with two messages, the second of which is sent when the first has come back.
async fn converse(bench: &Bench, port: u16, path: &str) {
    let mut sender = client(bench, port).await;
    let (say, said) = mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let body = futures_util::stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
    let request = Request::post(format!("https://{}{path}", bench.host(port)))
        .header("x-portico-token", &bench.token)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(Box::pin(body)).boxed())
        .expect("a request");
    let response = soon(sender.send_request(request)).await.expect("an answer");
    let scheme = if port == TLS_HTTP_2 { "https" } else { "http" };
    let expected = format!("{scheme}://localhost:{port}{path} te=trailers host= token=");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-seen"], expected);
    let mut body = response.into_body();
    for word in ["one", "two"] {
        say.send(Ok(Frame::data(word.into()))).expect("it is read");
        let frame = soon(body.frame()).await.expect("a frame").expect("a good one");
        assert_eq!(frame.into_data().expect("data"), word);
    }
    drop(say);
    let last = soon(body.frame()).await.expect("a frame").expect("a good one");
    let trailers = last.into_trailers().expect("trailers");
    assert_eq!(
        (&trailers["grpc-status"], trailers.len()),
        (&HeaderValue::from_static("0"), 2),
        "{trailers:?}"
    );
    assert!(soon(body.frame()).await.is_none());
}

#[tokio::test]
async fn smug_3_grpc_passes_both_ways_with_its_trailers() {
    let (bench, _endings) = bench(LIMITS, true).await;
    bench.listen(HTTP_2, http_2_app).await;
    let tls = acceptor(&["h2", "http/1.1"]);
    bench
        .listen(TLS_HTTP_2, move |stream| {
            let tls = tls.clone();
            async move { http_2_app(tls.accept(stream).await.expect("a handshake")).await }
        })
        .await;
    bench.speaks(HTTP_2, "grpc").await;
    bench.speaks(TLS_HTTP_2, "https").await;
    for port in [HTTP_2, TLS_HTTP_2, HTTP_2] {
        converse(&bench, port, "/echo.Echo/Both?a=%20").await;
    }
    let mut sender = client(&bench, HTTP_2).await;
    let stranger = Request::post(format!("https://{}/echo.Echo/Both", bench.host(HTTP_2)));
    let stranger = stranger.body(Full::default().boxed()).expect("a request");
    assert_eq!(soon(sender.send_request(stranger)).await.expect("an answer").status(), 401);
}

/// Reads a head off a connection.
async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        read.push(byte);
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn smug_3_trailers_of_http_1_pass_to_those_who_ask() {
    let (bench, _endings) = bench(LIMITS, false).await;
    bench
        .listen(RAW, async |mut stream| {
            while head(&mut stream).await.len() > 4 {
                let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=1\r\n\r\n";
                drop(stream.write_all(answer.as_bytes()).await);
            }
        })
        .await;
    for (asks, expected) in [
        ("TE: trailers\r\nConnection: TE, close\r\n", true),
        ("Connection: close\r\n", false),
    ] {
        let mut stream = bench.plain().await;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\n{asks}\r\n",
            bench.host(RAW),
            bench.token
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("an answer");
        assert_eq!(answer.contains("\r\ntrailer: x-sum\r\n"), expected, "{answer}");
        assert_eq!(answer.ends_with("\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"), expected, "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("a=1"), "{answer}");
    }
}

#[tokio::test]
async fn the_doctor_tells_the_owner_what_is_wrong_and_a_stranger_nothing() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let tls = acceptor(&["http/1.1"]);
    bench
        .listen(TLS_HTTP_2, move |stream| {
            let tls = tls.clone();
            async move { drop(tls.accept(stream).await) }
        })
        .await;
    bench.listen(HTTP_2, http_2_app).await;
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback")
        .local_addr()
        .expect("bound");
    bench
        .app
        .others
        .lock()
        .insert(Endpoint::Port(Port::new(NOBODY).expect("a port")), nobody);
    let problems = [
        (
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
            "wrong-answer",
        ),
        ("", "SSH-2.0-OpenSSH_9.6\r\n", "not-http"),
        ("", "", "broke-off"),
        ("", "hello\r\n\r\n", "wrong-answer"),
        ("https", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "app-speaks-http"),
        ("h2c", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "app-speaks-http"),
    ];
    for (set, says, expected) in problems {
        bench
            .listen(RAW, move |mut stream: TcpStream| async move {
                let mut some = [0; 64];
                drop(stream.read(&mut some).await);
                drop(stream.write_all(says.as_bytes()).await);
                drop(stream.shutdown().await);
            })
            .await;
        bench.speaks(RAW, if set.is_empty() { "http" } else { set }).await;
        let (status, problem) = bench.problem_of(RAW, true).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (502, Some(format!("urn:portico:{expected}").as_str())),
            "{says:?} {problem}"
        );
    }
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(512 * 1024));
    bench
        .listen(RAW, move |mut stream: TcpStream| {
            let long = long.clone();
            async move {
                head(&mut stream).await;
                drop(stream.write_all(long.as_bytes()).await);
            }
        })
        .await;
    bench.speaks(RAW, "http").await;
    for (port, expected, fix) in [
        (TLS_HTTP_2, "app-speaks-tls", Some("https")),
        (HTTP_2, "app-speaks-http2", Some("h2c")),
        (NOBODY, "nothing-listens", None),
        (RAW, "response-head-too-large", None),
    ] {
        let (status, problem) = bench.problem_of(port, true).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (502, Some(format!("urn:portico:{expected}").as_str())),
            "{problem}"
        );
        assert_eq!(problem["fix"]["protocol"].as_str(), fix, "{problem}");
        assert!(problem["request_id"].as_str().is_some_and(|id| id.len() == 16), "{problem}");
        let public = PortChange {
            visibility: Some(Visibility::Public),
            ..PortChange::default()
        };
        bench.set(port, public).await;
        let (status, mut problem) = bench.problem_of(port, false).await;
        let id = problem["request_id"].take();
        assert!(id.is_string(), "{problem}");
        assert_eq!((status, problem["type"].as_str()), (502, Some("urn:portico:app-unavailable")));
        let told: Vec<_> = problem.as_object().expect("an object").keys().collect();
        assert_eq!(
            told,
            ["detail", "request_id", "status", "title", "type"],
            "the same of all that is wrong"
        );
    }
    // Mended as the page says, it works.
    bench.speaks(HTTP_2, "h2c").await;
    assert_eq!(bench.problem_of(HTTP_2, true).await.0, 200);
}

#[tokio::test]
async fn a_websocket_comes_of_an_app_that_speaks_http_2_over_tls_as_well() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let tls = acceptor(&["h2", "http/1.1"]);
    bench
        .listen(TLS_HTTP_2, move |stream| {
            let tls = tls.clone();
            async move {
                let mut stream = tls.accept(stream).await.expect("a handshake");
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                let mut read = Vec::new();
                while !read.ends_with(b"\r\n\r\n") {
                    read.push(stream.read_u8().await.expect("a head"));
                }
                let accept = derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
                let switch =
                    format!("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\nhello");
                stream.write_all(switch.as_bytes()).await.expect("written");
                let (mut read, mut write) = tokio::io::split(stream);
                drop(tokio::io::copy(&mut read, &mut write).await);
            }
        })
        .await;
    bench.speaks(TLS_HTTP_2, "https").await;
    let mut stream = bench.plain().await;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        bench.host(TLS_HTTP_2),
        bench.token
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101"));
    stream.write_all(b" again").await.expect("written");
    let mut echoed = [0; 11];
    soon(stream.read_exact(&mut echoed)).await.expect("echoed");
    assert_eq!(&echoed, b"hello again");
}

#[tokio::test]
async fn an_app_of_http_2_may_go_and_come_back() {
    let (bench, _endings) = bench(LIMITS, true).await;
    bench.speaks(HTTP_2, "h2c").await;
    for _ in 0..3 {
        let (told, tell) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let (end, ended) = (Arc::clone(&told), Arc::clone(&tell));
        bench
            .listen(HTTP_2, move |stream| {
                let (end, ended) = (Arc::clone(&end), Arc::clone(&ended));
                async move {
                    tokio::select! {
                        () = http_2_app(stream) => {}
                        () = end.notified() => {}
                    }
                    ended.notify_one();
                }
            })
            .await;
        converse(&bench, HTTP_2, "/echo.Echo/Both").await;
        // It is gone before the next one comes, and its connection with it.
        told.notify_one();
        soon(tell.notified()).await;
        let gone = async {
            while bench.problem_of(HTTP_2, true).await.0 == 502 {
                tokio::task::yield_now().await;
            }
        };
        soon(gone).await;
    }
}

/// Over HTTP/2 hyper tells of a body that failed by nothing but a stream that is reset.
#[tokio::test]
async fn a_body_past_its_ports_limit_is_the_clients_fault_over_http_2_too() {
    let (bench, _endings) = bench(LIMITS, false).await;
    let reads_first = async |request: Request<Incoming>| {
        let read = request.into_body().collect().await.is_ok();
        assert!(!read, "all of a body that was too large came");
        Ok::<_, Infallible>(Response::new(String::new()))
    };
    bench
        .listen(HTTP_2, move |stream| async move {
            let serving = server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(reads_first));
            drop(serving.await);
        })
        .await;
    bench.speaks(HTTP_2, "h2c").await;
    let limited = PortChange {
        limits: Some("body=10".parse().expect("limits")),
        ..PortChange::default()
    };
    bench.set(HTTP_2, limited).await;
    let mut stream = bench.plain().await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
        bench.host(HTTP_2),
        bench.token
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let answer = soon(head(&mut stream)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn smug_6_informational_answers_without_end_end_over_http_2_too() {
    let (bench, _endings) = bench(LIMITS, false).await;
    // An answer of 103 again and again, which a byte names from the second time on.
    let head = |block: &[u8]| [&[0, 0, u8::try_from(block.len()).expect("short"), 1, 4, 0, 0, 0, 1][..], block].concat();
    let early = [head(b"\x48\x03103"), head(&[0xbe]).repeat(1_000)].concat();
    bench
        .listen(RAW, move |mut stream| {
            let early = early.clone();
            async move {
                let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
                drop(stream.write_all(&settings).await);
                let mut asked = Vec::new();
                while !asked
                    .windows(5)
                    .any(|bytes| bytes == b"\x01\x04\0\0\0" || bytes == b"\x01\x05\0\0\0")
                {
                    if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
                        return;
                    }
                }
                while stream.write_all(&early).await.is_ok() {}
            }
        })
        .await;
    bench.speaks(RAW, "grpc").await;
    let (status, problem) = bench.problem_of(RAW, true).await;
    assert_eq!((status, &problem["type"]), (502, &"urn:portico:chatter".into()), "{problem}");
}

/// Answers each request of a connection with a word.
async fn one_word(stream: TcpStream, word: &'static str) {
    let answer =
        service_fn(async move |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(word.as_bytes())))));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

#[tokio::test]
async fn pool_1_a_kept_connection_to_a_service_beside_never_serves_its_own_port_nor_the_other_way() {
    let (bench, _ended) = bench(LIMITS, false).await;
    let port = Port::new(TWICE).expect("a port");
    bench.listen_at(Endpoint::Port(port), |stream| one_word(stream, "of its own")).await;
    bench.listen_at(Endpoint::Beside(port), |stream| one_word(stream, "of admin")).await;
    // One connection, so that all its requests share what is kept.
    let mut stream = bench.plain().await;
    let request = format!(
        "GET /x HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\n\r\n",
        bench.host(TWICE),
        bench.token
    );
    for (beside, expected) in [
        (None, "of its own"),
        (Some("admin"), "of admin"),
        (None, "of its own"),
        (Some("admin"), "of admin"),
    ] {
        bench.reports(port, beside).await;
        for _ in 0..2 {
            stream.write_all(request.as_bytes()).await.expect("written");
            let mut answer = Vec::new();
            while !answer.ends_with(b"of its own") && !answer.ends_with(b"of admin") {
                answer.push(soon(stream.read_u8()).await.expect("an answer"));
            }
            let answer = String::from_utf8_lossy(&answer);
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with(expected),
                "{beside:?}: {answer}"
            );
        }
    }
}
