//! A slow beat that many requests can wait for: cheaper than a timer for each, where a moment more or less is all the same.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Notify};

const EVERY: Duration = Duration::from_millis(250);
/// What begins to watch its permit at the next beat ends within a second of its cause (SESS-3).
const _: () = assert!(EVERY.as_millis() < 500);

/// Beats four times a second.
#[derive(Debug, Default)]
pub(super) struct Beat(Notify);

impl Beat {
    /// Starts one; it ends when nobody holds it.
    pub(super) fn start(on: &Handle) -> Arc<Self> {
        let beat = Arc::new(Self::default());
        let weak = Arc::downgrade(&beat);
        on.spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                let Some(beat) = weak.upgrade() else { return };
                beat.0.notify_waiters();
            }
        });
        beat
    }

    /// Waits for the next beat.
    pub(super) async fn next(&self) {
        self.0.notified().await;
    }
}
