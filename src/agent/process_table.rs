//! What `/proc` says about processes (proc(5)).
//!
//! Owns reading it, every size bounded. Refuses to act on a process.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Read,
    path::Path,
};

/// Largest environment that is looked through in bytes; the kernel allows about 6 MiB.
const MAX_ENVIRONMENT: u64 = 8 * 1024 * 1024;
/// Longest chain of parents that is followed.
const MAX_DEPTH: usize = 256;

/// Some fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stat {
    pub zombie: bool,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// The controlling terminal, 0 for none.
    pub terminal: i64,
    /// When it began, in clock ticks since the machine did: with its id it is told from another one that has the id later.
    pub began: u64,
}

/// Reads what the kernel tells of a process; none if it is gone.
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(pid, "stat", 4096))
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The name comes first and may hold anything, parentheses too.
    let end = bytes.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&bytes[end + 1..]).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some(Stat {
        zombie,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        session: fields.next()?.parse().ok()?,
        terminal: fields.next()?.parse().ok()?,
        // Fields 8 to 21 lie between.
        began: fields.nth(14)?.parse().ok()?,
    })
}

/// All processes.
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The process and its ancestors, nearest first; pid 0 left out.
pub fn lineage(pid: u32) -> impl Iterator<Item = (u32, Stat)> {
    let first = stat(pid).map(|stat| (pid, stat));
    std::iter::successors(first, |(_, child)| stat(child.parent).map(|stat| (child.parent, stat))).take(MAX_DEPTH)
}

/// All living processes below `root`, whatever their depth.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in pids() {
        if let Some(stat) = stat(pid).filter(|stat| !stat.zombie) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// The inodes among `wanted` of sockets that a process holds.
pub fn sockets(pid: u32, wanted: &HashSet<u64>) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut held: Vec<u64> = entries
        .filter_map(|entry| socket_inode(&fs::read_link(entry.path()).ok()?))
        .collect();
    held.retain(|inode| wanted.contains(inode));
    held.sort_unstable();
    held.dedup();
    held
}

fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether a process was started with `NAME=value` in its environment.
pub fn has_variable(pid: u32, name: &str, value: &str) -> bool {
    let wanted = format!("{name}={value}");
    read(pid, "environ", MAX_ENVIRONMENT)
        .split(|byte| *byte == 0)
        .any(|entry| entry == wanted.as_bytes())
}

/// The process's name, at most 64 bytes, fit to be shown: the kernel's, or the program's where that names a thread, as
/// Node's does.
pub fn name(pid: u32) -> Option<String> {
    let name = shown(&read(pid, "comm", 64))?;
    if name != "MainThread" {
        return Some(name);
    }
    let line = read(pid, "cmdline", 512);
    let program = line.split(|byte| *byte == 0).next()?.rsplit(|byte| *byte == b'/').next()?;
    shown(&program[..program.len().min(64)]).or(Some(name))
}

/// The command line, at most 4096 bytes, fit to be shown.
pub fn command(pid: u32) -> Option<String> {
    shown(&read(pid, "cmdline", 4096))
}

/// Makes text of bytes: what separates or controls becomes a space.
fn shown(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text
        .chars()
        .map(|char| {
            if char.is_control() || char == char::REPLACEMENT_CHARACTER {
                ' '
            } else {
                char
            }
        })
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn read(pid: u32, file: &str, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/{file}")) {
        // A process may end while it is read; what came until then is judged.
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let stat = parse_stat(b"42 (a) b (c) Z 7 41 40 34816 42 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0").expect("a line");
        assert_eq!(
            stat,
            Stat {
                zombie: true,
                parent: 7,
                group: 41,
                session: 40,
                terminal: 34816,
                began: 4711,
            }
        );
        for junk in [
            &b""[..],
            b"42",
            b"42 (x",
            b"42 (x) S",
            b"42 (x) S x 1 1 1",
            b"42 (x) S 1 1 1 1 42 0 0",
            b"42 (x) \xff",
        ] {
            assert_eq!(parse_stat(junk), None);
        }
    }

    #[test]
    fn this_process() {
        let me = std::process::id();
        let parent = stat(me).expect("it lives").parent;
        assert!(descendants(parent).contains(&me));
        assert!(lineage(me).any(|(pid, _)| pid == parent));
        assert!(name(me).is_some() && command(me).is_some());
        assert!(has_variable(me, "PATH", &std::env::var("PATH").unwrap_or_default()));
        assert!(!has_variable(me, "PATH", "elsewhere"));
    }
}
