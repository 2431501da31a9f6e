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
