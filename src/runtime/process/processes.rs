//! What `/proc` says about processes (proc(5)), and how marked ones are ended.

use std::{fs, io::Read};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::protocol::bootstrap::MARK_VARIABLE;

/// Largest environment that is looked through in bytes; the kernel allows about 6 MiB.
const MAX_ENVIRONMENT: u64 = 8 * 1024 * 1024;

/// When a process was started, in clock ticks since the boot: with its pid, this names a process for good. None for one
/// that is gone or dead.
pub fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name comes first and may hold anything, parentheses too.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let dead = matches!(*fields.first()?, "Z" | "X");
    // The state is field 3, the start field 22.
    fields.get(19)?.parse().ok().filter(|_| !dead)
}

/// Sends a signal to that very process, never to a later one with its pid.
pub fn send(pid: u32, started: u64, signal: Signal) {
    let Some(pid_of) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    // Opened first, looked at second: what is looked at can no longer change.
    let Ok(process) = pidfd_open(pid_of, PidfdFlags::empty()) else {
        return;
    };
    if started_at(pid) == Some(started) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(process, signal);
    }
}

/// Kills all processes with a mark; tells how many there were.
pub fn kill_marked(mark: &str) -> usize {
    let marked = marked(mark);
    for (pid, started) in &marked {
        send(*pid, *started, Signal::KILL);
    }
    marked.len()
}

/// All living processes that were started with a mark in their environment.
pub fn marked(mark: &str) -> Vec<(u32, u64)> {
    let wanted = format!("{MARK_VARIABLE}={mark}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let started = started_at(pid)?;
            has(pid, wanted.as_bytes()).then_some((pid, started))
        })
        .collect()
}

fn has(pid: u32, wanted: &[u8]) -> bool {
    let mut environment = Vec::new();
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else {
        return false;
    };
    // A process may end while it is read; what came until then is judged.
    let _ = file.take(MAX_ENVIRONMENT).read_to_end(&mut environment);
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
}
