//! What a port's owner limits, as clients see it; an app of its own, so that no other test runs into them.

use std::{process::Child, sync::LazyLock, thread};

use serde_json::{Value, json};

use super::{
    browser::NAVIGATION,
    gateway::{Gateway, eventually, gateway},
    wire::{Call, Connection, Reply},
};

/// Its app's port.
const LIMITED: u16 = 28_464;

fn host() -> String {
    static APP: LazyLock<Child> = LazyLock::new(|| {
        let gateway = gateway();
        gateway.serve_app(&gateway.ada, LIMITED, "LIMITED")
    });
    LazyLock::force(&APP);
    gateway().port(&gateway().ada, LIMITED)
}

fn set(gateway: &Gateway, limits: &Value) -> Reply {
    let path = format!("/api/v1/codespaces/{}/ports/{LIMITED}", gateway.ada.codespace);
    let call = Call::new("PATCH", gateway.host(), &path).json(&json!({ "limits": limits }));
    call.field("Authorization", format!("Bearer {}", gateway.ada.token)).send()
}

#[track_caller]
fn check(reply: &Reply, status: u16, slug: &str, said: &str) {
    assert_eq!(reply.status(), status, "{}", reply.text);
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:portico:{slug}"), "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(said) && detail.contains("a limit that you set"), "{detail}");
    assert_eq!(reply.fields("retry-after").is_empty(), status != 429, "{}", reply.text);
    assert_eq!(reply.stamps("LIMITED"), 0);
}

/// Asks so often at once that one request is too many, however slow the machine is.
fn one_too_many(call: &Call) -> Reply {
    eventually("the rate is reached", || {
        thread::scope(|scope| {
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| call.send())).collect();
            let mut replies = asked.into_iter().map(|asked| asked.join().expect("no panic"));
            replies.find(|reply| reply.status() == 429)
        })
    })
}

/// One test sets all of a port's limits, one after the other.
#[test]
fn limits_that_an_owner_sets_hold_at_once_in_the_clients_language() {
    let (gateway, host) = (gateway(), host());
    let ask = || Call::get(host.clone(), "/").token(&gateway.ada.token);
    let limit = |limits: Value| {
        let reply = set(gateway, &limits);
        assert_eq!(reply.status(), 200, "{}", reply.text);
        let shown = reply.json()["limits"].clone();
        assert_eq!(shown, limits, "as they were set");
    };

    limit(json!({ "requests_per_second": 1 }));
    assert_eq!(ask().send().stamps("LIMITED"), 1);
    check(&one_too_many(&ask()), 429, "limit-rate", "at most 1 request a second");
    // To a person, a page; nothing at all to somebody who may not open the port.
    let page = one_too_many(&ask().fields(&NAVIGATION));
    assert_eq!(
        (page.status(), page.fields("cache-control")),
        (429, vec!["no-store"]),
        "{}",
        page.text
    );
    assert!(
        page.body().contains("<h1") && page.body().contains("Too many requests"),
        "{}",
        page.text
    );
    assert_eq!(Call::get(host.clone(), "/").send().status(), 401);
    assert_eq!(ask().field("X-Portico-Token", "x").send().status(), 401);
    eventually("the rate lets one through again", || (ask().send().status() == 200).then_some(()));

    limit(json!({ "body_bytes": 4 }));
    let upload = |body: &str| Call::post(host.clone(), "/").token(&gateway.ada.token).body(body.to_owned()).send();
    assert_eq!(upload("four").stamps("LIMITED"), 1);
    check(&upload("fives"), 413, "limit-body", "at most 4 bytes");

    limit(json!({ "connections": 1 }));
    let mut socket = Connection::open();
    let opened = socket.exchange(&Call::get(host.clone(), "/socket").token(&gateway.ada.token).socket());
    assert_eq!(opened.status(), 101, "{}", opened.text);
    check(&ask().send(), 429, "limit-connections", "at most 1 at once");
    check(
        &Call::get(host.clone(), "/socket").token(&gateway.ada.token).socket().send(),
        429,
        "limit-connections",
        "at most 1 at once",
    );

    // An address that is no longer let in is cut off, in a socket that is open too.
    limit(json!({ "addresses": ["127.0.0.0/8", "::1/128"] }));
    assert_eq!(ask().send().stamps("LIMITED"), 1);
    limit(json!({ "addresses": ["192.0.2.0/24", "2001:db8::/32"] }));
    socket.rest();
    check(&ask().send(), 403, "limit-address", "certain addresses");

    limit(Value::Null);
    assert_eq!(ask().send().stamps("LIMITED"), 1);
    for wrong in [
        json!({ "requests_per_second": 0 }),
        json!({ "connections": 0 }),
        json!({ "body_bytes": -1 }),
        json!({ "addresses": ["10.1.2.3/8"] }),
        json!({ "addresses": ["everywhere"] }),
        json!({ "speed": 1 }),
    ] {
        let reply = set(gateway, &wrong);
        assert!(matches!(reply.status(), 400 | 422), "{wrong}: {}", reply.text);
    }
    assert_eq!(set(gateway, &json!({ "addresses": [] })).json()["limits"], Value::Null);
}
