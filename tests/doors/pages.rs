//! Pages of our own: cookies that hold for one host, frames that are refused, addresses that lead nowhere else.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    browser::{NAVIGATION, redeem, set_cookie},
    gateway::{PASSWORD, PORT, gateway},
    wire::{Call, Reply},
};

#[test]
fn cook_1_and_dom_2_every_cookie_of_ours_is_its_hosts_own() {
    let gateway = gateway();
    let sign_in = Call::post(gateway.host(), "/api/v1/sign-in")
        .json(&json!({ "name": "ada", "password": PASSWORD }))
        .send();
    let session = set_cookie(&sign_in, "_session");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let flow = gateway.flow_to_port(&editor, &gateway.ada, PORT);
    let start = Call::get(gateway.app(), "/").fields(&NAVIGATION).send();
    let redeemed = redeem(gateway.app(), &flow.ticket).cookie(&flow.nonce).send();
    let stale = Call::get(gateway.host(), "/sign-in")
        .fields(&NAVIGATION)
        .cookie("__Host-portico_session=stale")
        .send();
    let own = format!("http://{}", gateway.host());
    let out = Call::post(gateway.host(), "/api/v1/sign-out")
        .json(&json!({}))
        .cookie(&session)
        .field("Origin", own)
        .send();
    let mut count = 0;
    for reply in [sign_in, start, redeemed, stale, out] {
        let cookies = reply.fields("set-cookie");
        assert!(!cookies.is_empty(), "{}", reply.text);
        for cookie in cookies {
            count += 1;
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
            assert!(name.starts_with("__Host-portico_"), "{cookie}");
            assert!(value.is_empty() || value.len() >= 43, "256 bits: {cookie}");
            assert!(
                ["Path=/", "Secure", "HttpOnly"].iter().all(|wanted| attributes.contains(wanted)),
                "{cookie}"
            );
            assert!(
                attributes.contains(&"SameSite=Lax") || attributes.contains(&"SameSite=Strict"),
                "{cookie}"
            );
            assert!(!cookie.to_ascii_lowercase().contains("domain"), "{cookie}");
        }
    }
    assert_eq!(
        count, 6,
        "the session, a nonce, a port's with its nonce taken back, and two that are cleared"
    );
}

#[test]
fn sess_1_and_5_a_sign_in_is_new_and_a_stale_cookie_is_cleared() {
    let gateway = gateway();
    let first = gateway.session("ada");
    let again = Call::post(gateway.host(), "/api/v1/sign-in").json(&json!({ "name": "ada", "password": PASSWORD }));
    let second = set_cookie(
        &again.cookie(&first).field("Origin", format!("http://{}", gateway.host())).send(),
        "_session",
    );
    let user = |cookie: &str| Call::get(gateway.host(), "/api/v1/user").cookie(cookie).send().status();
    assert_eq!(
        (first == second, user(&first), user(&second)),
        (false, 401, 200),
        "nobody is held to a session planted before"
    );
    let page = Call::get(gateway.host(), "/sign-in").fields(&NAVIGATION).cookie(&first).send();
    assert_eq!(page.status(), 200);
    assert!(
        page.fields("set-cookie")
            .iter()
            .any(|cookie| cookie.starts_with("__Host-portico_session=;")),
        "{}",
        page.text
    );
    let clean = Call::get(gateway.host(), "/sign-in").fields(&NAVIGATION).send();
    assert_eq!(clean.fields("set-cookie").len(), 0, "{}", clean.text);
}

#[test]
fn auth_3_the_detour_leaves_no_trace() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let start = Call::get(gateway.app(), "/a?b=c").fields(&NAVIGATION).send();
    let at = |reply: &Reply| {
        let location = reply.fields("location")[0].to_owned();
        let path = location.splitn(4, '/').nth(3).unwrap_or_default();
        format!("/{path}")
    };
    let spread = Call::get(gateway.editor(&gateway.ada), &at(&start))
        .fields(&NAVIGATION)
        .cookie(&editor)
        .send();
    let to_gateway = Call::get(gateway.editor(&gateway.ada), &at(&start)).fields(&NAVIGATION).send();
    let carry = Call::get(gateway.host(), &at(&to_gateway))
        .fields(&NAVIGATION)
        .cookie(&session)
        .send();
    let flow = gateway.flow_to_port(&editor, &gateway.ada, PORT);
    let redeemed = redeem(gateway.app(), &flow.ticket).cookie(&flow.nonce).send();
    let replayed = redeem(gateway.app(), &flow.ticket).cookie(&flow.nonce).send();
    let arrived = Call::post(gateway.editor(&gateway.ada), "/.portico/arrive")
        .body("ticket=x".into())
        .send();
    for (what, reply, status) in [
        ("start", &start, 303),
        ("spread", &spread, 200),
        ("to the gateway", &to_gateway, 303),
        ("carry", &carry, 200),
        ("redeemed", &redeemed, 200),
        ("replayed", &replayed, 400),
        ("arrived", &arrived, 200),
    ] {
        assert_eq!((reply.status(), reply.stamps("ADA")), (status, 0), "{what}: {}", reply.text);
        for (name, value) in [("cache-control", "no-store"), ("vary", "*"), ("referrer-policy", "no-referrer")] {
            assert_eq!(reply.fields(name), [value], "{what}: {}", reply.text);
        }
        for location in reply.fields("location") {
            assert!(
                !location.contains(&flow.ticket) && !location.contains("ticket"),
                "{what}: {location}"
            );
        }
    }
    for (what, reply, ancestors) in [
        ("carry", &carry, "frame-ancestors 'none'"),
        ("arrived", &arrived, "frame-ancestors 'none'"),
    ] {
        let policy = reply.fields("content-security-policy")[0];
        assert!(policy.contains(ancestors) && !policy.contains("unsafe"), "{what}: {policy}");
    }
    // The editor's page may stand in frames inside its own codespace alone.
    let policy = spread.fields("content-security-policy")[0];
    assert!(
        policy.contains("frame-ancestors 'self' http://") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(!policy.contains(&gateway.bob.codespace) && !policy.contains('*'), "{policy}");
    assert_eq!(redeemed.json()["next"], "/a?b=c");
}

#[test]
fn auth_4_an_address_is_no_credential() {
    let gateway = gateway();
    let token = &gateway.ada.token;
    for query in ["token", "access_token", "X-Portico-Token", "authorization", "key", "portico_token"] {
        let path = format!("/?{query}={token}");
        assert_eq!(Call::get(gateway.app(), &path).send().status(), 401, "{query}");
        let path = format!("/api/v1/user?{query}={token}");
        assert_eq!(Call::get(gateway.host(), &path).send().status(), 401, "{query}");
    }
    let user = format!("ada:{token}@{}", gateway.app());
    assert_eq!(Call::get(user, "/").send().status(), 400);
    let basic = BASE64_STANDARD.encode(format!("ada:{token}"));
    assert_eq!(
        Call::get(gateway.host(), "/api/v1/user")
            .field("Authorization", format!("Basic {basic}"))
            .send()
            .status(),
        401
    );
}

#[test]
fn csrf_2_asking_changes_nothing() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let codespace = format!("/api/v1/codespaces/{}", gateway.ada.codespace);
    let look = || Call::get(gateway.host(), &codespace).cookie(&session).send().json();
    let before = look();
    for path in [
        format!("{codespace}/start"),
        format!("{codespace}/stop"),
        format!("{codespace}/ports/{PORT}"),
        format!("{codespace}/ports/{PORT}?visibility=public"),
        format!("{codespace}?_method=DELETE"),
        "/api/v1/sign-out".into(),
        "/api/v1/sign-in".into(),
        "/api/v1/setup".into(),
        "/sign-out".into(),
        "/new?repository=https://git.example/a/b".into(),
    ] {
        for method in ["GET", "HEAD"] {
            let call = Call::new(method, gateway.host(), &path).cookie(&session);
            let reply = call
                .field("X-HTTP-Method-Override", "POST")
                .field("Sec-Fetch-Site", "cross-site")
                .send();
            assert!(matches!(reply.status(), 200 | 404 | 405), "{method} {path}: {}", reply.text);
            assert_eq!(reply.fields("set-cookie").len(), 0, "{method} {path}: {}", reply.text);
        }
    }
    let after = look();
    for key in ["state", "name", "ports", "idle_timeout_minutes"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(
        Call::get(gateway.host(), "/api/v1/user").cookie(&session).send().status(),
        200,
        "still signed in"
    );
}

#[test]
fn cors_1_the_gateway_lets_nobody_read() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let origins = [gateway.app(), gateway.editor(&gateway.ada), "evil.example".into(), gateway.host()];
    for origin in origins.map(|host| format!("http://{host}")).into_iter().chain(["null".into()]) {
        for (method, path) in [
            ("GET", "/api/v1/user"),
            ("GET", "/"),
            ("OPTIONS", "/api/v1/tokens"),
            ("POST", "/api/v1/tokens"),
            ("GET", "/nowhere"),
        ] {
            let call = Call::new(method, gateway.host(), path).cookie(&session).field("Origin", &origin);
            let reply = call.field("Access-Control-Request-Method", "POST").json(&json!({})).send();
            let allowed = reply.fields("access-control-allow-origin");
            assert!(
                allowed.iter().all(|allowed| *allowed == format!("http://{}", gateway.host())),
                "{origin} {path}: {}",
                reply.text
            );
        }
    }
}

#[test]
fn frame_1_the_gateways_pages_stand_alone() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let user = format!("/codespaces/{}", gateway.ada.codespace);
    for path in [
        "/",
        "/sign-in?switch=1",
        "/setup",
        "/settings",
        "/new",
        "/nowhere",
        "/authorize?state=x",
        &user,
    ] {
        for cookie in ["a=1", &session] {
            let reply = Call::get(gateway.host(), path).fields(&NAVIGATION).cookie(cookie).send();
            for (name, value) in [
                ("x-frame-options", "DENY"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(reply.fields(name), [value], "{path}: {}", reply.text);
            }
            if reply.status() != 303 {
                let policies = reply.fields("content-security-policy");
                assert!(
                    policies[0].contains("frame-ancestors 'none'") && policies[0].contains("default-src 'none'"),
                    "{path}: {policies:?}"
                );
                assert!(!policies[0].contains("unsafe"), "{path}: {policies:?}");
            }
        }
    }
    // The editor's host, without an editor: our own page, for itself and the gateway at most.
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    let page = Call::get(gateway.editor(&gateway.ada), "/")
        .fields(&NAVIGATION)
        .cookie(&editor)
        .send();
    let policy = page.fields("content-security-policy")[0];
    let ancestors = policy.split("frame-ancestors ").nth(1).unwrap_or_default();
    let allowed = [
        "'self'".to_owned(),
        format!("http://{}", gateway.editor(&gateway.ada)),
        format!("http://{}", gateway.host()),
    ];
    assert!(
        ancestors
            .split_whitespace()
            .all(|origin| allowed.iter().any(|allowed| allowed == origin)),
        "{policy}"
    );
}

/// A text as the value of a query's parameter.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

#[test]
fn redir_1_a_return_path_stays_on_its_host() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let next = |path: &str| {
        let call = Call::get(gateway.host(), &format!("/sign-in?next={}", encoded(path)))
            .fields(&NAVIGATION)
            .cookie(&session);
        let reply = call.send();
        assert_eq!(reply.status(), 303, "{path:?}: {}", reply.text);
        reply.fields("location")[0].to_owned()
    };
    for good in ["/", "/new?repository=https://git.example/a", "/codespaces/a", "/a?b=//c"] {
        assert_eq!(next(good), good);
    }
    let long = format!("/{}", "a".repeat(3000));
    for bad in [
        "//evil",
        "///evil",
        "////evil",
        "/\\evil",
        "\\/evil",
        "\\\\evil",
        "/\\/evil",
        "/\t/evil",
        "/\n/evil",
        "/\r/evil",
        "\t//evil",
        " //evil",
        "/ /evil",
        "/\u{b}/evil",
        "/\u{c}/evil",
        "/\0/evil",
        "/\u{7f}/evil",
        "https://evil",
        "https:evil",
        "https:/evil",
        "http:///evil",
        "HTTPS://evil",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "blob:x",
        "file:///etc/passwd",
        "vbscript:x",
        "evil",
        "evil.example/x",
        "@evil",
        ".evil",
        "./evil",
        "../evil",
        "/../evil",
        "/./evil",
        "/a/../..//evil",
        "/%2e%2e//evil",
        "/%2E/evil",
        "/.%2e/evil",
        "?next=//evil",
        "#//evil",
        "/#//evil",
        "/a#b",
        "",
        " ",
        "\u{2025}//evil",
        "/\u{2025}/evil",
        "/\u{ff0f}evil",
        "\u{ff0f}\u{ff0f}evil",
        "/\u{3002}evil",
        "/\u{e9}",
        "/\u{202e}evil",
        "/\u{a0}/evil",
        "/\u{feff}/evil",
        "/a\r\nLocation: https://evil",
        "/a\r\nSet-Cookie: x=1",
        "/\\\\evil",
        "/\\t/evil",
        &long,
    ] {
        assert_eq!(next(bad), "/", "{bad:?}");
    }
}

#[test]
fn redir_1_two_kilobytes_come_back_through_the_whole_detour() {
    let gateway = gateway();
    let session = gateway.session("ada");
    let editor = gateway.editor_cookie(&session, &gateway.ada);
    for (length, comes_back) in [(2000, true), (2100, false)] {
        let path = format!("/a?{}", "q=%20&".repeat(length / 6));
        let start = Call::get(gateway.app(), &path).fields(&NAVIGATION).send();
        let state = |reply: &Reply| {
            reply.fields("location")[0]
                .splitn(4, '/')
                .nth(3)
                .map(|path| format!("/{path}"))
                .unwrap_or_default()
        };
        let page = Call::get(gateway.editor(&gateway.ada), &state(&start))
            .fields(&NAVIGATION)
            .cookie(&editor)
            .send();
        let shown = path.replace('&', "&#38;");
        assert_eq!(
            page.text.contains(&shown) || page.text.contains(&path.replace('&', "&amp;")),
            comes_back,
            "{length}: {}",
            page.text
        );
        // And through the gateway's own page, whose `next` holds the editor's state, which holds the port's.
        let to_gateway = Call::get(gateway.editor(&gateway.ada), &state(&start)).fields(&NAVIGATION).send();
        let to_sign_in = Call::get(gateway.host(), &state(&to_gateway)).fields(&NAVIGATION).send();
        let next = to_sign_in.fields("location")[0].to_owned();
        let back = Call::get(gateway.host(), &next).fields(&NAVIGATION).cookie(&session).send();
        assert!(
            back.fields("location")[0].starts_with("/authorize?state="),
            "{length}: {}",
            back.text
        );
    }
}

#[test]
fn xss_1_what_was_sent_is_text_on_our_pages() {
    let gateway = gateway();
    let markup = "<script>alert(1)</script>";
    let quoted = "\"'><img/src=x>";
    let plain = |reply: &Reply| {
        let html = reply.body();
        assert!(
            !html.contains(markup) && !html.contains("<img/src") && !html.contains("alert(1)</"),
            "{}",
            reply.text
        );
    };
    let session = gateway.session("ada");
    for text in [markup, quoted] {
        let encoded = encoded(text);
        for (host, path) in [
            (gateway.host(), format!("/{text}")),
            (gateway.host(), format!("/sign-in?switch=1&next=/{encoded}")),
            (gateway.host(), format!("/new?repository={encoded}&ref={encoded}")),
            (gateway.host(), format!("/authorize?state={encoded}")),
            (gateway.app(), format!("/{text}?{text}")),
            (gateway.editor(&gateway.ada), format!("/.portico/authorize?state={encoded}")),
            (gateway.editor(&gateway.ada), format!("/.portico/{text}")),
            (gateway.port(&gateway.ada, 9), format!("/{text}")),
        ] {
            let path = path.replace(' ', "%20");
            plain(&Call::get(host.clone(), &path).fields(&NAVIGATION).cookie(&session).send());
            plain(&Call::get(host, &path).fields(&NAVIGATION).token(&gateway.ada.token).send());
        }
        let arrived = Call::post(gateway.editor(&gateway.ada), "/.portico/arrive").body(format!("ticket={encoded}"));
        plain(&arrived.fields(&[("Sec-Fetch-Mode", "navigate")]).send());
    }
}

#[test]
fn log_4_what_a_codespace_printed_is_text() {
    let gateway = gateway();
    let path = format!("/api/v1/codespaces/{}/logs", gateway.ada.codespace);
    let reply = Call::get(gateway.host(), &path)
        .field("Authorization", format!("Bearer {}", gateway.ada.token))
        .send();
    assert_eq!(reply.status(), 200, "{}", reply.text);
    assert!(reply.fields("content-type")[0].starts_with("text/plain"), "{}", reply.text);
    assert_eq!(reply.fields("x-content-type-options"), ["nosniff"], "{}", reply.text);
}
