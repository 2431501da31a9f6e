//! What an operator lets be shared.

use super::*;

#[tokio::test]
async fn share_3_and_6_a_lower_ceiling_closes_what_is_open_and_a_higher_one_opens_it_again() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let name = codespace.name().clone();
    let open = |visibility| PortChange {
        visibility: Some(visibility),
        ..PortChange::default()
    };
    let new = || NewShare {
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
        max_uses: None,
    };
    let by = Actor::default();
    bench
        .spaces
        .change_port(&name, port(3000), open(Visibility::Public), &by)
        .await
        .expect("it is allowed");
    bench.spaces.add_share(&name, new(), &by).await.expect("it is allowed");
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
        assert_eq!(spaces.add_share(&name, new(), &by).await.is_ok(), links);
        let refused = spaces.change_port(&name, port(3001), open(Visibility::Public), &by).await;
        assert_eq!(refused.is_ok(), links, "{refused:?}");
        spaces.shutdown().await;
    }
}
