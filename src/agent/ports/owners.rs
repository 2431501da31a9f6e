//! Whose a listening socket is.
//!
//! A socket belongs to the codespace if every process that holds it carries the codespace's mark or descends from the
//! agent; without a mark everything in here is the codespace's. The agent's own sockets are nobody's (PORT-1).

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::listeners::Listener;
use crate::{agent::process_table as table, protocol::bootstrap::MARK_VARIABLE};

/// How long "not ours" is believed by a scan; looking again means reading all of `/proc`.
const SCAN_DOUBT: Duration = Duration::from_secs(30);
/// How long it is believed by a dial, which somebody waits for.
const DIAL_DOUBT: Duration = Duration::from_secs(1);
/// Ports that the kernel gives to those who ask for none, if it does not say.
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

/// Remembers owners by inode, so that `/proc` is read for new sockets alone.
#[derive(Debug)]
pub(super) struct Owners {
    mark: Option<String>,
    agent: u32,
    known: HashMap<u64, Owner>,
    ephemeral: (u16, u16),
}

#[derive(Debug)]
struct Owner {
    /// One of the processes that hold it: the oldest.
    pid: Option<u32>,
    ours: bool,
    found_at: Instant,
}

/// How sure an answer must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Scan,
    Dial,
}

impl Owners {
    pub fn new(mark: Option<String>) -> Self {
        Self {
            mark,
            agent: std::process::id(),
            known: HashMap::new(),
            ephemeral: ephemeral_ports(),
        }
    }

    /// Looks at `/proc` for sockets that are not known.
    pub fn learn(&mut self, listeners: &[Listener], purpose: Purpose, now: Instant) {
        let wanted: HashSet<u64> = listeners
            .iter()
            .map(|listener| listener.inode)
            .filter(|inode| !self.is_known(*inode, purpose, now))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let mut holders: HashMap<u64, Vec<u32>> = wanted.iter().map(|inode| (*inode, Vec::new())).collect();
        for pid in table::pids() {
            for inode in table::sockets(pid, &wanted) {
                holders.entry(inode).or_default().push(pid);
            }
        }
        for (inode, pids) in holders {
            let owner = Owner {
                pid: pids.iter().min().copied(),
                ours: self.are_ours(&pids),
                found_at: now,
            };
            self.known.insert(inode, owner);
        }
    }

    /// Forgets sockets that are gone.
    pub fn keep(&mut self, listeners: &[Listener]) {
        let inodes: HashSet<u64> = listeners.iter().map(|listener| listener.inode).collect();
        self.known.retain(|inode, _| inodes.contains(inode));
    }

    /// Whether a socket is known to be the codespace's.
    pub fn is_ours(&self, listener: &Listener) -> bool {
        self.known.get(&listener.inode).is_some_and(|owner| owner.ours)
    }

    /// A process that holds the socket.
    pub fn pid(&self, listener: &Listener) -> Option<u32> {
        self.known.get(&listener.inode)?.pid
    }

    /// Whether a socket is a helper's of the editor and no concern of the user's.
    ///
    /// A guess: it is on loopback and a port that the kernel chose, and its process descends from the editor without
    /// a terminal in between. What runs in the editor's terminals and tasks has a terminal; a program under the
    /// debugger has none, but listens on a port of its own choice.
    pub fn is_editor_helper(&self, listener: &Listener, editor: Option<u32>) -> bool {
        let (Some(editor), Some(pid)) = (editor, self.pid(listener)) else {
            return false;
        };
        let chosen_by_kernel = (self.ephemeral.0..=self.ephemeral.1).contains(&listener.port);
        if !chosen_by_kernel || !is_loopback(listener.address) {
            return false;
        }
        let agents_terminal = table::stat(self.agent).map_or(0, |stat| stat.terminal);
        for (ancestor, stat) in table::lineage(pid) {
            if ancestor == editor {
                return true;
            }
            if stat.terminal != 0 && stat.terminal != agents_terminal {
                return false;
            }
        }
        false
    }

    fn is_known(&self, inode: u64, purpose: Purpose, now: Instant) -> bool {
        let doubt = match purpose {
            Purpose::Scan => SCAN_DOUBT,
            Purpose::Dial => DIAL_DOUBT,
        };
        self.known
            .get(&inode)
            .is_some_and(|owner| (owner.ours && owner.pid.is_some()) || now.duration_since(owner.found_at) < doubt)
    }

    fn are_ours(&self, pids: &[u32]) -> bool {
        if pids.contains(&self.agent) {
            return false;
        }
        let Some(mark) = &self.mark else { return true };
        !pids.is_empty()
            && pids
                .iter()
                .all(|pid| self.descends(*pid) || table::has_variable(*pid, MARK_VARIABLE, mark))
    }

    fn descends(&self, pid: u32) -> bool {
        table::lineage(pid).any(|(ancestor, _)| ancestor == self.agent)
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn ephemeral_ports() -> (u16, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next()).unwrap_or(EPHEMERAL)
}
