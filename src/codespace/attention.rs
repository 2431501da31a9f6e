//! When what passes over a connection is use of a codespace: enough of it at a time, not what keeps a silent one open.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Activity, Codespace};

/// How much must pass within a window: an editor's page left alone sends a few dozen bytes of keep-alive every few
/// seconds, and so do many apps'.
const WORKING_BYTES: usize = 1024;
const WINDOW: Duration = Duration::from_secs(15);

/// Notices when a connection is used, and says so at most once in a window.
pub struct Attention {
    codespace: Arc<Codespace>,
    activity: Activity,
    window: Window,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    bytes: usize,
}

impl Attention {
    pub fn new(codespace: Arc<Codespace>, activity: Activity) -> Self {
        Self {
            codespace,
            activity,
            window: Window {
                since: Instant::now(),
                bytes: 0,
            },
        }
    }

    /// What it counts as.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// Takes note of bytes that passed.
    pub fn notice(&mut self, bytes: usize) {
        if bytes > 0 && self.window.is_use(bytes, Instant::now()) {
            self.codespace.touch(self.activity);
        }
    }
}

impl fmt::Debug for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attention({:?})", self.activity)
    }
}

impl Window {
    fn is_use(&mut self, bytes: usize, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) > WINDOW {
            (self.since, self.bytes) = (now, 0);
        }
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes);
        before < WORKING_BYTES && self.bytes >= WORKING_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_at_a_time_is_use_and_each_window_once() {
        let start = Instant::now();
        let mut window = Window { since: start, bytes: 0 };
        let mut passes = |bytes, seconds| window.is_use(bytes, start + Duration::from_secs(seconds));
        // A keep-alive every five seconds never is.
        assert!(!(0..60).any(|beat| passes(60, beat * 5)));
        assert!(!passes(500, 400));
        assert!(passes(600, 401));
        assert!(!passes(1 << 20, 410), "once is enough");
        assert!(passes(1 << 20, 420), "a stream goes on being use");
    }
}
