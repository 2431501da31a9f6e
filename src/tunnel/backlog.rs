//! What of a request's body waits to be written to an app.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// From so many bytes on nothing is added: what a client may send ahead of one that reads slowly is kept besides (LIM-3).
const MOST: usize = 48 * 1024;

/// Bytes on their way through one connection: who hands them over adds them, the stream takes off what it wrote.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    waiting: AtomicWaker,
}

impl Backlog {
    /// Begins with nothing, for the next request.
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
    pub(super) fn written(&self, bytes: usize) {
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
    use std::{future::poll_fn, sync::Arc};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::tunnel::AgentStream;

    #[tokio::test]
    async fn lim_3_more_is_taken_once_something_was_written() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut stream = AgentStream::from(near);
        let backlog = stream.backlog();
        backlog.add(MOST - 1);
        poll_fn(|cx| backlog.poll_room(cx)).await;
        backlog.add(100);
        let room = tokio::spawn({
            let backlog = Arc::clone(&backlog);
            async move { poll_fn(|cx| backlog.poll_room(cx)).await }
        });
        tokio::task::yield_now().await;
        assert!(!room.is_finished());
        stream.write_all(&[0; 99]).await.expect("written");
        far.read_exact(&mut [0; 99]).await.expect("read");
        tokio::task::yield_now().await;
        assert!(!room.is_finished(), "as much waits as may");
        stream.write_all(&[0; 1]).await.expect("written");
        room.await.expect("it was woken");
        stream.write_all(&[0; 300]).await.expect("written");
        backlog.clear();
        stream.write_all(&[0; 300]).await.expect("more than anybody added");
        assert_eq!(backlog.bytes.load(Relaxed), 0);
    }
}
