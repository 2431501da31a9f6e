//! The audit log: what agents did and what was refused is there, with who, to what, from where and by which request (AUDIT-1).

use std::cell::RefCell;

use serde_json::{Value, json};

use super::{
    browser::redeem,
    gateway::{BOBS, Gateway, PORT, eventually, gateway},
    tunnel::{Stolen, audit},
    wire::{Call, Reply},
};

/// Sends a request by an id of its own.
fn named(call: Call) -> (Reply, String) {
    let id = format!("door-{:016x}", rand::random::<u64>());
    (call.field("X-Request-Id", &id).send(), id)
}

/// The event of a kind that a request made.
fn of_request(gateway: &Gateway, event: &str, id: &str) -> Value {
    eventually(event, || {
        audit(gateway, &format!("event={event}"))
            .into_iter()
            .find(|told| told["request_id"] == id)
    })
}

/// Actor, target and address.
fn who(event: &Value) -> [&str; 3] {
    ["actor", "target", "address"].map(|name| event[name].as_str().unwrap_or_else(|| panic!("no {name} in {event}")))
}

#[test]
fn audit_1_tickets_are_told_of_from_their_making_to_their_replay() {
    let gateway = gateway();
    let target = format!("{}:{PORT}", gateway.ada.codespace);
    let editor = gateway.editor_cookie(&gateway.session("ada"), &gateway.ada);
    let flow = gateway.flow_to_port(&editor, &gateway.ada, PORT);
    let call = || redeem(gateway.app(), &flow.ticket);
    let (reply, stolen) = named(call());
    assert_eq!(reply.status(), 400, "without its nonce");
    let (reply, good) = named(call().cookie(&flow.nonce));
    assert_eq!(reply.status(), 200);
    let (reply, again) = named(call().cookie(&flow.nonce));
    assert_eq!(reply.status(), 400);
    assert_eq!(who(&of_request(gateway, "ticket.redeemed", &good)), ["ada", &target, "127.0.0.1"]);
    for (event, id) in [("ticket.refused", &stolen), ("ticket.replayed", &again)] {
        let told = of_request(gateway, event, id);
        assert_eq!(who(&told), ["", &target, "127.0.0.1"], "whoever it was");
        assert_eq!(told["detail"], "a ticket of ada's");
    }
    let minted = audit(gateway, &format!("event=ticket.minted&codespace={}", gateway.ada.codespace));
    let minted = minted.iter().find(|told| told["target"] == *target).expect("one was made");
    assert_eq!(who(minted), ["ada", &target, "127.0.0.1"]);
    assert!(minted["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{minted}");
    let ticket = flow.ticket.split('~').next().expect("a ticket");
    assert!(!audit(gateway, "event=ticket").iter().any(|told| told.to_string().contains(ticket)));
}

#[test]
fn audit_1_agents_that_come_are_replaced_and_are_turned_away_are_told_of() {
    let gateway = gateway();
    let eve = gateway.newcomer("audit-one");
    let stolen = Stolen::of(gateway, &eve);
    let agent = format!("agent:{}", eve.codespace);
    let told = |event: &str, detail: &str| {
        let events = audit(gateway, &format!("event={event}&codespace={}", eve.codespace));
        let found = events
            .into_iter()
            .filter(|told| told["detail"].as_str().is_some_and(|text| text.contains(detail)));
        found.collect::<Vec<_>>()
    };
    // Its own agent comes by a socket of this machine, without an address.
    let own = eventually("its own agent is told of", || told("agent.connected", "generation 1").pop());
    assert_eq!((&own["actor"], &own["target"]), (&json!(agent), &json!(eve.codespace)), "{own}");
    let first = stolen.connect();
    let second = stolen.connect();
    let replaced = eventually("each takes the place of the one before", || {
        let replaced = told("agent.replaced", "another one of the same start");
        (replaced.len() == 2).then_some(replaced)
    });
    let connected = eventually("and is told of", || {
        let connected = told("agent.connected", "generation 1");
        (connected.len() == 3).then_some(connected)
    });
    for event in replaced.iter().chain(&connected[..2]) {
        assert_eq!(who(event), [&agent, &eve.codespace, "127.0.0.1"], "{event}");
        assert!(event["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{event}");
    }
    assert_ne!(connected[0]["request_id"], connected[1]["request_id"]);
    let credential = second.credential.clone();
    drop((first, second));

    // Of an earlier start, of a codespace that is stopped, and nobody's.
    let order = |verb: &str| {
        let path = format!("/api/v1/codespaces/{}/{verb}", eve.codespace);
        let call = Call::post(gateway.host(), &path).json(&json!({}));
        assert!(matches!(
            call.field("Authorization", format!("Bearer {}", eve.token)).send().status(),
            200 | 202
        ));
    };
    order("stop");
    let refused = eventually("its time is over", || {
        let (reply, id) = named(stolen.call(&credential, "x"));
        (reply.status() == 410).then_some(id)
    });
    let rejected = eventually("it is told of", || {
        let mut rejected = told("agent.rejected", "");
        rejected.retain(|told| told["request_id"] == *refused);
        rejected.pop()
    });
    assert_eq!(who(&rejected), [&agent, &eve.codespace, "127.0.0.1"], "{rejected}");
    // Of strangers one is told of now and then.
    let ids = RefCell::new(Vec::new());
    let rejected = eventually("somebody whom nobody knows is told of", || {
        let (reply, id) = named(stolen.call("nobodys-credential", "x"));
        assert_eq!(reply.status(), 401);
        ids.borrow_mut().push(json!(id));
        let events = audit(gateway, "event=agent.rejected").into_iter();
        events.rev().find(|told| ids.borrow().contains(&told["request_id"]))
    });
    assert_eq!(who(&rejected), ["", "", "127.0.0.1"], "{rejected}");
    assert!(!rejected.to_string().contains("nobodys-credential"), "{rejected}");
}

#[test]
fn audit_1_what_policy_denies_is_told_of() {
    let gateway = gateway();
    let eve = gateway.newcomer("audit-two");
    let bob = &gateway.bob.codespace;
    let (reply, id) = named(Call::get(gateway.port(&gateway.bob, BOBS), "/").token(&eve.token));
    assert_eq!(reply.status(), 404);
    let told = of_request(gateway, "access.denied", &id);
    assert_eq!(who(&told), ["audit-two", &format!("{bob}:{BOBS}"), "127.0.0.1"]);
    let call = |method, path: String| {
        let call = Call::new(method, gateway.host(), &path).json(&json!({}));
        named(call.field("Authorization", format!("Bearer {}", eve.token)))
    };
    for (method, path, expected) in [
        ("GET", "/api/v1/users".to_owned(), 403),
        ("GET", format!("/api/v1/codespaces/{bob}"), 404),
        ("PATCH", format!("/api/v1/codespaces/{bob}/ports/{BOBS}"), 404),
    ] {
        let (reply, id) = call(method, path.clone());
        assert_eq!(reply.status(), expected, "{}", reply.text);
        let told = of_request(gateway, "call.denied", &id);
        assert_eq!(who(&told), ["audit-two", &format!("{method} {path}"), "127.0.0.1"]);
    }
}
