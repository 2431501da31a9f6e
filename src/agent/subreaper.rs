//! Everything that runs below the agent: adopted when its parent dies, buried, and ended with the agent.
//!
//! Refuses to bury a process that another part of the agent waits for.

use std::{collections::HashSet, time::Duration};

use rustix::process::{self as system, Pid, Signal, WaitOptions};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

use super::process_table as table;

/// How long processes have to end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// How long killed processes may take to be gone: the kernel may be writing for them.
const GONE: Duration = Duration::from_secs(5);
/// How often to look whether processes are gone.
const LOOK: Duration = Duration::from_millis(50);
/// How long a dead process is left to the part of the agent that may have started it.
const BURIAL_DELAY: Duration = Duration::from_secs(5);

/// Makes this process the parent of orphans below it, so that ports and work of daemons stay the codespace's.
pub fn adopt_orphans() {
    if let Err(error) = system::set_child_subreaper(Some(system::getpid())) {
        tracing::warn!(%error, "orphans will not be adopted");
    }
}

/// Buries adopted processes for ever. Those that the agent started itself are waited for at once where they were
/// started; what is still dead a while later was adopted.
pub async fn bury_orphans() {
    let Ok(mut deaths) = signal(SignalKind::child()) else {
        tracing::warn!("deaths are not heard of; adopted processes stay unburied");
        return std::future::pending().await;
    };
    let mut dead = HashSet::new();
    loop {
        if dead.is_empty() {
            deaths.recv().await;
        }
        sleep(BURIAL_DELAY).await;
        let still = dead_children();
        for pid in dead.intersection(&still) {
            let _ = pid_of(*pid).map(|pid| system::waitpid(Some(pid), WaitOptions::NOHANG));
        }
        dead = still.difference(&dead).copied().collect();
    }
}

/// Ends everything below this process and returns when it is gone.
pub async fn end_all() {
    let terminate = [Signal::TERM, Signal::HUP, Signal::CONT];
    if end_with(&terminate, GRACE).await || end_with(&[Signal::KILL], GONE).await {
        return;
    }
    tracing::warn!("some processes could not be ended");
}

/// Signals all until none is left; whether that came to be in time. Newborn ones are signalled as they appear.
async fn end_with(signals: &[Signal], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut told = HashSet::new();
    loop {
        let left = table::descendants(std::process::id());
        if left.is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        for pid in left.into_iter().filter(|pid| told.insert(*pid)) {
            for signal in signals {
                let _ = pid_of(pid).map(|pid| system::kill_process(pid, *signal));
            }
        }
        sleep(LOOK).await;
    }
}

fn dead_children() -> HashSet<u32> {
    let me = std::process::id();
    let dead = |pid: &u32| table::stat(*pid).is_some_and(|stat| stat.zombie && stat.parent == me);
    table::pids().into_iter().filter(dead).collect()
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
