//! Ending processes: groups, sessions, and everything below the agent.
//!
//! Owns the order: ask, wait, kill, wait. Refuses to end the agent itself, and to look into `/proc`, which is
//! [`super::process_table`]'s.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep};

use super::process_table as table;

/// How long processes have to end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// How long killed processes may take to be gone: the kernel may be writing for them.
const GONE: Duration = Duration::from_secs(5);
/// How often to look whether they are gone.
const LOOK: Duration = Duration::from_millis(50);
/// Interactive shells ignore TERM; a hang-up is what ends them, and stopped ones must go on to hear of it.
const ASK: [Signal; 3] = [Signal::TERM, Signal::HUP, Signal::CONT];

/// What is to end.
#[derive(Clone, Debug, Default)]
pub struct Doomed {
    /// Sessions, by the process that leads them (terminals).
    pub sessions: BTreeSet<u32>,
    /// Process groups (commands, the editor).
    pub groups: BTreeSet<u32>,
}

/// Asks them all to end, kills what is left after a while, and returns when they are gone.
pub async fn end(doomed: Doomed) {
    end_these(|| members(&doomed)).await;
}

/// Ends everything below this process and returns when it is gone.
pub async fn end_all() {
    end_these(|| table::descendants(std::process::id())).await;
}

/// Sends a signal to a process group; a group that is gone is no matter.
pub fn signal_group(group: u32, signal: Signal) {
    if let Some(pid) = pid(group) {
        let _ = kill_process_group(pid, signal);
    }
}

async fn end_these(left: impl Fn() -> Vec<u32>) {
    if end_with(&left, &ASK, GRACE).await || end_with(&left, &[Signal::KILL], GONE).await {
        return;
    }
    tracing::warn!("some processes could not be ended");
}

/// Signals all until none is left; whether that came to be in time. Newborn ones are signalled as they appear.
async fn end_with(left: impl Fn() -> Vec<u32>, signals: &[Signal], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut told = HashSet::new();
    loop {
        let left = left();
        if left.is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        for pid in left.into_iter().filter(|pid| told.insert(*pid)).filter_map(pid) {
            for signal in signals {
                let _ = kill_process(pid, *signal);
            }
        }
        sleep(LOOK).await;
    }
}

fn members(doomed: &Doomed) -> Vec<u32> {
    let me = std::process::id();
    let belongs = |pid: &u32| {
        *pid != me
            && table::stat(*pid)
                .is_some_and(|stat| !stat.zombie && (doomed.sessions.contains(&stat.session) || doomed.groups.contains(&stat.group)))
    };
    table::pids().into_iter().filter(belongs).collect()
}

fn pid(number: u32) -> Option<Pid> {
    // 0 and 1 would address our own group and everybody.
    Pid::from_raw(i32::try_from(number).ok()?).filter(|_| number > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stubborn_group_ends_with_its_children() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "trap '' TERM HUP; sleep 1000 & while :; do sleep 60; done"]);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("sh runs");
        let doomed = Doomed {
            groups: child.id().into_iter().collect(),
            ..Doomed::default()
        };
        end(doomed.clone()).await;
        assert!(!child.wait().await.expect("waits").success());
        assert_eq!(members(&doomed), [0; 0]);
    }
}
