//! Where a sign-in returns to, and what proves that it was ours.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use portico::{
    audit::Actor,
    auth::{Auth, Binding, Client, Hop, NewUser, Options, Presented, Proof, Ticket, TicketError, hash_secret},
    domain::{Port, ReturnTo, Role, Scope, SessionId},
    route::{Route, Sites},
    store::{SessionRecord, SharedStore, memory::MemoryStore},
};
use secrecy::ExposeSecret;
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

/// A ticket that is out, with the nonce of its browser, until it is used or old.
struct Minted {
    ticket: String,
    at: Instant,
}

const NONCE: &str = "the-nonce-of-one-browser";

impl Minted {
    fn of(auth: &Auth, host: &Route) -> Self {
        let ticket = Ticket {
            host: host.clone(),
            session: SessionId("session".into()),
            binding: Binding::Nonce(hash_secret(NONCE)),
        };
        Self {
            ticket: auth.mint_ticket(ticket, &Client::default(), at(NOW)),
            at: Instant::now(),
        }
    }
}

/// Changes one byte for each pair of the input.
fn changed(text: &str, input: &[u8]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for change in input.chunks_exact(2) {
        let at = usize::from(change[0]) * 3 % bytes.len();
        bytes[at] = change[1];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sealed hops, host cookies, tickets and tokens: a mutant of a good one is never good. The corpus holds what is done to them.
#[test]
fn ticket() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let auth = runtime.block_on(auth());
    let user = auth.users().first().expect("ada").id.clone();
    let token = runtime.block_on(auth.create_token(&user, "fuzz", Scope::All, None, &Actor::default(), at(NOW)));
    let token = token.expect("there is room").plain.expose_secret().to_owned();
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
    let minted = RefCell::new(Minted::of(&auth, &host));
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
        let mut minted = minted.borrow_mut();
        if minted.at.elapsed() > Duration::from_secs(20) {
            *minted = Minted::of(&auth, &host);
        }
        let redeem = |ticket: &str, host: &Route, nonce: &str, seconds| {
            let proof = Proof {
                nonces: vec![nonce.to_owned()],
                origin: None,
            };
            auth.redeem_ticket(ticket, host, &proof, &Client::default(), at(seconds))
        };
        assert!(redeem(&text, &host, &text, NOW).is_err(), "nobody minted it");
        assert!(redeem(&minted.ticket, &other, NONCE, NOW).is_err(), "on another host");
        assert!(redeem(&minted.ticket, &host, NONCE, NOW + 60).is_err(), "too late");
        // The first byte says whether the ticket or the nonce is changed.
        let (ticket, nonce) = match input.first() {
            Some(first) if first % 2 == 0 => (changed(&minted.ticket, input), NONCE.to_owned()),
            _ => (minted.ticket.clone(), changed(NONCE, input)),
        };
        let is_good = ticket == minted.ticket && nonce == NONCE;
        assert_eq!(redeem(&ticket, &host, &nonce, NOW).is_ok(), is_good, "{ticket} {nonce}");
        if is_good {
            assert_eq!(redeem(&ticket, &host, &nonce, NOW), Err(TicketError::Replayed));
            *minted = Minted::of(&auth, &host);
        }
        let shown = changed(&token, input);
        assert_eq!(
            matches!(auth.by_token(&shown, at(NOW)), Presented::Valid(_)),
            shown == token,
            "{shown}"
        );
        (
            opened.is_some(),
            presented(&pair, &host, NOW).is_some(),
            hop.len() == sealed.len(),
            is_good,
            shown == token,
        )
    });
}
