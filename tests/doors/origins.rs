//! Which page may cause what: `Origin` decides between siblings, and on the gateway host there are none.

use serde_json::json;

use super::{
    gateway::{BOBS, PORT, SIBLING, gateway},
    wire::Call,
};

/// Every origin that a request may name, by what it is; none for a request without one.
fn origins() -> Vec<(&'static str, Option<String>)> {
    let gateway = gateway();
    let http = |host: String| Some(format!("http://{host}"));
    vec![
        ("own", http(gateway.app())),
        ("editor", http(gateway.editor(&gateway.ada))),
        ("sibling", http(gateway.port(&gateway.ada, SIBLING))),
        ("gateway", http(gateway.host())),
        ("other port", http(gateway.port(&gateway.bob, BOBS))),
        ("other editor", http(gateway.editor(&gateway.bob))),
        ("domain", http(gateway.domain())),
        ("https", Some(format!("https://{}", gateway.app()))),
        ("slash", Some(format!("http://{}/", gateway.app()))),
        ("evil", Some("http://evil.example".into())),
        ("null", Some("null".into())),
        ("none", None),
    ]
}

/// Those of which `call` was answered so.
fn answered(status: u16, call: impl Fn() -> Call) -> Vec<&'static str> {
    let asked = origins().into_iter().filter(|(_, origin)| {
        let call = origin.iter().fold(call(), |call, origin| call.field("Origin", origin));
        call.send().status() == status
    });
    asked.map(|(name, _)| name).collect()
}

#[test]
fn csrf_3_and_ws_2_a_port_answers_its_own_codespace() {
    let gateway = gateway();
    let editor = gateway.editor_cookie(&gateway.session("ada"), &gateway.ada);
    let cookie = gateway.port_cookie(&editor, &gateway.ada, PORT);
    let siblings = ["own", "editor", "sibling"];
    for site in ["same-origin", "same-site", "cross-site", "none"] {
        let call = |method| Call::new(method, gateway.app(), "/").cookie(&cookie).field("Sec-Fetch-Site", site);
        assert_eq!(answered(200, || call("POST")), siblings, "POST {site}");
        let mut expected = siblings.to_vec();
        if matches!(site, "same-origin" | "none") {
            expected.push("none");
        }
        assert_eq!(answered(200, || call("GET")), expected, "GET {site}");
    }
    // Without any word of where it comes from it may be an image on another codespace's page.
    assert_eq!(answered(200, || Call::get(gateway.app(), "/").cookie(&cookie)), siblings);
    assert_eq!(
        answered(101, || Call::get(gateway.app(), "/socket").cookie(&cookie).socket()),
        siblings
    );
    let framed = Call::get(gateway.app(), "/").cookie(&cookie).fields(&[
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "iframe"),
    ]);
    assert_eq!(framed.send().status(), 403);
    let spoiled = Call::get(gateway.app(), "/socket").cookie(&cookie).socket();
    let spoiled = spoiled
        .field("Origin", format!("http://{}", gateway.app()))
        .field("Origin", "http://evil.example");
    assert_eq!(spoiled.send().status(), 403);
}

#[test]
fn ws_1_an_editors_and_the_gateways_sockets_answer_their_own_pages() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let exec = format!("/api/v1/codespaces/{}/exec", gateway.ada.codespace);
    let own_editor = || {
        Call::get(gateway.editor(&gateway.ada), &format!("/.portico{exec}"))
            .cookie(&editor)
            .socket()
    };
    assert_eq!(answered(101, own_editor), ["editor"]);
    assert_eq!(
        answered(101, || Call::get(gateway.host(), &exec).cookie(&session).socket()),
        ["gateway"]
    );
}

#[test]
fn csrf_1_what_changes_something_is_asked_by_the_gateways_own_pages() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let codespace = format!("/api/v1/codespaces/{}", gateway.ada.codespace);
    for (method, path, body) in [
        ("PATCH", codespace.clone(), json!({})),
        ("POST", format!("{codespace}/start"), json!({})),
        ("PATCH", format!("{codespace}/ports/9000"), json!({})),
        ("POST", "/api/v1/tokens".to_owned(), json!({ "scope": "read" })),
    ] {
        for site in ["same-site", "cross-site", "none", "same-origin"] {
            let call = || {
                Call::new(method, gateway.host(), &path)
                    .cookie(&session)
                    .field("Sec-Fetch-Site", site)
            };
            let mut refused = answered(403, || call().json(&body));
            if site == "same-origin" {
                refused.push("none");
            }
            assert_eq!(refused.len(), origins().len() - 1, "{method} {path} {site}: {refused:?}");
            let form = call()
                .field("Origin", format!("http://{}", gateway.host()))
                .field("Content-Type", "text/plain");
            assert_eq!(form.body(body.to_string()).send().status(), 415, "{method} {path}");
        }
    }
}

/// Another codespace of the very same owner, and names that look like one: none is helped to read anything.
#[test]
fn cors_2_pages_of_the_same_owners_other_codespace_are_not_helped() {
    let gateway = gateway();
    let api = |call: Call| call.field("Authorization", format!("Bearer {}", gateway.ada.token)).send();
    let project = gateway.data.join("other-project");
    let made = std::process::Command::new("git")
        .args(["init", "-q", "-b", "main"])
        .arg(&project)
        .status();
    assert!(made.expect("git is installed").success());
    let body = json!({ "repository": project });
    let other = api(Call::post(gateway.host(), "/api/v1/codespaces").json(&body)).json()["name"].clone();
    let other = other.as_str().expect("a codespace").to_owned();
    let (name, domain) = (&gateway.ada.codespace, gateway.domain());
    let read_by = |origin: &str| {
        let asked = Call::new("OPTIONS", gateway.app(), "/")
            .field("Origin", origin)
            .field("Access-Control-Request-Method", "POST");
        let got = Call::get(gateway.app(), "/").field("Origin", origin);
        [asked, got].map(|call| call.send().fields("access-control-allow-origin").len())
    };
    assert_eq!(read_by(&format!("http://{name}-{SIBLING}.{domain}")), [1, 1], "a sibling is");
    for origin in [
        format!("http://{other}.{domain}"),
        format!("http://{other}-{PORT}.{domain}"),
        format!("http://{name}x-{PORT}.{domain}"),
        format!("http://x{name}-{PORT}.{domain}"),
        format!("http://{name}-0{PORT}.{domain}"),
        format!("http://{name}-{PORT}-{PORT}.{domain}"),
        format!("http://{name}-{PORT}.{other}.{domain}"),
        format!("http://{name}-{PORT}.{domain}.evil.example"),
        format!("http://{}.{domain}", &name[..name.len() - 1]),
    ] {
        assert_eq!(read_by(&origin), [0, 0], "{origin}");
    }
    let deleted = api(Call::new(
        "DELETE",
        gateway.host(),
        &format!("/api/v1/codespaces/{other}?force=true"),
    ));
    assert_eq!(deleted.status(), 204, "{}", deleted.text);
}
