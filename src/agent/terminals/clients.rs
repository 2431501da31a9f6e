//! Who watches a terminal: what each has typed so far, and how far each has read.
//!
//! Owns the count of input bytes per client id, so that input is neither lost nor doubled over reconnects, and the
//! pace at which the program's output may be read. Refuses to know: sockets; time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;

/// Client ids remembered after they left.
const MAX_REMEMBERED: usize = 64;
/// Output is not read further ahead of the fastest client than this, in bytes.
pub const WINDOW: u64 = 1024 * 1024;
/// A program waits for its clients at most this long; then they will have to catch up by a redraw.
const PATIENCE: Duration = Duration::from_secs(5);

/// The clients of one terminal.
#[derive(Debug, Default)]
pub struct Clients {
    /// By id, the longest not attached first.
    known: VecDeque<(String, Known)>,
    /// By attachment: the offset that the client acknowledged.
    attached: BTreeMap<Attachment, u64>,
    next: u64,
    pause: Pause,
}

/// One connection of a client.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Attachment(u64);

/// The client came back on another connection; this one must say no more.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("another connection of this client took over")]
pub struct Superseded;

/// Whether more output may be read now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gate {
    Open,
    /// Not before somebody acknowledges, or this moment comes.
    ClosedUntil(Instant),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    accepted: u64,
    attachment: Attachment,
}

#[derive(Clone, Copy, Debug, Default)]
enum Pause {
    #[default]
    None,
    Since(Instant),
    /// Nobody kept up: read on until somebody does.
    Over,
}

impl Clients {
    /// Attaches a client whose output goes on at `seq`; gives the input bytes that were accepted from its id before.
    pub fn attach(&mut self, id: Option<&str>, seq: u64) -> (Attachment, u64) {
        self.next += 1;
        let attachment = Attachment(self.next);
        self.attached.insert(attachment, seq);
        let Some(id) = id else { return (attachment, 0) };
        let accepted = match self
            .known
            .iter()
            .position(|(known, _)| known == id)
            .and_then(|at| self.known.remove(at))
        {
            Some((_, known)) => {
                self.attached.remove(&known.attachment);
                known.accepted
            }
            None => 0,
        };
        self.known.push_back((id.to_owned(), Known { accepted, attachment }));
        if self.known.len() > MAX_REMEMBERED {
            let idle = self
                .known
                .iter()
                .position(|(_, known)| !self.attached.contains_key(&known.attachment));
            self.known.remove(idle.unwrap_or(0));
        }
        (attachment, accepted)
    }

    /// Whether this connection still speaks for its client.
    pub fn is_current(&self, attachment: Attachment) -> bool {
        self.attached.contains_key(&attachment)
    }

    /// Counts input that is about to be accepted.
    pub fn accept(&mut self, attachment: Attachment, bytes: usize) -> Result<(), Superseded> {
        if !self.is_current(attachment) {
            return Err(Superseded);
        }
        if let Some((_, known)) = self.known.iter_mut().find(|(_, known)| known.attachment == attachment) {
            known.accepted += bytes as u64;
        }
        Ok(())
    }

    /// Notes how far a client has read.
    pub fn acknowledge(&mut self, attachment: Attachment, seq: u64) {
        if let Some(before) = self.attached.get_mut(&attachment) {
            *before = seq.max(*before);
        }
    }

    /// Starts a client's count anew after a redraw.
    pub fn restart(&mut self, attachment: Attachment, seq: u64) {
        if let Some(before) = self.attached.get_mut(&attachment) {
            *before = seq;
        }
    }

    /// Ends a connection; what the client typed stays remembered.
    pub fn detach(&mut self, attachment: Attachment) {
        self.attached.remove(&attachment);
    }

    /// Whether output that stands at `end` may be read further.
    pub fn gate(&mut self, end: u64, now: Instant) -> Gate {
        let leader = self.attached.values().max().copied();
        if leader.is_none_or(|leader| end.saturating_sub(leader) < WINDOW) {
            self.pause = Pause::None;
            return Gate::Open;
        }
        let since = match self.pause {
            Pause::None => now,
            Pause::Since(since) => since,
            Pause::Over => return Gate::Open,
        };
        if now >= since + PATIENCE {
            self.pause = Pause::Over;
            return Gate::Open;
        }
        self.pause = Pause::Since(since);
        Gate::ClosedUntil(since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_counted_over_reconnects() {
        let mut clients = Clients::default();
        let (first, accepted) = clients.attach(Some("a"), 0);
        assert_eq!(accepted, 0);
        assert_eq!(clients.accept(first, 10), Ok(()));
        let (second, accepted) = clients.attach(Some("a"), 0);
        assert_eq!(accepted, 10);
        assert_eq!(
            clients.accept(first, 1),
            Err(Superseded),
            "late bytes of the old connection do not count"
        );
        assert_eq!(clients.accept(second, 5), Ok(()));
        clients.detach(second);
        for other in 0..MAX_REMEMBERED - 1 {
            let (attachment, _) = clients.attach(Some(&format!("other {other}")), 0);
            clients.detach(attachment);
        }
        assert_eq!(clients.attach(Some("a"), 0).1, 15);
        assert!(clients.known.len() <= MAX_REMEMBERED);
    }

    #[test]
    fn the_fastest_client_sets_the_pace_for_a_while() {
        let start = Instant::now();
        let mut clients = Clients::default();
        assert_eq!(clients.gate(10 * WINDOW, start), Gate::Open, "nobody watches");
        let (fast, _) = clients.attach(Some("fast"), 0);
        let (_slow, _) = clients.attach(Some("slow"), 0);
        assert_eq!(clients.gate(WINDOW - 1, start), Gate::Open);
        assert_eq!(clients.gate(WINDOW, start), Gate::ClosedUntil(start + PATIENCE));
        clients.acknowledge(fast, 1);
        assert_eq!(clients.gate(WINDOW, start), Gate::Open);
        assert_eq!(clients.gate(3 * WINDOW, start), Gate::ClosedUntil(start + PATIENCE));
        assert_eq!(clients.gate(3 * WINDOW, start + PATIENCE), Gate::Open);
        assert_eq!(
            clients.gate(4 * WINDOW, start + PATIENCE),
            Gate::Open,
            "patience is over until somebody catches up"
        );
        clients.acknowledge(fast, 4 * WINDOW);
        assert_eq!(clients.gate(5 * WINDOW - 1, start + PATIENCE), Gate::Open);
        assert_eq!(clients.gate(5 * WINDOW, start + PATIENCE), Gate::ClosedUntil(start + 2 * PATIENCE));
    }
}
