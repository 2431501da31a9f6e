//! Credentials: each is good for what it was given for, once if it is a ticket, and for nothing else.

use std::thread;

use serde_json::json;

use super::{
    browser::{NAVIGATION, redeem},
    gateway::{BOBS, PORT, SIBLING, gateway},
    wire::{Call, Reply},
};

/// A person's own request with a cookie.
fn with_cookie(host: String, path: &str, cookie: &str) -> Reply {
    Call::get(host, path).field("Sec-Fetch-Site", "none").cookie(cookie).send()
}

#[test]
fn cook_3_a_host_cookie_is_good_for_its_host_alone() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let port = gateway.port_cookie(&editor, &gateway.ada, PORT);
    assert_eq!(with_cookie(gateway.app(), "/", &port).stamps("ADA"), 1);
    let value = |cookie: &str| cookie.split_once('=').expect("a pair").1.to_owned();
    let user = "/api/v1/user";
    let inside = format!("/.portico/api/v1/codespaces/{}", gateway.ada.codespace);
    for (host, path, good) in [
        (gateway.host(), user, &session),
        (gateway.editor(&gateway.ada), inside.as_str(), &editor),
        (gateway.app(), "/", &port),
        (gateway.port(&gateway.ada, SIBLING), "/", &String::new()),
        (gateway.port(&gateway.bob, BOBS), "/", &String::new()),
    ] {
        for cookie in [&session, &editor, &port] {
            for name in ["__Host-portico_session", "__Host-portico_access"] {
                let sent = format!("{name}={}", value(cookie));
                let reply = with_cookie(host.clone(), path, &sent);
                assert_eq!(reply.status(), if sent == *good { 200 } else { 401 }, "{host} {sent}");
            }
        }
    }
}

#[test]
fn cook_2_a_cookie_twice_is_none() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let port = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let inside = format!("/.portico/api/v1/codespaces/{}", gateway.ada.codespace);
    for (host, path, good) in [
        (gateway.host(), "/api/v1/user", &session),
        (gateway.editor(&gateway.ada), inside.as_str(), &editor),
        (gateway.app(), "/", &port),
    ] {
        let sent = |cookies: &[String]| {
            let call = Call::get(host.clone(), path).field("Sec-Fetch-Site", "none");
            let reply = cookies.iter().fold(call, |call, cookie| call.cookie(cookie)).send();
            (reply.status(), reply.stamps("ADA"))
        };
        let (name, value) = good.split_once('=').expect("a pair");
        // Another of the right length, as an attacker who can set a cookie would have it.
        let other = format!("{name}={}", value.chars().rev().collect::<String>());
        let served = sent(std::slice::from_ref(good));
        assert_eq!(served.0, 200, "{host}");
        for twice in [
            vec![format!("{good}; {good}")],
            vec![format!("{good}; {other}")],
            vec![format!("{other}; {good}")],
            vec![format!("{good};{name}=")],
            vec![format!("{name}; {good}")],
            vec![format!("{good}; app=1; {name}=\"{value}\"")],
            vec![good.clone(), good.clone()],
            vec![good.clone(), other.clone()],
            vec![other.clone(), "app=1".into(), good.clone()],
        ] {
            assert_eq!(sent(&twice), (401, 0), "{host} {twice:?}");
        }
        // What an app has twice is the app's own business.
        assert_eq!(sent(&[format!("app=1; app=2; {good}")]), served, "{host}");
    }
}

#[test]
fn auth_1_strangers_are_sent_to_sign_in_or_told() {
    let gateway = gateway();
    let page = Call::get(gateway.app(), "/a").fields(&NAVIGATION).send();
    assert_eq!(
        (page.status(), page.fields("vary"), page.fields("cache-control")),
        (303, vec!["*"], vec!["no-store"])
    );
    let worker = Call::get(gateway.app(), "/sw.js").field("Service-Worker", "script").send();
    assert!(worker.status() == 200 && worker.body().contains("unregister"), "{}", worker.text);
    for call in [
        Call::get(gateway.app(), "/"),
        Call::post(gateway.app(), "/"),
        Call::get(gateway.app(), "/socket").socket(),
    ] {
        let reply = call.send();
        assert_eq!((reply.status(), reply.stamps("ADA"), reply.fields("location").len()), (401, 0, 0));
    }
    let bad = Call::get(gateway.app(), "/").fields(&NAVIGATION).token("pt_wrong").send();
    assert_eq!(bad.status(), 401, "a credential that is wrong is never none");
}

#[test]
fn auth_2_a_ticket_works_once_on_its_host_in_its_browser() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let flow = gateway.flow_to_port(&editor, &gateway.ada, PORT);
    let status = |call: Call| call.send().status();
    assert_eq!(status(redeem(gateway.app(), &flow.ticket)), 400, "without the nonce");
    assert_eq!(
        status(redeem(gateway.port(&gateway.ada, SIBLING), &flow.ticket).cookie(&flow.nonce)),
        400
    );
    assert_eq!(
        status(redeem(gateway.port(&gateway.bob, BOBS), &flow.ticket).cookie(&flow.nonce)),
        400
    );
    assert_eq!(status(redeem(gateway.app(), &format!("A{}", flow.ticket)).cookie(&flow.nonce)), 400);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let call = redeem(gateway.app(), &flow.ticket).cookie(&flow.nonce);
            thread::spawn(move || call.send().status())
        })
        .collect();
    let statuses: Vec<u16> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    let (origin, ticket) = flow.siblings.first().expect("the sibling was not visited");
    assert_eq!(*origin, format!("http://{}", gateway.port(&gateway.ada, SIBLING)));
    let sibling = || redeem(gateway.port(&gateway.ada, SIBLING), ticket);
    for (from, expected) in [
        (None, 400),
        (Some(gateway.app()), 400),
        (Some(gateway.editor(&gateway.bob)), 400),
        (Some(gateway.editor(&gateway.ada)), 200),
        (Some(gateway.editor(&gateway.ada)), 400),
    ] {
        let call = from.map_or_else(sibling, |from| sibling().field("Origin", format!("http://{from}")));
        assert_eq!(status(call), expected);
    }
}

#[test]
fn dom_3_an_editors_page_can_neither_sign_in_nor_out() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let origin = format!("http://{}", gateway.editor(&gateway.ada));
    for (path, body) in [
        ("sign-in", json!({ "name": "bob", "password": super::gateway::PASSWORD })),
        ("sign-out", json!({})),
        ("setup", json!({ "secret": "x" })),
        ("tokens", json!({ "scope": "all" })),
    ] {
        let call = Call::post(gateway.editor(&gateway.ada), &format!("/.portico/api/v1/{path}")).json(&body);
        let reply = call.cookie(&editor).field("Origin", &origin).send();
        assert_eq!((reply.status(), reply.fields("set-cookie").len()), (404, 0), "{path}");
    }
    assert_eq!(
        with_cookie(gateway.host(), "/api/v1/user", &session).status(),
        200,
        "still signed in"
    );
}

#[test]
fn agt_5_an_agents_credential_is_good_for_nothing_else() {
    let gateway = gateway();
    let orders = gateway
        .data
        .join("codespaces")
        .join(&gateway.ada.codespace)
        .join("state/bootstrap.json");
    let orders: serde_json::Value = serde_json::from_slice(&std::fs::read(orders).expect("orders")).expect("JSON");
    let credential = orders["credential"].as_str().expect("a credential");
    let inside = orders["environment"]["PORTICO_TOKEN"].as_str().expect("a token");
    let api = |method, path: String, token: &str| {
        let call = Call::new(method, gateway.host(), &path).field("Authorization", format!("Bearer {token}"));
        let body = if path.ends_with("/tokens") {
            json!({ "scope": "read" })
        } else {
            json!({})
        };
        call.json(&body).send().status()
    };
    let (own, other) = (&gateway.ada.codespace, &gateway.bob.codespace);
    for path in [
        "user",
        "codespaces",
        "tokens",
        &format!("codespaces/{own}"),
        &format!("codespaces/{other}"),
    ] {
        assert_eq!(api("GET", format!("/api/v1/{path}"), credential), 401, "{path}");
    }
    assert_eq!(Call::get(gateway.app(), "/").token(credential).send().status(), 401);
    // The token inside may look at its own codespace and stop it, and that is all (SHARE-1).
    assert_eq!(api("GET", format!("/api/v1/codespaces/{own}"), inside), 200);
    assert_eq!(api("PATCH", format!("/api/v1/codespaces/{own}/ports/{PORT}"), inside), 403);
    assert_eq!(api("GET", format!("/api/v1/codespaces/{own}/terminals"), inside), 403);
    assert_eq!(api("GET", format!("/api/v1/codespaces/{other}"), inside), 404);
    assert_eq!(api("POST", "/api/v1/tokens".into(), inside), 403);
    assert_eq!(Call::get(gateway.app(), "/").token(inside).send().status(), 404);
    // A browser has no business at the agents' door, and an id that was never given out opens nothing.
    let stream = Call::get(gateway.host(), "/api/v1/agent/stream?id=x").field("Authorization", format!("Bearer {credential}"));
    let stream = stream.field("Upgrade", "portico-stream").field("Connection", "upgrade");
    assert_eq!(stream.send().status(), 404);
    assert_eq!(stream.field("Origin", format!("http://{}", gateway.host())).send().status(), 403);
}
