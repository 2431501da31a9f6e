//! HTTP/2 over TLS: streams that go their own ways on one connection.

use hyper::{
    client::conn::http2::{self, SendRequest},
    ext::Protocol,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

type Sender = SendRequest<Full<Bytes>>;

impl Bench {
    async fn http_2(&self, name: &str) -> Sender {
        let stream = self.tls(name, &["h2"]).await;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(128 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    fn request(&self, host: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .uri(format!("https://{host}{path}"))
            .header("x-portico-token", &self.token)
    }
}

async fn send(sender: &mut Sender, request: http::request::Builder) -> Response<Incoming> {
    let request = request.body(Full::default()).expect("a request");
    soon(sender.send_request(request)).await.expect("an answer")
}

async fn text(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = soon(response.into_body().collect()).await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn host_5_and_7_each_request_of_a_connection_goes_its_own_way() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    for port in [3000, 8000, 3000] {
        let request = bench.request(&bench.host(port), "/?q").header("cookie", "a=1");
        let request = request.header("cookie", "b=2").header("cookie", "__Host-portico_access=secret");
        let answer = text(send(&mut sender, request).await).await;
        assert_eq!(answer, (200, format!("host=localhost:{port} cookie=a=1; b=2 uri=/?q")));
    }
    // Without the token on the same connection: nobody.
    let stranger = Request::builder().uri(format!("https://{}/", bench.host(3000)));
    assert_eq!(send(&mut sender, stranger).await.status(), 401);
    let two_hosts = bench.request(&bench.host(3000), "/").header("host", bench.host(8000));
    assert_eq!(send(&mut sender, two_hosts).await.status(), 400);
    let same_host = bench.request(&bench.host(3000), "/").header("host", bench.host(3000));
    assert_eq!(send(&mut sender, same_host).await.status(), 200);
    // The gateway's own side needs a connection of its own (HOST-7).
    assert_eq!(send(&mut sender, bench.request("portico.test", "/")).await.status(), 421);
    let mut sender = bench.http_2("portico.test").await;
    assert_eq!(
        send(
            &mut sender,
            bench
                .request("portico.test", "/api/v1/user")
                .header("authorization", format!("Bearer {}", bench.token))
        )
        .await
        .status(),
        200
    );
    assert_eq!(send(&mut sender, bench.request(&bench.host(3000), "/")).await.status(), 421);
}

#[tokio::test]
async fn hdr_9_large_heads_are_refused_by_us() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    let mut large = bench.request(&bench.host(3000), "/");
    for index in 0..6 {
        large = large.header(format!("x-{index}"), "y".repeat(15 * 1024));
    }
    let response = send(&mut sender, large).await;
    assert_eq!(response.status(), 431);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    // Crumbs are one field, however many they are.
    let crumbs = (0..150).fold(bench.request(&bench.host(3000), "/"), |request, index| {
        request.header("cookie", format!("c{index}=1"))
    });
    assert_eq!(send(&mut sender, crumbs).await.status(), 200);
}

#[tokio::test]
async fn lim_2_a_head_of_one_field_again_and_again_ends_its_connection() {
    let (bench, _endings) = bench(LIMITS, true).await;
    // A byte each on the wire; what is named is kept for each of them.
    let named = |times: usize| (0..times).fold(bench.request(&bench.host(3000), "/"), |request, _| request.header("x-bomb", "1"));
    let mut sender = bench.http_2(&bench.host(3000)).await;
    assert_eq!(send(&mut sender, named(400)).await.status(), 431, "few enough to be told");
    let bomb = sender.send_request(named(1000).body(Full::default()).expect("a request"));
    soon(bomb).await.expect_err("no answer");
    let after = bench.request(&bench.host(3000), "/").body(Full::default()).expect("a request");
    soon(sender.send_request(after)).await.expect_err("the connection is over");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_stalls_and_ends_alone() {
    let options = Options {
        write_timeout: Duration::from_millis(500),
        ..LIMITS
    };
    let (bench, mut endings) = bench(options, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    let unread = send(&mut sender, bench.request(&bench.host(3000), "/endless")).await;
    let beside = text(send(&mut sender, bench.request(&bench.host(3000), "/")).await).await;
    assert_eq!(beside.0, 200);
    soon(endings.recv()).await.expect("the app is told");
    let ended = soon(unread.into_body().collect()).await.expect_err("it was reset");
    assert!(format!("{ended:?}").contains("Reset"), "{ended:?}");
    assert_eq!(send(&mut sender, bench.request(&bench.host(3000), "/")).await.status(), 200);
}

#[tokio::test]
async fn sess_3_a_fallen_permit_ends_its_stream_alone() {
    let (bench, mut endings) = bench(LIMITS, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    let other = bench.new_token().await;
    let request = Request::builder().uri(format!("https://{}/endless", bench.host(3000)));
    let unread = send(&mut sender, request.header("x-portico-token", &other)).await;
    bench.revoke(&other).await;
    soon(endings.recv()).await.expect("the app is told");
    soon(unread.into_body().collect()).await.expect_err("it was reset");
    assert_eq!(send(&mut sender, bench.request(&bench.host(3000), "/")).await.status(), 200);
}

#[tokio::test]
async fn websockets_over_http_2_become_upgrades() {
    // So short that the open socket must count against idleness.
    let options = Options {
        idle_timeout: Duration::from_secs(1),
        ..LIMITS
    };
    let (bench, _endings) = bench(options, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    let connect = |path: &str, protocol: &'static str| {
        let request = bench.request(&bench.host(3000), path).method("CONNECT");
        request
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static(protocol))
    };
    let response = send(&mut sender, connect("/socket", "websocket")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "mine");
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let mut socket = TokioIo::new(soon(hyper::upgrade::on(response)).await.expect("upgraded"));
    for round in 0..2 {
        socket.write_all(b"hello").await.expect("written");
        let mut echoed = [0; 5];
        soon(socket.read_exact(&mut echoed)).await.expect("an echo");
        assert_eq!(&echoed, b"hello", "round {round}");
        let beside = send(&mut sender, connect("/", "websocket")).await;
        assert!(!beside.status().is_success(), "no WebSocket there");
        assert_eq!(send(&mut sender, connect("/socket", "connect-udp")).await.status(), 405);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    bench.revoke(&bench.token).await;
    let mut read = Vec::new();
    drop(soon(socket.read_to_end(&mut read)).await);
    assert!(read.is_empty());
}

#[tokio::test]
async fn a_gateway_that_drains_lets_streams_finish() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    assert_eq!(send(&mut sender, bench.request(&bench.host(3000), "/")).await.status(), 200);
    bench.drain.cancel();
    let closed = async {
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    soon(closed).await;
}

#[tokio::test]
async fn ws_5_one_socket_too_many_is_told_the_limit() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let mut sender = bench.http_2(&bench.host(3000)).await;
    let connect = || {
        let request = bench.request(&bench.host(3000), "/socket").method("CONNECT");
        request
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
    };
    let mut open = Vec::new();
    for _ in 0..3 {
        let response = send(&mut sender, connect()).await;
        assert_eq!(response.status(), 200);
        open.push(soon(hyper::upgrade::on(response)).await.expect("upgraded"));
    }
    let (status, problem) = text(send(&mut sender, connect()).await).await;
    assert_eq!(status, 429);
    assert!(
        problem.contains("limits.sockets_per_codespace") && problem.contains("operator"),
        "{problem}"
    );
    open.pop();
    let again = async { while send(&mut sender, connect()).await.status() != 200 {} };
    soon(again).await;
}
