//! Leases: processes that asked to keep the codespace awake for as long as they run.
//!
//! Owns which there are and when they end. Refuses to end a process, and to know the idle rule: the gateway's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Deserialize;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::{select, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{process_table as table, report::Reporter};
use crate::protocol::tunnel::HeldLease;

/// Most leases at once.
const MAX_LEASES: usize = 32;
/// How often a process is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Longest name of a process in characters.
const MAX_WHAT: usize = 64;

/// A lease as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLease {
    pid: u32,
    /// How long it holds at most.
    seconds: u64,
    /// What people call it; the process's name if left out.
    what: Option<String>,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LeaseError {
    #[error("no process of this codespace has that id")]
    NoProcess,
    #[error("there are as many leases as there may be at once ({MAX_LEASES})")]
    TooMany,
    #[error("a lease holds for a second at least")]
    NoTime,
}

/// The leases that hold; cheap to clone.
#[derive(Clone)]
pub struct Leases {
    held: Arc<Mutex<BTreeMap<String, Held>>>,
    reporter: Reporter,
    tasks: TaskTracker,
}

struct Held {
    told: HeldLease,
    over: CancellationToken,
}

impl Leases {
    pub fn new(reporter: Reporter, tasks: TaskTracker) -> Self {
        Self {
            held: Arc::default(),
            reporter,
            tasks,
        }
    }

    /// Takes a lease for a process below this one, and watches it.
    pub fn take(&self, new: NewLease, now: OffsetDateTime) -> Result<HeldLease, LeaseError> {
        if new.seconds == 0 {
            return Err(LeaseError::NoTime);
        }
        let me = std::process::id();
        let ours = new.pid != me && table::lineage(new.pid).any(|(pid, _)| pid == me);
        if !ours || !lives(new.pid) {
            return Err(LeaseError::NoProcess);
        }
        let holds = Duration::from_secs(new.seconds);
        let what = new.what.filter(|what| !what.trim().is_empty()).or_else(|| table::name(new.pid));
        let what = what.unwrap_or_else(|| "a process".into());
        let told = HeldLease {
            id: format!("{:08x}", rand::random::<u32>()),
            pid: new.pid,
            what: what.chars().filter(|char| !char.is_control()).take(MAX_WHAT).collect(),
            until: now.unix_timestamp().saturating_add_unsigned(new.seconds),
        };
        let over = CancellationToken::new();
        {
            let mut held = self.held.lock();
            if held.len() >= MAX_LEASES {
                return Err(LeaseError::TooMany);
            }
            let (told, over) = (told.clone(), over.clone());
            held.insert(told.id.clone(), Held { told, over });
        }
        self.report();
        self.tasks.spawn(self.clone().watch(told.clone(), holds, over));
        Ok(told)
    }

    /// Ends a lease; whether there was one. Its process runs on.
    pub fn end(&self, id: &str) -> bool {
        let ended = self.held.lock().remove(id);
        if let Some(held) = &ended {
            held.over.cancel();
            self.report();
        }
        ended.is_some()
    }

    async fn watch(self, lease: HeldLease, holds: Duration, over: CancellationToken) {
        let gone = async {
            while lives(lease.pid) {
                sleep(LOOK).await;
            }
        };
        select! {
            () = gone => {}
            () = sleep(holds) => {}
            () = over.cancelled() => return,
        }
        self.end(&lease.id);
    }

    fn report(&self) {
        let held = self.held.lock().values().map(|held| held.told.clone()).collect();
        self.reporter.leases(held);
    }
}

fn lives(pid: u32) -> bool {
    table::stat(pid).is_some_and(|stat| !stat.zombie)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> Leases {
        Leases::new(Reporter::new(), TaskTracker::new())
    }

    fn new(pid: u32, seconds: u64) -> NewLease {
        NewLease { pid, seconds, what: None }
    }

    #[tokio::test]
    async fn a_lease_ends_with_its_process() {
        let leases = leases();
        let mut told = leases.reporter.watch();
        let mut child = tokio::process::Command::new("sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .expect("sleep runs");
        let pid = child.id().expect("it runs");
        let lease = leases.take(new(pid, 3600), OffsetDateTime::UNIX_EPOCH).expect("taken");
        assert_eq!((lease.pid, &*lease.what, lease.until), (pid, "sleep", 3600));
        assert_eq!(told.borrow_and_update().leases(), [lease]);
        child.kill().await.expect("killed");
        told.wait_for(|state| state.leases().is_empty()).await.expect("told");
        leases.tasks.close();
        leases.tasks.wait().await;
    }

    #[tokio::test]
    async fn a_lease_ends_by_its_bound_or_when_it_is_told() {
        let leases = leases();
        let child = tokio::process::Command::new("sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .expect("sleep runs");
        let pid = child.id().expect("it runs");
        let mut told = leases.reporter.watch();
        leases.take(new(pid, 1), OffsetDateTime::UNIX_EPOCH).expect("taken");
        told.wait_for(|state| state.leases().is_empty()).await.expect("told");
        let lease = leases.take(new(pid, 3600), OffsetDateTime::UNIX_EPOCH).expect("taken");
        assert!(leases.end(&lease.id) && !leases.end(&lease.id));
        assert!(lives(pid), "its process runs on");
        leases.tasks.close();
        leases.tasks.wait().await;
    }

    #[tokio::test]
    async fn only_for_processes_below() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for pid in [0, 1, std::process::id(), u32::MAX] {
            assert_eq!(leases().take(new(pid, 60), now), Err(LeaseError::NoProcess), "{pid}");
        }
    }
}
