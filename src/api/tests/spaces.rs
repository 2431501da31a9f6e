//! Codespaces and ports through the API, and what strangers learn.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

#[tokio::test]
async fn each_route_answers_its_owner() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let get = async |path: &str| api.send(Call::get(path).token(&token)).await;
    let list = get("/api/v1/codespaces").await.json();
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    let one = get("/api/v1/codespaces/bob-x").await;
    assert_eq!((one.status, one.json()["name"].as_str()), (200, Some("bob-x")));
    assert_eq!(one.json()["editor_url"], "http://bob-x.codespaces.localhost:8080/");
    assert_eq!(one.json()["owner"], "bob");
    assert_eq!(get("/api/v1/codespaces/bob-x/activity").await.json()["idle_timeout_minutes"], 30);
    assert_eq!(get("/api/v1/codespaces/bob-x/ports").await.json(), json!([]));
    let change = Call::new(Method::PATCH, "/api/v1/codespaces/bob-x").token(&token);
    let changed = api
        .send(change.clone().json(&json!({ "display_name": "Mine", "idle_timeout_minutes": 60 })))
        .await;
    assert_eq!((changed.status, changed.json()["display_name"].as_str()), (200, Some("Mine")));
    assert_eq!(
        api.send(change.clone().json(&json!({ "idle_timeout_minutes": 1 }))).await.short(),
        "422 invalid-field"
    );
    assert_eq!(
        api.send(change.json(&json!({ "idle_timeout": 60 }))).await.short(),
        "422 invalid-field"
    );
    assert_eq!(
        api.send(Call::post("/api/v1/codespaces/bob-x/stop").token(&token)).await.short(),
        "202"
    );
    assert_eq!(
        api.send(Call::post("/api/v1/codespaces/bob-x/start").token(&token)).await.status / 100,
        2
    );
}

#[tokio::test]
async fn creating_twice_gives_the_same_one() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let create = async |body: Value| api.send(Call::post("/api/v1/codespaces").token(&token).json(&body)).await;
    let body = json!({ "repository": "https://example.com/other.git", "ref": "main" });
    let made = create(body.clone()).await;
    assert_eq!((made.status, made.json()["ref"].as_str()), (201, Some("main")));
    let again = create(body).await;
    assert_eq!((again.status, again.json()["name"].clone()), (200, made.json()["name"].clone()));
    for (body, expected) in [
        (json!({ "repository": "ext::sh -c id" }), "422 bad-repository"),
        (json!({ "repository": "" }), "422 bad-repository"),
        (
            json!({ "repository": "https://example.com/x", "ref": "--upload-pack=id" }),
            "422 bad-ref",
        ),
        (json!({ "repository": "/etc" }), "403 local-not-allowed"),
        (
            json!({ "repository": "https://example.com/x", "idle_timeout_minutes": 1 }),
            "422 invalid-field",
        ),
        (json!({ "repo": "https://example.com/x" }), "422 invalid-field"),
    ] {
        assert_eq!(create(body.clone()).await.short(), expected, "{body}");
    }
}

#[tokio::test]
async fn what_is_not_yours_is_not_there() {
    let api = TestApi::start().await;
    let token = api.token("eve", "all").await;
    let list = api.send(Call::get("/api/v1/codespaces").token(&token)).await.json();
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    for (method, path) in routes_of_a_codespace() {
        let mut seen = BTreeSet::new();
        for name in ["bob-x", "no-such", "UPPER", "bob-x-3000", "%2e%2e", "%ff"] {
            let call = Call::new(method.clone(), &path.replace("{name}", name))
                .token(&token)
                .json(&body_of(&path));
            let answer = api.send(call).await;
            assert_eq!(answer.short(), "404 no-such-codespace", "{method} {path} {name}");
            seen.insert((answer.bytes, format!("{:?}", without_date(answer.headers))));
        }
        assert_eq!(seen.len(), 1, "{method} {path}: {seen:?}");
    }
    let still = api
        .send(Call::get("/api/v1/codespaces/bob-x").token(&api.token("bob", "all").await))
        .await;
    assert_eq!(still.json()["state"], "starting");
}

#[tokio::test]
async fn nobody_at_all_is_asked_to_sign_in() {
    let api = TestApi::start().await;
    for (method, path) in routes_of_a_codespace() {
        for name in ["bob-x", "no-such"] {
            let call = Call::new(method.clone(), &path.replace("{name}", name)).json(&body_of(&path));
            assert_eq!(api.send(call).await.short(), "401 sign-in-required", "{method} {path}");
        }
    }
}

/// Every route about one codespace, as the document has them.
fn routes_of_a_codespace() -> Vec<(Method, String)> {
    let document = serde_json::to_value(document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut routes = Vec::new();
    for (path, item) in paths.iter().filter(|(path, _)| path.contains("/codespaces/{name}")) {
        for method in item.as_object().expect("methods").keys() {
            let path = path.replace("{port}", "3000").replace("{id}", "none");
            routes.push((method.to_uppercase().parse().expect("a method"), path));
        }
    }
    assert!(routes.len() >= 14, "{routes:?}");
    routes
}

fn body_of(path: &str) -> Value {
    if path.contains("/ports/") && !path.contains("/links") {
        json!({ "visibility": "public" })
    } else if path.ends_with("/offer") {
        json!({ "hash": "", "accept": true })
    } else if path.ends_with("/leases") {
        json!({ "pid": 1 })
    } else {
        json!({})
    }
}

fn without_date(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::DATE);
    headers
}

#[tokio::test]
async fn each_scope_and_role_goes_so_far() {
    let api = TestApi::start().await;
    let port = json!({ "visibility": "public" });
    for (user, scope, expected) in [
        // view, terminals, stop, share, delete
        ("bob", "all", ["200", "503 not-connected", "202", "200", "409 unpushed-work"]),
        (
            "bob",
            "read",
            ["200", "403 forbidden", "403 forbidden", "403 forbidden", "403 forbidden"],
        ),
        (
            "bob",
            "inside:bob-x",
            ["200", "403 forbidden", "202", "403 forbidden", "403 forbidden"],
        ),
        (
            "bob",
            "codespace:bob-x",
            ["200", "503 not-connected", "202", "200", "409 unpushed-work"],
        ),
        ("bob", "codespace:eve-x", ["404 no-such-codespace"; 5]),
        ("bob", "port:bob-x:3000", ["404 no-such-codespace"; 5]),
        // An admin sees, stops and deletes; enters and shares nothing.
        ("ada", "all", ["200", "403 forbidden", "202", "403 forbidden", "409 unpushed-work"]),
        ("eve", "all", ["404 no-such-codespace"; 5]),
    ] {
        let token = api.token(user, scope).await;
        let path = "/api/v1/codespaces/bob-x";
        let calls = [
            Call::get(path),
            Call::get(&format!("{path}/terminals")),
            Call::new(Method::PATCH, &format!("{path}/ports/3000")).json(&port),
            Call::new(Method::DELETE, path),
            Call::post(&format!("{path}/stop")),
        ];
        let mut found = Vec::new();
        for call in calls {
            found.push(api.send(call.token(&token)).await.short());
        }
        let [view, terminals, share, delete, stop] = <[String; 5]>::try_from(found).expect("five");
        assert_eq!(
            [view, terminals, stop, share, delete],
            expected.map(str::to_owned),
            "{user} {scope}"
        );
        restart(&api).await;
    }
}

/// Lets the codespace run again after a stop.
async fn restart(api: &TestApi) {
    let codespace = api.services.codespaces.find(&"bob-x".parse().expect("a name")).expect("there");
    if codespace.snapshot().phase() == Phase::Starting {
        return;
    }
    codespace.until(|now| now.phase() == Phase::Stopped).await.expect("there");
    let actor = Actor::gateway();
    api.services.codespaces.start(codespace.name(), &actor).await.expect("started");
    codespace
        .until(|now| matches!(now.phase(), Phase::Starting | Phase::Running))
        .await
        .expect("there");
}

#[tokio::test]
async fn ports_are_changed_one_field_at_a_time() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let patch = async |port: &str, body: Value| {
        let path = format!("/api/v1/codespaces/bob-x/ports/{port}");
        api.send(Call::new(Method::PATCH, &path).token(&token).json(&body)).await
    };
    let until = "2027-01-15T10:00:00Z";
    let open = patch(
        "3000",
        json!({ "visibility": "public", "expires_at": until, "label": "app", "users": ["eve"] }),
    )
    .await
    .json();
    assert_eq!(
        (open["visibility"].as_str(), open["expires_at"].as_str()),
        (Some("public"), Some(until))
    );
    assert_eq!(open["url"], "http://bob-x-3000.codespaces.localhost:8080/");
    let same = patch("3000", json!({ "protocol": "https", "expires_at": null })).await.json();
    assert_eq!(
        (same["visibility"].as_str(), same["expires_at"].clone()),
        (Some("public"), Value::Null)
    );
    assert_eq!((same["label"].as_str(), same["users"].clone()), (Some("app"), json!(["eve"])));
    let bare = patch("3000", json!({ "label": null, "visibility": "private" })).await.json();
    assert_eq!((bare["label"].clone(), bare["visibility"].as_str()), (Value::Null, Some("private")));
    for (port, body, expected) in [
        ("0", json!({ "visibility": "public" }), "422 bad-port"),
        ("65536", json!({ "visibility": "public" }), "422 bad-port"),
        ("03000", json!({ "visibility": "public" }), "422 bad-port"),
        ("3000", json!({ "visibility": "everyone" }), "422 bad-visibility"),
        ("3000", json!({ "expires_at": "tomorrow" }), "422 bad-time"),
        (
            "3000",
            json!({ "expires_at": "2001-01-01T00:00:00Z", "visibility": "public" }),
            "422 invalid-field",
        ),
        ("3000", json!({ "users": ["nobody"] }), "422 no-such-user"),
        ("3000", json!({ "protocol": "gopher" }), "422 invalid-field"),
        ("3000", json!({ "visibilty": "public" }), "422 invalid-field"),
    ] {
        assert_eq!(patch(port, body.clone()).await.short(), expected, "{port} {body}");
    }
}

#[tokio::test]
async fn a_share_ends_at_its_deadline() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let path = "/api/v1/codespaces/bob-x/ports/3000";
    let body = json!({ "visibility": "public", "expires_at": "2027-01-15T09:00:00Z" });
    assert_eq!(api.send(Call::new(Method::PATCH, path).token(&token).json(&body)).await.status, 200);
    api.clock.advance(time::Duration::hours(2));
    let ports = api.send(Call::get("/api/v1/codespaces/bob-x/ports").token(&token)).await.json();
    assert_eq!(ports[0]["visibility"], "private", "{ports}");
}

#[tokio::test]
async fn work_that_is_nowhere_else_is_not_deleted_unforced() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let delete = async |query: &str| {
        api.send(Call::new(Method::DELETE, &format!("/api/v1/codespaces/bob-x{query}")).token(&token))
            .await
            .short()
    };
    assert_eq!(delete("").await, "409 unpushed-work");
    assert_eq!(delete("?force=perhaps").await, "400 bad-query");
    assert_eq!(delete("?forced=true").await, "400 bad-query");
    assert_eq!(delete("?force=true").await, "204");
    assert_eq!(delete("?force=true").await, "404 no-such-codespace");
}
