//! The log of one port, and the bounds that all logs of a gateway share.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use time::OffsetDateTime;

use super::{
    Entry, Hour, Opening, Recorded, Recording,
    recording::{Account, Draft},
    visits::Visits,
};

/// Most bytes that the log of a port holds when an exchange begins.
const PORT_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes that all logs hold when an exchange begins.
const GATEWAY_BYTES: usize = 64 * 1024 * 1024;

/// All logs of a gateway. Cheap to clone.
#[derive(Clone, Default)]
pub struct Logs(Arc<All>);

#[derive(Default)]
struct All {
    bytes: Arc<AtomicUsize>,
    logs: Mutex<Vec<Weak<PortLog>>>,
}

/// What was asked of a port lately, and who visited it.
pub struct PortLog {
    all: Logs,
    account: Arc<Account>,
    ring: Mutex<Ring>,
    visits: Mutex<Visits>,
}

struct Ring {
    most: usize,
    next: u64,
    entries: VecDeque<Arc<Recording>>,
    closed: bool,
}

impl Logs {
    /// Begins a log of at most so many exchanges.
    pub fn open(&self, entries: u16) -> Arc<PortLog> {
        let log = Arc::new(PortLog {
            all: self.clone(),
            account: Arc::new(Account {
                own: AtomicUsize::new(0),
                all: Arc::clone(&self.0.bytes),
            }),
            ring: Mutex::new(Ring {
                most: usize::from(entries).max(1),
                next: 1,
                entries: VecDeque::new(),
                closed: false,
            }),
            visits: Mutex::default(),
        });
        let mut logs = self.0.logs.lock();
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(&log));
        log
    }

    /// Makes room: whoever holds most forgets its oldest.
    fn make_room(&self) {
        while self.0.bytes.load(Relaxed) > GATEWAY_BYTES {
            let logs: Vec<Arc<PortLog>> = self.0.logs.lock().iter().filter_map(Weak::upgrade).collect();
            let largest = logs.iter().max_by_key(|log| log.account.own.load(Relaxed));
            if !largest.is_some_and(|log| log.forget_oldest()) {
                return;
            }
        }
    }
}

impl PortLog {
    /// Writes an exchange down from its beginning; none once the log was turned off.
    pub fn begin(&self, opening: Opening<'_>) -> Option<Recorded> {
        if self.ring.lock().closed {
            return None;
        }
        // Before the lock is taken: whoever asks chooses how much there is to look through.
        let draft = Draft::of(opening);
        let recording = {
            let mut ring = self.ring.lock();
            if ring.closed {
                return None;
            }
            self.visits.lock().note(opening.who, opening.client, opening.at);
            let id = ring.next;
            ring.next += 1;
            while ring.entries.len() >= ring.most || (self.account.own.load(Relaxed) > PORT_BYTES && !ring.entries.is_empty()) {
                ring.forget_oldest();
            }
            let recording = Recording::begin(id, draft, Arc::clone(&self.account));
            ring.entries.push_back(Arc::clone(&recording));
            recording
        };
        self.all.make_room();
        Some(Recorded::new(recording))
    }

    /// The newest exchanges, the newest first, without their fields and bodies.
    pub fn newest(&self, most: usize) -> Vec<Entry> {
        let recordings: Vec<_> = self.ring.lock().entries.iter().rev().take(most).cloned().collect();
        recordings.iter().map(|recording| recording.brief()).collect()
    }

    /// One exchange, if it is kept still.
    pub fn find(&self, id: u64) -> Option<Entry> {
        let found = self.ring.lock().entries.iter().find(|recording| recording.id == id).cloned();
        found.map(|recording| recording.entry())
    }

    /// Who visited in each hour, the latest hour first.
    pub fn visits(&self, now: OffsetDateTime) -> Vec<Hour> {
        self.visits.lock().hours(now)
    }

    /// Forgets all exchanges; those that are under way are not kept either.
    pub fn clear(&self) {
        let mut ring = self.ring.lock();
        while ring.forget_oldest() {}
    }

    /// Keeps so many from now on.
    pub fn resize(&self, entries: u16) {
        let mut ring = self.ring.lock();
        ring.most = usize::from(entries).max(1);
        while ring.entries.len() > ring.most {
            ring.forget_oldest();
        }
    }

    /// Ends it: whoever still holds it writes nothing more down.
    pub fn close(&self) {
        let mut ring = self.ring.lock();
        ring.closed = true;
        while ring.forget_oldest() {}
        *self.visits.lock() = Visits::default();
    }

    fn forget_oldest(&self) -> bool {
        self.ring.lock().forget_oldest()
    }
}

impl Ring {
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.entries.pop_front();
        if let Some(oldest) = &oldest {
            oldest.forget();
        }
        oldest.is_some()
    }
}

impl Drop for PortLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// A log is itself and no other, whatever is in it.
impl PartialEq for PortLog {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl fmt::Debug for PortLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PortLog")
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Version};

    use super::*;
    use crate::inspect::{MAX_BODY, Unrepeatable, Visitor};

    fn ask(log: &PortLog, target: &str, headers: &HeaderMap) -> Recorded {
        let opening = Opening {
            at: OffsetDateTime::UNIX_EPOCH,
            trace: "t",
            method: "POST",
            target,
            version: Version::HTTP_11,
            who: &Visitor::Anyone,
            client: [192, 0, 2, 1].into(),
            replay_of: None,
            headers,
        };
        log.begin(opening).expect("the log is on")
    }

    fn of_text() -> HeaderMap {
        HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))])
    }

    #[test]
    fn an_exchange_is_there_from_its_beginning_and_bodies_are_bounded() {
        let logs = Logs::default();
        let log = logs.open(10);
        let mut recorded = ask(&log, "/a", &of_text());
        assert_eq!(
            log.find(1).map(|entry| (entry.status, entry.took, entry.repeatable())),
            Some((None, None, Err(Unrepeatable::UnderWay)))
        );
        recorded.recording().sent(b"hello");
        recorded.recording().sent_all();
        recorded.answered(201, &of_text());
        for _ in 0..10 {
            recorded.received(&[b'x'; MAX_BODY / 4]);
        }
        recorded.complete();
        drop(recorded);
        let entry = log.find(1).expect("kept");
        assert_eq!((entry.status, entry.sent.whole, entry.repeatable()), (Some(201), true, Ok(())));
        assert_eq!(
            (entry.received.kept.len(), entry.received.size),
            (MAX_BODY, MAX_BODY as u64 * 10 / 4)
        );
        assert!(!entry.received.whole && entry.trouble.is_none() && entry.took >= entry.first_byte);
        drop(ask(&log, "/b", &of_text()));
        assert_eq!(log.newest(1)[0].trouble.as_deref(), Some("It ended before the app answered."));
    }

    #[test]
    fn the_oldest_goes_first_and_every_byte_is_given_back() {
        let logs = Logs::default();
        let (log, other) = (logs.open(3), logs.open(3));
        let under_way = ask(&log, "/0", &of_text());
        for number in 1..5 {
            drop(ask(&log, &format!("/{number}"), &of_text()));
        }
        let kept: Vec<String> = log.newest(10).into_iter().map(|entry| entry.target).collect();
        assert_eq!(kept, ["/4", "/3", "/2"]);
        under_way.received(b"forgotten");
        log.resize(1);
        assert_eq!(log.newest(10).len(), 1);
        drop(ask(&other, "/", &of_text()));
        log.close();
        let opening = ask(&other, "/", &of_text());
        drop((opening, under_way));
        assert_eq!(log.account.own.load(Relaxed), 0);
        assert_eq!(logs.0.bytes.load(Relaxed), other.account.own.load(Relaxed));
        drop(other);
        assert_eq!(logs.0.bytes.load(Relaxed), 0);
    }

    #[test]
    fn bytes_are_bounded_for_a_port_and_for_the_gateway() {
        let logs = Logs::default();
        let many: Vec<_> = (0..20).map(|_| logs.open(1000)).collect();
        for log in &many {
            for _ in 0..300 {
                let recorded = ask(log, "/", &of_text());
                recorded.recording().sent(&[b'x'; MAX_BODY]);
            }
            assert!(log.account.own.load(Relaxed) <= PORT_BYTES + 2 * MAX_BODY);
        }
        assert!(logs.0.bytes.load(Relaxed) <= GATEWAY_BYTES + 2 * MAX_BODY);
        assert!(many.iter().all(|log| log.newest(1).len() == 1), "nobody is left with nothing");
    }

    #[test]
    fn secrets_are_out_of_bodies_before_and_after_their_end() {
        let log = Logs::default().open(10);
        let recorded = ask(
            &log,
            "/a?token=canary",
            &HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
        );
        recorded.recording().sent(br#"{"password":"canary"#);
        assert!(!format!("{:?}", log.find(1)).contains("canary"));
        recorded.recording().sent(br#"""#);
        recorded.recording().sent_all();
        recorded.answered(200, &of_text());
        recorded.received(b"x-api-key: canary\n");
        drop(recorded);
        let entry = log.find(1).expect("kept");
        let shown = format!(
            "{} {}",
            String::from_utf8_lossy(&entry.sent.kept),
            String::from_utf8_lossy(&entry.received.kept)
        );
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(entry.repeatable(), Err(Unrepeatable::Address));
    }

    #[test]
    fn what_was_turned_off_keeps_nothing() {
        let log = Logs::default().open(10);
        let recorded = ask(&log, "/", &of_text());
        log.close();
        recorded.recording().sent(b"late");
        recorded.answered(200, &of_text());
        assert!(log.newest(10).is_empty() && recorded.recording().entry().sent.kept.is_empty());
        assert!(log.visits(OffsetDateTime::UNIX_EPOCH).is_empty());
    }
}
