//! Sign-ins that end where they came from.

use jsonwebtoken::{Algorithm, Header};
use serde_json::json;
use time::OffsetDateTime;

use super::{super::*, Key, sign_ins::Bench};
use crate::{
    auth::{
        SESSION_COOKIE,
        fixture::{auth_with, cookies, now, seconds, sent_back, user},
    },
    store::{SessionOrigin, Store as _, memory::MemoryStore},
};

const HOUR: u64 = 3600;
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl Bench {
    /// Signs in and gives the session.
    async fn enter(&self) -> Fresh {
        let trip = self.depart(None).await.expect("a departure");
        self.arrive(&trip, now()).await.expect("signed in").fresh.expect("a session")
    }

    fn is_valid(&self, fresh: &Fresh, now: OffsetDateTime) -> bool {
        let presented = self.auth.by_gateway_cookie(&cookies(&[sent_back(&fresh.set_cookie)]), now);
        matches!(presented, Presented::Valid(_))
    }

    /// A logout token as it should be, with changes; none is a member that is left out.
    fn logout_token(&self, changes: &serde_json::Value) -> String {
        let mut claims = self.logout_claims();
        for (name, value) in changes.as_object().into_iter().flatten() {
            match value {
                serde_json::Value::Null => drop(claims.as_object_mut().map(|claims| claims.remove(name))),
                value => claims[name] = value.clone(),
            }
        }
        self.sign(&claims)
    }

    fn logout_claims(&self) -> serde_json::Value {
        let at = now().unix_timestamp();
        json!({
            "iss": self.fake.issuer(), "aud": "portico", "iat": at, "exp": at + 120, "jti": format!("{:x}", rand::random::<u64>()),
            "sub": "sub-ada", "sid": "s-1", "events": { EVENT: {} },
        })
    }

    fn sign(&self, claims: &serde_json::Value) -> String {
        let mut token = String::new();
        self.fake.tell(|fake| token = fake.key.sign(claims));
        token
    }

    async fn told(&self, token: &str) -> Result<usize, BackChannelError> {
        let client = Client {
            address: Some([192, 0, 2, 9].into()),
            ..Client::default()
        };
        self.auth.back_channel_logout("id", token, &client, now()).await
    }
}

#[tokio::test]
async fn sess_4_a_session_ends_when_its_provider_says_so() {
    let bench = Bench::new(|_| {}).await;
    let said = |until: serde_json::Value| bench.fake.tell(|fake| fake.claims = json!({ "session_expiry": until }));
    let at = now().unix_timestamp();
    let unsaid = bench.enter().await;
    assert_eq!(
        unsaid.session.expires_at, None,
        "the ID token's own end, in 5 minutes, is no session's"
    );
    said(json!(at + 3600));
    let fresh = bench.enter().await;
    assert!(
        fresh.set_cookie.contains("Max-Age=3600;") || fresh.set_cookie.ends_with("Max-Age=3600"),
        "{}",
        fresh.set_cookie
    );
    assert!(bench.is_valid(&fresh, now() + seconds(HOUR - 1)) && !bench.is_valid(&fresh, now() + seconds(HOUR)));
    // What it holds open, too, and no other's.
    let (open, other) = (fresh.session.ended(), unsaid.session.ended());
    bench.auth.end_due_sessions(now() + seconds(HOUR - 1));
    assert!(!open.is_cancelled());
    bench.auth.end_due_sessions(now() + seconds(HOUR));
    assert!(open.is_cancelled() && !other.is_cancelled());
    for over in [json!(at), json!(at - 1), json!("tomorrow"), json!({}), json!(1e300)] {
        said(over.clone());
        assert_eq!(bench.sign_in().await, Err(Reason::Untrustworthy), "{over}");
    }
}

#[tokio::test]
async fn sess_4_a_session_ends_when_the_operator_says_so() {
    let bench = Bench::new(|provider| provider.rules.max_session = Some(seconds(8 * HOUR))).await;
    let fresh = bench.enter().await;
    assert!(fresh.set_cookie.starts_with(SESSION_COOKIE) && fresh.set_cookie.contains("Max-Age=28800"));
    assert!(!bench.is_valid(&fresh, now() + seconds(8 * HOUR)));
    let at = now().unix_timestamp();
    bench.fake.tell(|fake| fake.claims = json!({"session_expiry": at + 60}));
    let sooner = bench.enter().await;
    assert!(!bench.is_valid(&sooner, now() + seconds(60)), "whichever is sooner");
    bench
        .fake
        .tell(|fake| fake.claims = json!({"session_expiry": at + 100 * 24 * 3600}));
    let later = bench.enter().await;
    assert_eq!(later.session.expires_at, Some(now() + seconds(8 * HOUR)));
    // After a restart as before.
    let again = auth_with(bench.store.clone(), Options::default(), now()).await;
    let kept = again.login_session(&later.session.id).expect("kept");
    assert_eq!(kept.expires_at, later.session.expires_at);
    again.end_due_sessions(now() + seconds(60));
    assert!(again.login_session(&sooner.session.id).is_none() && again.login_session(&later.session.id).is_some());
    let issuer = bench.fake.issuer();
    let subject = "sub-ada".into();
    let session = None;
    assert_eq!(kept.origin, Some(SessionOrigin { issuer, subject, session }));
}

#[tokio::test]
async fn sess_4_a_logout_at_the_provider_ends_what_it_began_here() {
    let bench = Bench::new(|_| {}).await;
    let at_browser = async |sid: &str| {
        bench.fake.tell(|fake| fake.claims = json!({ "sid": sid }));
        bench.enter().await
    };
    let (first, second) = (at_browser("s-1").await, at_browser("s-2").await);
    bench.fake.tell(|fake| fake.claims = json!({"sub": "sub-eve", "sid": "s-1"}));
    let another = bench.enter().await;
    let (open, others) = (first.session.ended(), another.session.ended());
    let told = bench.told(&bench.logout_token(&json!({}))).await;
    assert_eq!(told.expect("taken"), 1);
    assert!(open.is_cancelled() && !bench.is_valid(&first, now()));
    assert!(bench.is_valid(&second, now()) && !others.is_cancelled());
    assert!(
        bench
            .store
            .sessions()
            .await
            .expect("sessions")
            .iter()
            .all(|session| session.id != first.session.id)
    );
    // Signed out of everything there.
    assert_eq!(bench.told(&bench.logout_token(&json!({"sid": null}))).await.expect("taken"), 1);
    assert!(!bench.is_valid(&second, now()) && bench.is_valid(&another, now()));
    assert_eq!(
        bench.told(&bench.logout_token(&json!({"sub": null}))).await.expect("taken"),
        1,
        "by its session alone"
    );
    assert!(!bench.is_valid(&another, now()));
    assert_eq!(bench.told(&bench.logout_token(&json!({}))).await.expect("it is so already"), 0);
    let ended = crate::store::AuditQuestion {
        action: Some("session.ended".into()),
        limit: 10,
        ..crate::store::AuditQuestion::default()
    };
    let ended = bench.store.audit(&ended).await.expect("events");
    assert_eq!(ended.len(), 3);
    assert!(
        ended[0].event.detail.ends_with("signed out at id") && ended[2].event.target == "ada",
        "{ended:?}"
    );
}

#[tokio::test]
async fn sess_4_a_logout_that_the_store_did_not_take_may_be_said_again() {
    let mut bench = Bench::new(|_| {}).await;
    let store = std::sync::Arc::new(MemoryStore::new());
    bench.auth = auth_with(store.clone(), bench.options(), now()).await;
    user(&bench.auth, "root").await;
    bench.fake.tell(|fake| fake.claims = json!({"sid": "s-1"}));
    let (first, second) = (bench.enter().await, bench.enter().await);
    store.refuse_to_remove([&first.session.id.0]);
    let token = bench.logout_token(&json!({}));
    for _ in 0..2 {
        assert!(
            matches!(bench.told(&token).await, Err(BackChannelError::Store(_))),
            "the provider must know"
        );
        assert!(
            !bench.is_valid(&first, now()) && !bench.is_valid(&second, now()),
            "they ended here all the same"
        );
        assert_eq!(store.sessions().await.expect("sessions").len(), 1, "one holds up no other");
    }
    store.refuse_to_remove([]);
    assert_eq!(bench.told(&token).await.expect("taken"), 1);
    assert!(store.sessions().await.expect("sessions").is_empty());
    assert!(matches!(bench.told(&token).await, Err(BackChannelError::Untrustworthy)), "a replay");
}

#[tokio::test]
async fn sess_4_hostile_logout_tokens_end_nothing() {
    let bench = Bench::new(|_| {}).await;
    bench.fake.tell(|fake| fake.claims = json!({"sid": "s-1"}));
    let fresh = bench.enter().await;
    let at = now().unix_timestamp();
    let mut hostile: Vec<(String, String)> = [
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"aud": ["portico", "other"], "azp": "other"}),
        json!({"iat": null}),
        json!({"iat": at - 661, "exp": null}),
        json!({"iat": at + 61}),
        json!({"exp": at - 60}),
        json!({"exp": "never"}),
        json!({"events": null}),
        json!({"events": {}}),
        json!({"events": EVENT}),
        json!({"events": [EVENT]}),
        json!({"events": {EVENT: true}}),
        json!({"events": {"http://schemas.openid.net/secevent/risc/event-type/x": {}}}),
        json!({"nonce": "n-1"}),
        json!({"nonce": ""}),
        json!({"sub": null, "sid": null}),
        json!({"sub": 7}),
        json!({"sub": ["sub-ada"]}),
        json!({"sid": {"x": 1}}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(256)}),
        json!({"jti": null}),
        json!({"jti": 7}),
        json!({"jti": ""}),
        json!({"padding": "x".repeat(9000)}),
    ]
    .iter()
    .map(|changes| (changes.to_string(), bench.logout_token(changes)))
    .collect();
    let good = bench.logout_claims();
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", ""] {
        let unsigned = format!("{}.{}.", encoded(&json!({"alg": algorithm, "typ": "logout+jwt"})), encoded(&good));
        hostile.push((format!("alg {algorithm:?}"), unsigned));
    }
    hostile.push(("another's key".into(), Key::new("k1", Algorithm::ES256).sign(&good)));
    hostile.push(("an unknown key".into(), Key::new("k9", Algorithm::ES256).sign(&good)));
    let mut keys = Vec::new();
    bench.fake.tell(|fake| keys.push(fake.key.clone()));
    for kind in ["at+jwt", "dpop+jwt", "secevent+jwt", "application/at+jwt"] {
        let mut header = Header::new(Algorithm::ES256);
        (header.kid, header.typ) = (Some("k1".into()), Some(kind.into()));
        let token = jsonwebtoken::encode(&header, &good, &keys[0].signs).expect("a token");
        hostile.push((format!("kind {kind}"), token));
    }
    let mut with_secret = Header::new(Algorithm::HS256);
    with_secret.kid = Some("k1".into());
    let secret = jsonwebtoken::EncodingKey::from_secret(b"secret & more");
    hostile.push(("a MAC".into(), jsonwebtoken::encode(&with_secret, &good, &secret).expect("a token")));
    hostile.push(("nothing".into(), String::new()));
    hostile.push(("no token".into(), "a.b.c".into()));
    hostile.push(("too long".into(), "x".repeat(100_000)));
    // An ID token of the very sign-in is no logout.
    let id_token =
        json!({"iss": bench.fake.issuer(), "aud": "portico", "sub": "sub-ada", "sid": "s-1", "iat": at, "exp": at + 300, "nonce": "n"});
    hostile.push(("an ID token".into(), bench.sign(&id_token)));
    for (index, (what, token)) in hostile.iter().enumerate() {
        let client = Client {
            address: Some([10, 0, 0, u8::try_from(index).expect("few")].into()),
            ..Client::default()
        };
        let told = bench.auth.back_channel_logout("id", token, &client, now()).await;
        assert!(matches!(told, Err(BackChannelError::Untrustworthy)), "{what}: {told:?}");
    }
    assert!(bench.is_valid(&fresh, now()), "the session is untouched");
    let token = bench.logout_token(&json!({"exp": null}));
    assert!(matches!(
        bench.auth.back_channel_logout("other", &token, &Client::default(), now()).await,
        Err(BackChannelError::NoSuchProvider)
    ));
    assert_eq!(bench.told(&token).await.expect("one that is good"), 1);
    let again = bench.enter().await;
    assert!(matches!(bench.told(&token).await, Err(BackChannelError::Untrustworthy)), "a replay");
    assert!(bench.is_valid(&again, now()));
}

#[tokio::test]
async fn rate_1_logout_tokens_that_prove_nothing_are_counted_by_address() {
    let bench = Bench::new(|_| {}).await;
    for _ in 0..40 {
        assert_eq!(bench.told(&bench.logout_token(&json!({}))).await.expect("good ones are not"), 0);
    }
    for _ in 0..30 {
        assert!(matches!(bench.told("a.b.c").await, Err(BackChannelError::Untrustworthy)));
    }
    assert!(matches!(bench.told("a.b.c").await, Err(BackChannelError::TooMany { .. })));
    assert!(bench.fake.asked("/jwks") <= 1);
}

#[tokio::test]
async fn a_sign_out_here_leads_there_as_configured() {
    for (sign_out, at_once) in [(SignOut::Here, None), (SignOut::Offer, Some(false)), (SignOut::There, Some(true))] {
        let bench = Bench::new(|provider| provider.sign_out = sign_out).await;
        let fresh = bench.enter().await;
        assert_eq!(
            bench.auth.elsewhere(&fresh.session, now()).await,
            None,
            "the provider has no such page"
        );
        let issuer = bench.fake.issuer();
        bench
            .fake
            .tell(|fake| fake.metadata = json!({"end_session_endpoint": format!("{issuer}/logout?tenant=1")}));
        let later = now() + seconds(2 * HOUR);
        let elsewhere = bench.auth.elsewhere(&fresh.session, later).await;
        assert_eq!(elsewhere.as_ref().map(|elsewhere| elsewhere.at_once), at_once);
        let Some(elsewhere) = elsewhere else { continue };
        assert!(
            elsewhere
                .url
                .starts_with(&format!("{issuer}/logout?tenant=1&client_id=portico&id_token_hint=ey")),
            "{}",
            elsewhere.url
        );
        let comes_back = elsewhere
            .url
            .contains("post_logout_redirect_uri=http%3A%2F%2Fportico.localhost%3A8080%2Fsign-in");
        assert_eq!(comes_back, sign_out == SignOut::There);
        assert!(!format!("{elsewhere:?}{:?}", fresh.session).contains("ey"), "LOG-1");
        // The ID token is in no store: after a restart the provider asks by itself who it is.
        let provider = bench.options();
        let again = auth_with(bench.store.clone(), provider, later).await;
        let kept = again.login_session(&fresh.session.id).expect("kept");
        let asked = again.elsewhere(&kept, later).await.expect("the same provider");
        assert!(!asked.url.contains("id_token_hint"));
    }
    let bench = Bench::new(|_| {}).await;
    let account = bench.account("root");
    let by_link = bench
        .auth
        .open_session(&account, &Client::default(), now())
        .await
        .expect("a session");
    assert_eq!(
        bench.auth.elsewhere(&by_link.session, now()).await,
        None,
        "no provider vouched for it"
    );
}
