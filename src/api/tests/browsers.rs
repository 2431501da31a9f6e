//! Requests that a hostile page makes a browser send (CSRF-1), and the editor host's cookie.

use serde_json::json;

use super::*;

const PORT_PAGE: &str = "http://bob-x-3000.codespaces.localhost:8080";
const EDITOR_PAGE: &str = "http://bob-x.codespaces.localhost:8080";

#[tokio::test]
async fn csrf_1_only_pages_of_the_gateway_host_change_something_by_cookie() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let origins = [
        Some(ORIGIN),
        Some(PORT_PAGE),
        Some(EDITOR_PAGE),
        Some("http://evil.example"),
        Some("null"),
        None,
    ];
    let sites = [Some("same-origin"), Some("same-site"), Some("cross-site"), Some("none"), None];
    for (method, path) in changing_routes() {
        for origin in origins {
            for site in sites {
                for kind in ["application/json", "text/plain"] {
                    let mut call = Call::new(method.clone(), &path)
                        .header("cookie", &cookie)
                        .header("content-type", kind);
                    call = origin.into_iter().fold(call, |call, origin| call.header("origin", origin));
                    call = site.into_iter().fold(call, |call, site| call.header("sec-fetch-site", site));
                    let allowed = origin == Some(ORIGIN) || (origin.is_none() && site == Some("same-origin"));
                    let found = api.send(call).await.short();
                    let expected = match (allowed, kind) {
                        (false, _) => found == "403 foreign-page",
                        (true, "text/plain") => found == "415 not-json",
                        (true, _) => !["403 foreign-page", "415 not-json", "401 invalid-credential"].contains(&found.as_str()),
                    };
                    assert!(expected, "{method} {path} {origin:?} {site:?} {kind}: {found}");
                }
            }
        }
    }
}

/// Every route that changes something, but for signing in and out, which would end the session of the matrix.
fn changing_routes() -> Vec<(Method, String)> {
    let document = serde_json::to_value(document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").clone();
    let mut routes = Vec::new();
    for (path, item) in paths {
        for method in item.as_object().expect("methods").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let session = path.ends_with("/sign-in") || path.ends_with("/sign-out") || path.ends_with("/setup");
            if method != Method::GET && !session {
                // Nothing is called so, and nothing is changed.
                routes.push((
                    method,
                    path.replace("{name}", "no-such").replace("{port}", "3000").replace("{id}", "none"),
                ));
            }
        }
    }
    assert!(routes.len() >= 12, "{routes:?}");
    routes
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_page() {
    let api = TestApi::start().await;
    let body = json!({ "name": "bob", "password": PASSWORD });
    let sign_in = Call::post("/api/v1/sign-in").json(&body);
    for (name, value) in [
        ("origin", PORT_PAGE),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(
            api.send(sign_in.clone().header(name, value)).await.short(),
            "403 foreign-page",
            "{value}"
        );
    }
    let form = Call::post("/api/v1/sign-in")
        .header("content-type", "text/plain")
        .text(&body.to_string());
    assert_eq!(api.send(form).await.short(), "415 not-json");
    assert_eq!(api.send(sign_in.header("origin", ORIGIN)).await.status, 204);
}

#[tokio::test]
async fn a_token_needs_no_origin() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let body = json!({ "scope": "read" });
    let post = Call::post("/api/v1/tokens")
        .token(&token)
        .json(&body)
        .header("origin", "http://evil.example");
    assert_eq!(api.send(post).await.status, 201);
}

#[tokio::test]
async fn a_request_without_a_door_is_refused() {
    let api = TestApi::start().await;
    let request = Request::get("/api/v1/user").body(Body::empty()).expect("a request");
    let answer = tower::ServiceExt::oneshot(router(api.services.clone()), request)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 500);
}

#[tokio::test]
async fn the_session_cookie_is_nothing_on_the_editor_host() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let call = Call::get("/api/v1/codespaces/bob-x")
        .header("cookie", &cookie)
        .header("origin", EDITOR_PAGE);
    assert_eq!(api.send(call.through(Via::Editor)).await.short(), "401 sign-in-required");
}
