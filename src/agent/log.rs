//! What the checkout and the editor printed, kept for the codespace's user.
//!
//! Owns a bounded text. Refuses: the agent's own log, which goes to its standard error.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

use super::terminals::ring::Ring;

/// Bytes kept.
const LOG_BYTES: usize = 256 * 1024;

/// A log that many write to; cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Ring>>);

impl Default for Log {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Ring::new(LOG_BYTES))))
    }
}

impl Log {
    /// Appends bytes as a program printed them.
    pub fn write(&self, bytes: &[u8]) {
        self.0.lock().push(bytes);
    }

    /// Appends one line.
    pub fn line(&self, text: impl fmt::Display) {
        self.write(format!("{text}\n").as_bytes());
    }

    /// The last 256 KiB.
    pub fn text(&self) -> String {
        self.last(LOG_BYTES)
    }

    /// At most so many of the last bytes.
    pub fn last(&self, bytes: usize) -> String {
        let ring = self.0.lock();
        let from = ring.start().max(ring.end().saturating_sub(bytes as u64));
        String::from_utf8_lossy(&ring.read(from, bytes).unwrap_or_default()).into_owned()
    }
}
