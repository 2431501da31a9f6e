//! Whole sign-ins, from the button to the session.

use jsonwebtoken::Algorithm;
use serde_json::json;
use time::OffsetDateTime;

use http::StatusCode;

use super::{super::*, Key, provider::Provider as Fake};
use crate::{
    auth::{
        UserError,
        fixture::{audited, auth_with, cookies, now, seconds, sent_back, user},
    },
    domain::{Organisation, UserName},
    store::{SharedStore, memory::MemoryStore},
};

pub(super) struct Bench {
    pub auth: Auth,
    pub store: SharedStore,
    pub fake: Fake,
    options: Options,
}

/// What a browser came back with.
pub(super) struct Trip {
    callback: Callback,
    cookies: HeaderMap,
}

impl Trip {
    /// The browser also has a login session.
    pub fn adds(&mut self, fresh: &Fresh) {
        let cookie = sent_back(&fresh.set_cookie).parse().expect("a header value");
        self.cookies.append(http::header::COOKIE, cookie);
    }
}

impl Bench {
    /// A gateway with one account, `root`, and a provider `id`.
    pub async fn new(change: impl FnOnce(&mut ProviderOptions)) -> Self {
        let fake = Fake::start(Key::new("k1", Algorithm::ES256)).await;
        let mut provider = ProviderOptions::named("id");
        provider.label = "Example".into();
        provider.issuer = fake.issuer();
        provider.client_id = "portico".into();
        provider.client_secret = Some(Secret::new("secret & more"));
        provider.rules.sign_up = SignUp::Everybody;
        change(&mut provider);
        let options = Options {
            providers: vec![provider],
            ..Options::default()
        };
        let store: SharedStore = std::sync::Arc::new(MemoryStore::new());
        let auth = auth_with(store.clone(), options.clone(), now()).await;
        user(&auth, "root").await;
        Self {
            auth,
            store,
            fake,
            options,
        }
    }

    /// What the gateway is configured with.
    pub fn options(&self) -> Options {
        self.options.clone()
    }

    pub async fn depart(&self, linking: Option<SessionId>) -> Result<Trip, OutsideError> {
        let next = ReturnTo::parse("/codespaces/amber?a=b").expect("a path");
        let departure = self.auth.depart("id", next, linking, now()).await?;
        assert!(departure.location.starts_with(&self.fake.issuer()));
        Ok(Trip {
            callback: Callback {
                state: self.fake.consent(&departure.location),
                code: Some("code-1".into()),
                ..Callback::default()
            },
            cookies: cookies(&[sent_back(&departure.set_cookie)]),
        })
    }

    pub async fn arrive(&self, trip: &Trip, now: OffsetDateTime) -> Result<Arrived, OutsideError> {
        let client = Client {
            address: Some([192, 0, 2, 7].into()),
            agent: "Browser/1".into(),
            request_id: None,
        };
        self.auth.arrive("id", &trip.callback, &trip.cookies, client, now).await
    }

    /// Signs in from the beginning; the account's name or why not.
    pub async fn sign_in(&self) -> Result<String, Reason> {
        let trip = self.depart(None).await.map_err(|error| error.reason)?;
        let arrived = self.arrive(&trip, now()).await.map_err(|error| error.reason)?;
        assert_eq!(arrived.next.as_str(), "/codespaces/amber?a=b");
        let fresh = arrived.fresh.expect("a session");
        let presented = self.auth.by_gateway_cookie(&cookies(&[sent_back(&fresh.set_cookie)]), now());
        let Presented::Valid(identity) = presented else {
            panic!("{presented:?}")
        };
        Ok(identity.name.to_string())
    }

    pub fn account(&self, name: &str) -> std::sync::Arc<User> {
        let name: UserName = name.parse().expect("a name");
        self.auth.user_by_name(&name).expect("an account")
    }
}

fn not_allowed(why: NotAllowed) -> Result<String, Reason> {
    let shown = "ada@example.com".into();
    Err(Reason::NotAllowed { shown, why })
}

#[tokio::test]
async fn oidc_1_an_account_is_found_by_issuer_and_subject_alone() {
    let bench = Bench::new(|_| {}).await;
    // A namesake with the same address is somebody else.
    let namesake = user(&bench.auth, "ada").await;
    assert_eq!(bench.sign_in().await, Ok("ada-2".into()));
    assert_eq!(bench.account("ada-2").email.as_deref(), Some("ada@example.com"));
    assert_eq!(bench.sign_in().await, Ok("ada-2".into()));
    assert!(bench.auth.identities_of(&namesake.id).is_empty());
    // Another subject of the same name and address is another person; the same one under another name is not.
    bench.fake.tell(|fake| fake.claims = json!({"sub": "sub-other"}));
    assert_eq!(bench.sign_in().await, Ok("ada-3".into()));
    bench
        .fake
        .tell(|fake| fake.claims = json!({"preferred_username": "lovelace", "email": "root@example.com"}));
    assert_eq!(bench.sign_in().await, Ok("ada-2".into()));
    let known = &bench.auth.identities_of(&bench.account("ada-2").id)[0];
    assert_eq!((known.subject.as_str(), known.shown.as_str()), ("sub-ada", "root@example.com"));
    let again = auth_with(bench.store.clone(), Options::default(), now()).await;
    assert_eq!(again.identities_of(&bench.account("ada-2").id).len(), 1, "kept");
    let seen = audited(&bench.store).await;
    assert_eq!(seen[2..4], ["user.created", "session.created"]);
}

#[tokio::test]
async fn oidc_3_an_answer_is_good_once_and_in_its_browser() {
    let bench = Bench::new(|_| {}).await;
    let trip = bench.depart(None).await.expect("a departure");
    let other = bench.depart(None).await.expect("another browser's");
    let stolen = Trip {
        callback: trip.callback.clone(),
        cookies: other.cookies.clone(),
    };
    let refused = bench.arrive(&stolen, now()).await.expect_err("a state from another browser");
    assert_eq!((refused.reason, refused.next.as_str()), (Reason::Stale, "/codespaces/amber?a=b"));
    assert_eq!(bench.fake.asked("/token"), 0, "nobody was asked");
    // The code belongs to the flow that asked last, so that this one's verifier does not fit.
    assert_eq!(
        bench.arrive(&trip, now()).await.expect_err("an injected code").reason,
        Reason::Stale
    );
    let trip = bench.depart(None).await.expect("a departure");
    let arrived = bench.arrive(&trip, now()).await.expect("signed in");
    assert!(arrived.clear_cookie.contains("Max-Age=0"));
    assert_eq!(bench.arrive(&trip, now()).await.expect_err("a second time").reason, Reason::Stale);
    let late = bench.depart(None).await.expect("a departure");
    let refused = bench.arrive(&late, now() + seconds(601)).await.expect_err("too late");
    assert_eq!(refused.reason, Reason::Stale);
}

#[tokio::test]
async fn oidc_3_what_proves_nothing_lets_nobody_in() {
    let bench = Bench::new(|_| {}).await;
    let at = now().unix_timestamp();
    for claims in [
        json!({"aud": "other"}),
        json!({"iss": "https://evil.example"}),
        json!({"nonce": "other"}),
        json!({"exp": at - 61}),
        json!({"sub": null}),
    ] {
        bench.fake.tell(|fake| fake.claims = claims.clone());
        assert_eq!(bench.sign_in().await, Err(Reason::Untrustworthy), "{claims}");
    }
    bench.fake.tell(|fake| {
        fake.claims = json!({"email": null});
        fake.userinfo = Some(json!({"sub": "sub-eve", "groups": ["admins"]}));
    });
    assert_eq!(bench.sign_in().await, Err(Reason::Untrustworthy), "userinfo about somebody else");
    assert_eq!(bench.auth.users().len(), 1, "nobody was made an account");
}

#[tokio::test]
async fn oidc_3_an_answer_names_its_issuer() {
    let bench = Bench::new(|_| {}).await;
    let arrive_as = async |issuer: Option<&str>| {
        let mut trip = bench.depart(None).await.expect("a departure");
        trip.callback.issuer = issuer.map(str::to_owned);
        bench.arrive(&trip, now()).await.map(drop).map_err(|error| error.reason)
    };
    assert_eq!(arrive_as(Some("https://evil.example")).await, Err(Reason::Untrustworthy));
    assert_eq!(arrive_as(Some(&bench.fake.issuer())).await, Ok(()));
    let promising = Bench::new(|_| {}).await;
    promising
        .fake
        .tell(|fake| fake.metadata = json!({"authorization_response_iss_parameter_supported": true}));
    assert_eq!(promising.sign_in().await, Err(Reason::Untrustworthy), "it promised to, and did not");
}

#[tokio::test]
async fn oidc_3_keys_change_and_are_asked_for_once() {
    let bench = Bench::new(|_| {}).await;
    assert!(bench.sign_in().await.is_ok());
    assert!(bench.sign_in().await.is_ok());
    assert_eq!(bench.fake.asked("/jwks"), 1);
    let next = Key::new("k2", Algorithm::RS256);
    bench.fake.tell(|fake| {
        fake.keys = vec![next.clone()];
        fake.key = next;
    });
    // Too soon after the first question: a forged key id must not make us ask at will.
    assert_eq!(bench.sign_in().await, Err(Reason::Untrustworthy));
    assert_eq!(bench.fake.asked("/jwks"), 1);
    let later = now() + seconds(11);
    let trip = bench.depart(None).await.expect("a departure");
    assert!(bench.arrive(&trip, later).await.is_ok(), "the new key is found");
    assert_eq!(bench.fake.asked("/jwks"), 2);
    bench.fake.tell(|fake| fake.key = Key::new("k3", Algorithm::ES256));
    for _ in 0..3 {
        let trip = bench.depart(None).await.expect("a departure");
        let refused = bench.arrive(&trip, later + seconds(11)).await.expect_err("an unpublished key");
        assert_eq!(refused.reason, Reason::Untrustworthy);
    }
    assert_eq!(bench.fake.asked("/jwks"), 3, "once for all of them");
}

#[tokio::test]
async fn fail_1_a_provider_that_fails_keeps_people_out() {
    let bench = Bench::new(|_| {}).await;
    let trip = bench.depart(None).await.expect("a departure");
    for (path, status, text) in [
        ("/token", StatusCode::INTERNAL_SERVER_ERROR, "oops".to_owned()),
        ("/token", StatusCode::OK, "<html>".to_owned()),
        ("/token", StatusCode::FOUND, String::new()),
        ("/token", StatusCode::OK, "x".repeat(600 * 1024)),
        ("/jwks", StatusCode::OK, "{}".to_owned()),
        ("/jwks", StatusCode::NOT_FOUND, "{}".to_owned()),
    ] {
        bench.fake.tell(|fake| drop(fake.instead.insert(path.into(), (status, text))));
        assert_eq!(bench.sign_in().await, Err(Reason::Down), "{path} {status}");
        bench.fake.tell(|fake| fake.instead.clear());
    }
    assert!(bench.arrive(&trip, now()).await.is_err());
    bench.fake.tell(|fake| {
        drop(
            fake.instead
                .insert("/token".into(), (StatusCode::OK, r#"{"access_token":"a"}"#.into())),
        )
    });
    assert_eq!(bench.sign_in().await, Err(Reason::Untrustworthy), "no ID token");
    assert_eq!(bench.auth.users().len(), 1);
}

#[tokio::test]
async fn fail_1_a_provider_that_is_not_there_or_somebody_else() {
    let away = Bench::new(|provider| provider.issuer = "http://127.0.0.1:1".into()).await;
    let refused = away.depart(None).await.err().expect("nobody there");
    assert_eq!(
        (refused.reason, refused.way.map(|way| way.label)),
        (Reason::Down, Some("Example".into()))
    );
    let liar = Bench::new(|_| {}).await;
    liar.fake.tell(|fake| fake.metadata = json!({"issuer": "https://other.example"}));
    assert_eq!(liar.sign_in().await, Err(Reason::Down));
    liar.fake.tell(|fake| fake.metadata = json!({}));
    assert_eq!(liar.sign_in().await, Err(Reason::Down), "not asked again for a moment");
    let trip = liar.auth.depart("id", ReturnTo::root(), None, now() + seconds(4)).await;
    assert!(trip.is_ok(), "then asked again");
    let nowhere = liar
        .auth
        .depart("other", ReturnTo::root(), None, now())
        .await
        .expect_err("no such provider");
    assert_eq!(nowhere.reason, Reason::NoSuchProvider);
}

#[tokio::test]
async fn a_no_of_the_provider_is_told_apart_from_its_troubles() {
    let bench = Bench::new(|_| {}).await;
    for (error, expected) in [
        ("access_denied", Reason::Declined),
        ("server_error", Reason::Down),
        ("\u{1b}[31m", Reason::Declined),
    ] {
        let mut trip = bench.depart(None).await.expect("a departure");
        trip.callback.error = Some(error.into());
        assert_eq!(bench.arrive(&trip, now()).await.expect_err("an error").reason, expected, "{error}");
    }
    let mut trip = bench.depart(None).await.expect("a departure");
    trip.callback.code = None;
    assert_eq!(bench.arrive(&trip, now()).await.expect_err("no code").reason, Reason::Stale);
}

#[tokio::test]
async fn who_comes_in_is_the_operators_choice() {
    let closed = Bench::new(|provider| provider.rules.sign_up = SignUp::Nobody).await;
    assert_eq!(closed.sign_in().await, not_allowed(NotAllowed::NoAccount));
    let domain = Bench::new(|provider| provider.rules.allowed_domains = vec!["example.com".into()]).await;
    assert_eq!(domain.sign_in().await, Ok("ada".into()));
    // Also those who have an account already, from then on.
    domain.fake.tell(|fake| fake.claims = json!({"email_verified": false}));
    let shown = "ada".to_owned();
    let why = NotAllowed::Domain;
    assert_eq!(domain.sign_in().await, Err(Reason::NotAllowed { shown, why }));
    let group = Bench::new(|provider| {
        provider.groups_claim = Some("groups".into());
        provider.rules.allowed_groups = vec!["eng".into()];
    })
    .await;
    assert_eq!(
        group.sign_in().await,
        Err(Reason::Down),
        "a provider that refuses to speak of groups"
    );
    group.fake.tell(|fake| fake.userinfo = Some(json!({"sub": "sub-ada"})));
    assert_eq!(group.sign_in().await, not_allowed(NotAllowed::Group), "one that names none");
}

#[tokio::test]
async fn the_first_account_is_the_operators() {
    let fake = Fake::start(Key::new("k1", Algorithm::ES256)).await;
    let mut provider = ProviderOptions::named("id");
    provider.issuer = fake.issuer();
    provider.client_id = "portico".into();
    provider.client_secret = Some(Secret::new("secret & more"));
    provider.rules.sign_up = SignUp::Everybody;
    let options = Options {
        providers: vec![provider],
        ..Options::default()
    };
    let store: SharedStore = std::sync::Arc::new(MemoryStore::new());
    let auth = auth_with(store.clone(), options.clone(), now()).await;
    let bench = Bench {
        auth,
        store,
        fake,
        options,
    };
    assert_eq!(bench.sign_in().await, not_allowed(NotAllowed::NotSetUp));
}

#[tokio::test]
async fn oidc_1_linking_is_for_the_session_that_asked() {
    let bench = Bench::new(|provider| provider.rules.sign_up = SignUp::Nobody).await;
    let root = bench.account("root");
    let fresh = bench.auth.open_session(&root, &Client::default(), now()).await.expect("a session");
    let session = fresh.session.id.clone();
    let trip = bench.depart(Some(session.clone())).await.expect("a departure");
    let refused = bench.arrive(&trip, now()).await.expect_err("without the session's cookie");
    assert_eq!(refused.reason, Reason::SignedOut);
    let mut trip = bench.depart(Some(session)).await.expect("a departure");
    trip.adds(&fresh);
    let arrived = bench.arrive(&trip, now()).await.expect("linked");
    assert!(arrived.fresh.is_none(), "no new session");
    assert_eq!(bench.sign_in().await, Ok("root".into()));
    // Somebody else's account does not get it.
    let eve = user(&bench.auth, "eve").await;
    let fresh = bench.auth.open_session(&eve, &Client::default(), now()).await.expect("a session");
    let mut trip = bench.depart(Some(fresh.session.id.clone())).await.expect("a departure");
    trip.adds(&fresh);
    let refused = bench.arrive(&trip, now()).await.expect_err("taken");
    let shown = "ada@example.com".to_owned();
    assert_eq!(refused.reason, Reason::Taken { shown });
    let last = bench.auth.unlink(&root.id, &bench.fake.issuer(), "sub-ada", now()).await;
    assert!(matches!(last, Err(UserError::LastWayIn)), "root has no password");
}

#[tokio::test]
async fn rate_1_answers_that_prove_nothing_are_counted_by_address() {
    let bench = Bench::new(|_| {}).await;
    bench.fake.tell(|fake| {
        drop(
            fake.instead
                .insert("/token".into(), (StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#.into())),
        )
    });
    for _ in 0..30 {
        assert_eq!(bench.sign_in().await, Err(Reason::Stale));
    }
    assert!(matches!(bench.sign_in().await, Err(Reason::TooMany { .. })));
    assert_eq!(bench.fake.asked("/token"), 30);
    // Looked at first: a flood uses no flow up, and whoever waited comes in with the one that was begun.
    bench.fake.tell(|fake| fake.instead.clear());
    let trip = bench.depart(None).await.expect("a departure");
    let refused = bench.arrive(&trip, now()).await.expect_err("too many");
    let Reason::TooMany { retry_after } = refused.reason else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.clear_cookie, None);
    bench.arrive(&trip, now() + retry_after).await.expect("the flow is still good");
}

#[tokio::test]
async fn audit_1_a_flood_of_people_who_may_not_come_in_is_told_in_sum() {
    let bench = Bench::new(|provider| provider.rules.sign_up = SignUp::Nobody).await;
    for round in 0..130 {
        let trip = bench.depart(None).await.expect("a departure");
        let client = Client {
            address: Some([10, 0, 0, round].into()),
            ..Client::default()
        };
        let refused = bench.auth.arrive("id", &trip.callback, &trip.cookies, client, now()).await;
        assert!(refused.is_err());
    }
    let question = crate::store::AuditQuestion {
        action: Some("session.refused".into()),
        limit: 1000,
        ..crate::store::AuditQuestion::default()
    };
    assert_eq!(bench.store.audit(&question).await.expect("events").len(), 100);
}

#[tokio::test]
async fn github_knows_people_by_their_number() {
    let bench = Bench::new(|provider| {
        provider.kind = ProviderKind::GitHub;
        provider.scopes = vec!["user:email".into(), "read:org".into()];
        provider.issuer.push('/');
    })
    .await;
    bench.fake.tell(|fake| {
        let said = [
            ("/api/v3/user", json!({"id": 7, "login": "Ada-L"})),
            (
                "/api/v3/user/emails",
                json!([
                    {"email": "old@example.com", "primary": false, "verified": true},
                    {"email": "ada@example.com", "primary": true, "verified": true},
                ]),
            ),
            ("/api/v3/user/orgs", json!([{"login": "eng"}])),
        ];
        fake.github = said.into_iter().map(|(path, said)| (path.to_owned(), said)).collect();
    });
    assert_eq!(bench.sign_in().await, Ok("ada-l".into()));
    let account = bench.account("ada-l");
    assert_eq!(account.email.as_deref(), Some("ada@example.com"));
    assert!(
        bench
            .auth
            .organisations(&account.id)
            .contains(&Organisation::parse("eng").expect("a name"))
    );
    // The login goes to somebody else, and the person takes another.
    bench
        .fake
        .tell(|fake| drop(fake.github.insert("/api/v3/user".into(), json!({"id": 8, "login": "Ada-L"}))));
    assert_eq!(bench.sign_in().await, Ok("ada-l-2".into()));
    bench
        .fake
        .tell(|fake| drop(fake.github.insert("/api/v3/user".into(), json!({"id": 7, "login": "lovelace"}))));
    assert_eq!(bench.sign_in().await, Ok("ada-l".into()));
    bench.fake.tell(|fake| drop(fake.github.remove("/api/v3/user/emails")));
    assert_eq!(bench.sign_in().await, Ok("ada-l".into()), "an address is no condition");
    bench.fake.tell(|fake| drop(fake.github.remove("/api/v3/user/orgs")));
    assert_eq!(bench.sign_in().await, Err(Reason::Down), "organisations are");
    let trip = bench.depart(None).await.expect("a departure");
    bench
        .fake
        .tell(|fake| drop(fake.flow.insert("code_challenge".into(), "other".into())));
    assert_eq!(bench.arrive(&trip, now()).await.expect_err("another's code").reason, Reason::Stale);
}
