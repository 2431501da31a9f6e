//! A slow beat that many requests can wait for: cheaper than a timer for each, where a moment more or less is all the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify};

const EVERY: Duration = Duration::from_millis(250);
/// How many threads have a place of their own; more share.
const PLACES: usize = 16;

/// Beats four times a second.
#[derive(Debug, Default)]
pub(super) struct Beat {
    places: [Notify; PLACES],
}

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
                beat.places.iter().for_each(Notify::notify_waiters);
            }
        });
        beat
    }

    /// Waits for the next beat.
    pub(super) async fn next(&self) {
        self.places[place() % PLACES].notified().await;
    }
}

/// A number of the calling thread, given out in turn: threads that use shared structures find their own share by it.
pub(super) fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Relaxed);
    }
    PLACE.with(|place| *place)
}
