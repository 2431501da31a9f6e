//! What of a body waits to be written, to an app or to a client.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// From so many bytes on nothing is added: what may be sent ahead of one that reads slowly is kept besides (LIM-3).
const MOST: usize = 48 * 1024;

/// Bytes on their way through one connection: who hands them over adds them, the stream takes off what it wrote.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    waiting: AtomicWaker,
}

impl Backlog {
    /// Begins with nothing, for the next body.
    pub fn clear(&self) {
        self.bytes.store(0, Relaxed);
    }

    /// So many bytes were handed over.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Waits until there is room for more.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.bytes.load(Relaxed) < MOST {
            return Poll::Ready(());
        }
        self.waiting.register(cx.waker());
        // What was written in between would wake nobody.
        if self.bytes.load(Relaxed) < MOST {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// So many bytes were written; the head and what frames a body are among them, which nobody added.
    pub fn written(&self, bytes: usize) {
        let taken = |waiting: usize| (waiting > 0).then(|| waiting.saturating_sub(bytes));
        if let Ok(before) = self.bytes.fetch_update(Relaxed, Relaxed, taken)
            && before >= MOST
        {
            self.waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn lim_3_there_is_room_below_the_most_and_once_more_was_written() {
        let backlog = Backlog::default();
        let room = || poll_fn(|cx| backlog.poll_room(cx));
        backlog.add(MOST - 1);
        assert!(poll!(room()).is_ready());
        backlog.add(1);
        let mut waiting = pin!(room());
        assert!(poll!(waiting.as_mut()).is_pending());
        backlog.written(1);
        assert!(poll!(waiting).is_ready());
        backlog.written(10 * MOST);
        backlog.add(MOST);
        assert!(poll!(room()).is_pending(), "what nobody added is not owed");
        backlog.clear();
        assert!(poll!(room()).is_ready());
    }
}
