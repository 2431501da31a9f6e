//! Ending processes: groups, sessions and whatever carries the codespace's mark.
//!
//! Owns the scan of `/proc` and the order TERM, wait, KILL. Refuses to end itself, and anything it cannot tell is the
//! codespace's.

use std::{collections::BTreeSet, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::protocol::bootstrap::MARK_VARIABLE;

/// How long processes have between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(5);
/// How often to look whether they are gone.
const LOOK: Duration = Duration::from_millis(50);

/// What is to end.
#[derive(Clone, Debug, Default)]
pub struct Doomed {
    /// Sessions, by the process that leads them (terminals).
    pub sessions: BTreeSet<u32>,
    /// Process groups (commands, the editor).
    pub groups: BTreeSet<u32>,
    /// The mark that all processes inside carry.
    pub mark: Option<String>,
}

/// The figures of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stat {
    group: u32,
    session: u32,
    zombie: bool,
}

/// Asks them all to end, waits at most [`GRACE`], then kills what is left.
pub async fn end(doomed: Doomed) {
    signal_all(&doomed, Signal::TERM);
    // Interactive shells ignore TERM; a hang-up is what ends them.
    signal_all(&doomed, Signal::HUP);
    let deadline = tokio::time::Instant::now() + GRACE;
    while !members(&doomed).is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    // Twice: a process may be born while the others are killed.
    for _ in 0..2 {
        signal_all(&doomed, Signal::KILL);
    }
}

/// Sends a signal to a process group; a group that is gone is no matter.
pub fn signal_group(group: u32, signal: Signal) {
    if let Some(pid) = pid(group) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Sends a signal to one process; one that is gone is no matter.
pub fn signal_process(process: u32, signal: Signal) {
    if let Some(pid) = pid(process) {
        let _ = kill_process(pid, signal);
    }
}

fn pid(number: u32) -> Option<Pid> {
    // 0 and 1 would address our own group and everybody.
    Pid::from_raw(i32::try_from(number).ok()?).filter(|_| number > 1)
}

fn signal_all(doomed: &Doomed, signal: Signal) {
    for process in members(doomed) {
        signal_process(process, signal);
    }
}

fn members(doomed: &Doomed) -> Vec<u32> {
    let me = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| *process != me && belongs(*process, doomed))
        .collect()
}

fn belongs(process: u32, doomed: &Doomed) -> bool {
    let directory = Path::new("/proc").join(process.to_string());
    let Some(stat) = std::fs::read_to_string(directory.join("stat"))
        .ok()
        .and_then(|text| parse_stat(&text))
    else {
        return false;
    };
    if stat.zombie {
        return false;
    }
    doomed.sessions.contains(&stat.session)
        || doomed.groups.contains(&stat.group)
        || doomed
            .mark
            .as_ref()
            .is_some_and(|mark| std::fs::read(directory.join("environ")).is_ok_and(|environ| carries(&environ, mark)))
}

/// Whether an environment as `/proc` shows it carries the mark.
fn carries(environ: &[u8], mark: &str) -> bool {
    let wanted = format!("{MARK_VARIABLE}={mark}");
    environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

/// Reads `/proc/PID/stat`; the name in brackets may hold anything, brackets too.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    Some(Stat {
        group,
        session,
        zombie: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read() {
        let check = |text: &str, expected| assert_eq!(parse_stat(text), expected, "{text:?}");
        check(
            "12 (sh) S 1 12 11 34816 12",
            Some(Stat {
                group: 12,
                session: 11,
                zombie: false,
            }),
        );
        check(
            "12 (a) Z 9 9) Z 1 7 8 0",
            Some(Stat {
                group: 7,
                session: 8,
                zombie: true,
            }),
        );
        check("12 (sh", None);
        check("12 (sh) S 1", None);
    }

    #[test]
    fn marks_are_whole_entries() {
        let check = |environ: &[u8], expected| assert_eq!(carries(environ, "abc"), expected);
        check(b"A=1\0PORTICO_MARK=abc\0B=2\0", true);
        check(b"PORTICO_MARK=abcd\0", false);
        check(b"XPORTICO_MARK=abc\0", false);
        check(b"", false);
    }

    #[tokio::test]
    async fn a_marked_process_ends_although_it_ignores_term() {
        let mark = uuid::Uuid::now_v7().to_string();
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", "trap '' HUP; while :; do sleep 60; done"])
            .env(MARK_VARIABLE, &mark)
            .kill_on_drop(true)
            .spawn()
            .expect("sh runs");
        end(Doomed {
            mark: Some(mark.clone()),
            ..Doomed::default()
        })
        .await;
        assert!(!child.wait().await.expect("waits").success());
        assert!(
            members(&Doomed {
                mark: Some(mark),
                ..Doomed::default()
            })
            .is_empty()
        );
    }
}
