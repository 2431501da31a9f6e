//! What is left of codespaces that are no more.

use super::*;
use crate::runtime::LeftBehind;

#[tokio::test]
async fn what_was_away_at_the_start_is_tidied_later_and_what_holds_work_is_named() {
    let bench = bench().await;
    let known = bench.create().await;
    bench.started(&known, 1).await;
    bench.spaces.shutdown().await;
    let left = |codespace: &str| LeftBehind {
        kind: "volume",
        name: format!("volume-of-{codespace}"),
        codespace: codespace.into(),
        remove: "remove it".into(),
    };
    bench.runtime.leave_behind(left(known.name().as_str()), 0);
    bench.runtime.leave_behind(left("amber-lost-x7k2"), 2);
    let next = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    let done = async {
        while !bench.runtime.looked_after().1 {
            tokio::time::sleep(Wait::from_millis(5)).await;
        }
    };
    timeout(Wait::from_secs(60), done).await.expect("it is tried again");
    assert_eq!(bench.runtime.looked_after().0, 3, "until it answered, and no more");
    assert_eq!(next.left_behind().await.expect("it answers"), [left("amber-lost-x7k2")]);
}
