//! The streams of an HTTP/2 connection: each is a task of its own, and its end ends nothing else.
//!
//! hyper has no handle on a stream and no timer for one that its client does not read. Its executor is ours: dropping
//! what it is asked to run resets that stream alone.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::{Peer, caller::Caller, context::Patience, pace::Pace, recall::Recall, tls::Named};

tokio::task_local! {
    static STREAM: Arc<Peer>;
}

/// Runs the streams of one connection.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// Counts what runs, upgraded streams too, so that no connection with one is taken for idle.
    pub pace: Arc<Pace>,
    pub caller: Caller,
    pub named: Option<Named>,
    pub patience: Patience,
    pub recall: Arc<Recall>,
}

impl Streams {
    fn peer(&self) -> Arc<Peer> {
        let recall = Arc::clone(&self.recall);
        Arc::new(Peer::new(self.caller.clone(), self.named, self.patience, recall))
    }

    /// The stream in whose task this is called.
    pub(super) fn current(&self) -> Arc<Peer> {
        STREAM.try_with(Arc::clone).unwrap_or_else(|_| self.peer())
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let peer = self.peer();
        let (limit, going) = (self.patience.write, self.pace.begin());
        tokio::spawn(STREAM.scope(Arc::clone(&peer), async move {
            let _going = going;
            tokio::select! {
                biased;
                () = stream => {}
                () = peer.leases.fallen() => {}
                // Last, because it sees what the stream did just now.
                () = peer.untaken.too_long(limit) => {}
            }
        }));
    }
}

/// Since when a client has not taken what was handed to its stream.
#[derive(Debug, Default)]
pub(super) struct Untaken {
    since: Mutex<Option<Instant>>,
}

impl Untaken {
    /// Something was handed over.
    pub(super) fn handed(&self) {
        *self.since.lock() = Some(Instant::now());
    }

    /// The stream asks for more, or is done.
    pub(super) fn taken(&self) {
        *self.since.lock() = None;
    }

    /// Waits for a client that takes nothing for so long. Must be polled by the task that hands over and takes.
    async fn too_long(&self, limit: Duration) {
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut set = None;
        poll_fn(|cx| {
            loop {
                let Some(since) = *self.since.lock() else { return Poll::Pending };
                if Instant::now() >= since + limit {
                    return Poll::Ready(());
                }
                // One that is set for an earlier time wakes once for nothing, which costs less than setting it each time.
                if set.is_none_or(|set| set <= Instant::now()) {
                    timer.as_mut().reset(since + limit);
                    set = Some(since + limit);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                set = None;
            }
        })
        .await;
    }
}
