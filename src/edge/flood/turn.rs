//! Turns of a reader: after so much, every other task of the thread has its own, and the sockets are looked at.

use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use futures_util::task::AtomicWaker;

/// What is read in one turn, counted in fields of heads and in what other frames cost: about an eighth of a millisecond of
/// h2's work.
pub(super) const MOST: u32 = 1_000;

/// How much was read in this turn, and whether it is over.
#[derive(Debug, Default)]
pub(super) struct Turn {
    read: u32,
    rest: Option<Arc<Rest>>,
}

/// A rest until the others had their turns. Being woken before that, by an answer of its own or by whatever, ends none.
#[derive(Debug, Default)]
struct Rest {
    over: AtomicBool,
    reader: AtomicWaker,
}

impl Turn {
    /// Waits for a turn.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.is_none() && self.read >= MOST {
            let rest = Arc::<Rest>::default();
            // It is woken when no other task is ready any more and the sockets were looked at; one that wakes itself comes
            // before that, again and again.
            let waker = Waker::from(Arc::clone(&rest));
            if pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker)).is_ready() {
                rest.over.store(true, Relaxed);
            }
            self.rest = Some(rest);
        }
        if let Some(rest) = &self.rest {
            ready!(rest.poll(cx));
            self.end();
        }
        Poll::Ready(())
    }

    pub(super) fn read(&mut self, cost: u32) {
        self.read = self.read.saturating_add(cost);
    }

    /// There was no more to read: the others had theirs before there is.
    pub(super) fn end(&mut self) {
        (self.read, self.rest) = (0, None);
    }
}

impl Rest {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.reader.register(cx.waker());
        if self.over.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        self.over.store(true, Relaxed);
        self.reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicU32};

    use super::*;

    /// Wakes itself so many times, as a stream does that is answered piece by piece.
    async fn busy(rounds: u32, done: &AtomicU32) {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if done.fetch_add(1, Relaxed) == rounds {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test]
    async fn h2_1_a_turn_comes_after_those_of_others_however_often_one_is_woken() {
        let done = Arc::<AtomicU32>::default();
        tokio::spawn({
            let done = Arc::clone(&done);
            async move { busy(10, &done).await }
        });
        let reader = tokio::spawn(async move {
            let mut turn = Turn::default();
            turn.read(MOST - 1);
            poll_fn(|cx| turn.poll(cx)).await;
            let before = done.load(Relaxed);
            turn.read(1);
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                turn.poll(cx)
            })
            .await;
            (before, done.load(Relaxed))
        });
        let (before, after) = reader.await.expect("it ran");
        assert!(before <= 1, "none was due");
        assert_eq!(after, 11, "the other had all of its own");
    }
}
