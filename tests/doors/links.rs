//! Share links: a secret address opens one port, as far as it says and as long as it lasts, and nobody's identity.

use serde_json::{Value, json};

use super::{
    browser::{NAVIGATION, set_cookie},
    gateway::{Gateway, PORT, SIBLING, eventually, gateway},
    secrecy::NOBODYS,
    wire::{Call, Connection, Reply},
};

/// A link that was made.
struct Link {
    id: String,
    url: String,
    /// Where it is on the port's host.
    path: String,
}

impl Gateway {
    fn links(&self, method: &'static str, rest: &str) -> Call {
        let path = format!("/api/v1/codespaces/{}/ports/{PORT}/links{rest}", self.ada.codespace);
        Call::new(method, self.host(), &path).field("Authorization", format!("Bearer {}", self.ada.token))
    }

    fn make_link(&self, body: &Value) -> Link {
        let made = self.links("POST", "").json(body).send();
        assert_eq!(made.status(), 201, "{}", made.text);
        let text = |name: &str| made.json()[name].as_str().expect("text").to_owned();
        let path = text("url")
            .strip_prefix(&format!("http://{}", self.app()))
            .expect("on the port's own host")
            .to_owned();
        Link {
            id: text("id"),
            url: text("url"),
            path,
        }
    }

    fn revoke(&self, link: &Link) -> Reply {
        self.links("DELETE", &format!("/{}", link.id)).json(&json!({})).send()
    }

    /// A link as the list shows it.
    fn listed(&self, link: &Link) -> Value {
        let list = self.links("GET", "").send();
        assert!(!list.text.contains(secret(link)), "a list tells no secrets");
        let all = list.json();
        let found = all.as_array().expect("a list").iter().find(|item| item["id"] == *link.id);
        found.expect("it is listed").clone()
    }

    /// Presses the button.
    fn press(&self, link: &Link, form: &str) -> Reply {
        Call::post(self.app(), &link.path)
            .field("Content-Type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .send()
    }

    /// The cookie of a browser in which a link was opened.
    fn granted(&self, link: &Link) -> String {
        let pressed = self.press(link, "");
        assert_eq!(pressed.status(), 303, "{}", pressed.text);
        set_cookie(&pressed, "_grant_")
    }

    fn page(&self, path: &str, cookie: &str) -> Reply {
        Call::get(self.app(), path).fields(&NAVIGATION).cookie(cookie).send()
    }
}

fn secret(link: &Link) -> &str {
    let rest = link.url.split_once("/.portico/").expect("ours").1;
    rest.split('/').nth(1).expect("a secret")
}

/// The secret of a link that was opened, and of a webhook that was called; for the test that reads the log.
pub fn used_link() -> String {
    let gateway = gateway();
    let link = gateway.make_link(&json!({ "password": "canary-password" }));
    gateway.press(&link, "password=canary-password");
    secret(&link).to_owned()
}

pub fn called_hook() -> String {
    let gateway = gateway();
    let hook = gateway.make_link(&json!({ "kind": "webhook" }));
    Call::post(gateway.app(), &hook.path).send();
    secret(&hook).to_owned()
}

#[test]
fn auth_4_a_link_opens_its_port_after_a_click_and_nothing_else() {
    let gateway = gateway();
    let link = gateway.make_link(&json!({ "name": "for Kim", "expires_in": "2h", "max_uses": 2 }));
    // Previewers look, in every way they have, and use nothing up.
    for call in [Call::get(gateway.app(), &link.path), Call::new("HEAD", gateway.app(), &link.path)] {
        for _ in 0..3 {
            let seen = call.send();
            assert_eq!((seen.status(), seen.stamps("ADA")), (200, 0), "{}", seen.text);
            assert_eq!(seen.fields("cache-control"), ["no-store"]);
            assert_eq!(seen.fields("referrer-policy"), ["no-referrer"]);
            assert_eq!(seen.fields("x-robots-tag"), ["noindex"]);
            assert!(
                seen.fields("content-security-policy")[0].contains("frame-ancestors 'none'"),
                "{}",
                seen.text
            );
            assert!(seen.fields("set-cookie").is_empty());
        }
    }
    let page = Call::get(gateway.app(), &link.path).send();
    assert!(
        page.body().contains("ada shares") && !page.body().contains("for Kim"),
        "{}",
        page.text
    );
    assert_eq!(gateway.listed(&link)["uses"], 0);
    let pressed = gateway.press(&link, "");
    assert_eq!(pressed.fields("location"), [format!("http://{}/", gateway.app())]);
    let cookie = set_cookie(&pressed, "_grant_");
    assert!(cookie.starts_with("__Host-portico_grant_"), "{cookie}");
    let opened = gateway.page("/a?b", &format!("{cookie}; app=kept"));
    assert_eq!(opened.stamps("ADA"), 1, "{}", opened.text);
    assert!(
        opened.text.contains("cookie: app=kept") && !opened.text.contains("portico_grant"),
        "{}",
        opened.text
    );
    let listed = gateway.listed(&link);
    assert_eq!((&listed["uses"], &listed["state"]), (&json!(1), &json!("open")));
    // It is no identity, and good on its own host alone.
    for host in [
        gateway.port(&gateway.ada, SIBLING),
        gateway.editor(&gateway.ada),
        gateway.port(&gateway.bob, PORT),
    ] {
        let elsewhere = Call::get(host.clone(), "/").cookie(&cookie).send();
        assert_eq!(elsewhere.status(), 401, "{host}: {}", elsewhere.text);
    }
    assert_eq!(Call::get(gateway.host(), "/api/v1/user").cookie(&cookie).send().status(), 401);
    // Pages of others cannot use it, not even with its cookie.
    for origin in [
        "http://evil.example".to_owned(),
        format!("http://{}", gateway.port(&gateway.bob, PORT)),
    ] {
        let foreign = Call::post(gateway.app(), "/").cookie(&cookie).field("Origin", &origin).send();
        assert_eq!((foreign.status(), foreign.stamps("ADA")), (401, 0), "{origin}");
    }
    // A page elsewhere cannot press the button, and the last use is the last.
    let pushed = Call::post(gateway.app(), &link.path).field("Sec-Fetch-Site", "cross-site").send();
    assert_eq!(pushed.status(), 403);
    gateway.granted(&link);
    for (reply, words) in [(gateway.press(&link, ""), "used up"), (gateway.page(&link.path, ""), "used up")] {
        assert_eq!(reply.status(), 410);
        assert!(reply.body().contains(words), "{}", reply.text);
    }
    assert_eq!(gateway.listed(&link)["state"], "used-up");
    assert_eq!(gateway.page("/", &cookie).stamps("ADA"), 1, "whoever opened it goes on");
}

#[test]
fn auth_4_what_is_no_link_is_nowhere() {
    let gateway = gateway();
    let link = gateway.make_link(&json!({}));
    let wrong = format!("/.portico/s/{}", "A".repeat(43));
    let nobodys = format!("{NOBODYS}-{PORT}.{}", gateway.domain());
    let face = |reply: Reply| {
        regex::Regex::new(r"(?m)^(date|x-request-id): .*\n")
            .expect("a pattern")
            .replace_all(&reply.text, "")
            .into_owned()
    };
    let expected = face(Call::get(gateway.app(), &wrong).send());
    assert!(expected.starts_with("HTTP/1.1 404"), "{expected}");
    for (host, path) in [
        (nobodys, wrong.as_str()),
        (gateway.port(&gateway.ada, SIBLING), &link.path),
        (gateway.port(&gateway.bob, PORT), &link.path),
        (gateway.app(), "/.portico/s/"),
        (gateway.app(), &link.path[..link.path.len() - 1]),
        (gateway.app(), &link.path.replace("/s/", "/s/../s/")),
    ] {
        assert_eq!(face(Call::get(host.clone(), path).send()), expected, "{host}{path}");
    }
    let as_hook = Call::post(gateway.app(), &link.path.replace("/s/", "/in/")).send();
    assert_eq!((as_hook.status(), as_hook.stamps("ADA")), (404, 0));
}

#[test]
fn share_1_links_are_made_by_the_owner_and_by_nobody_inside() {
    let gateway = gateway();
    let path = format!("/api/v1/codespaces/{}/ports/{PORT}/links", gateway.ada.codespace);
    let stranger = Call::post(gateway.host(), &path).json(&json!({}));
    assert_eq!(stranger.send().status(), 401);
    let bob = || Call::post(gateway.host(), &path).field("Authorization", format!("Bearer {}", gateway.bob.token));
    assert_eq!(bob().json(&json!({})).send().status(), 404);
    let editor = gateway.editor_cookie(&gateway.session("ada"), &gateway.ada);
    let from_editor = Call::post(gateway.editor(&gateway.ada), &format!("/.portico{path}"))
        .cookie(&editor)
        .field("Origin", format!("http://{}", gateway.editor(&gateway.ada)));
    assert_eq!(from_editor.json(&json!({})).send().status(), 403);
    for wrong in [
        json!({ "path": "/a/../b" }),
        json!({ "path": "/a%2fb" }),
        json!({ "path": "docs" }),
        json!({ "methods": ["TRACE"] }),
        json!({ "expires_in": "0s" }),
        json!({ "max_uses": 0 }),
        json!({ "password": "12345" }),
        json!({ "kind": "pigeon" }),
        json!({ "kind": "webhook", "password": "open sesame" }),
        json!({ "visibility": "public" }),
    ] {
        let refused = gateway.links("POST", "").json(&wrong).send();
        assert_eq!(refused.status(), 422, "{wrong}: {}", refused.text);
    }
}

#[test]
fn auth_4_a_link_asks_for_its_password() {
    let gateway = gateway();
    let link = gateway.make_link(&json!({ "password": "open sesame" }));
    let asked = gateway.page(&link.path, "");
    assert!(asked.body().contains("type=\"password\""), "{}", asked.text);
    for form in ["", "password=", "password=open+Sesame"] {
        let refused = gateway.press(&link, form);
        assert_eq!((refused.status(), refused.fields("set-cookie").len()), (403, 0), "{form}");
        assert!(refused.body().contains("not the password"), "{}", refused.text);
    }
    assert_eq!(gateway.listed(&link)["uses"], 0);
    let opened = gateway.press(&link, "password=open+sesame");
    assert_eq!(opened.status(), 303, "{}", opened.text);
    eventually("guessing is slowed down", || {
        let limited = gateway.press(&link, "password=guess");
        // Enough time to ask once more before another guess is free.
        let wait = limited.fields("retry-after").first().and_then(|wait| wait.parse::<u64>().ok());
        (limited.status() == 429 && wait? >= 10).then_some(())
    });
    let late = gateway.press(&link, "password=open+sesame");
    assert_eq!(late.status(), 429, "also for what is right");
}

#[test]
fn auth_4_a_link_reaches_as_far_as_it_says() {
    let gateway = gateway();
    let link = gateway.make_link(&json!({ "path": "/docs", "methods": ["GET"] }));
    let pressed = gateway.press(&link, "");
    assert_eq!(pressed.fields("location"), [format!("http://{}/docs", gateway.app())]);
    let cookie = set_cookie(&pressed, "_grant_");
    let own = format!("http://{}", gateway.app());
    let call = |method, path: &str| Call::new(method, gateway.app(), path).cookie(&cookie).field("Origin", &own).send();
    for path in ["/docs", "/docs/", "/docs/a?b=../c"] {
        assert_eq!(call("GET", path).stamps("ADA"), 1, "{path}");
    }
    for path in [
        "/",
        "/doc",
        "/docsx",
        "/docs/../admin",
        "/docs/%2e%2e/admin",
        "/docs//admin",
        "/docs%2fadmin",
        "/docs/%5c..%5cadmin",
        "/docs/..;/admin",
    ] {
        let reply = call("GET", path);
        assert_eq!((reply.status(), reply.stamps("ADA")), (403, 0), "{path}: {}", reply.text);
    }
    assert_eq!((call("POST", "/docs").status(), call("DELETE", "/docs").status()), (403, 403));
    let nowhere = gateway.page("/admin", &cookie);
    assert!(nowhere.body().contains("Your link does not open this"), "{}", nowhere.text);
}

#[test]
fn sess_3_revoking_a_link_ends_what_came_by_it_alone() {
    let gateway = gateway();
    let (first, second) = (gateway.make_link(&json!({})), gateway.make_link(&json!({})));
    let own = format!("http://{}", gateway.app());
    let mut sockets = [&first, &second].map(|link| {
        let cookie = gateway.granted(link);
        let mut socket = Connection::open();
        let call = Call::get(gateway.app(), "/socket").cookie(&cookie).field("Origin", &own).socket();
        assert_eq!(socket.exchange(&call).status(), 101);
        (socket, cookie)
    });
    assert_eq!(gateway.revoke(&first).status(), 204);
    sockets[0].0.rest();
    let cookie = sockets[0].1.clone();
    let program = Call::get(gateway.app(), "/")
        .cookie(&cookie)
        .field("Sec-Fetch-Site", "same-origin")
        .send();
    assert_eq!(
        (program.status(), &program.json()["type"]),
        (401, &json!("urn:portico:share-revoked"))
    );
    let told = gateway.page("/", &cookie);
    assert_eq!(told.status(), 410);
    assert!(told.body().contains("This link was revoked"), "{}", told.text);
    // From then on this browser is a stranger's like any other.
    assert!(told.fields("set-cookie")[0].contains("Max-Age=0"), "{}", told.text);
    assert!(gateway.page(&first.path, "").body().contains("This link was revoked"));
    sockets[1].0.write(b"still there?");
    sockets[1].0.until(b"still there?");
    assert_eq!(gateway.page("/", &sockets[1].1).stamps("ADA"), 1);
    assert_eq!(gateway.revoke(&second).status(), 204);
    sockets[1].0.rest();
}

#[test]
fn sess_3_a_link_that_expires_ends_what_came_by_it() {
    let gateway = gateway();
    let link = gateway.make_link(&json!({ "expires_in": 10 }));
    let cookie = gateway.granted(&link);
    let mut socket = Connection::open();
    let own = format!("http://{}", gateway.app());
    let call = Call::get(gateway.app(), "/socket").cookie(&cookie).field("Origin", &own).socket();
    assert_eq!(socket.exchange(&call).status(), 101);
    socket.rest();
    eventually("the link says so", || {
        gateway.page(&link.path, "").body().contains("This link has expired").then_some(())
    });
    assert_eq!(gateway.listed(&link)["state"], "expired");
}

#[test]
fn auth_4_a_webhook_reaches_its_hook_and_nothing_else() {
    let gateway = gateway();
    let hook = gateway.make_link(&json!({ "kind": "webhook", "path": "/hooks" }));
    assert!(
        hook.path.starts_with("/.portico/in/") && hook.path.ends_with("/hooks"),
        "{}",
        hook.path
    );
    let base = hook.path.strip_suffix("/hooks").expect("checked");
    let call = |method, path: &str| {
        let call = Call::new(method, gateway.app(), &format!("{base}{path}"));
        let call = call
            .cookie("app=session")
            .field("Referer", format!("http://{}{base}/x", gateway.app()));
        call.field("Origin", "http://anywhere.example").body("payload".to_owned()).send()
    };
    let called = call("POST", "/hooks/x?y=%20z");
    assert_eq!(called.stamps("ADA"), 1, "{}", called.text);
    assert!(
        called.body().contains("POST /hooks/x?y=%20z HTTP/1.1") && called.body().ends_with("payload"),
        "{}",
        called.text
    );
    assert!(
        !called.text.contains(secret(&hook)) && !called.text.contains("app=session"),
        "{}",
        called.text
    );
    for (method, path) in [
        ("GET", "/hooks/x"),
        ("PUT", "/hooks/x"),
        ("POST", "/"),
        ("POST", ""),
        ("POST", "/other"),
        ("POST", "/hooks/../other"),
        ("POST", "/hooks//x"),
        ("POST", "/hooks%2fx"),
    ] {
        let refused = call(method, path);
        assert_eq!(
            (refused.status(), refused.stamps("ADA")),
            (403, 0),
            "{method} {path}: {}",
            refused.text
        );
    }
    let whole = gateway.make_link(&json!({ "kind": "webhook", "methods": ["GET", "POST"], "max_uses": 2 }));
    let ours = Call::post(gateway.app(), &format!("{}/.portico/redeem", whole.path)).send();
    assert_eq!((ours.status(), ours.stamps("ADA")), (404, 0));
    let socket = Call::get(gateway.app(), &format!("{}/socket", whole.path)).socket().send();
    assert_eq!(socket.status(), 400, "{}", socket.text);
    let calls = (0..3)
        .map(|_| Call::post(gateway.app(), &whole.path).send().status())
        .collect::<Vec<_>>();
    assert_eq!(calls, [200, 200, 410]);
    assert_eq!(gateway.revoke(&hook).status(), 204);
    assert_eq!(call("POST", "/hooks/x").status(), 410);
}
