//! Where a sign-in returns to, and what proves that it was ours.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use portico::{
    audit::Actor,
    auth::{Auth, Client, Hop, NewUser, Options, Presented, Proof, hash_secret},
    domain::{Port, ReturnTo, Role, SessionId},
    route::{Route, Sites},
    store::{SessionRecord, SharedStore, memory::MemoryStore},
};
use time::OffsetDateTime;
use url::Url;

use super::driver::fuzz;

#[test]
fn return_path() {
    let words = [
        "/",
        "//",
        "\\",
        "%2e",
        "%2F",
        "..",
        ".",
        "?",
        "#",
        "@evil.example",
        "https:",
        "javascript:",
        "\t",
        "\r\n",
        "\u{2025}",
    ];
    let base: Url = "https://portico.example.org/sign-in".parse().expect("a URL");
    fuzz("return_path", &words, |input| {
        let Some(path) = std::str::from_utf8(input).ok().and_then(ReturnTo::parse) else {
            return 0;
        };
        // A browser (the WHATWG algorithm) goes to exactly that path on this host.
        let there = base.join(path.as_str()).expect("it resolves");
        assert_eq!(there.origin(), base.origin(), "{path}");
        assert!(there.username().is_empty() && there.fragment().is_none(), "{path}");
        let bytes = |text: &str| text.split('?').next().unwrap_or_default().matches('/').count();
        assert_eq!(bytes(there.path()), bytes(path.as_str()), "no segment goes: {path} {there}");
        1 + path.as_str().len() % 8
    });
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).expect("a time")
}

const NOW: i64 = 1_800_000_000;

async fn auth() -> Auth {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let options = || Options {
        sites: Sites::new("https://portico.example.org".parse().expect("an origin"), "apps.example.net"),
        session_idle: Duration::from_secs(3600),
        session_absolute: Duration::from_secs(3600),
        tokens_per_user: 10,
        attempts: Default::default(),
        outside: Default::default(),
    };
    let auth = Auth::load(Arc::clone(&store), options(), at(NOW)).await.expect("an empty store");
    let user = NewUser {
        name: "ada".parse().expect("a name"),
        role: Role::Member,
        password: None,
        email: None,
    };
    let user = auth.create_user(user, &Actor::default(), at(NOW)).await.expect("it is free");
    let session = SessionRecord {
        id: SessionId("session".into()),
        user: user.id.clone(),
        secret_hash: hash_secret("secret"),
        created_at: at(NOW),
        last_seen_at: at(NOW),
        agent: String::new(),
        address: None,
        expires_at: None,
        origin: None,
    };
    store.put_session(&session).await.expect("kept");
    Auth::load(store, options(), at(NOW)).await.expect("a good store")
}

/// Sealed hops and host cookies: a mutant of a good one is never good. The corpus holds what is done to them.
#[test]
fn ticket() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let auth = runtime.block_on(auth());
    let host = Route::Port("amber-x".parse().expect("a name"), Port::new(3000).expect("a port"));
    let other = Route::Port("amber-x".parse().expect("a name"), Port::new(8000).expect("a port"));
    let hop = Hop {
        host: host.clone(),
        return_to: "/a?b=c".into(),
        nonce_hash: [7; 32],
        own: false,
    };
    let sealed = auth.seal_hop(&hop, at(NOW));
    let cookie = auth.host_cookie(&SessionId("session".into()), &host, at(NOW));
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let presented = |line: &[u8], host: &Route, seconds| {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_bytes(line).ok()?);
        matches!(auth.by_host_cookie(&headers, host, at(seconds)), Presented::Valid(_)).then_some(())
    };
    assert!(auth.open_hop(&sealed, at(NOW)).is_ok() && presented(cookie.as_bytes(), &host, NOW).is_some());
    let words = [".", "=", ";", "1", "session", "AAAA", "~", "\"", "port:amber-x:8000"];
    fuzz("ticket", &words, |input| {
        // Each byte pair of the input changes one byte of both.
        let (mut hop, mut pair) = (sealed.clone().into_bytes(), cookie.clone().into_bytes());
        for change in input.chunks_exact(2) {
            let at = |length: usize| usize::from(change[0]) * 3 % length;
            let (in_hop, in_pair) = (at(hop.len()), at(pair.len()));
            hop[in_hop] = change[1];
            pair[in_pair] = change[1];
        }
        let opened = std::str::from_utf8(&hop).ok().and_then(|text| auth.open_hop(text, at(NOW)).ok());
        assert_eq!(opened.is_some(), hop == sealed.as_bytes(), "{:?}", String::from_utf8_lossy(&hop));
        // Spaces and quotes around a value are the reader's to take off; the value itself is whole or nothing.
        let value = |line: &[u8]| -> Vec<u8> { line.iter().copied().filter(|byte| !b" \t\"".contains(byte)).collect() };
        if presented(&pair, &host, NOW).is_some() {
            assert_eq!(value(&pair), value(cookie.as_bytes()));
        }
        assert!(presented(&pair, &other, NOW).is_none(), "on another host");
        assert!(presented(&pair, &host, NOW + 3600).is_none(), "too late");
        let text = String::from_utf8_lossy(input);
        let proof = Proof {
            nonces: vec![text.clone().into_owned()],
            origin: None,
        };
        assert!(
            auth.redeem_ticket(&text, &host, &proof, &Client::default(), at(NOW)).is_err(),
            "nobody minted it"
        );
        assert!(!matches!(auth.by_token(&text, at(NOW)), Presented::Valid(_)));
        (opened.is_some(), presented(&pair, &host, NOW).is_some(), hop.len() == sealed.len())
    });
}
