//! Containers that are made anew: once for a checkout, and when their user says so.

use super::*;
use crate::{devcontainer::Notices, protocol::tunnel::Configured};

#[tokio::test]
async fn a_checkout_that_says_what_its_container_is_has_it_made_once() {
    let bench = bench().await;
    bench.runtime.make_containers(true);
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let orders = bench.runtime.bootstrap(codespace.name()).expect("it was started");
    assert!(orders.container.expect("it is a container").awaits);
    connect(&codespace, 1).await;
    say(&codespace, 1, step(StepName::Clone, StepState::Done)).await;
    say(&codespace, 1, FromAgent::Awaits).await;
    bench.started(&codespace, 2).await;
    let orders = bench.runtime.bootstrap(codespace.name()).expect("it was started again");
    assert!(orders.prepared && !orders.container.expect("it is a container").awaits);
    assert!(bench.runtime.calls().contains(&format!("configure {} Checkout", codespace.name())));
    connect(&codespace, 2).await;
    say(&codespace, 2, step(StepName::Clone, StepState::Skipped)).await;
    // An agent that says so again is not heard: it could have containers made for ever.
    say(&codespace, 2, FromAgent::Awaits).await;
    let configured = Configured {
        changed: true,
        recovery: None,
        notices: Notices::default(),
    };
    say(&codespace, 2, FromAgent::Configured { configured }).await;
    let now = reaches(&codespace, |now| now.phase() == Phase::Running && now.configured.changed).await;
    assert_eq!(now.generation(), Generation(2));
    let clone = now.steps.iter().find(|step| step.name == StepName::Clone).expect("it is a step");
    assert_eq!(clone.state, StepState::Done);
}

#[tokio::test]
async fn a_rebuild_makes_it_anew_and_a_directory_has_none() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let rebuild = async || bench.spaces.rebuild(codespace.name(), &Actor::default()).await;
    assert!(matches!(rebuild().await, Err(CodespaceError::StillStarting)));
    connect(&codespace, 1).await;
    say(&codespace, 1, FromAgent::Prepared).await;
    reaches(&codespace, |now| now.phase() == Phase::Running).await;
    assert!(matches!(rebuild().await, Err(CodespaceError::NoContainer)));
    bench.runtime.make_containers(true);
    rebuild().await.expect("it is a container now");
    bench.started(&codespace, 2).await;
    assert!(bench.runtime.calls().contains(&format!("configure {} Anew", codespace.name())));
}

fn step(name: StepName, state: StepState) -> FromAgent {
    FromAgent::Step {
        name: name.to_string(),
        state: state.to_string(),
        detail: String::new(),
    }
}
