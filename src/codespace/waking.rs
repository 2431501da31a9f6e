//! Starts for somebody who came: of any number at once one orders it, and nobody starts things in a frenzy (RESUME-3).

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use time::{Duration, OffsetDateTime};

use super::{Codespace, CodespaceError, Codespaces, task::Order};
use crate::{audit::Actor, domain::Phase};

const MINUTE: Duration = Duration::minutes(1);
/// With so many people the ones who started nothing lately are left out.
const MANY: usize = 1024;

/// Who started something within the last minute, and when.
#[derive(Debug, Default)]
pub(super) struct Starts {
    of: Mutex<HashMap<String, VecDeque<OffsetDateTime>>>,
}

/// Holds the one place to order a codespace's start.
struct Lead<'a>(&'a AtomicBool);

impl Codespaces {
    /// Starts a codespace for somebody who came to one of its hosts, unless that is under way. Returns at once: nobody
    /// waits in a queue, and whoever comes while it is ordered finds it under way a moment later.
    pub async fn wake(&self, codespace: &Codespace, actor: &Actor, how: &'static str) -> Result<(), CodespaceError> {
        let Some(_lead) = Lead::take(&codespace.shared.waking) else {
            return Ok(());
        };
        let snapshot = codespace.snapshot();
        match snapshot.phase() {
            Phase::Stopped | Phase::Failed => {}
            Phase::Stopping if !snapshot.starts_again => {}
            _ => return Ok(()),
        }
        codespace.order(|reply| Order::Start(actor.clone(), how, reply)).await
    }
}

impl Starts {
    /// Counts a start, unless there were as many within the last minute as there may be.
    pub(super) fn count(&self, who: String, limit: usize, now: OffsetDateTime) -> Result<(), CodespaceError> {
        let recent = |at: &OffsetDateTime| now - *at < MINUTE;
        let mut all = self.of.lock();
        if all.len() >= MANY {
            all.retain(|_, starts| starts.back().is_some_and(recent));
        }
        let starts = all.entry(who).or_default();
        while starts.front().is_some_and(|at| !recent(at)) {
            starts.pop_front();
        }
        if starts.len() < limit {
            starts.push_back(now);
            return Ok(());
        }
        let wait = starts.front().map_or(MINUTE, |first| MINUTE - (now - *first));
        Err(CodespaceError::TooManyStarts {
            limit,
            seconds: wait.whole_seconds().unsigned_abs().max(1),
        })
    }
}

impl<'a> Lead<'a> {
    fn take(taken: &'a AtomicBool) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then_some(Self(taken))
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resume_3_so_many_starts_a_minute() {
        let starts = Starts::default();
        let start = OffsetDateTime::UNIX_EPOCH;
        let count = |who: &str, seconds| match starts.count(who.into(), 2, start + Duration::seconds(seconds)) {
            Ok(()) => 0,
            Err(CodespaceError::TooManyStarts { limit: 2, seconds }) => seconds,
            Err(error) => panic!("{error}"),
        };
        assert_eq!([count("ada", 0), count("ada", 20), count("ada", 40)], [0, 0, 20]);
        assert_eq!(count("bob", 40), 0);
        // What was refused does not count.
        assert_eq!(
            [count("ada", 59), count("ada", 60), count("ada", 61), count("ada", 80)],
            [1, 0, 19, 0]
        );
    }
}
