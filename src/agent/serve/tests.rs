//! The API over a duplex stream, spoken to as the gateway does.

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::{
    agent::{environment::Environment, ports::Ports, report::Reporter},
    protocol::bootstrap::Bootstrap,
};

fn workshop() -> Arc<Workshop> {
    let bootstrap = Bootstrap {
        workspace: "/tmp".into(),
        home: "/".into(),
        state_dir: "/nonexistent".into(),
        ..Bootstrap::default()
    };
    let environment = Environment::compose([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())], &bootstrap);
    let reporter = Reporter::new();
    Workshop::new(&bootstrap, environment, Ports::new(None, reporter.clone()), reporter)
}

async fn send(workshop: &Arc<Workshop>, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(serve_connection(far, Arc::clone(workshop)));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("connects");
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.expect("answers")
}

async fn call(workshop: &Arc<Workshop>, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "agent")
        .body(Full::from(body.to_owned()))
        .expect("a request");
    let response = send(workshop, request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn exec(workshop: &Arc<Workshop>, order: Value, input: &[u8]) -> (Vec<u8>, Vec<u8>, Value) {
    let request = Request::builder()
        .uri("/exec")
        .header("host", "agent")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Full::default())
        .expect("a request");
    let response = send(workshop, request).await;
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let io = TokioIo::new(hyper::upgrade::on(response).await.expect("upgrades"));
    let (mut sink, mut stream) = WebSocketStream::from_raw_socket(io, Role::Client, None).await.split();
    sink.send(Message::Text(order.to_string().into())).await.expect("sent");
    let input = input.to_vec();
    tokio::spawn(async move {
        for piece in input.chunks(100_000) {
            sink.send(Message::Binary([&[0], piece].concat().into())).await.expect("sent");
        }
        sink.send(Message::Text(r#"{"type":"eof"}"#.into())).await.expect("sent");
        std::future::pending::<()>().await;
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match stream.next().await.expect("open").expect("sound") {
            Message::Binary(bytes) if bytes[0] == 1 => out.extend_from_slice(&bytes[1..]),
            Message::Binary(bytes) => err.extend_from_slice(&bytes[1..]),
            Message::Text(text) => return (out, err, serde_json::from_str(&text).expect("JSON")),
            _ => {}
        }
    }
}

#[tokio::test]
async fn terminals_are_made_listed_and_removed() {
    let workshop = workshop();
    let (status, made) = call(
        &workshop,
        Method::POST,
        "/terminals",
        r#"{"cols":90,"rows":30,"command":["sleep","600"]}"#,
    )
    .await;
    assert_eq!((status, &made["cols"], &made["running"]), (201, &90.into(), &true.into()));
    let (_, listed) = call(&workshop, Method::GET, "/terminals", "").await;
    assert_eq!(listed[0]["id"], made["id"]);
    let path = format!("/terminals/{}", made["id"].as_str().expect("an id"));
    assert_eq!(call(&workshop, Method::GET, &format!("{path}/attach"), "").await.0, 426);
    assert_eq!(call(&workshop, Method::DELETE, &path, "").await.0, 204);
    assert_eq!(call(&workshop, Method::DELETE, &path, "").await.0, 404);
    assert_eq!(call(&workshop, Method::GET, "/elsewhere", "").await.0, 404);
    assert_eq!(call(&workshop, Method::POST, "/terminals", r#"{"cwd":"/nowhere"}"#).await.0, 422);
    assert_eq!(call(&workshop, Method::POST, "/terminals", &" ".repeat(MAX_BODY + 1)).await.0, 413);
    assert_eq!(call(&workshop, Method::GET, "/work", "").await.1["repository"], false);
    assert_eq!(call(&workshop, Method::POST, "/shutdown", "").await.0, 204);
    assert!(workshop.ending.is_cancelled());
}

#[tokio::test]
async fn commands_run_with_input_output_and_status() {
    let workshop = workshop();
    let input: Vec<u8> = (0..2_000_000_u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
    let (out, err, end) = exec(
        &workshop,
        json!({"command": ["sh", "-c", "cat; echo $X >&2; exit 9"], "env": {"X": "seen"}, "tty": false}),
        &input,
    )
    .await;
    assert!(out == input, "{} bytes came back", out.len());
    assert_eq!(
        (err.as_slice(), &end),
        (b"seen\n".as_slice(), &json!({"type": "exit", "status": 9}))
    );
    let (_, _, end) = exec(&workshop, json!({"command": ["sh", "-c", "kill -TERM $$"], "tty": false}), b"").await;
    assert_eq!(end["status"], 143);
    let (out, _, end) = exec(
        &workshop,
        json!({"command": ["sh", "-c", "stty size; cat"], "tty": true, "cols": 77, "rows": 11}),
        b"",
    )
    .await;
    assert_eq!(
        (String::from_utf8_lossy(&out[..7]).as_ref(), &end["status"]),
        ("11 77\r\n", &0.into())
    );
    let (_, _, end) = exec(&workshop, json!({"command": ["no-such-program"], "tty": false}), b"").await;
    assert_eq!(end, json!({"type": "error", "detail": "there is no program no-such-program"}));
}
