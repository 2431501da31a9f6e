//! The doctor of what runs behind a port: what answers there, what is wrong with it, and how to mend that, in plain words.
//!
//! Owns the probe of a port, the recognition of what apps refuse, the words for each trouble, and a short memory of what
//! went wrong. Refuses to know: who asks, and who may be told; its callers tell a stranger nothing of it.

mod memory;
mod probe;
mod refusal;
mod speech;
mod trouble;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use self::{
    memory::{Memory, Note, What},
    probe::{As, Ask, Examination, of_dial},
    refusal::{Refusal, recognise},
    speech::{Speech, of_first_bytes},
    trouble::{Fix, Trouble},
};
use crate::tunnel::SharedDialer;

/// Most probes at once: each is a few connections to an app that is in trouble already.
const AT_ONCE: usize = 8;
/// How long a probe may take in all.
const PATIENCE: Duration = Duration::from_secs(6);

/// Examines ports and remembers. Cheap to clone.
#[derive(Clone)]
pub struct Doctor {
    dialer: SharedDialer,
    busy: Arc<AtomicUsize>,
    memory: Memory,
}

impl Doctor {
    /// Makes one that looks through `dialer`.
    pub fn new(dialer: SharedDialer) -> Self {
        Self {
            dialer,
            busy: Arc::default(),
            memory: Memory::default(),
        }
    }

    /// What went wrong lately.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Looks at a port; none if the doctor is busy, or learnt nothing in time. The caller has authorized the stream.
    pub async fn examine(&self, ask: &Ask<'_>) -> Option<Examination> {
        if self.busy.fetch_add(1, Relaxed) >= AT_ONCE {
            self.busy.fetch_sub(1, Relaxed);
            return None;
        }
        let _place = Place(&self.busy);
        tokio::time::timeout(PATIENCE, probe::examine(&self.dialer, ask)).await.ok()
    }
}

/// A place among the probes that run; given back however the probe ends.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
