//! The OpenAPI document says what the router does.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document = serde_json::to_value(document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let methods = |item: &Value| {
        item.as_object()
            .expect("methods")
            .keys()
            .map(|method| method.to_uppercase())
            .collect()
    };
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[test]
fn every_route_is_documented_and_no_other() {
    let routes: BTreeSet<String> = table().into_iter().map(|(path, _)| path.to_owned()).collect();
    assert_eq!(documented().into_keys().collect::<BTreeSet<_>>(), routes);
}

#[tokio::test]
async fn every_method_is_documented_and_no_other() {
    let api = TestApi::start().await;
    for (path, methods) in documented() {
        let answer = api
            .send(Call::new(
                Method::from_bytes(b"MKCOL").expect("a method"),
                &path.replace(['{', '}'], "x"),
            ))
            .await;
        assert_eq!(answer.short(), "405 method-not-allowed", "{path}");
        let allow = answer.headers[header::ALLOW].to_str().expect("text");
        let allowed: BTreeSet<String> = allow
            .split(',')
            .map(|method| method.trim().to_owned())
            .filter(|method| method != "HEAD")
            .collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// Sends every operation what anybody may send, as nobody and as an admin: each answer is one that the document names.
#[tokio::test]
async fn every_refusal_is_documented_as_a_problem() {
    let api = TestApi::start().await;
    let token = api.token("ada", "all").await;
    let document = serde_json::to_value(document()).expect("JSON");
    let resolve = |response: &Value| match response["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("it is there").clone(),
        None => response.clone(),
    };
    let mut seen = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
                let response = resolve(response);
                let kinds: Vec<_> = response["content"].as_object().expect("content").keys().collect();
                assert_eq!(kinds, ["application/problem+json"], "{method} {path} {status}");
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status}"
                );
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let call = Call::new(method, &path.replace("{name}", "bob-x").replace(['{', '}'], ""));
            let as_ada = call.clone().token(&token);
            let json = |body: &str| as_ada.clone().header("content-type", "application/json").text(body);
            for call in [
                call.clone(),
                call.clone().token("no-token"),
                call.header("origin", "https://evil.example").header("sec-fetch-site", "cross-site"),
                as_ada.clone().text("{}"),
                json("{"),
                json(r#"{"no-such-field":1}"#),
                json(&format!("\"{}\"", "x".repeat(2 * 1024 * 1024))),
            ] {
                let told = format!("{} {}", call.method, call.path);
                let answer = api.begin(call).await;
                let status = answer.status().as_u16();
                seen.insert(status);
                assert!(responses.contains_key(&status.to_string()), "{told}: {status}");
                assert!(
                    status < 400 || answer.headers()[header::CONTENT_TYPE] == "application/problem+json",
                    "{told}"
                );
            }
        }
    }
    assert!(
        [400, 401, 403, 404, 409, 413, 415, 422].iter().all(|status| seen.contains(status)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn it_is_served_to_anyone_and_names_no_unknown_schema() {
    let api = TestApi::start().await;
    let answer = api.send(Call::get("/api/v1/openapi.json")).await;
    assert_eq!(answer.status, 200);
    let document = answer.json();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(schemas.contains_key(name), "{name}");
    }
    for scheme in ["token", "session"] {
        assert!(document["components"]["securitySchemes"][scheme].is_object(), "{scheme}");
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let described = operation["summary"].as_str().is_some_and(|summary| !summary.is_empty());
            assert!(described, "{method} {path} has no summary");
        }
    }
}

#[tokio::test]
async fn other_paths_are_problems() {
    let api = TestApi::start().await;
    for path in ["/api/v1", "/api/v1/nothing", "/api/v1/codespaces/", "/api/v2/user"] {
        assert_eq!(api.send(Call::get(path)).await.short(), "404 not-found", "{path}");
    }
}
