//! Machines of people's own: one token, one machine, and nobody here ends what runs on it.

use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::{Credential, Scope};

#[tokio::test]
async fn a_token_makes_one_machine_a_codespace_of_its_maker_within_an_hour() {
    let bench = bench().await;
    let by = Actor::default();
    let join = async |token: &str, name: &str| bench.spaces.join_machine(&token.to_owned().into(), name, &by).await;
    let token = bench
        .spaces
        .register_machine(&bench.owner, &Credential::Operator, &by)
        .expect("a token")
        .token;
    let bad = join(token.expose_secret(), "a\nb").await;
    assert!(matches!(bad, Err(CodespaceError::BadChange(_))), "a bad name uses nothing up");
    let joined = join(token.expose_secret(), "workstation").await.expect("it joins");
    let codespace = bench.spaces.find(&joined.name).expect("it is there");
    assert_eq!((codespace.owner(), codespace.snapshot().phase()), (&bench.owner, Phase::Running));
    assert!(joined.orders.repository.is_none() && joined.orders.prepared);
    assert!(!joined.personal && !codespace.snapshot().record.personal, "its owner says when");
    assert!(bench.spaces.inner.personal(&joined.name).is_none());
    let credential = &joined.orders.credential.0;
    assert_eq!(
        bench.spaces.inner.verify(credential),
        Verdict::Current(joined.name.clone(), Generation(1))
    );
    assert_eq!(bench.spaces.inner.verify(token.expose_secret()), Verdict::Unknown);
    let late = bench
        .spaces
        .register_machine(&bench.owner, &Credential::Operator, &by)
        .expect("a token")
        .token;
    bench.clock.advance(Duration::minutes(61));
    for (what, token) in [
        ("used", token.expose_secret()),
        ("late", late.expose_secret()),
        ("made up", "ptm_x"),
        ("none", ""),
    ] {
        let refused = join(token, "thief").await;
        assert!(matches!(refused, Err(CodespaceError::BadRegistration)), "{what}: {refused:?}");
    }
    assert_eq!(bench.spaces.owned_by(&bench.owner).len(), 1);
}

#[tokio::test]
async fn tokens_that_wait_are_listed_and_revoked_by_their_maker() {
    let bench = bench().await;
    let by = Actor::default();
    let make = || {
        bench
            .spaces
            .register_machine(&bench.owner, &Credential::Operator, &by)
            .expect("a token")
    };
    let (first, second) = (make(), make());
    let ids = || {
        bench
            .spaces
            .machine_registrations(&bench.owner)
            .into_iter()
            .map(|one| one.id)
            .collect::<Vec<_>>()
    };
    assert!(ids().len() == 2 && ids().contains(&first.id) && ids().contains(&second.id));
    let other = UserId("somebody-else".into());
    assert!(bench.spaces.machine_registrations(&other).is_empty());
    assert!(!bench.spaces.revoke_machine_registration(&other, &first.id, &by));
    assert!(bench.spaces.revoke_machine_registration(&bench.owner, &first.id, &by));
    assert!(!bench.spaces.revoke_machine_registration(&bench.owner, &first.id, &by));
    let refused = bench.spaces.join_machine(&first.token, "late", &by).await;
    assert!(matches!(refused, Err(CodespaceError::BadRegistration)), "{refused:?}");
    bench
        .spaces
        .join_machine(&second.token, "workstation", &by)
        .await
        .expect("it joins");
    assert_eq!(ids(), [""; 0], "one that was used waits no more");
}

#[tokio::test]
async fn nobody_stops_a_machine_of_ones_own_and_removing_it_asks_for_no_work() {
    let bench = bench().await;
    let by = Actor::default();
    let token = bench
        .spaces
        .register_machine(&bench.owner, &Credential::Operator, &by)
        .expect("a token")
        .token;
    let joined = bench.spaces.join_machine(&token, "workstation", &by).await.expect("it joins");
    let codespace = bench.spaces.find(&joined.name).expect("it is there");
    connect(&codespace, 1).await;
    reaches(&codespace, |now| now.connected).await;
    let stopped = bench.spaces.stop(&joined.name, &by).await;
    assert!(matches!(stopped, Err(CodespaceError::OwnMachine)), "{stopped:?}");
    bench.clock.advance(Duration::hours(24));
    // The task looks at idleness after each thing that it hears.
    say(&codespace, 1, FromAgent::Ports { ports: Vec::new() }).await;
    say(
        &codespace,
        1,
        FromAgent::Step {
            name: "editor".into(),
            state: "done".into(),
            detail: "looked".into(),
        },
    )
    .await;
    reaches(&codespace, |now| now.steps.iter().any(|step| step.detail == "looked")).await;
    assert_eq!(codespace.snapshot().phase(), Phase::Running);
    assert_eq!(codespace.snapshot().idle_at, None);
    bench.spaces.delete(&joined.name, false, &by).await.expect("removed");
    assert_eq!(bench.spaces.inner.verify(&joined.orders.credential.0), Verdict::Ended);
}

#[tokio::test]
async fn sess_3_a_token_is_worth_no_more_than_what_its_maker_was_signed_in_by() {
    let bench = bench().await;
    let (by, now) = (Actor::default(), bench.clock.now());
    let Bench { auth, owner, spaces, .. } = &bench;
    let user = auth.user(owner).expect("the owner");
    let session = async || {
        let opened = auth.open_session(&user, &auth::Client::default(), now).await.expect("a session");
        opened.session.id.clone()
    };
    let token = async || {
        let made = auth.create_token(owner, "ci", Scope::All, None, &by, now).await.expect("a token");
        made.record.id.clone()
    };
    let register = |made_by: &Credential| spaces.register_machine(owner, made_by, &by).expect("a token").token;
    let refused = async |what: &str, token: &secrecy::SecretString| {
        let refused = spaces.join_machine(token, "thief", &by).await;
        assert!(matches!(refused, Err(CodespaceError::BadRegistration)), "{what}: {refused:?}");
    };
    let one = session().await;
    let made = register(&Credential::Cookie(one.clone()));
    auth.sign_out(&one, &by, now).await.expect("signed out");
    refused("signed out", &made).await;
    let made = register(&Credential::Cookie(session().await));
    auth.sign_out_everywhere(owner, &by, now).await.expect("signed out");
    refused("signed out everywhere", &made).await;
    let revoked = token().await;
    let made = register(&Credential::Token(revoked.clone()));
    auth.revoke_token(owner, &revoked, &by, now).await.expect("revoked");
    refused("revoked", &made).await;
    refused("made by what had ended", &register(&Credential::Token(revoked))).await;
    let good = token().await;
    let (made, operators) = (register(&Credential::Token(good.clone())), register(&Credential::Operator));
    auth.suspend(owner, true, &by, now).await.expect("suspended");
    refused("suspended", &made).await;
    refused("suspended", &operators).await;
    auth.suspend(owner, false, &by, now).await.expect("let in again");
    refused("was suspended", &made).await;
    let joined = spaces.join_machine(&register(&Credential::Token(good)), "workstation", &by).await;
    assert!(joined.is_ok(), "{joined:?}");
}

#[tokio::test]
async fn a_token_is_used_up_by_a_machine_that_joins_and_by_nothing_else() {
    let bench = bench().await;
    let by = Actor::default();
    let token = bench
        .spaces
        .register_machine(&bench.owner, &Credential::Operator, &by)
        .expect("a token")
        .token;
    let mut deps = deps(&bench.store, &bench.runtime, &bench.auth, &bench.clock);
    deps.codespaces_per_user = 1;
    let spaces = Codespaces::load(deps).await.expect("loaded");
    let register = || {
        spaces
            .register_machine(&bench.owner, &Credential::Operator, &by)
            .expect("a token")
            .token
    };
    let (first, second) = (register(), register());
    let joined = spaces.join_machine(&first, "one", &by).await.expect("it joins");
    for _ in 0..2 {
        let full = spaces.join_machine(&second, "two", &by).await;
        assert!(matches!(full, Err(CodespaceError::TooMany { limit: 1 })), "{full:?}");
    }
    let foreign = spaces.join_machine(&token, "two", &by).await;
    assert!(
        matches!(foreign, Err(CodespaceError::BadRegistration)),
        "another gateway's: {foreign:?}"
    );
    spaces.delete(&joined.name, true, &by).await.expect("removed");
    let both = tokio::join!(spaces.join_machine(&second, "two", &by), spaces.join_machine(&second, "two", &by));
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    spaces.shutdown().await;
}
