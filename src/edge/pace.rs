//! How long a connection may be idle, and how long a head may take: two times, which hyper's one timer does not tell
//! apart (TO-1).
//!
//! Decides nothing by itself: the connection asks [`Pace::look`] when a time may be over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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
    /// Whether it is HTTP no more: what comes belongs to whom it was handed to.
    switched: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests that are being answered.
    going: usize,
    /// How many requests began to be answered.
    begun: u64,
    /// Whether a head has begun to come, and has not ended.
    head: bool,
    /// The first request whose target holds a `#`, counted from 0. It is refused, and none after it is served.
    fragment: Option<u64>,
    /// The request of whose head not all is there, and why.
    cut: Option<(u64, Cut)>,
    since: Instant,
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
                begun: 0,
                head: false,
                fragment: None,
                cut: None,
                since: now,
            }),
            backlog: Backlog::default(),
            switched: AtomicBool::new(false),
        })
    }

    /// Begins to answer a request, until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Going {
        let mut state = self.state.lock();
        let number = state.begun;
        state.begun += 1;
        state.going += 1;
        Going {
            pace: Arc::clone(self),
            fragment: state.fragment.is_some_and(|first| number >= first),
            cut: state.cut.filter(|(first, _)| number >= *first).map(|(_, why)| why),
        }
    }

    /// Takes note of what came: whether a head is coming, and the number of the first whose target holds a `#`.
    pub(super) fn heard(&self, head: bool, fragment: Option<u64>) {
        let mut state = self.state.lock();
        if head && !state.head {
            state.since = Instant::now();
        }
        (state.head, state.fragment) = (head, fragment);
    }

    /// The connection was handed over with a 101: no head comes any more.
    pub(super) fn switch(&self) {
        self.switched.store(true, Relaxed);
    }

    pub(super) fn is_switched(&self) -> bool {
        self.switched.load(Relaxed)
    }

    /// What comes after this of the head of this number is left out: the request must be refused.
    pub(super) fn cut_head(&self, number: u64, why: Cut) {
        self.state.lock().cut = Some((number, why));
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
        pace.heard(true, None);
        let heard = pace.state.lock().since;
        assert_eq!(pace.look(TIMES, heard + 9 * second), Look::Again(heard + 10 * second));
        pace.heard(true, None);
        assert_eq!(pace.look(TIMES, heard + 10 * second), Look::SlowHead, "later bytes buy no time");
        pace.heard(false, None);
        let (going, other) = (pace.begin(), pace.begin());
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
    fn path_2_and_hdr_9_what_was_heard_is_of_its_request_and_what_follows() {
        let pace = Pace::new(Instant::now());
        let begun = |fragments: [bool; 2], cuts: [Option<Cut>; 2]| {
            let (one, other) = (pace.begin(), pace.begin());
            assert_eq!(([one.fragment, other.fragment], [one.cut, other.cut]), (fragments, cuts));
        };
        begun([false; 2], [None; 2]);
        pace.heard(false, Some(3));
        pace.cut_head(5, Cut::Fields);
        begun([false, true], [None; 2]);
        begun([true; 2], [None, Some(Cut::Fields)]);
    }
}
