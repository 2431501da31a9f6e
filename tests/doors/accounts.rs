//! Accounts: what a command line's sign-in, tokens and sessions give away, and to whom.

use std::fs;

use serde_json::{Value, json};

use super::{
    gateway::{Gateway, eventually, gateway},
    wire::{Call, Reply},
};

fn ask(gateway: &Gateway, token: &str, method: &'static str, path: &str, body: &Value) -> Reply {
    let call = Call::new(method, gateway.host(), &format!("/api/v1/{path}")).json(body);
    call.field("Authorization", format!("Bearer {token}")).send()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn log_1_codes_and_tokens_of_command_lines_are_in_no_log() {
    let gateway = gateway();
    let begin = json!({ "machine": "laptop", "scope": "read", "expires_in": "1h" });
    let codes = Call::post(gateway.host(), "/api/v1/device/code").json(&begin).send().json();
    let (device, typed) = (text(&codes, "device_code"), text(&codes, "user_code"));
    let poll = || {
        Call::post(gateway.host(), "/api/v1/device/token")
            .json(&json!({ "device_code": device }))
            .send()
    };
    let early = poll();
    assert_eq!((early.status(), text(&early.json(), "error")), (400, "authorization_pending"));
    eventually("whoever asks again at once is told to be slower", || {
        (text(&poll().json(), "error") == "slow_down").then_some(())
    });
    let wrong = ask(
        gateway,
        &gateway.bob.token,
        "POST",
        "device/request",
        &json!({ "user_code": "BCDF-BCDF" }),
    );
    assert_eq!(wrong.status(), 404, "{}", wrong.text);
    let grant = json!({ "user_code": typed, "grant": true });
    assert_eq!(ask(gateway, &gateway.bob.token, "POST", "device/decision", &grant).status(), 204);
    assert_eq!(
        ask(gateway, &gateway.bob.token, "POST", "device/decision", &grant).status(),
        404,
        "once"
    );
    // As RFC 8628 §3.5 has it: five seconds more after each question that came too soon.
    let mut pause = 10;
    let granted = loop {
        std::thread::sleep(std::time::Duration::from_secs(pause));
        let answer = poll();
        if answer.status() == 200 {
            break answer;
        }
        assert!(text(&answer.json(), "error") == "slow_down" && pause < 60, "{}", answer.text);
        pause += 5;
    };
    let token = text(&granted.json(), "access_token").to_owned();
    assert_eq!(ask(gateway, &token, "DELETE", "token", &json!({})).status(), 204);
    assert_eq!(ask(gateway, &token, "GET", "user", &json!({})).status(), 401);
    let log = fs::read_to_string(gateway.data.join("log")).expect("a log");
    for (what, secret) in [("device code", device), ("user code", typed), ("token", &token)] {
        assert!(!log.contains(secret), "the {what} is in the log");
    }
}

#[test]
fn enum_2_somebody_elses_tokens_and_sessions_look_like_nobodys() {
    let gateway = gateway();
    gateway.session("ada");
    let nobodys = "0190a6f4-0000-7000-8000-000000000000";
    let random = regex::Regex::new(r"(?mi)^x-request-id: .*$").expect("a pattern");
    for kind in ["tokens", "sessions"] {
        let adas = ask(gateway, &gateway.ada.token, "GET", kind, &json!({})).json();
        let answers = [text(&adas[0], "id"), nobodys].map(|id| {
            let reply = ask(gateway, &gateway.bob.token, "DELETE", &format!("{kind}/{id}"), &json!({}));
            assert_eq!(reply.status(), 404, "{}", reply.text);
            reply
                .text
                .lines()
                .filter(|line| !line.to_lowercase().starts_with("date:"))
                .collect::<Vec<_>>()
                .join("\n")
        });
        let [theirs, missing] = answers.map(|answer| random.replace_all(&answer, "").into_owned());
        assert_eq!(theirs, missing, "{kind}");
    }
}

#[test]
fn audit_1_what_happened_is_for_administrators_with_request_and_address() {
    let gateway = gateway();
    let made = ask(
        gateway,
        &gateway.bob.token,
        "POST",
        "tokens",
        &json!({ "name": "door", "scope": "read" }),
    );
    assert_eq!(made.status(), 201, "{}", made.text);
    let path = format!("tokens/{}", text(&made.json(), "id"));
    assert_eq!(ask(gateway, &gateway.bob.token, "DELETE", &path, &json!({})).status(), 204);
    assert_eq!(ask(gateway, &gateway.bob.token, "GET", "audit", &json!({})).status(), 403);
    let path = "audit?user=bob&event=token&limit=1000";
    let (events, revoked) = eventually("it is in the log", || {
        let events = ask(gateway, &gateway.ada.token, "GET", path, &json!({})).json();
        let listed = events.as_array().expect("a list").iter();
        let revoked = listed.clone().find(|event| event["event"] == "token.revoked").cloned();
        revoked.map(|revoked| (events.clone(), revoked))
    });
    assert_eq!((text(&revoked, "actor"), text(&revoked, "target")), ("bob", "bob"));
    assert_eq!(text(&revoked, "address"), "127.0.0.1");
    assert!(!text(&revoked, "request_id").is_empty());
    assert!(!events.to_string().contains(text(&made.json(), "token")));
}

/// A hundred sign-ins at once, of as many people from as many addresses: each is answered, and meanwhile others are.
#[test]
fn rate_3_a_flood_of_sign_ins_holds_nobody_up() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    const SIGN_INS: usize = 100;
    let gateway = super::lone::Lone::start("http://portico.localhost", &[("PORTICO_TRUSTED_PROXIES", "127.0.0.1")]);
    let host = format!("portico.localhost:{}", gateway.address.port());
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..SIGN_INS {
            let (host, answered, address) = (&host, &answered, gateway.address);
            scope.spawn(move || {
                let wrong = serde_json::json!({ "name": format!("nobody-{number}"), "password": "a wrong password" });
                let call = Call::post(host.clone(), "/api/v1/sign-in").json(&wrong).at(address);
                let status = call.field("X-Forwarded-For", format!("192.0.2.{number}")).send().status();
                // One that waited longer than its client did is not answered: that is what a flood gets.
                assert!([401, 429, 503, 0].contains(&status), "{status}");
                answered.fetch_add(1, SeqCst);
            });
        }
        let mut beside = 0;
        while answered.load(SeqCst) < SIGN_INS {
            assert_eq!(Call::get(host.clone(), "/api/v1/setup").at(gateway.address).send().status(), 200);
            beside += 1;
        }
        assert!(beside > 1, "others were answered while the sign-ins waited");
    });
}
