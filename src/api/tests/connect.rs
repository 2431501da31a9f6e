//! Raw TCP to a port, for whoever may open it and as long as that holds.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    sockets::{closes, opened, socket},
    *,
};

const CONNECT: &str = "/api/v1/codespaces/bob-x/ports/5432/connect";

async fn change(api: &TestApi, what: &Value) {
    let token = api.token("bob", "all").await;
    let change = Call::new(Method::PATCH, "/api/v1/codespaces/bob-x/ports/5432").token(&token);
    assert_eq!(api.send(change.json(what)).await.status, 200);
}

#[tokio::test]
async fn share_1_policy_is_asked_as_for_the_ports_pages() {
    let api = TestApi::start().await;
    let (yes, no) = ("426 websocket-required", "404 no-such-codespace");
    for (sharing, expected) in [
        // owner: all, this codespace, this port, another port, read, inside; eve: all, this port; an admin
        (json!({ "visibility": "private" }), [yes, yes, yes, no, no, no, no, no, no]),
        (json!({ "users": ["eve"] }), [yes, yes, yes, no, no, no, yes, yes, no]),
        (
            json!({ "users": [], "visibility": "org" }),
            [yes, yes, yes, no, no, no, yes, yes, yes],
        ),
    ] {
        change(&api, &sharing).await;
        let mut found = Vec::new();
        for (user, scope) in [
            ("bob", "all"),
            ("bob", "codespace:bob-x"),
            ("bob", "port:bob-x:5432"),
            ("bob", "port:bob-x:5433"),
            ("bob", "read"),
            ("bob", "inside:bob-x"),
            ("eve", "all"),
            ("eve", "port:bob-x:5432"),
            ("ada", "all"),
        ] {
            let token = api.token(user, scope).await;
            found.push(api.send(Call::get(CONNECT).token(&token)).await.short());
        }
        assert_eq!(found, expected, "{sharing}");
    }
    assert_eq!(api.send(Call::get(CONNECT)).await.short(), "401 sign-in-required");
    let token = api.token("bob", "all").await;
    let bad = Call::get("/api/v1/codespaces/bob-x/ports/0/connect").token(&token);
    assert_eq!(api.send(bad).await.short(), "422 bad-port");
}

#[tokio::test]
async fn sess_3_a_connection_ends_with_what_allowed_it() {
    let api = TestApi::start().await;
    change(&api, &json!({ "users": ["eve"] })).await;
    let eve = api.token("eve", "port:bob-x:5432").await;
    let (mut stream, mut agent) = opened(&api, socket(CONNECT).token(&eve)).await;
    stream.write_all(b"there").await.expect("written");
    let mut there = [0; 5];
    agent.read_exact(&mut there).await.expect("read");
    change(&api, &json!({ "label": "still shared" })).await;
    agent.write_all(b"back").await.expect("written");
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.expect("read");
    assert_eq!((&there, &back), (b"there", b"back"));
    change(&api, &json!({ "users": [] })).await;
    closes(stream).await;

    let events = api.services.audit.clone();
    events.clone().close().await;
    let question = crate::store::AuditQuestion {
        action: Some("port.connected".into()),
        limit: 10,
        ..Default::default()
    };
    let told = events.read(&question).await.expect("events");
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].event.actor.as_str(), told[0].event.target.as_str()), ("eve", "bob-x:5432"));
}
