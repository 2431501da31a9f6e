//! How many replays are under way at once, and for how long.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::{HeaderMap, Version};
use time::OffsetDateTime;

use super::*;
use crate::{
    domain::Port,
    inspect::{Entry, Logs, Opening, Refused, Replay, Replays, Visitor, desk},
};

const SILENT: u16 = 4000;
const FULL: Refused = Refused::OwnersBusy(replays::AT_ONCE_EACH);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An exchange that can be asked for again.
fn entry() -> Entry {
    let log = Logs::default().open(1);
    let opening = Opening {
        at: OffsetDateTime::UNIX_EPOCH,
        trace: "t",
        method: "GET",
        target: "/",
        version: Version::HTTP_11,
        who: &Visitor::Anyone,
        client: CLIENT,
        replay_of: None,
        headers: &HeaderMap::new(),
    };
    let recorded = log.begin(opening).expect("it is on");
    recorded.recording().entry()
}

async fn replay(bench: &Bench, replays: &Replays, port: u16) -> Result<String, Refused> {
    let now = crate::clock::Clock::now(&SystemClock);
    let Presented::Valid(who) = bench.auth.by_token(&bench.token, now) else {
        panic!("it is a token")
    };
    let asked = replays.replay(|reply| Replay {
        codespace: bench.codespace.name().clone(),
        port: Port::new(port).expect("a port"),
        who: Arc::unwrap_or_clone(who),
        client: CLIENT,
        entry: entry(),
        reply,
    });
    soon(asked).await
}

/// Fills every place of one owner with replays that an app never answers.
async fn filled(limit: Duration) -> (Bench, Replays, TcpListener) {
    let (bench, _endings) = bench(LIMITS, false).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = silent.local_addr().expect("it is bound");
    bench
        .app
        .others
        .lock()
        .insert(Endpoint::Port(Port::new(SILENT).expect("a port")), address);
    let (replays, orders) = desk();
    tokio::spawn(replays::serve_within(limit, bench.edge.clone(), orders, bench.drain.clone()));
    for number in 0..replays::AT_ONCE_EACH {
        let made = replay(&bench, &replays, SILENT).await;
        assert!(made.is_ok(), "{number}: {made:?}");
    }
    (bench, replays, silent)
}

async fn until_there_is_room(bench: &Bench, replays: &Replays) {
    while let Err(why) = replay(bench, replays, 3000).await {
        assert_eq!(why, FULL);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn so_many_replays_are_under_way_and_no_more() {
    let (bench, replays, silent) = filled(LONG).await;
    assert_eq!(replay(&bench, &replays, 3000).await, Err(FULL));
    // Whose app goes away gives its places back.
    drop(silent);
    soon(until_there_is_room(&bench, &replays)).await;
}

#[tokio::test]
async fn a_replay_that_no_app_answers_breaks_off() {
    let (bench, replays, _silent) = filled(Duration::from_secs(1)).await;
    soon(until_there_is_room(&bench, &replays)).await;
}
