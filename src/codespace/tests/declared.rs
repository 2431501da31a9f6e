//! What a repository's `devcontainer.json` says of ports, and what only their owner can.

use super::*;
use crate::{devcontainer::PortsAsWritten, domain::ShareId, protocol::tunnel::Endpoint};

fn declared(text: &str) -> FromAgent {
    let ports = PortsAsWritten::read(text).expect("it is well-formed");
    FromAgent::Declared { ports }
}

fn shown(codespace: &Codespace, number: u16) -> Option<(bool, Option<String>, String)> {
    let snapshot = codespace.snapshot();
    let view = snapshot.ports.get(&port(number))?;
    Some((
        view.listening.is_some(),
        view.label().map(str::to_owned),
        view.protocol().to_owned(),
    ))
}

#[tokio::test]
async fn a_port_of_a_service_beside_it_is_called_by_that_until_the_codespace_has_it() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let mut written = PortsAsWritten::read(r#"{ "forwardPorts": ["db:5432"] }"#).expect("it is well-formed");
    written.settle(&[("db".to_owned(), "10.213.0.3".parse().expect("an address"))].into(), &[]);
    say(&codespace, 1, FromAgent::Declared { ports: written }).await;
    reaches(&codespace, |now| now.ports.contains_key(&port(5432))).await;
    let called = Some("db:5432".to_owned());
    assert_eq!(shown(&codespace, 5432), Some((false, called.clone(), "http".into())));
    let listens = |beside: Option<&str>| {
        let FromAgent::Ports { mut ports } = listening(5432) else {
            panic!("ports")
        };
        ports[0].beside = beside.map(str::to_owned);
        FromAgent::Ports { ports }
    };
    let is_beside = |now: &Snapshot| Some(now.ports.get(&port(5432))?.listening.as_ref()?.beside.is_some());
    say(&codespace, 1, listens(Some("db"))).await;
    reaches(&codespace, |now| is_beside(now) == Some(true)).await;
    assert_eq!(shown(&codespace, 5432), Some((true, called.clone(), "http".into())));
    assert_eq!(codespace.snapshot().ports[&port(5432)].settings.visibility, Visibility::Private);
    say(&codespace, 1, listens(None)).await;
    reaches(&codespace, |now| is_beside(now) == Some(false)).await;
    assert_eq!(
        shown(&codespace, 5432),
        Some((true, None, "http".into())),
        "it is the codespace's own now"
    );
    say(&codespace, 1, FromAgent::Ports { ports: Vec::new() }).await;
    reaches(&codespace, |now| is_beside(now).is_none()).await;
    assert_eq!(shown(&codespace, 5432), Some((false, called, "http".into())));
}

#[tokio::test]
async fn what_the_repository_declares_holds_where_nothing_is_set() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let file = r#"{ "forwardPorts": [5432],
        "portsAttributes": { "3000": { "label": "Web", "protocol": "https" }, "9229": { "onAutoForward": "ignore" } } }"#;
    say(&codespace, 1, declared(file)).await;
    reaches(&codespace, |now| now.ports.contains_key(&port(5432))).await;
    assert_eq!(
        shown(&codespace, 5432),
        Some((false, None, "http".into())),
        "listed before it listens"
    );
    let mut ports = Vec::new();
    for (number, noise) in [(3000, None), (9229, None), (9230, Some("debugger")), (5432, Some("debugger"))] {
        let FromAgent::Ports { ports: mut one } = listening(number) else {
            panic!("ports")
        };
        one[0].noise = noise.map(str::to_owned);
        ports.append(&mut one);
    }
    say(&codespace, 1, FromAgent::Ports { ports }).await;
    reaches(&codespace, |now| now.ports.contains_key(&port(3000))).await;
    assert_eq!(shown(&codespace, 3000), Some((true, Some("Web".into()), "https".into())));
    assert_eq!(
        shown(&codespace, 5432),
        Some((true, None, "http".into())),
        "it is declared, so it is no noise"
    );
    assert_eq!((shown(&codespace, 9229), shown(&codespace, 9230)), (None, None));

    let change = PortChange {
        protocol: Some("http".into()),
        label: Some(Some("Mine".into())),
        ..PortChange::default()
    };
    for number in [3000, 9230] {
        let changed = bench
            .spaces
            .change_port(codespace.name(), port(number), change.clone(), &Actor::default())
            .await;
        assert!(changed.expect("it is changed").listening.is_some());
    }
    assert_eq!(
        shown(&codespace, 3000),
        Some((true, Some("Mine".into()), "http".into())),
        "what is set counts more"
    );
    assert_eq!(shown(&codespace, 9230), Some((true, Some("Mine".into()), "http".into())));
    say(&codespace, 1, declared("{}")).await;
    reaches(&codespace, |now| !now.ports.contains_key(&port(5432))).await;
    let snapshot = codespace.snapshot();
    assert!(snapshot.ports.values().all(|view| view.settings.visibility == Visibility::Private));
}

#[tokio::test]
async fn share_1_what_a_repository_asks_to_share_is_shared_by_its_owner_alone() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let ask = |ports: &str| declared(&format!(r#"{{ "customizations": {{ "portico": {{ "ports": {ports} }} }} }}"#));
    let hash = |codespace: &Codespace| codespace.snapshot().offer().map(|offer| offer.id());
    let visibility = |codespace: &Codespace, number| codespace.snapshot().visibility(port(number), bench.clock.now());
    let decide = async |hash: String, decision| bench.spaces.decide_offer(codespace.name(), hash, decision, &Actor::default()).await;

    say(&codespace, 1, ask(r#"{ "3000": "public", "8000": "org" }"#)).await;
    reaches(&codespace, |now| now.offer().is_some()).await;
    assert_eq!(visibility(&codespace, 3000), Visibility::Private, "asking opens nothing");
    let first = hash(&codespace).expect("an offer");
    let wrong = decide("00".repeat(32), OfferDecision::Accept).await;
    assert!(matches!(wrong, Err(CodespaceError::BadChange(BadChange::NoSuchOffer))));
    decide(first.clone(), OfferDecision::Accept).await.expect("accepted");
    assert_eq!(
        [3000, 8000].map(|number| visibility(&codespace, number)),
        [Visibility::Public, Visibility::Org]
    );
    assert_eq!(hash(&codespace), None);
    assert!(decide(first, OfferDecision::Accept).await.is_err(), "once");

    say(&codespace, 1, ask(r#"{ "9000": "public" }"#)).await;
    reaches(&codespace, |now| now.offer().is_some()).await;
    let second = hash(&codespace).expect("another content is another question");
    decide(second, OfferDecision::Dismiss).await.expect("dismissed");
    assert_eq!(visibility(&codespace, 9000), Visibility::Private);
    say(&codespace, 1, ask(r#"{ "3000": "public", "8000": "org" }"#)).await;
    say(&codespace, 1, ask(r#"{ "9000": "public", }"#)).await;
    say(&codespace, 1, listening(9000)).await;
    reaches(&codespace, |now| now.ports.contains_key(&port(9000))).await;
    assert_eq!(hash(&codespace), None, "what was decided is not asked again");
    let kept = bench.store.offer_decisions().await.expect("decisions");
    assert_eq!(kept.iter().filter(|decision| decision.accepted).count(), 1);
    assert_eq!(kept.len(), 2);
}

fn link_to(port: Port) -> NewShare {
    NewShare {
        name: String::new(),
        terms: crate::domain::ShareTerms {
            port,
            kind: crate::domain::ShareKind::People,
            path: crate::domain::SharePath::everything(),
            methods: crate::domain::ShareMethods::default(),
            expires_at: None,
            revoked_at: None,
        },
        password: None,
        max_uses: None,
    }
}

#[tokio::test]
async fn share_1_what_was_shared_is_not_another_server_that_has_its_number() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let (name, number, by) = (codespace.name(), port(8080), Actor::default());
    let mut written = PortsAsWritten::read(r#"{ "forwardPorts": ["admin:8080"] }"#).expect("it is well-formed");
    written.settle(&[("admin".to_owned(), "10.213.0.3".parse().expect("an address"))].into(), &[]);
    let leads = async |beside: Option<&str>| {
        let FromAgent::Ports { mut ports } = listening(8080) else {
            panic!("ports")
        };
        ports[0].beside = beside.map(str::to_owned);
        say(&codespace, 1, FromAgent::Ports { ports }).await;
        let is_so = |now: &Snapshot| now.ports.get(&number).is_some_and(|view| view.listening.is_some()) && now.beside(number) == beside;
        reaches(&codespace, is_so).await;
    };
    let kim = UserId("kim".into());
    let set = async |visibility| {
        let change = PortChange {
            visibility: Some(visibility),
            users: Some(vec![kim.clone()]),
            ..PortChange::default()
        };
        bench.spaces.change_port(name, number, change, &by).await.expect("it is set");
    };
    let opens = |link: &ShareId| {
        let now = codespace.snapshot();
        let share = &now.shares[link];
        (
            now.visibility(number, bench.clock.now()),
            now.is_named(number, &kim),
            now.is_for(share),
            now.endpoint(number),
        )
    };
    let (own, beside) = (Endpoint::Port(number), Endpoint::Beside(number));

    leads(None).await;
    set(Visibility::Public).await;
    let link = bench
        .spaces
        .add_share(name, link_to(number), &by)
        .await
        .expect("a link")
        .record
        .id
        .clone();
    say(&codespace, 1, FromAgent::Declared { ports: written }).await;
    reaches(&codespace, |now| now.declaration.beside(number).is_some()).await;
    assert_eq!(opens(&link), (Visibility::Public, true, true, own));

    say(&codespace, 1, FromAgent::Ports { ports: Vec::new() }).await;
    reaches(&codespace, |now| now.beside(number).is_some()).await;
    assert_eq!(
        opens(&link),
        (Visibility::Private, false, false, beside),
        "its own server went, and the number is admin's"
    );
    leads(Some("admin")).await;
    assert_eq!(opens(&link), (Visibility::Private, false, false, beside));
    leads(None).await;
    assert_eq!(opens(&link), (Visibility::Public, true, true, own), "it is what was shared again");

    leads(Some("admin")).await;
    set(Visibility::Org).await;
    assert_eq!(opens(&link), (Visibility::Org, true, false, beside));
    let kept = &bench.store.ports().await.expect("ports")[0];
    assert_eq!((kept.beside.as_deref(), kept.visibility), (Some("admin"), Visibility::Org));
    leads(Some("other")).await;
    assert_eq!(
        opens(&link),
        (Visibility::Private, false, false, beside),
        "another service is another"
    );
    leads(None).await;
    assert_eq!(
        opens(&link),
        (Visibility::Private, false, true, own),
        "what was set later was for admin"
    );
    let label = PortChange {
        label: Some(Some("Mine".into())),
        ..PortChange::default()
    };
    bench.spaces.change_port(name, number, label, &by).await.expect("it is set");
    leads(Some("admin")).await;
    assert_eq!(
        opens(&link),
        (Visibility::Org, true, false, beside),
        "a label says nothing of whom it is shared with"
    );

    let gone = AgentEvent::Disconnected {
        generation: Generation(1),
        link: 1,
        reason: "it went".into(),
    };
    send(&codespace, gone).await;
    reaches(&codespace, |now| !now.connected).await;
    assert_eq!(
        opens(&link),
        (Visibility::Org, true, true, beside),
        "nothing is reached, and what is set is shown"
    );
}
