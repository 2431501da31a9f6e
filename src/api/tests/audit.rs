//! The audit log, as admins read it.

use serde_json::json;

use super::*;

/// What the log holds of a question, oldest first, as `event actor target`.
async fn log(api: &TestApi, query: &str) -> Vec<String> {
    let ada = api.token("ada", "all").await;
    let answer = api.send(Call::get(&format!("/api/v1/audit?limit=1000&{query}")).token(&ada)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.json();
    let line = |event: &Value| {
        let text = |name: &str| event[name].as_str().expect("text").to_owned();
        format!("{} {} {}", text("event"), text("actor"), text("target"))
    };
    events.as_array().expect("a list").iter().rev().map(line).collect()
}

#[tokio::test]
async fn audit_1_what_people_do_is_there_with_who_and_to_whom() {
    let api = TestApi::start().await;
    let ada = api.token("ada", "all").await;
    let cookie = api.cookie("bob").await;
    let wrong = json!({ "name": "bob", "password": "not the right one" });
    api.send(Call::post("/api/v1/sign-in").json(&wrong)).await;
    let nobody = json!({ "name": "my-secret-password", "password": "x" });
    api.send(Call::post("/api/v1/sign-in").json(&nobody)).await;
    let made = api
        .send(
            Call::post("/api/v1/tokens")
                .page(&cookie)
                .text(r#"{"scope":"read","name":"canary-name"}"#),
        )
        .await;
    let path = format!("/api/v1/tokens/{}", made.json()["id"].as_str().expect("an id"));
    api.send(Call::new(Method::DELETE, &path).page(&cookie)).await;
    let new = json!({ "current": PASSWORD, "new": "another good one" });
    let password = Call::new(Method::PUT, "/api/v1/user/password").page(&cookie);
    assert_eq!(api.send(password.text(&new.to_string())).await.status, 204);
    api.send(Call::post("/api/v1/sign-out").page(&cookie)).await;
    let role = Call::new(Method::PATCH, "/api/v1/users/bob").token(&ada);
    assert_eq!(api.send(role.json(&json!({ "role": "admin" }))).await.status, 200);
    let all = log(&api, "since=1h").await;
    for expected in [
        "session.created bob bob",
        "session.refused  bob",
        "session.refused  ",
        "token.created bob bob",
        "token.revoked bob bob",
        "user.password bob bob",
        "session.ended bob bob",
        "user.role ada bob",
    ] {
        assert!(all.iter().any(|line| line == expected), "{expected:?} is not in {all:#?}");
    }
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let text = format!("{:?}", api.send(Call::get("/api/v1/audit").token(&ada)).await);
    for secret in [
        token.as_str(),
        PASSWORD,
        "another good one",
        "not the right one",
        "my-secret-password",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(log(&api, "event=user.role&user=bob").await, ["user.role ada bob"]);
    assert!(log(&api, "event=user.role&user=eve").await.is_empty());
}

#[tokio::test]
async fn audit_1_it_is_read_by_admins_page_by_page_and_as_lines() {
    let api = TestApi::start().await;
    let (ada, bob) = (api.token("ada", "all").await, api.token("bob", "all").await);
    assert_eq!(api.send(Call::get("/api/v1/audit")).await.short(), "401 sign-in-required");
    assert_eq!(api.send(Call::get("/api/v1/audit").token(&bob)).await.short(), "403 forbidden");
    let narrow = api.token("ada", "read").await;
    assert_eq!(api.send(Call::get("/api/v1/audit").token(&narrow)).await.short(), "403 forbidden");
    assert_eq!(
        api.send(Call::get("/api/v1/audit?limit=x").token(&ada)).await.short(),
        "422 bad-query"
    );
    let mut next = Some("/api/v1/audit?limit=2&event=user.created".to_owned());
    let mut names = Vec::new();
    while let Some(path) = next.take() {
        let page = api.send(Call::get(&path).token(&ada)).await;
        let events = page.json();
        names.extend(
            events
                .as_array()
                .expect("a list")
                .iter()
                .map(|event| event["target"].as_str().expect("text").to_owned()),
        );
        let link = page.headers.get(header::LINK).map(|link| link.to_str().expect("text").to_owned());
        next = link.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned()));
    }
    names.sort();
    assert_eq!(names, ["ada", "bob", "eve"]);
    let lines = Call::get("/api/v1/audit?event=user")
        .token(&ada)
        .header("accept", "application/jsonl");
    let lines = api.send(lines).await;
    assert_eq!(lines.headers[header::CONTENT_TYPE], "application/jsonl");
    let text = String::from_utf8(lines.bytes.to_vec()).expect("text");
    let parsed: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(parsed.len(), 3);
}

#[tokio::test]
async fn audit_1_calls_that_were_denied_or_too_many_are_there() {
    let api = TestApi::start().await;
    let bob = api.token("bob", "all").await;
    let named = "amber-x";
    for _ in 0..3 {
        assert_eq!(api.send(Call::get("/api/v1/users").token(&bob)).await.status, 403);
        assert_eq!(
            api.send(Call::get(&format!("/api/v1/codespaces/{named}")).token(&bob)).await.status,
            404
        );
        assert_eq!(
            api.send(Call::get("/api/v1/codespaces/amber-nothing-x7k2").token(&bob))
                .await
                .status,
            404
        );
    }
    let foreign = Call::post("/api/v1/sign-out")
        .page(&api.cookie("bob").await)
        .header("origin", "https://evil.example");
    assert_eq!(api.send(foreign).await.status, 403);
    for _ in 0..40 {
        let wrong = json!({ "name": "bob", "password": "wrong" });
        api.send(Call::post("/api/v1/sign-in").json(&wrong)).await;
    }
    api.services.auth.settle().await;
    let count = async |line: &str| log(&api, "since=1h").await.iter().filter(|found| *found == line).count();
    assert_eq!(count("call.denied bob GET /api/v1/users").await, 1, "once in a while");
    assert_eq!(count(&format!("call.denied bob GET /api/v1/codespaces/{named}")).await, 1);
    assert_eq!(
        count("call.denied bob GET /api/v1/codespaces/amber-nothing-x7k2").await,
        0,
        "nothing was kept from him"
    );
    assert_eq!(count("call.denied  POST /api/v1/sign-out").await, 1, "another site's page");
    assert_eq!(count("call.limited  POST /api/v1/sign-in").await, 30);
}
