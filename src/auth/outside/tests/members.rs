//! Whose an account is that a provider made, what it is a member of, and who administers.

use serde_json::json;

use super::{super::*, sign_ins::Bench};
use crate::{
    audit::Actor,
    auth::{
        UserError,
        fixture::{auth_with, cookies, now, sent_back, user},
    },
    domain::{Organisation, Role},
    store::{SharedStore, memory::MemoryStore},
};

#[tokio::test]
async fn share_7_organisations_follow_each_sign_in() {
    let bench = Bench::new(|provider| {
        provider.groups_claim = Some("groups".into());
        provider.rules.organisations = vec!["eng".into(), "ops".into()];
    })
    .await;
    let say = |groups: serde_json::Value| {
        bench
            .fake
            .tell(|fake| fake.userinfo = Some(json!({"sub": "sub-ada", "groups": groups})))
    };
    say(json!(["eng", "everyone"]));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    let ada = bench.account("ada").id.clone();
    let of = |name: &str| bench.auth.organisations(&ada).contains(&Organisation::parse(name).expect("a name"));
    assert!(of("eng") && !of("ops") && !of("everyone"));
    say(json!(["ops"]));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert!(!of("eng") && of("ops"));
    // Who can have a claim left out, on the provider's page of consent for instance, leaves no ceiling by it, and keeps no
    // colleagues either.
    bench.fake.tell(|fake| fake.userinfo = Some(json!({"sub": "sub-ada"})));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert!(of("ops") && !bench.auth.share_organisation(&ada, &ada));
    say(json!([]));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert!(bench.auth.organisations(&ada).is_empty(), "an empty list is an answer");
}

#[tokio::test]
async fn share_7_an_account_stays_with_the_provider_that_made_it() {
    let with_groups = |own_ways| {
        move |provider: &mut ProviderOptions| {
            provider.groups_claim = Some("groups".into());
            provider.rules.own_ways = own_ways;
        }
    };
    let said = |bench: &Bench, subject: &str, groups: serde_json::Value| {
        let subject = subject.to_owned();
        bench.fake.tell(|fake| {
            fake.claims = json!({"sub": subject});
            fake.userinfo = Some(json!({"sub": subject, "groups": groups}));
        });
    };
    for own_ways in [false, true] {
        let bench = Bench::new(with_groups(own_ways)).await;
        said(&bench, "sub-ada", json!([]));
        assert_eq!(bench.sign_in().await, Ok("ada".into()));
        let ada = bench.account("ada");
        assert_eq!(bench.auth.may_have_own_ways(&ada), own_ways);
        let root = bench.account("root");
        assert!(bench.auth.may_have_own_ways(&root), "somebody here made that one");
        assert!(!bench.auth.share_organisation(&ada.id, &root.id));
        // With another way in, taking off the directory would put the account among everybody.
        let elsewhere = crate::auth::LinkedIdentity {
            subject: "elsewhere".into(),
            issuer: header::ISSUER.into(),
            organisations: None,
            ..(*bench.auth.identities_of(&ada.id)[0]).clone()
        };
        bench.auth.keep_identity(elsewhere).await.expect("linked");
        bench
            .auth
            .set_password(
                &ada.id,
                crate::auth::fixture::secret("correct horse"),
                None,
                &Actor::gateway(),
                now(),
            )
            .await
            .expect("an administrator sets one");
        let unlinked = bench.auth.unlink(&ada.id, &bench.fake.issuer(), "sub-ada", now()).await;
        assert!(matches!(unlinked, Err(UserError::Belongs)), "{unlinked:?}");
        assert!(!bench.auth.share_organisation(&ada.id, &root.id));
        // Another identity of theirs at the same provider may be linked if own ways are, and takes the first one's place.
        said(&bench, "sub-ada-2", json!(["eng"]));
        let fresh = bench
            .auth
            .open_session(&bench.account("ada"), &Client::default(), now())
            .await
            .expect("a session");
        let mut trip = bench.depart(Some(fresh.session.id.clone())).await.expect("a departure");
        trip.adds(&fresh);
        let linked = bench.arrive(&trip, now()).await.map(drop).map_err(|error| error.reason);
        assert_eq!(linked, if own_ways { Ok(()) } else { Err(Reason::Belongs) });
        let unlinked = bench.auth.unlink(&ada.id, &bench.fake.issuer(), "sub-ada", now()).await;
        assert_eq!(unlinked.is_ok(), own_ways, "{unlinked:?}");
        assert!(!bench.auth.share_organisation(&ada.id, &root.id));
    }
}

#[tokio::test]
async fn share_7_an_account_made_here_is_as_before_when_it_takes_a_provider_off() {
    let bench = Bench::new(|provider| provider.groups_claim = Some("groups".into())).await;
    let (root, bob) = (bench.account("root"), user(&bench.auth, "bob").await);
    bench
        .fake
        .tell(|fake| fake.userinfo = Some(json!({"sub": "sub-ada", "groups": ["eng"]})));
    let root = crate::auth::fixture::with_password(&bench.auth, &root).await;
    let fresh = bench.auth.open_session(&root, &Client::default(), now()).await.expect("a session");
    let mut trip = bench.depart(Some(fresh.session.id.clone())).await.expect("a departure");
    trip.adds(&fresh);
    bench.arrive(&trip, now()).await.expect("linked");
    assert!(!bench.auth.share_organisation(&root.id, &bob.id));
    bench
        .auth
        .unlink(&root.id, &bench.fake.issuer(), "sub-ada", now())
        .await
        .expect("taken off");
    assert!(bench.auth.share_organisation(&root.id, &bob.id), "as if it had never been linked");
}

#[tokio::test]
async fn groups_make_administrators_of_the_providers_own_accounts() {
    let bench = Bench::new(|provider| {
        provider.groups_claim = Some("groups".into());
        provider.rules.admin_groups = vec!["ops".into()];
    })
    .await;
    let say = |groups: serde_json::Value| {
        bench
            .fake
            .tell(|fake| fake.userinfo = Some(json!({"sub": "sub-ada", "groups": groups})))
    };
    let role = || bench.account("ada").role;
    say(json!(["eng"]));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert_eq!(role(), Role::Member);
    say(json!(["ops"]));
    let before = bench.auth.sessions_of(&bench.account("ada").id)[0].ended();
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert_eq!(role(), Role::Admin);
    assert!(before.is_cancelled(), "SESS-1: what was opened with another role is over");
    // It is the last: nobody else here administers.
    say(json!([]));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert_eq!(role(), Role::Admin, "the last administrator stays one");
    let root = bench.account("root");
    bench
        .auth
        .set_role(&root.id, Role::Admin, &Actor::gateway(), now())
        .await
        .expect("another");
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert_eq!(role(), Role::Member);
    say(json!(["ops"]));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert_eq!(role(), Role::Admin);
    bench.fake.tell(|fake| fake.userinfo = Some(json!({"sub": "sub-ada"})));
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
    assert_eq!(role(), Role::Member, "nobody administers by a group that nobody named");
    // An account that somebody here made keeps the role that it was given, whatever a provider says.
    bench
        .auth
        .set_role(&bench.account("ada").id, Role::Admin, &Actor::gateway(), now())
        .await
        .expect("another");
    say(json!(["eng"]));
    bench.fake.tell(|fake| fake.claims = json!({"sub": "sub-root"}));
    bench
        .fake
        .tell(|fake| fake.userinfo = Some(json!({"sub": "sub-root", "groups": ["eng"]})));
    let fresh = bench
        .auth
        .open_session(&bench.account("root"), &Client::default(), now())
        .await
        .expect("a session");
    let mut trip = bench.depart(Some(fresh.session.id.clone())).await.expect("a departure");
    trip.adds(&fresh);
    bench.arrive(&trip, now()).await.expect("linked");
    assert_eq!(bench.sign_in().await, Ok("root".into()));
    assert_eq!(bench.account("root").role, Role::Admin);
}

#[tokio::test]
async fn hdr_4_a_cookie_counts_no_more_where_the_proxy_names_somebody_else() {
    let header = HeaderOptions {
        user: http::HeaderName::from_static("x-user"),
        email: None,
        groups: None,
        proxies: std::iter::once("10.0.0.1".parse().expect("an address")).collect(),
        rules: Rules {
            sign_up: SignUp::Everybody,
            ..Rules::default()
        },
    };
    let options = Options {
        header: Some(header),
        ..Options::default()
    };
    let store: SharedStore = std::sync::Arc::new(MemoryStore::new());
    let auth = auth_with(store, options, now()).await;
    user(&auth, "root").await;
    let named = |name: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        if let Some(name) = name {
            headers.insert("x-user", http::HeaderValue::from_static(name));
        }
        let mut extensions = http::Extensions::new();
        if let Some(vouched) = auth.take_trusted_headers(&mut headers, Some([10, 0, 0, 1].into())) {
            extensions.insert(vouched);
        }
        extensions
    };
    let ada = named(Some("ada"));
    let vouched = ada.get::<Vouched>().expect("named").clone();
    let fresh = auth.sign_in_vouched(&vouched, &Client::default(), now()).await.expect("signed in");
    let account = auth.user(fresh.session.user()).expect("an account");
    let route = crate::auth::fixture::port("amber", 3000);
    let cookie = auth.host_cookie(&fresh.session.id, &route, now());
    for (extensions, expected) in [(named(None), true), (ada, true), (named(Some("eve")), false)] {
        let at_gateway = auth.by_gateway_request(&cookies(&[sent_back(&fresh.set_cookie)]), &extensions, now());
        let at_host = auth.by_host_cookie(&cookies(&[sent_back(&cookie)]), &route, now());
        assert!(
            matches!(&at_host, Presented::Valid(identity) if identity.user == account.id),
            "{at_host:?}"
        );
        let at_host = auth.unless_contradicted(at_host, &extensions);
        for presented in [at_gateway, at_host] {
            assert_eq!(matches!(presented, Presented::Valid(_)), expected, "{presented:?}");
            assert!(expected || presented == Presented::Invalid, "never anonymous");
        }
    }
}

#[tokio::test]
async fn sess_3_the_suspended_stay_out() {
    let bench = Bench::new(|_| {}).await;
    assert!(bench.sign_in().await.is_ok());
    let ada = bench.account("ada").id.clone();
    let open = bench.auth.sessions_of(&ada)[0].ended();
    bench.auth.suspend(&ada, true, &Actor::gateway(), now()).await.expect("suspended");
    assert!(open.is_cancelled());
    let shown = "ada@example.com".to_owned();
    assert_eq!(bench.sign_in().await, Err(Reason::Suspended { shown }));
    bench.auth.suspend(&ada, false, &Actor::gateway(), now()).await.expect("back");
    assert_eq!(bench.sign_in().await, Ok("ada".into()));
}
