//! Machines of people's own: one token, one machine, and nobody here ends what runs on it.

use secrecy::ExposeSecret as _;

use super::*;

#[tokio::test]
async fn a_token_makes_one_machine_a_codespace_of_its_maker_within_an_hour() {
    let bench = bench().await;
    let by = Actor::default();
    let join = async |token: &str, name: &str| bench.spaces.join_machine(&token.to_owned().into(), name, &by).await;
    let token = bench.spaces.register_machine(&bench.owner, &by).expect("a token").token;
    let bad = join(token.expose_secret(), "a\nb").await;
    assert!(matches!(bad, Err(CodespaceError::BadChange(_))), "a bad name uses nothing up");
    let joined = join(token.expose_secret(), "workstation").await.expect("it joins");
    let codespace = bench.spaces.find(&joined.name).expect("it is there");
    assert_eq!((codespace.owner(), codespace.snapshot().phase()), (&bench.owner, Phase::Running));
    assert!(joined.orders.repository.is_none() && joined.orders.prepared);
    let credential = &joined.orders.credential.0;
    assert_eq!(
        bench.spaces.inner.verify(credential),
        Verdict::Current(joined.name.clone(), Generation(1))
    );
    assert_eq!(bench.spaces.inner.verify(token.expose_secret()), Verdict::Unknown);
    let late = bench.spaces.register_machine(&bench.owner, &by).expect("a token").token;
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
async fn nobody_stops_a_machine_of_ones_own_and_removing_it_asks_for_no_work() {
    let bench = bench().await;
    let by = Actor::default();
    let token = bench.spaces.register_machine(&bench.owner, &by).expect("a token").token;
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
