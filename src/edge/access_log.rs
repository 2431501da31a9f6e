//! The access log: a record becomes text at once, in memory, and is handed out with many others.
//!
//! Each thread of the edge has a page of its own, so that a record costs no allocation, no system call, and no wait for
//! another core. Whoever writes the log sleeps until a page holds something, and takes what all of them hold soon after.
//! Owns the pages and their bounds; refuses to know where records go.

mod record;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

pub use self::record::{Form, Record};
use self::record::{Line, Stamp};
use crate::{clock::SharedClock, ops::Metrics};

/// The `tracing` target of access-log records.
pub const ACCESS_LOG_TARGET: &str = "portico::access";

/// How long a record may wait for others.
const DELAY: Duration = Duration::from_millis(100);

/// A page of this size is taken at once, in bytes.
const FULL: usize = 64 * 1024;

/// The size from which a page takes no more records, in bytes: nobody writes them out.
const OVERFULL: usize = 1024 * 1024;

/// The access log of a gateway. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog {
    inner: Arc<Inner>,
}

/// Where one thread writes its records.
pub struct Page {
    inner: Arc<Inner>,
    sheet: Arc<Mutex<Sheet>>,
}

/// What was written on all pages, until it is asked for again.
#[derive(Debug, Eq, PartialEq)]
pub struct Taken {
    /// Records that found no room since the last time.
    pub lost: u64,
    /// Whether nothing will come after this.
    pub last: bool,
}

struct Inner {
    form: Form,
    clock: SharedClock,
    metrics: Metrics,
    sheets: Mutex<Vec<Arc<Mutex<Sheet>>>>,
    lost: AtomicU64,
    bell: Mutex<Bell>,
    rang: Condvar,
}

/// What the writer is woken for.
#[derive(Default)]
struct Bell {
    /// A page holds something.
    waiting: bool,
    /// A page is full.
    full: bool,
    closed: bool,
}

#[derive(Default)]
struct Sheet {
    text: Vec<u8>,
    stamp: Option<Stamp>,
}

impl AccessLog {
    /// Nothing is written yet.
    pub fn new(form: Form, clock: SharedClock, metrics: Metrics) -> Self {
        Self {
            inner: Arc::new(Inner {
                form,
                clock,
                metrics,
                sheets: Mutex::default(),
                lost: AtomicU64::new(0),
                bell: Mutex::default(),
                rang: Condvar::new(),
            }),
        }
    }

    /// A page for one thread.
    pub fn page(&self) -> Page {
        let sheet = Arc::new(Mutex::new(Sheet::default()));
        self.inner.sheets.lock().push(Arc::clone(&sheet));
        Page {
            inner: Arc::clone(&self.inner),
            sheet,
        }
    }

    /// Blocks until there are records, and then for as long as they may wait; moves them to the end of `batch`.
    pub fn take(&self, batch: &mut Vec<u8>) -> Taken {
        let last = self.inner.sleep();
        for sheet in self.inner.sheets.lock().iter() {
            let mut sheet = sheet.lock();
            batch.append(&mut sheet.text);
            sheet.text.shrink_to(2 * FULL);
        }
        let lost = self.inner.lost.swap(0, Relaxed);
        Taken { lost, last }
    }

    /// Has the next [`AccessLog::take`] return at once, as the last one.
    pub fn close(&self) {
        self.inner.ring(|bell| bell.closed = true);
    }
}

impl Page {
    /// Writes a record of an exchange that ends now.
    pub fn write(&self, record: &Record<'_>, now: Instant) {
        let inner = &*self.inner;
        let mut sheet = self.sheet.lock();
        let before = sheet.text.len();
        if before >= OVERFULL {
            drop(sheet);
            inner.lost.fetch_add(1, Relaxed);
            inner.metrics.unlogged();
            return;
        }
        let Sheet { text, stamp } = &mut *sheet;
        let stamp = match stamp {
            Some(stamp) if stamp.holds(now) => stamp,
            stale => stale.insert(Stamp::new(inner.clock.now(), now)),
        };
        record.write(&mut Line::new(text, inner.form), stamp, now);
        let after = text.len();
        drop(sheet);
        if before < FULL && after >= FULL {
            inner.ring(|bell| bell.full = true);
        } else if before == 0 {
            inner.ring(|bell| bell.waiting = true);
        }
    }
}

impl Inner {
    fn ring(&self, tell: impl FnOnce(&mut Bell)) {
        tell(&mut self.bell.lock());
        self.rang.notify_one();
    }

    /// Waits until there is something, then until a page is full or the delay is over. Tells whether the log is closed.
    fn sleep(&self) -> bool {
        let mut bell = self.bell.lock();
        while !bell.waiting && !bell.full && !bell.closed {
            self.rang.wait(&mut bell);
        }
        let until = Instant::now() + DELAY;
        let mut late = false;
        while !late && !bell.full && !bell.closed {
            late = self.rang.wait_until(&mut bell, until).timed_out();
        }
        // Before the pages are looked at: what is written from here on rings again.
        (bell.waiting, bell.full) = (false, false);
        bell.closed
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

#[cfg(test)]
mod tests;
