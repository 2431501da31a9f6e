//! Server-sent events reach those who may look, as long as they may.

use serde_json::json;

use super::*;

/// Reads until the text holds what is wanted.
async fn until(body: &mut hyper::body::Incoming, text: &mut String, wanted: &str) {
    while !text.contains(wanted) {
        let frame = body.frame().await.expect("more to come").expect("a frame");
        text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
    }
}

#[tokio::test]
async fn events_are_for_those_who_may_look_and_end_with_their_session() {
    let api = TestApi::start().await;
    let (cookie, token) = (api.cookie("bob").await, api.token("bob", "all").await);
    let eve = api.token("eve", "all").await;
    let answer = api.begin(Call::get("/api/v1/events").page(&cookie)).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut body, mut text) = (answer.into_body(), String::new());
    until(&mut body, &mut text, "bob-x").await;
    for (token, name) in [(&eve, "eve-x"), (&token, "bob-x")] {
        let change = Call::new(Method::PATCH, &format!("/api/v1/codespaces/{name}")).token(token);
        assert_eq!(api.send(change.json(&json!({ "display_name": "Changed" }))).await.status, 200);
    }
    until(&mut body, &mut text, "Changed").await;
    let delete = Call::new(Method::DELETE, "/api/v1/codespaces/bob-x?force=true").token(&token);
    assert_eq!(api.send(delete).await.status, 204);
    until(&mut body, &mut text, "event: removed\ndata: {\"name\":\"bob-x\"}\n\n").await;
    assert!(!text.contains("eve-x") && !text.contains("amber-x"), "{text}");
    assert_eq!(api.send(Call::post("/api/v1/sign-out").page(&cookie)).await.status, 204);
    let rest = tokio::time::timeout(std::time::Duration::from_secs(60), body.collect()).await;
    rest.expect("ended in time").expect("ended well");
}
