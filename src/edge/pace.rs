//! How long a connection may be idle, and how long a head may take: two times, which hyper's one timer does not tell
//! apart (TO-1).
//!
//! Decides nothing by itself: the connection asks [`Pace::look`] when a time may be over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{forward::admission::Cut, relay::Backlog};

/// Where a connection stands between its requests.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    /// What of the answer waits to be written.
    pub backlog: Backlog,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests that are being answered.
    going: usize,
    /// Whether the first byte of a head has come.
    head: bool,
    /// How much of that head has come, in bytes.
    length: usize,
    /// Whether and why what else comes of that head is left out.
    cut: Option<Cut>,
    /// Whether a request had a body: its bytes may go on when the answer is over, and are no head then.
    uploads: bool,
    /// Whether it is HTTP no more: what comes belongs to whom it was handed to.
    switched: bool,
    line: Line,
    since: Instant,
}

/// The request line of the head that is coming. hyper cuts a `#` and what follows off its target before anybody could
/// see it (PATH-2). Of requests sent ahead only the first is looked at: where the others begin, hyper alone knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Coming,
    Read,
    /// It holds a `#`.
    Fragment,
}

impl Line {
    fn read(self, bytes: &[u8]) -> Self {
        match (self, bytes.iter().find(|byte| matches!(byte, b'\n' | b'#'))) {
            (Self::Coming, Some(b'#')) => Self::Fragment,
            (Self::Coming, Some(_)) => Self::Read,
            (line, _) => line,
        }
    }
}

/// Which bytes of a head came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    First,
    More,
}

/// What a look at a connection finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// Nothing; look again then.
    Again(Instant),
    /// It was idle for too long.
    Idle,
    /// A head takes too long.
    SlowHead,
}

/// The two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub idle: Duration,
    pub head: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                going: 0,
                head: false,
                length: 0,
                cut: None,
                uploads: false,
                switched: false,
                line: Line::Coming,
                since: now,
            }),
            backlog: Backlog::default(),
        })
    }

    /// Begins to answer a request, until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Going {
        let mut state = self.state.lock();
        state.going += 1;
        state.head = false;
        let line = std::mem::replace(&mut state.line, Line::Coming);
        Going {
            pace: Arc::clone(self),
            fragment: line == Line::Fragment,
            cut: state.cut,
        }
    }

    /// The request that was begun has a body.
    pub(super) fn uploads(&self) {
        self.state.lock().uploads = true;
    }

    /// Takes note of what came; tells which part of a head it is, if it is one for sure.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Option<Part> {
        let mut state = self.state.lock();
        if state.going > 0 || state.switched {
            return None;
        }
        let part = if state.head { Part::More } else { Part::First };
        if part == Part::First {
            (state.head, state.length, state.since) = (true, 0, Instant::now());
        }
        state.length += bytes.len();
        state.line = state.line.read(bytes);
        (!state.uploads).then_some(part)
    }

    /// The connection was handed over with a 101: no head comes any more.
    pub(super) fn switch(&self) {
        self.state.lock().switched = true;
    }

    /// How much has come of a head that goes on, in bytes; none while a request is answered, or when no head can come.
    pub(super) fn head_length(&self) -> Option<usize> {
        let state = self.state.lock();
        let length = if state.head { state.length } else { 0 };
        (state.going == 0 && !state.switched).then_some(length)
    }

    /// What comes after this of the head is left out: the request must be refused.
    pub(super) fn cut_head(&self, why: Cut) {
        self.state.lock().cut = Some(why);
    }

    /// Looks whether a time is over.
    pub(super) fn look(&self, times: Times, now: Instant) -> Look {
        let state = *self.state.lock();
        if state.going > 0 {
            return Look::Again(now + times.idle.min(times.head));
        }
        let (limit, over) = if state.head {
            (times.head, Look::SlowHead)
        } else {
            (times.idle, Look::Idle)
        };
        if now < state.since + limit {
            // A head may begin in the meantime, and its time is the shorter one.
            Look::Again((state.since + limit).min(now + times.head))
        } else {
            over
        }
    }
}

impl Going {
    /// What of its answer waits to be written.
    pub(super) fn backlog(&self) -> &Backlog {
        &self.pace.backlog
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Going {
    pace: Arc<Pace>,
    /// Whether its target held a `#`.
    pub fragment: bool,
    /// Whether and why its head is not there to its end.
    pub cut: Option<Cut>,
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut state = self.pace.state.lock();
        state.going -= 1;
        state.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        idle: Duration::from_secs(60),
        head: Duration::from_secs(10),
    };

    #[test]
    fn idle_and_slow_heads_are_told_apart() {
        let begun = Instant::now();
        let pace = Pace::new(begun);
        let second = Duration::from_secs(1);
        assert_eq!(pace.look(TIMES, begun + 55 * second), Look::Again(begun + 60 * second));
        assert_eq!(pace.look(TIMES, begun), Look::Again(begun + 10 * second));
        assert_eq!(pace.look(TIMES, begun + 60 * second), Look::Idle);
        pace.bytes(b"GET");
        let heard = pace.state.lock().since;
        assert_eq!(pace.look(TIMES, heard + 9 * second), Look::Again(heard + 10 * second));
        pace.bytes(b"GET");
        assert_eq!(pace.look(TIMES, heard + 10 * second), Look::SlowHead, "later bytes buy no time");
        let (going, other) = (pace.begin(), pace.begin());
        pace.bytes(b"GET");
        drop(going);
        let later = begun + 3600 * second;
        assert_eq!(
            pace.look(TIMES, later),
            Look::Again(later + 10 * second),
            "an answer may take its time"
        );
        drop(other);
        assert_eq!(pace.look(TIMES, later), Look::Idle);
    }

    #[test]
    fn path_2_a_fragment_is_seen_in_the_request_line_alone() {
        for (pieces, expected) in [
            (&["GET /a#b HTTP/1.1\r\n"][..], true),
            (&["GE", "T /a", "#"], true),
            (&["GET /a HTTP/1.1\r\nX: #\r\n\r\n"], false),
            (&["GET /a HTTP/1.1\r", "\nX: ", "#"], false),
        ] {
            let pace = Pace::new(Instant::now());
            for piece in pieces {
                pace.bytes(piece.as_bytes());
            }
            let going = pace.begin();
            pace.bytes(b"a body with a #");
            assert_eq!(going.fragment, expected, "{pieces:?}");
            drop(going);
            pace.bytes(b"GET / HTTP/1.1");
            assert!(!pace.begin().fragment, "the next has a line of its own");
        }
    }
}
