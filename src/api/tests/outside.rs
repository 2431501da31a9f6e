//! Signing in from outside, as far as the gateway's own calls go; the ways of providers are tested with `auth`.

use super::*;

#[tokio::test]
async fn csrf_1_only_a_browser_of_the_account_links_an_identity() {
    let api = TestApi::start().await;
    let path = "/api/v1/user/identities/github";
    let cookie = api.cookie("bob").await;
    let linked = api.send(Call::post(path).page(&cookie)).await;
    assert_eq!(linked.status, 200, "{linked:?}");
    let url = linked.json()["url"].as_str().expect("a URL").to_owned();
    assert!(
        url.starts_with("https://github.com/login/oauth/authorize?client_id=portico&"),
        "{url}"
    );
    assert!(
        url.contains("redirect_uri=http%3A%2F%2Fportico.localhost%3A8080%2Fsign-in%2Fcallback%2Fgithub"),
        "{url}"
    );
    let flow = cookie_of(&linked);
    assert!(flow.starts_with("__Host-portico_flow_") && !url.contains(flow.split('=').nth(1).expect("a value")));
    // Neither another site's page, nor a program, nor an editor's page, nor nobody.
    let foreign = Call::post(path).header("cookie", &cookie).header("origin", "https://evil.example");
    assert_eq!(api.send(foreign).await.status, 403);
    let token = api.token("bob", "all").await;
    assert_eq!(api.send(Call::post(path).token(&token)).await.short(), "403 forbidden");
    assert_eq!(api.send(Call::post(path)).await.short(), "401 sign-in-required");
    let mut editor = Call::post(path).page(&cookie);
    editor.door = Via::Editor;
    assert!(api.send(editor).await.status >= 400);
    assert_eq!(
        api.send(Call::post("/api/v1/user/identities/nowhere").page(&cookie)).await.status,
        404
    );
    assert_eq!(
        api.send(Call::new(Method::DELETE, path).page(&cookie)).await.short(),
        "404 not-found"
    );
}

#[tokio::test]
async fn the_ways_to_sign_in_are_told() {
    let api = TestApi::start().await;
    let ways = api.send(Call::get("/api/v1/sign-in")).await.json();
    let expected = serde_json::json!({
        "passwords": true,
        "trusted_header": false,
        "providers": [{ "id": "github", "label": "GitHub", "url": format!("{ORIGIN}/sign-in/with/github") }],
    });
    assert_eq!(ways, expected);
    let cookie = api.cookie("bob").await;
    let own = api.send(Call::get("/api/v1/user/identities").page(&cookie)).await.json();
    assert_eq!(own["organisations"], serde_json::json!(["everybody"]));
    assert_eq!(own["identities"], serde_json::json!([]));
    let nobody = api.send(Call::post("/api/v1/sign-in/header")).await;
    assert_eq!(nobody.short(), "401 no-trusted-header");
}
