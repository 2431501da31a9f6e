//! Which codespaces are told what their owner keeps.

use super::*;

#[tokio::test]
async fn what_its_owner_keeps_is_told_where_the_owner_wants_it() {
    let bench = bench().await;
    let belongings = &bench.spaces.inner.deps.belongings;
    let name = "A".parse().expect("a name");
    let value = String::from("x").into();
    belongings
        .set_secret(&bench.owner, &name, None, &value, &Actor::default())
        .await
        .expect("kept");
    let told = |codespace: &Codespace| {
        let personal = bench.spaces.inner.personal(codespace.name());
        personal.is_some_and(|personal| personal.variables.contains_key("A"))
    };
    let with = bench.create().await;
    let wanted = NewCodespace {
        personal: Some(false),
        ..bench.wanted()
    };
    let (without, created) = bench.spaces.create(wanted, &Actor::default()).await.expect("it is created");
    assert_eq!((created, told(&with), told(&without)), (Created::New, true, false));
    let change = CodespaceChange {
        personal: Some(true),
        ..CodespaceChange::default()
    };
    bench
        .spaces
        .change(without.name(), change, &Actor::default())
        .await
        .expect("changed");
    assert!(told(&without));
}
