//! Who may open a port: its owner decides, everybody else finds nothing.

use serde_json::json;

use super::{
    browser::{NAVIGATION, set_cookie},
    gateway::{Gateway, Person, SIBLING, eventually, gateway},
    secrecy::faceless,
    wire::{Call, Connection, Reply},
};

fn set(gateway: &Gateway, who: &Person, port: u16, body: &serde_json::Value) -> Reply {
    let path = format!("/api/v1/codespaces/{}/ports/{port}", gateway.ada.codespace);
    let call = Call::new("PATCH", gateway.host(), &path).json(body);
    call.field("Authorization", format!("Bearer {}", who.token)).send()
}

/// One test changes the sibling's visibility, so that no two do at once.
#[test]
fn share_1_and_2_private_until_its_owner_says_otherwise_and_until_the_deadline() {
    let gateway = gateway();
    let host = gateway.port(&gateway.ada, SIBLING);
    let stranger = || Call::get(host.clone(), "/").send();
    assert_eq!((stranger().status(), stranger().stamps("SIBLING")), (401, 0));
    assert_eq!(
        set(gateway, &gateway.bob, SIBLING, &json!({ "visibility": "public" })).status(),
        404
    );
    assert_eq!(stranger().status(), 401);
    assert_eq!(
        set(gateway, &gateway.ada, SIBLING, &json!({ "visibility": "public" })).status(),
        200
    );
    assert_eq!(stranger().stamps("SIBLING"), 1);
    share_4_a_warning_before_strangers_pages(gateway, &host);
    let mut socket = Connection::open();
    assert_eq!(socket.exchange(&Call::get(host.clone(), "/socket").socket()).status(), 101);
    let deadline = time::OffsetDateTime::now_utc() + time::Duration::seconds(8);
    let deadline = deadline.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let reply = set(
        gateway,
        &gateway.ada,
        SIBLING,
        &json!({ "visibility": "public", "expires_at": deadline }),
    );
    assert_eq!(reply.status(), 200, "{}", reply.text);
    eventually("the share ends", || (stranger().status() == 401).then_some(()));
    socket.rest();
    let back = set(
        gateway,
        &gateway.ada,
        SIBLING,
        &json!({ "visibility": "private", "expires_at": null }),
    );
    assert_eq!(back.status(), 200, "{}", back.text);
}

/// While the sibling is public: part of the test above.
fn share_4_a_warning_before_strangers_pages(gateway: &Gateway, host: &str) {
    let page = |cookie: &str| Call::get(host.to_owned(), "/a?b=c").fields(&NAVIGATION).cookie(cookie);
    let warned = page("x=y").send();
    assert_eq!((warned.status(), warned.stamps("SIBLING")), (200, 0), "{}", warned.text);
    assert!(
        warned.body().contains("ada") && warned.body().contains("value=\"/a?b=c\""),
        "{}",
        warned.text
    );
    assert!(
        warned.fields("content-security-policy")[0].contains("frame-ancestors 'none'"),
        "{}",
        warned.text
    );
    assert_eq!(
        (warned.fields("cache-control"), warned.fields("x-robots-tag")),
        (vec!["no-store"], vec!["noindex"])
    );
    // Its owner, where this browser does not know him yet, is one sign-in away; nothing else is.
    let own = "/.portico/sign-in?next=%2Fa%3Fb%3Dc";
    assert!(warned.body().contains(&format!("href=\"{own}\"")), "{}", warned.text);
    let signs_in = Call::get(host.to_owned(), own).fields(&NAVIGATION).send();
    let editor = format!("http://{}/.portico/authorize?state=", gateway.editor(&gateway.ada));
    assert_eq!((signs_in.status(), signs_in.stamps("SIBLING")), (303, 0), "{}", signs_in.text);
    assert!(signs_in.fields("location")[0].starts_with(&editor), "{}", signs_in.text);
    assert_eq!(Call::get(host.to_owned(), own).send().status(), 404);
    // Not for programs, not for what a page loads, not where somebody says so, and never for the owner.
    let skipped = page("x=y").field("X-Portico-Skip-Warning", "1").send();
    assert_eq!(
        (skipped.stamps("SIBLING"), skipped.fields("x-robots-tag")),
        (1, vec!["noindex"]),
        "{}",
        skipped.text
    );
    assert!(!skipped.body().contains("skip-warning"), "{}", skipped.text);
    assert_eq!(page("x=y").token(&gateway.ada.token).send().stamps("SIBLING"), 1);
    let fetched = Call::get(host.to_owned(), "/")
        .field("Sec-Fetch-Mode", "cors")
        .field("Accept", "text/html");
    assert_eq!(fetched.send().stamps("SIBLING"), 1);
    let button = |next: &str| {
        Call::post(host.to_owned(), "/.portico/warning")
            .field("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("next={next}"))
    };
    assert_eq!(button("/").field("Sec-Fetch-Site", "cross-site").send().status(), 403);
    // A page of another port of the codespace tells that the warning was read there: it counts here too, and nobody else's does.
    let told_by = |origin: String| {
        let told = button("/").field("Sec-Fetch-Site", "same-site").field("Sec-Fetch-Mode", "cors");
        told.field("Origin", format!("http://{origin}")).send()
    };
    let told = told_by(gateway.app());
    assert_eq!(
        (told.status(), told.fields("access-control-allow-origin")),
        (204, vec![&*format!("http://{}", gateway.app())]),
        "{}",
        told.text
    );
    assert_eq!(page(&set_cookie(&told, "_warned")).send().stamps("SIBLING"), 1);
    assert_eq!(told_by(gateway.port(&gateway.bob, super::gateway::BOBS)).status(), 403);
    assert_eq!(told_by("evil.example".to_owned()).status(), 403);
    assert_eq!(button("//evil.example").send().fields("location"), [format!("http://{host}/")]);
    let gone_on = button("%2Fa%3Fb%3Dc").field("Sec-Fetch-Site", "same-origin").send();
    assert_eq!(
        (gone_on.status(), gone_on.fields("location")),
        (303, vec![&*format!("http://{host}/a?b=c")])
    );
    let cookie = set_cookie(&gone_on, "_warned");
    let opened = page(&cookie).send();
    assert_eq!(opened.stamps("SIBLING"), 1, "{}", opened.text);
    assert!(!opened.text.contains("portico_warned"), "{}", opened.text);
}

#[test]
fn port_1_and_ssrf_2_ports_that_are_nobodys_answer_like_closed_ones() {
    let gateway = gateway();
    let names = [gateway.ada.codespace.as_str()];
    let number = |port: u16| {
        let reply = Call::get(gateway.port(&gateway.ada, port), "/").token(&gateway.ada.token).send();
        // What listens may change meanwhile, and a request's id may hold the port's number.
        let passing = regex::Regex::new(r#""listening":.*"request_id":"[0-9a-f]*","#).expect("a pattern");
        passing.replace(&faceless(&reply, &names), "").replace(&port.to_string(), "PORT")
    };
    let closed = number(9);
    assert!(closed.starts_with("HTTP/1.1 502"), "{closed}");
    // Docker's, and the gateway's own, which listens on this very machine.
    for port in [2375, 2376, gateway.address.port()] {
        assert_eq!(number(port), closed, "{port}");
    }
}

#[test]
fn resume_1_strangers_and_sockets_wake_nothing() {
    let gateway = gateway();
    let state = || {
        let path = format!("/api/v1/codespaces/{}", gateway.bob.codespace);
        let reply = Call::get(gateway.host(), &path)
            .field("Authorization", format!("Bearer {}", gateway.bob.token))
            .send();
        reply.json()["state"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(state(), "running", "it is stopped by no test: others use it");
    for method in ["GET", "HEAD"] {
        for verb in ["start", "stop"] {
            let path = format!("/api/v1/codespaces/{}/{verb}", gateway.bob.codespace);
            let call = Call::new(method, gateway.host(), &path).field("Authorization", format!("Bearer {}", gateway.bob.token));
            assert_eq!(call.send().status(), 405, "{method} {verb}");
        }
    }
    assert_eq!(state(), "running");
}
