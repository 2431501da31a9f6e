//! What an administrator closes of what people share (SHARE-5): at once, for what is open too, and owners are told why.

use std::{process::Child, sync::LazyLock};

use serde_json::{Value, json};

use super::{
    gateway::{Gateway, Person, eventually, gateway, run},
    wire::{Call, Connection, Reply},
};

/// An app of bob's that no other test looks at; nothing else of bob's is shared.
const SHARED: u16 = 28_465;

static APP: LazyLock<Child> = LazyLock::new(|| gateway().serve_app(&gateway().bob, SHARED, "SHARED"));

fn api(gateway: &Gateway, who: &Person, method: &'static str, path: &str, body: Option<&Value>) -> Reply {
    let call = Call::new(method, gateway.host(), &format!("/api/v1/{path}"));
    let call = call.field("Authorization", format!("Bearer {}", who.token));
    match body {
        Some(body) => call.json(body).send(),
        None => call.field("Content-Type", "application/json").send(),
    }
}

/// The operator does the same on the gateway's machine.
fn the_operator_closes(gateway: &Gateway, host: &str) {
    let stranger = || Call::get(host.to_owned(), "/").send();
    let what = format!("port:{}:{SHARED}", gateway.bob.codespace);
    run(&gateway.data, &["sharing", "close", &what, "--reason", "reported"], "");
    assert_eq!(stranger().status(), 401);
    let listed = run(&gateway.data, &["sharing", "list"], "");
    assert!(
        listed.contains(&what) && listed.contains("operator") && listed.contains("reported"),
        "{listed}"
    );
    run(&gateway.data, &["sharing", "open", &what], "");
    assert_eq!(stranger().stamps("SHARED"), 1);
}

#[test]
fn share_5_an_administrator_closes_what_is_shared_at_once_and_its_owner_reads_why() {
    let gateway = gateway();
    let (ada, bob) = (&gateway.ada, &gateway.bob);
    LazyLock::force(&APP);
    let host = gateway.port(bob, SHARED);
    let path = format!("codespaces/{}/ports/{SHARED}", bob.codespace);
    let visibility = |word: &str| api(gateway, bob, "PATCH", &path, Some(&json!({ "visibility": word })));
    assert_eq!(visibility("public").status(), 200);
    let link = api(gateway, bob, "POST", &format!("{path}/links"), Some(&json!({ "name": "for Kim" })));
    assert_eq!(link.status(), 201, "{}", link.text);
    let link = link.json()["url"].as_str().expect("a URL").to_owned();
    let secret = link.split_once("/.portico/").expect("one of ours").1.to_owned();
    let stranger = || Call::get(host.clone(), "/").send();
    let linked = || Call::get(host.clone(), &format!("/.portico/{secret}")).send().status();
    assert_eq!((stranger().stamps("SHARED"), linked()), (1, 200));

    let reason = json!({ "reason": "it asks for passwords" });
    for what in [
        format!("port:{}:{SHARED}", bob.codespace),
        format!("codespace:{}", bob.codespace),
        "user:bob".to_owned(),
    ] {
        let close = |who, body: &Value| api(gateway, who, "PUT", &format!("sharing/closed/{what}"), Some(body));
        assert_eq!(close(bob, &reason).status(), 403, "members close nothing");
        assert_eq!(close(ada, &json!({ "reason": " " })).status(), 422);
        let mut socket = Connection::open();
        assert_eq!(socket.exchange(&Call::get(host.clone(), "/socket").socket()).status(), 101);
        let closed = close(ada, &reason);
        assert_eq!(
            (closed.status(), closed.json()["what"].as_str()),
            (200, Some(&*what)),
            "{}",
            closed.text
        );
        socket.rest();
        assert_eq!(
            (stranger().status(), stranger().stamps("SHARED"), linked()),
            (401, 0, 410),
            "{what}"
        );
        let own = Call::get(host.clone(), "/").token(&bob.token).send();
        assert_eq!(own.stamps("SHARED"), 1, "its owner's own access stays");
        let ports = api(gateway, bob, "GET", &format!("codespaces/{}/ports", bob.codespace), None).json();
        let port = ports
            .as_array()
            .expect("ports")
            .iter()
            .find(|port| port["port"] == SHARED)
            .expect("it is there");
        assert_eq!(
            (
                port["visibility"].as_str(),
                port["closed"]["reason"].as_str(),
                port["closed"]["what"].as_str()
            ),
            (Some("private"), Some("it asks for passwords"), Some(&*what))
        );
        let raised = visibility("org");
        assert_eq!(raised.status(), 403, "{}", raised.text);
        assert!(raised.json()["detail"].as_str().expect("text").contains("it asks for passwords"));
        let more = api(gateway, bob, "POST", &format!("{path}/links"), Some(&json!({})));
        assert_eq!(more.status(), 403, "{}", more.text);
        let open_again = |who| api(gateway, who, "DELETE", &format!("sharing/closed/{what}"), None).status();
        assert_eq!([open_again(bob), open_again(ada), open_again(ada)], [403, 204, 404]);
        assert_eq!((stranger().stamps("SHARED"), linked()), (1, 200), "{what}");
    }

    the_operator_closes(gateway, &host);
    eventually("the audit log tells of all", || {
        let events = api(gateway, ada, "GET", "audit?event=sharing&limit=100", None).json();
        let told = |event: &str, target: &str, actor: &str| {
            let events = events.as_array().expect("events");
            events
                .iter()
                .any(|one| one["event"] == event && one["target"] == target && one["actor"] == actor)
        };
        let port = format!("{}:{SHARED}", bob.codespace);
        let all = told("sharing.closed", "bob", "ada")
            && told("sharing.opened", &bob.codespace, "ada")
            && told("sharing.closed", &port, "operator");
        all.then_some(())
    });
    for (what, status) in [
        ("user:nobody", 404),
        ("codespace:no-such-x", 404),
        ("everything", 422),
        ("port:x", 422),
    ] {
        assert_eq!(
            api(gateway, ada, "PUT", &format!("sharing/closed/{what}"), Some(&reason)).status(),
            status,
            "{what}"
        );
    }
    assert_eq!(visibility("private").status(), 200);
}
