//! Signing in and out, set-up links, tokens, sessions, accounts.

use serde_json::json;

use super::*;
use crate::auth::Link;

#[tokio::test]
async fn a_sign_in_makes_a_session_that_a_sign_out_ends() {
    let api = TestApi::start().await;
    assert_eq!(api.send(Call::get("/api/v1/user")).await.short(), "401 sign-in-required");
    let cookie = api.cookie("bob").await;
    let user = api.send(Call::get("/api/v1/user").page(&cookie)).await;
    assert_eq!((user.status, user.json()["name"].as_str()), (200, Some("bob")));
    let sessions = api.send(Call::get("/api/v1/sessions").page(&cookie)).await.json();
    assert_eq!(sessions.as_array().map(Vec::len), Some(1));
    assert_eq!(sessions[0]["current"], true);
    let out = api.send(Call::post("/api/v1/sign-out").page(&cookie)).await;
    assert_eq!((out.status, cookie_of(&out).as_str()), (204, "__Host-portico_session="));
    assert_eq!(
        api.send(Call::get("/api/v1/user").page(&cookie)).await.short(),
        "401 invalid-credential"
    );
    // A stale cookie keeps nobody from signing in or out (SESS-5).
    assert_eq!(api.send(Call::post("/api/v1/sign-out").page(&cookie)).await.status, 204);
    let again = api.send(
        Call::post("/api/v1/sign-in")
            .page(&cookie)
            .text(&json!({ "name": "bob", "password": PASSWORD }).to_string()),
    );
    assert_eq!(again.await.status, 204);
}

#[tokio::test]
async fn a_new_sign_in_ends_the_session_before_it() {
    let api = TestApi::start().await;
    let first = api.cookie("bob").await;
    let body = json!({ "name": "bob", "password": PASSWORD }).to_string();
    let second = cookie_of(&api.send(Call::post("/api/v1/sign-in").page(&first).text(&body)).await);
    assert_eq!(api.send(Call::get("/api/v1/user").page(&first)).await.status, 401);
    assert_eq!(api.send(Call::get("/api/v1/user").page(&second)).await.status, 200);
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_read_the_same() {
    let api = TestApi::start().await;
    let answers = [("bob", "wrong password"), ("nobody", PASSWORD), ("", ""), ("../../x", PASSWORD)].map(async |(name, password)| {
        let answer = api
            .send(Call::post("/api/v1/sign-in").json(&json!({ "name": name, "password": password })))
            .await;
        (answer.short(), answer.bytes)
    });
    let mut seen = Vec::new();
    for answer in answers {
        seen.push(answer.await);
    }
    assert_eq!(seen[0].0, "401 wrong-password");
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn too_many_attempts_are_told_how_long_to_wait() {
    let api = TestApi::start().await;
    for _ in 0..50 {
        let answer = api
            .send(Call::post("/api/v1/sign-in").json(&json!({ "name": "bob", "password": "wrong" })))
            .await;
        if answer.status == 429 {
            assert_eq!(answer.short(), "429 too-many-attempts");
            assert!(
                answer.headers[header::RETRY_AFTER]
                    .to_str()
                    .expect("text")
                    .parse::<u64>()
                    .expect("seconds")
                    >= 1
            );
            return;
        }
    }
    panic!("nothing stopped 50 attempts");
}

#[tokio::test]
async fn a_sign_in_link_works_once() {
    let api = TestApi::start().await;
    assert_eq!(api.send(Call::get("/api/v1/setup")).await.json(), json!({ "needed": false }));
    let bob = api.services.auth.user_by_name(&"bob".parse().expect("a name")).expect("bob");
    let link = Link::SignIn {
        user: bob.id.clone(),
        next: "/codespaces/bob-x".to_owned(),
    };
    let secret = api.services.auth.make_link(link, api.services.clock.now());
    let body = json!({ "secret": secrecy::ExposeSecret::expose_secret(&secret) });
    let used = api.send(Call::post("/api/v1/setup").json(&body)).await;
    assert_eq!(
        (used.status, used.json()),
        (200, json!({ "kind": "sign_in", "next": "/codespaces/bob-x" }))
    );
    assert_eq!(
        api.send(Call::get("/api/v1/user").page(&cookie_of(&used))).await.json()["name"],
        "bob"
    );
    assert_eq!(api.send(Call::post("/api/v1/setup").json(&body)).await.short(), "400 link-gone");
}

#[tokio::test]
async fn tokens_are_made_shown_once_listed_and_revoked() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let body = json!({ "name": "ci", "scope": "read", "expires_in": "30d" });
    let made = api.send(Call::post("/api/v1/tokens").page(&cookie).text(&body.to_string())).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let list = api.send(Call::get("/api/v1/tokens").token(&token)).await;
    assert_eq!((list.status, list.json()[0]["name"].as_str()), (200, Some("ci")));
    assert!(!String::from_utf8_lossy(&list.bytes).contains(&token));
    let narrow = api.send(Call::post("/api/v1/tokens").token(&token).json(&body)).await;
    assert_eq!(narrow.short(), "403 forbidden");
    let path = format!("/api/v1/tokens/{}", made.json()["id"].as_str().expect("an id"));
    let others = api.cookie("eve").await;
    assert_eq!(
        api.send(Call::new(Method::DELETE, &path).page(&others)).await.short(),
        "404 not-found"
    );
    assert_eq!(api.send(Call::new(Method::DELETE, &path).page(&cookie)).await.status, 204);
    assert_eq!(
        api.send(Call::get("/api/v1/tokens").token(&token)).await.short(),
        "401 invalid-credential"
    );
    for (field, value, slug) in [
        ("scope", "inside:bob-x", "bad-scope"),
        ("scope", "everything", "bad-scope"),
        ("expires_in", "soon", "bad-expiry"),
    ] {
        let mut bad = body.clone();
        bad[field] = value.into();
        let answer = api.send(Call::post("/api/v1/tokens").page(&cookie).text(&bad.to_string())).await;
        assert_eq!(answer.short(), format!("422 {slug}"));
    }
}

#[tokio::test]
async fn credentials_that_are_wrong_are_never_anonymous() {
    let api = TestApi::start().await;
    for value in ["Bearer nonsense", "Bearer ", "Basic YTpi", "Bearer pt_x", "nonsense"] {
        let answer = api.send(Call::get("/api/v1/user").header("authorization", value)).await;
        assert_eq!(answer.short(), "401 invalid-credential", "{value}");
    }
    let cookie = api.cookie("bob").await;
    let twice = api
        .send(Call::get("/api/v1/user").header("cookie", &format!("{cookie}; {cookie}")))
        .await;
    assert_eq!(twice.short(), "401 invalid-credential");
}

#[tokio::test]
async fn a_password_changes_only_with_the_present_one() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let other = api.cookie("bob").await;
    let change = async |body: Value| {
        api.send(
            Call::new(Method::PUT, "/api/v1/user/password")
                .page(&cookie)
                .text(&body.to_string()),
        )
        .await
        .short()
    };
    assert_eq!(change(json!({ "new": "another good one" })).await, "403 wrong-password");
    assert_eq!(
        change(json!({ "current": "wrong", "new": "another good one" })).await,
        "403 wrong-password"
    );
    assert_eq!(change(json!({ "current": PASSWORD, "new": "short" })).await, "422 bad-password");
    assert_eq!(change(json!({ "current": PASSWORD, "new": "another good one" })).await, "204");
    assert_eq!(api.send(Call::get("/api/v1/user").page(&cookie)).await.status, 200);
    assert_eq!(api.send(Call::get("/api/v1/user").page(&other)).await.status, 401);
}

#[tokio::test]
async fn accounts_are_for_admins() {
    let api = TestApi::start().await;
    let (ada, bob) = (api.token("ada", "all").await, api.token("bob", "all").await);
    let body = json!({ "name": "zoe", "password": PASSWORD });
    assert_eq!(api.send(Call::get("/api/v1/users").token(&bob)).await.short(), "403 forbidden");
    assert_eq!(
        api.send(Call::post("/api/v1/users").token(&bob).json(&body)).await.short(),
        "403 forbidden"
    );
    let made = api.send(Call::post("/api/v1/users").token(&ada).json(&body)).await;
    assert_eq!((made.status, made.json()["role"].as_str()), (201, Some("member")));
    assert_eq!(
        api.send(Call::post("/api/v1/users").token(&ada).json(&body)).await.short(),
        "409 name-taken"
    );
    let bad = json!({ "name": "Zoe!", "password": PASSWORD });
    assert_eq!(
        api.send(Call::post("/api/v1/users").token(&ada).json(&bad)).await.short(),
        "422 bad-name"
    );
    assert_eq!(
        api.send(Call::get("/api/v1/users").token(&ada))
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(4)
    );
}

#[tokio::test]
async fn sess_1_a_change_of_role_ends_what_was_begun_before_it() {
    let api = TestApi::start().await;
    let ada = api.token("ada", "all").await;
    let cookie = api.cookie("bob").await;
    let change = async |name: &str, role: &str| {
        let call = Call::new(Method::PATCH, &format!("/api/v1/users/{name}")).token(&ada);
        api.send(call.json(&json!({ "role": role }))).await.short()
    };
    assert_eq!(change("bob", "admin").await, "200");
    assert_eq!(api.send(Call::get("/api/v1/user").page(&cookie)).await.status, 401);
    let bob = api.token("bob", "all").await;
    assert_eq!(api.send(Call::get("/api/v1/users").token(&bob)).await.status, 200);
    assert_eq!(change("bob", "member").await, "200");
    assert_eq!(api.send(Call::get("/api/v1/users").token(&bob)).await.short(), "403 forbidden");
    assert_eq!(change("ada", "member").await, "409 last-admin");
    assert_eq!(change("bob", "owner").await, "422 bad-role");
    assert_eq!(change("nobody", "admin").await, "404 not-found");
    let by_bob = Call::new(Method::PATCH, "/api/v1/users/bob").token(&bob);
    assert_eq!(api.send(by_bob.json(&json!({ "role": "admin" }))).await.short(), "403 forbidden");
}

#[tokio::test]
async fn sess_3_a_suspension_refuses_all_credentials_until_it_is_lifted() {
    let api = TestApi::start().await;
    let (ada, bob) = (api.token("ada", "all").await, api.token("bob", "all").await);
    let cookie = api.cookie("bob").await;
    let ask = async |verb: &str, name: &str, token: &str| {
        let call = Call::post(&format!("/api/v1/users/{name}/{verb}")).token(token);
        api.send(call.json(&json!({}))).await.short()
    };
    assert_eq!(ask("suspend", "bob", &bob).await, "403 forbidden");
    assert_eq!(ask("suspend", "nobody", &ada).await, "404 not-found");
    assert_eq!(ask("suspend", "ada", &ada).await, "409 last-admin");
    assert_eq!(ask("suspend", "bob", &ada).await, "200");
    assert_eq!(
        api.send(Call::get("/api/v1/user").token(&bob)).await.short(),
        "401 invalid-credential"
    );
    assert_eq!(api.send(Call::get("/api/v1/user").page(&cookie)).await.status, 401);
    let sign_in = Call::post("/api/v1/sign-in").json(&json!({ "name": "bob", "password": PASSWORD }));
    assert_eq!(api.send(sign_in.clone()).await.short(), "401 wrong-password");
    assert_eq!(ask("resume", "bob", &ada).await, "200");
    assert_eq!(api.send(Call::get("/api/v1/user").token(&bob)).await.status, 200);
    assert_eq!(
        api.send(Call::get("/api/v1/user").page(&cookie)).await.status,
        401,
        "a session that ended stays so"
    );
    assert_eq!(api.send(sign_in).await.status, 204);
}

#[tokio::test]
async fn a_command_line_signs_in_by_a_code_that_a_person_types() {
    let api = TestApi::start().await;
    let cookie = api.cookie("bob").await;
    let begin = json!({ "machine": "laptop", "scope": "read", "expires_in": "8h" });
    let codes = api.send(Call::post("/api/v1/device/code").json(&begin)).await;
    assert_eq!(
        (codes.status, codes.json()["verification_uri"].as_str()),
        (200, Some("http://portico.localhost:8080/device"))
    );
    let (device, typed) = (codes.json()["device_code"].clone(), codes.json()["user_code"].clone());
    let ask = async || {
        api.clock.advance(time::Duration::seconds(6));
        api.send(Call::post("/api/v1/device/token").json(&json!({ "device_code": device })))
            .await
    };
    let pending = ask().await;
    assert_eq!(
        (pending.short().as_str(), pending.json()["error"].as_str()),
        ("400 authorization-pending", Some("authorization_pending"))
    );
    let page = async |path: &str, body: Value| api.send(Call::post(path).page(&cookie).text(&body.to_string())).await;
    let seen = page("/api/v1/device/request", json!({ "user_code": typed })).await;
    assert_eq!(
        (seen.json()["machine"].as_str(), seen.json()["scope"].as_str()),
        (Some("laptop"), Some("read"))
    );
    // A page of another site, or somebody who is not signed in, grants nothing.
    let grant = json!({ "user_code": typed, "grant": true });
    let foreign = Call::post("/api/v1/device/decision")
        .page(&cookie)
        .header("origin", "http://evil.example")
        .text(&grant.to_string());
    assert_eq!(api.send(foreign).await.short(), "403 foreign-page");
    assert_eq!(
        api.send(Call::post("/api/v1/device/decision").json(&grant)).await.short(),
        "401 sign-in-required"
    );
    let narrow = api.token("bob", "read").await;
    assert_eq!(
        api.send(Call::post("/api/v1/device/decision").token(&narrow).json(&grant))
            .await
            .short(),
        "403 forbidden"
    );
    assert_eq!(page("/api/v1/device/decision", grant.clone()).await.status, 204);
    assert_eq!(page("/api/v1/device/decision", grant).await.short(), "404 no-such-code");
    let granted = ask().await;
    assert_eq!((granted.status, granted.json()["user"].as_str()), (200, Some("bob")));
    let token = granted.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(
        api.send(Call::get("/api/v1/token").token(&token)).await.json()["name"],
        "portico login on laptop"
    );
    assert_eq!(ask().await.short(), "400 expired-token");
}

#[tokio::test]
async fn a_token_tells_of_itself_and_ends_itself() {
    let api = TestApi::start().await;
    let narrow = api.token("bob", "port:bob-x:3000").await;
    let own = api.send(Call::get("/api/v1/token").token(&narrow)).await;
    assert_eq!((own.status, own.json()["scope"].as_str()), (200, Some("port:bob-x:3000")));
    assert_eq!(
        api.send(Call::new(Method::DELETE, "/api/v1/token").token(&narrow)).await.status,
        204
    );
    assert_eq!(
        api.send(Call::get("/api/v1/token").token(&narrow)).await.short(),
        "401 invalid-credential"
    );
    let inside = api.token("bob", "inside:bob-x").await;
    let ended = api.send(Call::new(Method::DELETE, "/api/v1/token").token(&inside)).await;
    assert_eq!(ended.short(), "403 forbidden");
    let cookie = api.cookie("bob").await;
    assert_eq!(api.send(Call::get("/api/v1/token").page(&cookie)).await.short(), "404 not-found");
}

#[tokio::test]
async fn enum_2_somebody_elses_tokens_and_sessions_look_like_nobodys() {
    let api = TestApi::start().await;
    let (bob, eve) = (api.token("bob", "all").await, api.token("eve", "all").await);
    api.cookie("bob").await;
    for kind in ["tokens", "sessions"] {
        let list = api.send(Call::get(&format!("/api/v1/{kind}")).token(&bob)).await.json();
        let bobs = list[0]["id"].as_str().expect("an id").to_owned();
        let mut seen = Vec::new();
        for id in [bobs.as_str(), "0190a6f4-0000-7000-8000-000000000000", "%00", "x", &"x".repeat(4000)] {
            let answer = api
                .send(Call::new(Method::DELETE, &format!("/api/v1/{kind}/{id}")).token(&eve))
                .await;
            seen.push((answer.short(), answer.bytes));
        }
        assert_eq!(seen[0].0, "404 not-found");
        assert!(seen.iter().all(|answer| *answer == seen[0]), "{kind}: {seen:?}");
    }
}

#[tokio::test]
async fn admin_1_the_operator_acts_for_the_first_admin_or_whom_it_names() {
    let api = TestApi::start().await;
    let user = Call::get("/api/v1/user").through(Via::Operator);
    assert_eq!(api.send(user.clone()).await.json()["name"], "ada");
    assert_eq!(api.send(user.clone().header("x-portico-as", "bob")).await.json()["name"], "bob");
    assert_eq!(
        api.send(user.clone().header("x-portico-as", "nobody")).await.short(),
        "422 no-such-user"
    );
    assert_eq!(api.send(user.header("origin", ORIGIN)).await.short(), "403 foreign-page");
    // The header counts on that socket alone.
    let bob = api.token("bob", "all").await;
    let answer = api.send(Call::get("/api/v1/user").token(&bob).header("x-portico-as", "ada")).await;
    assert_eq!(answer.json()["name"], "bob");
}

#[tokio::test]
async fn bodies_are_bounded_and_strict() {
    let api = TestApi::start().await;
    let token = api.token("bob", "all").await;
    let post = |body: &str| {
        Call::post("/api/v1/tokens")
            .token(&token)
            .header("content-type", "application/json")
            .text(body)
    };
    let typo = api.send(post(r#"{"scope":"all","expires":"1d"}"#)).await;
    assert_eq!(typo.short(), "422 invalid-field");
    assert!(
        typo.json()["detail"]
            .as_str()
            .expect("words")
            .contains("Did you mean `expires_in`?"),
        "{typo:?}"
    );
    let broken = api.send(post("{\"scope\":")).await;
    assert_eq!(broken.short(), "400 bad-json");
    assert!(broken.json()["detail"].as_str().expect("words").contains("line 1"), "{broken:?}");
    let large = format!(r#"{{"scope":"all","name":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(api.send(post(&large)).await.short(), "413 too-large");
    let untyped = Call::post("/api/v1/tokens").token(&token).text(r#"{"scope":"all"}"#);
    assert_eq!(api.send(untyped).await.short(), "415 not-json");
}

#[tokio::test]
async fn admin_1_a_link_into_an_account_is_made_on_the_gateways_machine_alone() {
    let api = TestApi::start().await;
    let path = "/api/v1/users/bob/link";
    let admin = api.token("ada", "all").await;
    assert_eq!(api.send(Call::post(path).token(&admin)).await.short(), "403 forbidden");
    assert_eq!(
        api.send(Call::post(path).page(&api.cookie("ada").await)).await.short(),
        "403 forbidden"
    );
    let operator = |path: &str| api.send(Call::post(path).through(Via::Operator));
    assert_eq!(operator("/api/v1/users/nobody/link").await.status, 404);
    let made = operator(path).await.json();
    let (page, secret) = made["url"].as_str().and_then(|url| url.split_once('#')).expect("a link");
    assert_eq!(page, format!("{ORIGIN}/setup"));
    let used = api.send(Call::post("/api/v1/setup").json(&json!({ "secret": secret }))).await;
    let user = api.send(Call::get("/api/v1/user").page(&cookie_of(&used))).await.json();
    assert_eq!(user["name"], "bob");
    assert_eq!(api.send(Call::post("/api/v1/users/bob/suspend").token(&admin)).await.status, 200);
    assert_eq!(operator(path).await.short(), "403 forbidden");
}
