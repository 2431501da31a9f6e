//! Secrets, git servers and settings: each their owner's alone, and no value ever comes out.

use serde_json::json;

use super::*;

#[tokio::test]
async fn values_go_in_and_names_come_out() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let put = async |path: &str, body: Value| api.send(Call::new(Method::PUT, path).token(&token).json(&body)).await;
    let repository = "https://git.example/team/app";
    for (body, expected) in [
        (json!({ "value": "canary-1" }), 201),
        (json!({ "value": "canary-2" }), 200),
        (json!({ "value": "canary-3", "repository": repository }), 201),
    ] {
        let answer = put("/api/v1/user/secrets/API_KEY", body).await;
        assert_eq!(answer.status, expected, "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("canary"));
    }
    let git = json!({ "host": "GIT.example", "username": "bob", "password": "canary-4" });
    let answer = put("/api/v1/user/git-credentials", git).await;
    assert_eq!((answer.status, answer.json()["host"].as_str()), (201, Some("https://git.example")));
    for (path, count) in [("/api/v1/user/secrets", 2), ("/api/v1/user/git-credentials", 1)] {
        let listed = api.send(Call::get(path).token(&token)).await;
        assert_eq!(listed.json().as_array().map(Vec::len), Some(count), "{path}");
        assert!(!String::from_utf8_lossy(&listed.bytes).contains("canary"), "{path}");
        let eves = api.token("eve", "all").await;
        assert_eq!(api.send(Call::get(path).token(&eves)).await.json(), json!([]), "{path}");
    }
    let git = json!({ "host": "git.example", "username": "bob", "password": "canary-5", "repository": repository });
    let answer = put("/api/v1/user/git-credentials", git).await;
    assert_eq!((answer.status, answer.json()["repository"].as_str()), (201, Some(repository)));
    let audit = api.send(Call::get("/api/v1/audit").token(&api.token("ada", "all").await)).await;
    assert!(!String::from_utf8_lossy(&audit.bytes).contains("canary"));
    let delete = async |path: &str| api.send(Call::new(Method::DELETE, path).token(&token)).await.status;
    let of_repository = format!("/api/v1/user/secrets/API_KEY?repository={repository}");
    let of_one = format!("/api/v1/user/git-credentials?repository={repository}.git&host=git.example");
    for (path, expected) in [
        ("/api/v1/user/secrets/API_KEY", [204, 404]),
        (of_repository.as_str(), [204, 404]),
        ("/api/v1/user/git-credentials?host=git.example", [204, 404]),
        (of_one.as_str(), [204, 404]),
        ("/api/v1/user/git-credentials?host=git.example&host=x", [422, 422]),
        ("/api/v1/user/git-credentials", [422, 422]),
    ] {
        assert_eq!([delete(path).await, delete(path).await], expected, "{path}");
    }
}

#[tokio::test]
async fn what_is_refused_and_to_whom() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let put = async |token: &str, path: &str, body: Value| api.send(Call::new(Method::PUT, path).token(token).json(&body)).await.short();
    let value = json!({ "value": "x" });
    for name in ["PATH", "PORTICO_TOKEN", "LD_PRELOAD", "1A", "A-B"] {
        assert_eq!(
            put(&token, &format!("/api/v1/user/secrets/{name}"), value.clone()).await,
            "422 bad-name",
            "{name}"
        );
    }
    let long = json!({ "value": "x".repeat(48 * 1024 + 1) });
    assert_eq!(put(&token, "/api/v1/user/secrets/A", long).await, "422 invalid-field");
    let bad = json!({ "host": "me@git.example", "username": "bob", "password": "x" });
    assert_eq!(put(&token, "/api/v1/user/git-credentials", bad).await, "422 bad-host");
    let bad = json!({ "value": "x", "repository": "https://token@git.example/team/app" });
    assert_eq!(put(&token, "/api/v1/user/secrets/A", bad).await, "422 bad-repository");
    for scope in ["read", "codespace:bob-x", "inside:bob-x", "port:bob-x:3000"] {
        let narrow = api.token("bob", scope).await;
        assert_eq!(
            put(&narrow, "/api/v1/user/secrets/A", value.clone()).await,
            "403 forbidden",
            "{scope}"
        );
        let seen = api.send(Call::get("/api/v1/user/secrets").token(&narrow)).await.status;
        assert_eq!(seen, if scope == "read" { 200 } else { 403 }, "{scope}");
    }
}

#[tokio::test]
async fn settings_follow_their_user() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let patch = async |body: Value| {
        api.send(Call::new(Method::PATCH, "/api/v1/user/settings").token(&token).json(&body))
            .await
    };
    let changed = patch(json!({ "git_name": "Bob", "extensions": ["a.b"], "editor_settings": "{ // c\n }" })).await;
    assert_eq!((changed.status, changed.json()["git_name"].as_str()), (200, Some("Bob")));
    let changed = patch(json!({ "git_name": "" })).await.json();
    assert_eq!((&changed["git_name"], &changed["extensions"]), (&Value::Null, &json!(["a.b"])));
    assert_eq!(api.send(Call::get("/api/v1/user/settings").token(&token)).await.json(), changed);
    let reader = api.token("bob", "read").await;
    let read = api.send(Call::get("/api/v1/user/settings").token(&reader)).await.json();
    assert_eq!((&read["editor_settings"], &read["extensions"]), (&Value::Null, &json!(["a.b"])));
    assert!(changed["editor_settings"].is_string());
    for bad in [
        json!({ "extensions": ["--x"] }),
        json!({ "editor_settings": "[]" }),
        json!({ "dotfiles_repository": "/etc" }),
        json!({ "dotfiles_script": "../x" }),
    ] {
        assert_eq!(patch(bad.clone()).await.short(), "422 invalid-field", "{bad}");
    }
    let adas = api.token("ada", "all").await;
    assert_eq!(
        api.send(Call::get("/api/v1/user/settings").token(&adas)).await.json()["extensions"],
        json!([])
    );
}

#[tokio::test]
async fn what_a_codespace_is_told_is_its_owners_to_say() {
    let api = TestApi::start().await;
    let path = "/api/v1/codespaces/bob-x";
    let patch = async |token: &str| {
        let call = Call::new(Method::PATCH, path).token(token).json(&json!({ "personal": false }));
        api.send(call).await
    };
    // What runs inside may change its own codespace, and not this of it; an administrator may neither.
    for (user, scope) in [("bob", "inside:bob-x"), ("bob", "codespace:bob-x"), ("ada", "all")] {
        let token = api.token(user, scope).await;
        assert_eq!(patch(&token).await.short(), "403 forbidden", "{user} {scope}");
    }
    let bobs = api.token("bob", "all").await;
    assert_eq!(api.send(Call::get(path).token(&bobs)).await.json()["personal"], json!(true));
    let changed = patch(&bobs).await;
    assert_eq!((changed.status, &changed.json()["personal"]), (200, &json!(false)));
}
