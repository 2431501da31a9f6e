//! What `explain` tells, and to whom.

use serde_json::json;

use super::*;
use crate::{
    doctor::{Note, Refusal, What},
    domain::Port,
};

const URL: &str = "/api/v1/explain?url=http%3A%2F%2Fbob-x-3000.codespaces.localhost%3A8080%2Fa%3Fb";

#[tokio::test]
async fn who_may_not_know_learns_nothing() {
    let api = TestApi::start().await;
    let (eve, bob, ada) = (
        api.token("eve", "all").await,
        api.token("bob", "all").await,
        api.token("ada", "all").await,
    );
    let nothing = Call::get("/api/v1/explain?url=no-such-x-3000.codespaces.localhost");
    let missing = api.send(nothing.token(&eve)).await;
    let private = api.send(Call::get(URL).token(&eve)).await;
    assert_eq!(
        (missing.short().as_str(), &missing.bytes),
        ("404 no-such-codespace", &private.bytes)
    );
    assert_eq!(api.send(Call::get(URL)).await.status, 401);
    for (token, allowed) in [(&bob, true), (&ada, false)] {
        let told = api.send(Call::get(URL).token(token)).await.json();
        assert_eq!(
            (told["port"].as_u64(), told["you"]["allowed"].as_bool()),
            (Some(3000), Some(allowed)),
            "{told}"
        );
    }
    for (query, expected) in [
        ("", "422 bad-url"),
        ("?url=", "422 bad-url"),
        ("?url=a%20b", "422 bad-url"),
        ("?url=evil.example", "404 no-such-codespace"),
        ("?url=portico.localhost:8080", "404 no-such-codespace"),
        ("?url=http://bob-x-03000.codespaces.localhost/", "404 no-such-codespace"),
        ("?url=a&trace=b", "422 bad-url"),
        ("?trace=nothing", "404 not-found"),
    ] {
        let answer = api.send(Call::get(&format!("/api/v1/explain{query}")).token(&bob)).await;
        assert_eq!(answer.short(), expected, "{query}");
    }
    // An editor's page has no business with it.
    assert_ne!(api.send(Call::get(URL).token(&bob).through(Via::Editor)).await.status, 200);
}

#[tokio::test]
async fn the_decision_is_told_with_its_source() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let explain = async |token: &str| api.send(Call::get(URL).token(token)).await.json();
    let patch = async |body: Value| {
        let call = Call::new(Method::PATCH, "/api/v1/codespaces/bob-x/ports/3000")
            .token(&token)
            .json(&body);
        assert_eq!(api.send(call).await.status, 200);
    };
    let told = explain(&token).await;
    assert_eq!(told["url"], "http://bob-x-3000.codespaces.localhost:8080/a?b");
    assert_eq!(told["visibility"]["source"], "ports are private until their owner shares them");
    assert_eq!(told["you"]["because"], "it is your codespace");
    assert_eq!(told["upstream"]["host"], "localhost:3000");
    assert_eq!(told["upstream"]["found"], Value::Null, "its agent is not there to be asked through");
    patch(json!({ "visibility": "public", "expires_at": "2027-01-15T09:00:00Z", "users": ["eve"], "host_header": "preserve" })).await;
    let told = explain(&token).await;
    assert_eq!(told["visibility"]["source"], "the owner set it, until 2027-01-15T09:00:00Z");
    assert_eq!(told["upstream"]["host"], "bob-x-3000.codespaces.localhost:8080");
    api.clock.advance(time::Duration::hours(2));
    let told = explain(&token).await;
    assert_eq!(
        (&told["visibility"]["now"], &told["visibility"]["set"]),
        (&json!("private"), &json!("public"))
    );
    assert_eq!(
        told["visibility"]["source"],
        "the owner shared it until 2027-01-15T09:00:00Z, which is over"
    );
    let narrow = api.token("bob", "read").await;
    assert_eq!(
        explain(&narrow).await["you"]["because"],
        "it is your codespace, but the scope read does not open this"
    );
}

#[tokio::test]
async fn a_refusal_is_remembered_until_the_setting_changes() {
    let api = TestApi::start().await;
    let (token, eve) = (api.token("bob", "all").await, api.token("eve", "all").await);
    let path = "/api/v1/codespaces/bob-x/ports/3000";
    let preserve = json!({ "host_header": "preserve" });
    api.send(Call::new(Method::PATCH, path).token(&token).json(&preserve)).await;
    let note = Note {
        at: api.clock.now(),
        trace: "4f1c09ab77e2d610".into(),
        port: Port::new(3000),
        method: "GET".into(),
        path: "/".into(),
        what: What::Refused(Refusal::ViteHost),
    };
    api.services.doctor.memory().note(&"bob-x".parse().expect("a name"), note);
    let ports = async || api.send(Call::get("/api/v1/codespaces/bob-x/ports").token(&token)).await.json();
    let advice = ports().await[0]["advice"].clone();
    assert_eq!(
        (&advice["type"], &advice["set"]),
        (&json!("vite-host"), &json!({ "host_header": "localhost" }))
    );
    let by_trace = Call::get("/api/v1/explain?trace=4f1c09ab77e2d610");
    let told = api.send(by_trace.clone().token(&token)).await.json();
    assert_eq!(
        (&told["recent"][0]["trace_id"], &told["set"]),
        (&advice["trace_id"], &advice["set"]),
        "{told}"
    );
    assert_eq!(api.send(by_trace.token(&eve)).await.short(), "404 not-found");
    let mended = api.send(Call::new(Method::PATCH, path).token(&token).json(&advice["set"])).await;
    assert_eq!((mended.status, ports().await[0]["advice"].clone()), (200, Value::Null));
}

#[tokio::test]
async fn limits_and_closures_are_told_to_who_may_know() {
    let api = TestApi::start().await;
    let (bob, ada) = (api.token("bob", "all").await, api.token("ada", "all").await);
    let path = "/api/v1/codespaces/bob-x/ports/3000";
    let limits = json!({ "limits": { "requests_per_second": 1, "connections": 5, "body_bytes": 1000, "addresses": ["10.0.0.0/8"] } });
    let set = api.send(Call::new(Method::PATCH, path).token(&bob).json(&limits)).await;
    assert_eq!(set.status, 200);
    for what in ["codespace:bob-x", "user:bob", "port:bob-x:3000", "port:bob-x:8000"] {
        let call = Call::new(Method::PUT, &format!("/api/v1/sharing/closed/{what}")).token(&ada);
        let closed = api.send(call.json(&json!({ "reason": format!("because of {what}") }))).await;
        assert_eq!(closed.status, 200, "{}", closed.short());
    }
    let told = api.send(Call::get(URL).token(&bob)).await.json();
    let words = |list: &str, word: &str| -> Vec<String> {
        let all = told[list].as_array().expect("a list").iter();
        all.map(|one| one[word].as_str().expect("words").to_owned()).collect()
    };
    assert_eq!(words("closures", "what"), ["user:bob", "codespace:bob-x", "port:bob-x:3000"]);
    assert_eq!(words("closures", "reason")[0], "because of user:bob");
    assert_eq!(
        words("limits", "what"),
        [
            "at most 1 request a second, all clients together",
            "at most 5 at once, requests and sockets together",
            "at most 1000 bytes in the body of a request",
            "clients from 10.0.0.0/8 alone",
        ]
    );
    assert_eq!(words("limits", "by"), ["owner"; 4]);
    let editor = Call::get("/api/v1/explain?url=bob-x.codespaces.localhost");
    let told = api.send(editor.token(&bob)).await.json();
    assert_eq!(
        (&told["closures"], &told["limits"]),
        (&json!([]), &json!([])),
        "an editor is nobody else's anyway"
    );
}
