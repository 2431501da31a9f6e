//! Everything that runs below the agent: adopted when its parent dies, and buried.
//!
//! Refuses to bury a process that another part of the agent waits for.

use std::{collections::HashSet, time::Duration};

use rustix::process::{self as system, Pid, WaitOptions};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::process_table as table;

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

fn dead_children() -> HashSet<u32> {
    let me = std::process::id();
    let dead = |pid: &u32| table::stat(*pid).is_some_and(|stat| stat.zombie && stat.parent == me);
    table::pids().into_iter().filter(dead).collect()
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
