//! What the kernel ended because the codespace had no memory left, while the codespace itself goes on.
//!
//! Owns reading that from the control group, of either version: `memory.events` (cgroup-v2, "Memory Interface Files") or
//! `memory.oom_control` (cgroup-v1). Only in a container, which has a group of its own: elsewhere the figures are all the machine's.

use std::{
    fs,
    future::pending,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use super::report::Reporter;
use crate::protocol::{bootstrap::Bootstrap, tunnel::OutOfMemory};

/// How often it is looked at; one small file of the kernel's.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Where containers see their own group.
const GROUPS: &str = "/sys/fs/cgroup";
/// The file that counts and the one that bounds, below that, the second version first.
const FILES: [[&str; 2]; 2] = [
    ["memory.events", "memory.max"],
    ["memory/memory.oom_control", "memory/memory.limit_in_bytes"],
];
/// The first version has no word for "no bound", but a number that no machine has.
const UNBOUNDED: u64 = 1 << 60;

/// A control group's files.
#[derive(Debug)]
struct Group {
    counts: PathBuf,
    bounds: PathBuf,
}

/// Looks again and again, and reports what was ended since it began.
pub async fn watch(bootstrap: &Bootstrap, reporter: &Reporter) {
    // With its whole environment an agent is in a container.
    let group = bootstrap.whole_environment.then(|| Group::below(GROUPS.as_ref())).flatten();
    let Some((group, before)) = group else { return pending().await };
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let processes = group.ended().unwrap_or_default().saturating_sub(before);
        if processes > 0 {
            reporter.out_of_memory(OutOfMemory {
                processes,
                allowed: group.allowed(),
            });
        }
    }
}

impl Group {
    /// The group that is there, with how many processes were ended in it; none where the kernel does not count.
    fn below(groups: &Path) -> Option<(Self, u64)> {
        FILES.into_iter().find_map(|[counts, bounds]| {
            let group = Self {
                counts: groups.join(counts),
                bounds: groups.join(bounds),
            };
            let ended = group.ended()?;
            Some((group, ended))
        })
    }

    fn ended(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.counts).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    }

    fn allowed(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.bounds).ok()?;
        text.trim().parse().ok().filter(|bytes| *bytes < UNBOUNDED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        #[track_caller]
        fn check(files: &[(&str, &str)], expected: Option<(u64, Option<u64>)>) {
            let groups = tempfile::tempdir().expect("a directory");
            fs::create_dir(groups.path().join("memory")).expect("made");
            for (name, text) in files {
                fs::write(groups.path().join(name), text).expect("written");
            }
            let found = Group::below(groups.path()).map(|(group, ended)| (ended, group.allowed()));
            assert_eq!(found, expected, "{files:?}");
        }
        check(
            &[
                ("memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n"),
                ("memory.max", "268435456\n"),
            ],
            Some((2, Some(256 << 20))),
        );
        check(
            &[("memory.events", "oom 3\noom_kill 0\n"), ("memory.max", "max\n")],
            Some((0, None)),
        );
        check(
            &[
                ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
            Some((1, None)),
        );
        check(&[("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")], None);
        check(&[("memory.events", "oom_kill many\n")], None);
        check(&[], None);
    }
}
