//! How long a codespace goes on by itself: warnings, leases, lifetimes, and what is forgotten.

use super::{
    renewal::{door, greet, hear, tell},
    *,
};
use crate::{
    lifecycle::Rules,
    protocol::tunnel::{ActivityKind, HeldLease, OutOfMemory, Stopping, ToAgent},
};

const DAY: Wait = Wait::from_secs(24 * 3600);

impl Bench {
    async fn under(&self, rules: Rules) -> Codespaces {
        let deps = Deps {
            rules,
            ..deps(&self.store, &self.runtime, &self.auth, &self.clock)
        };
        Codespaces::load(deps).await.expect("the store is well")
    }
}

/// Has its task look at the clock.
async fn poke(codespace: &Codespace, generation: u64) {
    say(codespace, generation, FromAgent::Ports { ports: Vec::new() }).await;
}

fn leases(held: &[(&str, OffsetDateTime)]) -> FromAgent {
    let lease = |(id, until): &(&str, OffsetDateTime)| HeldLease {
        inside: false,
        id: (*id).to_owned(),
        pid: 42,
        what: "make".into(),
        until: until.unix_timestamp(),
    };
    FromAgent::Leases {
        leases: held.iter().map(lease).collect(),
    }
}

#[tokio::test]
async fn its_people_are_warned_before_it_stops_and_can_keep_it() {
    let bench = bench().await;
    let codespace = bench.running().await;
    assert!(!codespace.snapshot().stops_soon);
    bench.clock.advance(Duration::minutes(26));
    let mut events = bench.spaces.subscribe();
    poke(&codespace, 1).await;
    let soon = reaches(&codespace, |now| now.stops_soon).await;
    assert_eq!(soon.idle_at, Some(bench.clock.now() + Duration::minutes(4)));
    timeout(Wait::from_secs(60), events.recv())
        .await
        .expect("all are told")
        .expect("they are");
    bench.spaces.keep(codespace.name()).await.expect("it is kept");
    let kept = reaches(&codespace, |now| !now.stops_soon).await;
    assert_eq!(
        (kept.phase(), kept.idle_at),
        (Phase::Running, Some(bench.clock.now() + Duration::minutes(30)))
    );
}

#[tokio::test]
async fn its_agent_is_told_too_and_again_when_it_comes_back() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let door = door(&bench.spaces).await;
    let credential = bench.runtime.bootstrap(codespace.name()).expect("it runs").credential.0;
    let hello = FromAgent::Hello {
        version: 1,
        direct_key: None,
        renews: false,
        personal: false,
        warned: true,
    };
    // What is said of a stop, whatever else is said.
    let told = async |control: &mut _| loop {
        if let ToAgent::Stopping { stopping } = hear(control).await {
            return stopping;
        }
    };
    let stopping = |minutes: u64, anyway| {
        let after = minutes * 60_000;
        Some(Stopping { after, anyway })
    };
    let mut control = greet(door, &credential, &hello).await.expect("it is current");
    tell(&mut control, &FromAgent::Prepared).await;
    reaches(&codespace, |now| now.is_reachable()).await;
    bench.clock.advance(Duration::minutes(26));
    poke(&codespace, 1).await;
    assert_eq!(told(&mut control).await, stopping(4, false));
    drop(control);
    bench.clock.advance(Duration::minutes(1));
    let mut control = greet(door, &credential, &hello).await.expect("it is current");
    assert_eq!(told(&mut control).await, stopping(3, false));
    let kinds = vec![ActivityKind::Kept];
    tell(&mut control, &FromAgent::Activity { kinds }).await;
    assert_eq!(told(&mut control).await, None);
    let kept = codespace.snapshot();
    assert_eq!(
        (kept.idle_at, kept.awake_because[0].as_str()),
        (
            Some(bench.clock.now() + Duration::minutes(30)),
            "“Keep it awake” was pressed in the editor"
        )
    );
    // Somebody stops it: it does not stop in four minutes because nobody used it.
    bench.clock.advance(Duration::minutes(26));
    poke(&codespace, 1).await;
    assert_eq!(told(&mut control).await, stopping(4, false));
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it runs");
    assert_eq!(told(&mut control).await, None);
}

#[tokio::test]
async fn a_lease_keeps_it_awake_until_it_ends() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let until = bench.clock.now() + Duration::hours(6);
    say(&codespace, 1, leases(&[("a1", until)])).await;
    reaches(&codespace, |now| now.leases.len() == 1).await;
    bench.clock.advance(Duration::hours(5));
    poke(&codespace, 1).await;
    let held = reaches(&codespace, |now| now.awake_because.len() == 1).await;
    assert_eq!(held.awake_because, ["make (process 42) keeps it awake"]);
    assert_eq!((held.phase(), held.idle_at), (Phase::Running, Some(until + Duration::minutes(5))));
    // Its process ends: there is time for a warning, then it stops.
    say(&codespace, 1, leases(&[])).await;
    let warned = reaches(&codespace, |now| now.stops_soon).await;
    assert_eq!(
        (warned.leases.len(), warned.idle_at),
        (0, Some(bench.clock.now() + Duration::minutes(5)))
    );
    bench.clock.advance(Duration::minutes(5));
    poke(&codespace, 1).await;
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
}

#[tokio::test]
async fn it_is_told_that_nobody_knows_how_it_is_and_why_it_was_started_again() {
    let bench = bench().await;
    let codespace = bench.running().await;
    bench.runtime.hide(true);
    let gone = AgentEvent::Disconnected {
        generation: Generation(1),
        link: 1,
        reason: "gone".into(),
    };
    send(&codespace, gone).await;
    let away = reaches(&codespace, |now| now.away_because.is_some()).await;
    assert_eq!((away.phase(), away.away_because.as_deref()), (Phase::Running, Some("out of reach")));
    bench.runtime.crash(codespace.name());
    bench.runtime.hide(false);
    bench.started(&codespace, 2).await;
    connect(&codespace, 2).await;
    let back = reaches(&codespace, Snapshot::is_reachable).await;
    assert_eq!(back.away_because, None);
    let why = back.restarted_because.as_deref();
    assert_eq!(why, Some("what it runs on was out of reach, and it had ended meanwhile"));
}

#[tokio::test]
async fn what_ran_out_of_memory_is_told_until_it_stops() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let ended = |processes, allowed| FromAgent::OutOfMemory(OutOfMemory { processes, allowed });
    say(&codespace, 1, ended(1, Some(256 << 20))).await;
    let told = reaches(&codespace, |now| now.out_of_memory.is_some()).await.out_of_memory.clone();
    let told = told.expect("it is told");
    assert!(
        told.contains("ended a process in it") && told.contains("(256 MiB are allowed)"),
        "{told}"
    );
    say(&codespace, 1, ended(3, None)).await;
    let more = |now: &Snapshot| now.out_of_memory.as_ref().is_some_and(|told| told.contains("3 processes"));
    reaches(&codespace, more).await;
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it stops");
    reaches(&codespace, |now| now.phase() == Phase::Stopped && now.out_of_memory.is_none()).await;
}

#[tokio::test]
async fn no_agent_holds_a_lease_for_longer_than_the_operator_lets_it() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let most = bench.clock.now() + Rules::default().max_lease;
    for _ in 0..2 {
        say(&codespace, 1, leases(&[("a1", bench.clock.now() + Duration::days(365))])).await;
        let held = reaches(&codespace, |now| now.leases.len() == 1).await;
        assert_eq!(held.leases[0].until, most);
        bench.clock.advance(Duration::hours(1));
    }
    bench.clock.advance(Duration::hours(23));
    poke(&codespace, 1).await;
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
}

#[tokio::test]
async fn a_run_ends_after_its_lifetime_used_or_not() {
    let bench = bench().await;
    let rules = Rules {
        max_lifetime: Some(Wait::from_secs(3600)),
        ..Rules::default()
    };
    let bench = Bench {
        spaces: bench.under(rules).await,
        ..bench
    };
    let codespace = bench.running().await;
    for minutes in [25, 25] {
        bench.clock.advance(Duration::minutes(minutes));
        bench.spaces.keep(codespace.name()).await.expect("it is kept");
    }
    let anyway = reaches(&codespace, |now| now.stops_anyway).await;
    assert!(!anyway.stops_soon);
    bench.clock.advance(Duration::minutes(6));
    poke(&codespace, 1).await;
    let soon = reaches(&codespace, |now| now.stops_soon).await;
    assert!(soon.stops_anyway, "nobody is told that use would keep it");
    bench.clock.advance(Duration::minutes(4));
    poke(&codespace, 1).await;
    let stopped = reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    let why = stopped.stopped_because.clone().expect("a reason");
    assert!(why.contains("codespaces.max_lifetime"), "{why}");
    assert_eq!(stopped.record.started_at, None);
}

#[tokio::test]
async fn what_nobody_uses_is_announced_and_then_deleted() {
    let bench = bench().await;
    let codespace = bench.running().await;
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("told to");
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    let rules = Rules {
        retention: Some(30 * DAY),
        ..Rules::default()
    };
    let spaces = bench.under(rules).await;
    let codespace = spaces.find(codespace.name()).expect("it is there");
    let deletes_at = || spaces.deletes_at(&codespace.snapshot().record);
    bench.clock.advance(Duration::days(100));
    spaces.retire().await;
    assert_eq!(deletes_at(), None, "nobody could tell whether its work is pushed: it stays longer");
    bench.clock.advance(Duration::days(14));
    spaces.retire().await;
    assert_eq!(deletes_at(), Some(bench.clock.now() + Duration::days(7)));
    // Somebody says that it is needed.
    spaces.keep(codespace.name()).await.expect("it is kept");
    assert_eq!(deletes_at(), None);
    assert_eq!(bench.store.codespaces().await.expect("well")[0].announced_at, None);
    bench.clock.advance(Duration::days(114));
    spaces.retire().await;
    bench.clock.advance(Duration::days(6));
    spaces.retire().await;
    assert!(spaces.find(codespace.name()).is_some());
    bench.clock.advance(Duration::days(1));
    spaces.retire().await;
    assert!(spaces.find(codespace.name()).is_none() && codespace.is_removed());
    let question = crate::store::AuditQuestion {
        action: Some("codespace".into()),
        limit: 100,
        ..Default::default()
    };
    let wanted = ["codespace.announced", "codespace.expired", "codespace.deleted"];
    let told = async {
        loop {
            let events = bench.store.audit(&question).await.expect("well");
            if wanted.iter().all(|action| events.iter().any(|entry| entry.event.action == *action)) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Wait::from_secs(60), told).await.expect("it is in the audit log");
}
