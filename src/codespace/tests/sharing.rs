//! What is shared, for how long, and what an operator lets be shared.

use super::*;
use crate::domain::Extent;

#[tokio::test]
async fn share_3_and_6_a_lower_ceiling_closes_what_is_open_and_a_higher_one_opens_it_again() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let name = codespace.name().clone();
    let open = |visibility| PortChange {
        visibility: Some(visibility),
        ..PortChange::default()
    };
    let by = Actor::default();
    bench
        .spaces
        .change_port(&name, port(3000), open(Visibility::Public), &by)
        .await
        .expect("it is allowed");
    bench.spaces.add_share(&name, link(None), &by).await.expect("it is allowed");
    bench.spaces.shutdown().await;
    for (most, expected, links) in [
        (Visibility::Org, Visibility::Org, false),
        (Visibility::Private, Visibility::Private, false),
        (Visibility::Public, Visibility::Public, true),
    ] {
        let mut deps = deps(&bench.store, &bench.runtime, &bench.auth, &bench.clock);
        deps.ceiling = Ceiling { most, links: true };
        let spaces = Codespaces::load(deps).await.expect("the store is well");
        let snapshot = spaces.find(&name).expect("it is there").snapshot();
        assert_eq!(snapshot.visibility(port(3000), bench.clock.now()), expected);
        assert_eq!(
            snapshot.ports[&port(3000)].settings.visibility,
            Visibility::Public,
            "what was set stays"
        );
        assert_eq!(spaces.add_share(&name, link(None), &by).await.is_ok(), links);
        let refused = spaces.change_port(&name, port(3001), open(Visibility::Public), &by).await;
        assert_eq!(refused.is_ok(), links, "{refused:?}");
        spaces.shutdown().await;
    }
}

fn link(max_uses: Option<u64>) -> NewShare {
    NewShare {
        name: String::new(),
        terms: crate::domain::ShareTerms {
            port: port(3000),
            kind: crate::domain::ShareKind::People,
            path: crate::domain::SharePath::everything(),
            methods: crate::domain::ShareMethods::default(),
            expires_at: None,
            revoked_at: None,
        },
        password: None,
        max_uses,
    }
}

#[tokio::test]
async fn share_5_what_is_closed_stays_so_over_restarts_until_it_is_opened_again() {
    let bench = bench().await;
    let name = bench.running().await.name().clone();
    let by = Actor::default();
    let open = |visibility| PortChange {
        visibility: Some(visibility),
        users: Some(vec![UserId("kim".into())]),
        ..PortChange::default()
    };
    bench
        .spaces
        .change_port(&name, port(3000), open(Visibility::Public), &by)
        .await
        .expect("it is allowed");
    bench.spaces.shutdown().await;
    let now = bench.clock.now();
    let seen = |spaces: &Codespaces| {
        let snapshot = spaces.find(&name).expect("it is there").snapshot();
        let closure = snapshot.closure(port(3000)).map(|closure| closure.reason.clone());
        let (links, named) = (
            snapshot.allows_links(port(3000)),
            snapshot.is_named(port(3000), &UserId("kim".into())),
        );
        (snapshot.visibility(port(3000), now), links, named, closure)
    };
    for (extent, reaches) in [
        (Extent::All, true),
        (Extent::User(bench.owner.clone()), true),
        (Extent::User(UserId("somebody".into())), false),
        (Extent::Codespace(name.clone()), true),
        (Extent::Port(name.clone(), port(3000)), true),
        (Extent::Port(name.clone(), port(3001)), false),
    ] {
        let expected = if reaches {
            (Visibility::Private, false, false, Some("why".to_owned()))
        } else {
            (Visibility::Public, true, true, None)
        };
        let spaces = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
        spaces.close(extent.clone(), "why", &by).await.expect("closed");
        assert_eq!(seen(&spaces), expected, "{extent}");
        spaces.shutdown().await;
        let spaces = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
        assert_eq!(seen(&spaces), expected, "{extent}");
        let refused = spaces.change_port(&name, port(3000), open(Visibility::Public), &by).await;
        assert_eq!(refused.is_ok(), !reaches, "{extent}");
        assert!(spaces.open_again(&extent, &by).await.expect("open"));
        assert!(!spaces.open_again(&extent, &by).await.expect("open already"));
        assert_eq!(seen(&spaces), (Visibility::Public, true, true, None), "{extent}");
        spaces.shutdown().await;
    }
    let spaces = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    for reason in [" ", "a\nb", &"x".repeat(201)] {
        assert!(spaces.close(Extent::All, reason, &by).await.is_err(), "{reason:?}");
    }
}

#[tokio::test]
async fn a_link_that_is_opened_a_thousand_times_is_stored_and_told_of_once() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let by = Actor {
        address: Some("192.0.2.1".into()),
        ..Actor::default()
    };
    let made = bench.spaces.add_share(codespace.name(), link(None), &by).await.expect("a link");
    for _ in 0..1000 {
        codespace.use_share(&made.record.id, &by).await.expect("it is open");
    }
    let uses = |spaces: &Codespaces| spaces.find(codespace.name()).expect("it is there").snapshot().shares[&made.record.id].uses;
    assert_eq!(
        bench.store.shares().await.expect("links")[0].uses,
        1,
        "the count follows at the next use a minute later"
    );
    bench.clock.advance(Duration::seconds(61));
    codespace.use_share(&made.record.id, &by).await.expect("it is open");
    assert_eq!(
        (bench.store.shares().await.expect("links")[0].uses, uses(&bench.spaces)),
        (1001, 1001)
    );
    let limited = bench.spaces.add_share(codespace.name(), link(Some(2)), &by).await.expect("a link");
    let mut used = 0;
    while codespace.use_share(&limited.record.id, &by).await.is_ok() {
        used += 1;
    }
    assert_eq!(used, 2, "a limit holds exactly");
    let question = crate::store::AuditQuestion {
        action: Some("share.opened".into()),
        limit: 5000,
        ..Default::default()
    };
    let told = async {
        loop {
            let told = bench.store.audit(&question).await.expect("events").len();
            if told >= 4 {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = timeout(Wait::from_secs(60), told).await.expect("it takes too long");
    assert_eq!(told, 4, "two of the one, and each of the other");
}

#[tokio::test]
async fn share_3_a_ceiling_is_lowered_while_the_gateway_runs_and_says_what_it_closes() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let (name, by, three) = (codespace.name().clone(), Actor::operator(), port(3000));
    let open = PortChange {
        visibility: Some(Visibility::Public),
        ..PortChange::default()
    };
    bench.spaces.change_port(&name, three, open, &by).await.expect("it is allowed");
    let share = bench.spaces.add_share(&name, link(None), &by).await.expect("it is allowed").record;
    let lower = Ceiling {
        most: Visibility::Org,
        links: true,
    };
    let closing = |what| Closing {
        codespace: name.clone(),
        owner: bench.owner.clone(),
        port: three,
        what,
    };
    let expected = [
        closing(Closed::Visibility {
            now: Visibility::Public,
            becomes: Visibility::Org,
        }),
        closing(Closed::Link {
            id: share.id.clone(),
            name: String::new(),
        }),
    ];
    let old = codespace.snapshot();
    let is = |visibility| assert_eq!(old.visibility(three, bench.clock.now()), visibility, "whatever snapshot is asked");

    assert_eq!(bench.spaces.would_close(None, lower), expected);
    is(Visibility::Public);
    let mut changes = codespace.changes();
    assert_eq!(bench.spaces.set_ceiling(None, lower, &by).await.expect("stored"), expected);
    assert!(changes.has_changed().expect("it is there"), "open connections ask again");
    is(Visibility::Org);
    assert!(bench.spaces.add_share(&name, link(None), &by).await.is_err());
    changes.borrow_and_update();
    assert_eq!(bench.spaces.set_ceiling(None, lower, &by).await.expect("stored"), []);
    assert!(!changes.has_changed().expect("it is there"), "nothing is different");

    let again = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    let survived = again.find(&name).expect("it is there").snapshot();
    assert_eq!(survived.visibility(three, bench.clock.now()), Visibility::Org);
    again.shutdown().await;

    bench.spaces.set_ceiling(None, Ceiling::default(), &by).await.expect("stored");
    assert_eq!(bench.store.ceilings().await.expect("read"), []);
    is(Visibility::Public);
    bench.spaces.configure_ceiling(lower).await;
    is(Visibility::Org);
    bench.spaces.set_ceiling(None, Ceiling::default(), &by).await.expect("stored");
    is(Visibility::Org);
}

#[tokio::test]
async fn share_3_a_ceiling_of_an_organisation_follows_its_members() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let (name, by, three) = (codespace.name().clone(), Actor::operator(), port(3000));
    let open = PortChange {
        visibility: Some(Visibility::Public),
        ..PortChange::default()
    };
    bench.spaces.change_port(&name, three, open, &by).await.expect("it is allowed");
    let eng = crate::domain::Organisation::parse("eng").expect("a name");
    let lower = Ceiling {
        most: Visibility::Private,
        links: true,
    };
    assert_eq!(bench.spaces.set_ceiling(Some(eng), lower, &by).await.expect("stored"), []);
    let of = |names: &[&str]| names.iter().filter_map(|name| crate::domain::Organisation::parse(name)).collect();
    for (from, to, escapes) in [
        (&["eng"][..], &[][..], true),
        (&["eng", "art"], &["art"], true),
        (&["eng", "art"], &["eng"], false),
        (&["art"], &[], false),
        (&[], &["eng"], false),
    ] {
        assert_eq!(bench.spaces.escapes_ceiling(&of(from), &of(to)), escapes, "{from:?} to {to:?}");
    }
    let mut changes = codespace.changes();
    for (group, expected) in [("eng", Visibility::Private), ("art", Visibility::Public)] {
        changes.borrow_and_update();
        let identity = crate::store::IdentityRecord {
            issuer: "https://id.example".into(),
            subject: "mara".into(),
            user: bench.owner.clone(),
            provider: "id".into(),
            shown: "mara".into(),
            organisations: Some(vec![crate::domain::Organisation::parse(group).expect("a name")]),
            withheld: false,
            linked_at: bench.clock.now(),
            used_at: bench.clock.now(),
        };
        bench.auth.keep_identity(identity).await.expect("kept");
        let lowered = async {
            while codespace.snapshot().visibility(three, bench.clock.now()) != expected {
                changes.changed().await.expect("it is there");
            }
        };
        timeout(Wait::from_secs(60), lowered).await.expect("it follows");
    }
}

#[tokio::test]
async fn a_share_ends_at_its_deadline_and_watchers_are_told() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let deadline = bench.clock.now() + Duration::hours(2);
    let change = PortChange {
        visibility: Some(Visibility::Public),
        expires_at: Some(Some(deadline)),
        ..PortChange::default()
    };
    let view = bench
        .spaces
        .change_port(codespace.name(), port(3000), change, &Actor::default())
        .await
        .expect("it is changed");
    assert_eq!(view.visibility(bench.clock.now()), Visibility::Public);
    assert_eq!(bench.store.ports().await.expect("well").len(), 1);
    let past = PortChange {
        expires_at: Some(Some(bench.clock.now())),
        ..PortChange::default()
    };
    let refused = bench
        .spaces
        .change_port(codespace.name(), port(3000), past, &Actor::default())
        .await;
    assert!(
        matches!(refused, Err(CodespaceError::BadChange(BadChange::Deadline))),
        "{refused:?}"
    );

    let mut changes = codespace.changes();
    changes.borrow_and_update();
    bench.clock.advance(Duration::hours(2));
    assert_eq!(codespace.snapshot().visibility(port(3000), bench.clock.now()), Visibility::Private);
    codespace.touch(Activity::Editor);
    timeout(Wait::from_secs(60), changes.changed())
        .await
        .expect("it is told")
        .expect("its task runs");
    let settings = reaches(&codespace, |now| now.ports.values().all(|view| view.settings.expires_at.is_none())).await;
    assert_eq!(settings.visibility(port(3000), OffsetDateTime::UNIX_EPOCH), Visibility::Private);
}
