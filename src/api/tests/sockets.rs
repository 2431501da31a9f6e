//! Terminals, commands and the agent behind them.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{api::websocket, domain::Credential, policy::Presented};

const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Evil: 1\r\n\r\n";

/// Reads a request's head.
async fn head(agent: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(agent.read_u8().await.expect("a byte"));
    }
    String::from_utf8(head).expect("text")
}

/// Plays an agent that answers one call so; gives the head that it saw.
fn answering(api: &TestApi, answer: String) -> tokio::task::JoinHandle<String> {
    let mut agent = api.agents.expect();
    tokio::spawn(async move {
        let head = head(&mut agent).await;
        agent.write_all(answer.as_bytes()).await.expect("written");
        // Reads on until the gateway has had enough.
        drop(tokio::io::copy(&mut agent, &mut tokio::io::sink()).await);
        head
    })
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nSet-Cookie: evil=1\r\nAccess-Control-Allow-Origin: *\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn socket(path: &str) -> Call {
    Call::get(path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

const ATTACH: &str = "/api/v1/codespaces/bob-x/terminals/t1/attach?since=7&client=abc";
const EXEC: &str = "/api/v1/codespaces/bob-x/exec";

#[tokio::test]
async fn agt_3_calls_reach_the_agent_and_nothing_of_its_headers_comes_back() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let terminal = json!({ "id": "t1", "title": "bash", "cols": 80, "rows": 24, "running": true, "exit_status": null, "created_at": "2026-01-01T00:00:00Z", "seq": 0 });
    let mut evil = terminal.clone();
    evil["surprise"] = "<script>".into();
    let seen = answering(&api, http("200 OK", &json!([evil]).to_string()));
    let list = api.send(Call::get("/api/v1/codespaces/bob-x/terminals").page(&cookie)).await;
    assert_eq!((list.status, list.json()), (200, json!([terminal])));
    assert!(list.headers.get("set-cookie").is_none() && list.headers.get("access-control-allow-origin").is_none());
    let head = seen.await.expect("joined");
    assert!(head.starts_with("GET /terminals HTTP/1.1\r\n"), "{head}");
    assert!(
        !head.contains("portico_session") && !head.to_lowercase().contains("origin"),
        "{head}"
    );
    let seen = answering(&api, http("201 Created", &terminal.to_string()));
    let made = api
        .send(
            Call::post("/api/v1/codespaces/bob-x/terminals")
                .page(&cookie)
                .text(r#"{"cols":80,"rows":24}"#),
        )
        .await;
    assert_eq!(made.status, 201);
    assert!(seen.await.expect("joined").starts_with("POST /terminals "));
    let seen = answering(&api, "HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    assert_eq!(
        api.send(Call::new(Method::DELETE, "/api/v1/codespaces/bob-x/terminals/t1").page(&cookie))
            .await
            .status,
        204
    );
    assert!(seen.await.expect("joined").starts_with("DELETE /terminals/t1 "));
}

#[tokio::test]
async fn agt_3_hostile_agents_end_in_problems() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let long = "x".repeat(2 * 1024 * 1024);
    for (answer, expected) in [
        (http("200 OK", "{"), "502 agent"),
        (http("200 OK", r#"{"a":1}"#), "502 agent"),
        (http("200 OK", &long), "502 agent"),
        (http("302 Found", ""), "502 agent"),
        (http("401 Unauthorized", ""), "502 agent"),
        (http("404 Not Found", ""), "404 no-such-terminal"),
        (
            http("422 X", r#"{"detail":"no such directory\u001b[31m"}"#),
            "422 refused-by-codespace",
        ),
        ("nonsense\r\n\r\n".to_owned(), "502 agent"),
        (String::new(), "502 agent"),
    ] {
        let short: String = answer.chars().take(60).collect();
        if answer.is_empty() {
            drop(api.agents.expect());
        } else {
            answering(&api, answer);
        }
        let answer = api.send(Call::get("/api/v1/codespaces/bob-x/terminals").token(&token)).await;
        assert_eq!(answer.short(), expected, "{short}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("u001b"));
    }
    let text = answering(&api, http("200 OK", "cloning\n"));
    let log = api.send(Call::get("/api/v1/codespaces/bob-x/logs").token(&token)).await;
    assert_eq!(
        (log.status, &log.bytes[..], &log.headers["content-type"]),
        (200, &b"cloning\n"[..], &"text/plain; charset=utf-8".parse().expect("a value"))
    );
    drop(text);
    for id in ["..%2fexec", "a%20b", "a%0d%0ax", &"x".repeat(65)] {
        let path = format!("/api/v1/codespaces/bob-x/terminals/{id}");
        assert_eq!(
            api.send(Call::new(Method::DELETE, &path).token(&token)).await.short(),
            "404 no-such-terminal",
            "{id}"
        );
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_after_both_handshakes() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let mut agent = api.agents.expect();
    let played = tokio::spawn(async move {
        let head = head(&mut agent).await;
        agent.write_all(ACCEPT.as_bytes()).await.expect("written");
        agent.write_all(b"from the agent").await.expect("written");
        let mut said = Vec::new();
        agent.read_to_end(&mut said).await.expect("read");
        agent.write_all(b", late").await.expect("written after the client's end");
        (head, said)
    });
    let (answer, stream) = api.open(socket(ATTACH).header("cookie", &cookie).header("origin", ORIGIN)).await;
    assert_eq!((answer.status, answer.headers.get("x-evil")), (101, None), "{answer:?}");
    assert_eq!(answer.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut stream = stream.expect("a stream");
    stream.write_all(b"from the page").await.expect("written");
    stream.shutdown().await.expect("shut down");
    let mut said = String::new();
    stream.read_to_string(&mut said).await.expect("read");
    assert_eq!(said, "from the agent, late");
    let (head, heard) = played.await.expect("joined");
    assert_eq!(heard, b"from the page");
    assert!(
        head.starts_with("GET /terminals/t1/attach?since=7&client=abc HTTP/1.1\r\n"),
        "{head}"
    );
    let lower = head.to_lowercase();
    assert!(!lower.contains("cookie") && !lower.contains("origin"), "{head}");
}

#[tokio::test]
async fn sockets_answer_pages_of_their_own_host_and_programs() {
    let api = TestApi::start().await;
    let (cookie, token) = (api.cookie("bob").await, api.token("bob", "all").await);
    let (stranger, reader) = (api.token("eve", "all").await, api.token("bob", "read").await);
    for (call, expected) in [
        (socket(EXEC).header("cookie", &cookie), "403 foreign-page"),
        (
            socket(EXEC).header("cookie", &cookie).header("sec-fetch-site", "same-origin"),
            "403 foreign-page",
        ),
        (
            socket(EXEC)
                .header("cookie", &cookie)
                .header("origin", "http://bob-x.codespaces.localhost:8080"),
            "403 foreign-page",
        ),
        (socket(EXEC).header("cookie", &cookie).header("origin", "null"), "403 foreign-page"),
        (
            socket(EXEC).token(&token).header("origin", "http://evil.example"),
            "403 foreign-page",
        ),
        (socket(EXEC).token(&stranger), "404 no-such-codespace"),
        (socket(EXEC).token(&reader), "403 forbidden"),
        (socket(EXEC), "401 sign-in-required"),
        (Call::get(EXEC).token(&token), "426 websocket-required"),
        (socket(EXEC).token(&token), "503 not-connected"),
        (socket(EXEC).token(&token).header("origin", ORIGIN), "503 not-connected"),
        (
            socket("/api/v1/codespaces/bob-x/terminals/t1/attach?since=x").token(&token),
            "400 bad-query",
        ),
        (
            socket("/api/v1/codespaces/bob-x/terminals/t1/attach?client=%0d%0a").token(&token),
            "400 bad-query",
        ),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(api.send(call).await.short(), expected, "{shown}");
    }
}

#[tokio::test]
async fn an_agent_that_does_not_speak_websocket_gets_no_bytes() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    for (answer, expected) in [
        (ACCEPT.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAA"), "502 agent"),
        (http("200 OK", "hello"), "502 agent"),
        (http("404 Not Found", ""), "404 no-such-terminal"),
    ] {
        answering(&api, answer);
        assert_eq!(api.send(socket(EXEC).token(&token)).await.short(), expected);
    }
}

/// Opens an exec socket and gives both ends.
pub(super) async fn opened(api: &TestApi, call: Call) -> (TokioIo<Upgraded>, DuplexStream) {
    let mut agent = api.agents.expect();
    let played = tokio::spawn(async move {
        head(&mut agent).await;
        agent.write_all(ACCEPT.as_bytes()).await.expect("written");
        agent
    });
    let (answer, stream) = api.open(call).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    (stream.expect("a stream"), played.await.expect("joined"))
}

/// The stream ends; that it does so within the second that SESS-3 allows is measured elsewhere.
pub(super) async fn closes(mut stream: TokioIo<Upgraded>) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    // A reset is an end too.
    drop(end.expect("closed in time"));
}

#[tokio::test]
async fn live_sockets_end_with_what_opened_them() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let (stream, _agent) = opened(&api, socket(EXEC).header("cookie", &cookie).header("origin", ORIGIN)).await;
    assert_eq!(api.send(Call::post("/api/v1/sign-out").page(&cookie)).await.status, 204);
    closes(stream).await;

    let (token, cookie) = (api.token("bob", "all").await, api.cookie("bob").await);
    let (stream, _agent) = opened(&api, socket(EXEC).token(&token)).await;
    let tokens = api.send(Call::get("/api/v1/tokens").page(&cookie)).await.json();
    for token in tokens.as_array().expect("tokens") {
        let path = format!("/api/v1/tokens/{}", token["id"].as_str().expect("an id"));
        api.send(Call::new(Method::DELETE, &path).page(&cookie)).await;
    }
    closes(stream).await;

    let token = api.token("bob", "all").await;
    let (stream, _agent) = opened(&api, socket(EXEC).token(&token)).await;
    assert_eq!(
        api.send(Call::new(Method::DELETE, "/api/v1/codespaces/bob-x?force=true").token(&token))
            .await
            .status,
        204
    );
    closes(stream).await;
}

#[tokio::test]
async fn sess_3_no_timer_stands_between_a_cause_and_the_end_of_a_socket() {
    for cause in ["sign-out", "token", "suspension", "deletion"] {
        let api = TestApi::start().await;
        let (services, by, now) = (api.services.clone(), Actor::gateway(), api.services.clock.now());
        let name = "bob-x".parse().expect("a name");
        let codespace = services.codespaces.find(&name).expect("bob's");
        let presented = services.auth.by_token(&api.token("bob", "all").await, now);
        let Presented::Valid(identity) = presented else {
            panic!("{presented:?}");
        };
        let mut who = (*identity).clone();
        if cause == "sign-out" {
            api.cookie("bob").await;
            let sessions = services.auth.sessions_of(&who.user);
            who.credential = Credential::Cookie(sessions[0].id.clone());
        }
        let watching = websocket::over(services.clone(), who.clone(), codespace, websocket::Kind::Command);
        let over = crate::relay::tests::without_timers(watching).await;
        match (cause, &who.credential) {
            ("sign-out", Credential::Cookie(session)) => services.auth.sign_out(session, &by, now).await.expect("signed out"),
            ("token", Credential::Token(token)) => {
                assert!(services.auth.revoke_token(&who.user, token, &by, now).await.expect("revoked"));
            }
            ("suspension", _) => services.auth.suspend(&who.user, true, &by, now).await.expect("suspended"),
            _ => services.codespaces.delete(&name, true, &by).await.expect("deleted"),
        }
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), over).await;
        ended.expect("told").expect("no timer was asked for");
    }
}

#[tokio::test]
async fn the_editor_host_works_inside_its_codespace_alone() {
    let api = TestApi::start().await;
    let editor = "http://bob-x.codespaces.localhost:8080";
    let cookie = host_cookie(&api).await;
    let sign_in = format!(r#"{{"name":"eve","password":"{PASSWORD}"}}"#);
    let call = |method: Method, path: &str| {
        Call::new(method, path)
            .header("cookie", &cookie)
            .header("content-type", "application/json")
            .through(Via::Editor)
    };
    for (method, path, body, expected) in [
        (Method::GET, "/api/v1/codespaces/bob-x", "", "200"),
        (Method::GET, "/api/v1/codespaces/bob-x/ports", "", "200"),
        (Method::GET, "/api/v1/codespaces/bob-x/terminals", "", "503 not-connected"),
        (Method::POST, "/api/v1/codespaces/bob-x/terminals", "{}", "503 not-connected"),
        (Method::GET, "/api/v1/codespaces/eve-x", "", "404 no-such-codespace"),
        (
            Method::PATCH,
            "/api/v1/codespaces/bob-x/ports/3000",
            r#"{"visibility":"public"}"#,
            "403 forbidden",
        ),
        (Method::POST, "/api/v1/codespaces/bob-x/stop", "{}", "403 forbidden"),
        (Method::DELETE, "/api/v1/codespaces/bob-x?force=true", "", "403 forbidden"),
        (
            Method::POST,
            "/api/v1/codespaces",
            r#"{"repository":"https://example.com/x"}"#,
            "403 forbidden",
        ),
        (Method::GET, "/api/v1/tokens", "", "404 not-found"),
        (Method::POST, "/api/v1/tokens", r#"{"scope":"all"}"#, "404 not-found"),
        (Method::GET, "/api/v1/sessions", "", "404 not-found"),
        (Method::GET, "/api/v1/users", "", "404 not-found"),
        // DOM-3: no session of the gateway host is made, ended or replaced here.
        (Method::POST, "/api/v1/sign-out", "{}", "404 not-found"),
        (Method::POST, "/api/v1/sign-in", &sign_in, "404 not-found"),
        (Method::POST, "/api/v1/setup", r#"{"secret":"x"}"#, "404 not-found"),
    ] {
        let own = api.send(call(method.clone(), path).text(body).header("origin", editor)).await;
        assert_eq!(own.short(), expected, "{method} {path}");
        let sibling = api
            .send(
                call(method.clone(), path)
                    .text(body)
                    .header("origin", "http://bob-x-3000.codespaces.localhost:8080"),
            )
            .await;
        assert_eq!(sibling.short(), "403 foreign-page", "{method} {path}");
    }
    for site in ["same-site", "cross-site"] {
        let get = call(Method::GET, "/api/v1/codespaces/bob-x").header("sec-fetch-site", site);
        assert_eq!(api.send(get).await.short(), "403 foreign-page");
    }
}

/// Makes the editor host's cookie of bob, as the sign-in hop does.
async fn host_cookie(api: &TestApi) -> String {
    api.cookie("bob").await;
    let bob = api.services.auth.user_by_name(&"bob".parse().expect("a name")).expect("bob");
    let session = api.services.auth.sessions_of(&bob.id).first().expect("a session").id.clone();
    let host = crate::route::Route::Editor("bob-x".parse().expect("a name"));
    let cookie = api.services.auth.host_cookie(&session, &host, api.services.clock.now());
    cookie.split(';').next().expect("a pair").to_owned()
}

#[tokio::test]
async fn ws_5_one_socket_too_many_is_told_the_limit() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(opened(&api, socket(EXEC).token(&token)).await);
    }
    let answer = api.send(socket(EXEC).token(&token)).await;
    assert_eq!(answer.short(), "429 too-many-sockets");
    assert!(
        answer.json()["detail"]
            .as_str()
            .is_some_and(|said| said.contains("limits.sockets_per_codespace"))
    );
}
