//! Leases: processes that asked to keep the codespace awake for as long as they run.
//!
//! Owns which there are and when they end. Refuses to end a process, and to know the idle rule: the gateway's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
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
/// How long a lease holds at most that a program inside asks for, where the gateway did not say.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A lease as the gateway asks for it, which has judged how long it may hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLease {
    pid: u32,
    /// How long it holds at most.
    seconds: u64,
    /// What people call it; the process's name if left out.
    what: Option<String>,
}

/// A lease as a program inside asks for it.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The process that asks if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// As long as a lease may hold if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What people call it; the process's name if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
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
    #[error("a lease holds for {} at most here (codespaces.max_lease); ask for less", humantime::format_duration(*.0))]
    TooLong(Duration),
}

/// The leases that hold; cheap to clone.
#[derive(Clone)]
pub struct Leases {
    held: Arc<Mutex<BTreeMap<String, Held>>>,
    reporter: Reporter,
    tasks: TaskTracker,
    /// How long one holds at most that a program inside asks for.
    most: Duration,
}

struct Held {
    told: HeldLease,
    over: CancellationToken,
}

impl Leases {
    /// None yet; `most` is how long one holds at most that a program inside asks for, in seconds.
    pub fn new(reporter: Reporter, tasks: TaskTracker, most: Option<u64>) -> Self {
        Self {
            held: Arc::default(),
            reporter,
            tasks,
            most: most.map_or(DAY, Duration::from_secs),
        }
    }

    /// Takes the lease that the gateway asks for.
    pub fn take(&self, new: NewLease, now: OffsetDateTime) -> Result<HeldLease, LeaseError> {
        self.hold(new, false, now)
    }

    /// Takes the lease that a program inside asks for, as long as it may be.
    pub fn take_inside(&self, wish: Wish, asker: Option<u32>, now: OffsetDateTime) -> Result<HeldLease, LeaseError> {
        let most = self.most.as_secs();
        let seconds = wish.seconds.unwrap_or(most);
        if seconds > most {
            return Err(LeaseError::TooLong(self.most));
        }
        let new = NewLease {
            pid: wish.pid.or(asker).ok_or(LeaseError::NoProcess)?,
            seconds,
            what: wish.what,
        };
        self.hold(new, true, now)
    }

    /// Takes a lease for a process below this one, and watches it.
    fn hold(&self, new: NewLease, inside: bool, now: OffsetDateTime) -> Result<HeldLease, LeaseError> {
        if new.seconds == 0 {
            return Err(LeaseError::NoTime);
        }
        let me = std::process::id();
        let ours = new.pid != me && table::lineage(new.pid).any(|(pid, _)| pid == me);
        let began = began(new.pid).filter(|_| ours).ok_or(LeaseError::NoProcess)?;
        let holds = Duration::from_secs(new.seconds);
        let what = new.what.filter(|what| !what.trim().is_empty()).or_else(|| table::name(new.pid));
        let what = what.unwrap_or_else(|| "a process".into());
        let told = HeldLease {
            id: format!("{:08x}", rand::random::<u32>()),
            pid: new.pid,
            what: what.chars().filter(|char| !char.is_control()).take(MAX_WHAT).collect(),
            until: now.unix_timestamp().saturating_add_unsigned(new.seconds),
            inside,
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
        self.tasks.spawn(self.clone().watch(told.clone(), began, holds, over));
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

    async fn watch(self, lease: HeldLease, first: u64, holds: Duration, over: CancellationToken) {
        let gone = async {
            // Another process may have its id by now.
            while began(lease.pid) == Some(first) {
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

/// When a process began; none unless it runs.
fn began(pid: u32) -> Option<u64> {
    table::stat(pid).filter(|stat| !stat.zombie).map(|stat| stat.began)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> Leases {
        Leases::new(Reporter::new(), TaskTracker::new(), Some(3600))
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
        assert!(began(pid).is_some(), "its process runs on");
        leases.tasks.close();
        leases.tasks.wait().await;
    }

    #[tokio::test]
    async fn who_asks_inside_need_not_know_its_own_id_and_has_the_operators_bound() {
        let leases = leases();
        let mut child = tokio::process::Command::new("sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .expect("sleep runs");
        let pid = child.id().expect("it runs");
        let take = |seconds, asker| {
            let wish = Wish {
                seconds,
                ..Wish::default()
            };
            leases.take_inside(wish, asker, OffsetDateTime::UNIX_EPOCH)
        };
        let lease = take(None, Some(pid)).expect("taken");
        assert_eq!((lease.pid, lease.until, lease.inside), (pid, 3600, true));
        assert_eq!(take(Some(3601), Some(pid)), Err(LeaseError::TooLong(Duration::from_secs(3600))));
        assert_eq!(take(Some(0), Some(pid)), Err(LeaseError::NoTime));
        assert_eq!(take(None, None), Err(LeaseError::NoProcess));
        let mut told = leases.reporter.watch();
        child.kill().await.expect("killed");
        told.wait_for(|state| state.leases().is_empty()).await.expect("told");
    }

    #[tokio::test]
    async fn only_for_processes_below() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for pid in [0, 1, std::process::id(), u32::MAX] {
            assert_eq!(leases().take(new(pid, 60), now), Err(LeaseError::NoProcess), "{pid}");
        }
    }
}
