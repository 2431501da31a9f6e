//! How long a connection may be idle, and how long a head may take: two times, which hyper's one timer does not tell
//! apart (TO-1).
//!
//! Decides nothing by itself: the connection asks [`Pace::look`] when a time may be over.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where a connection stands between its requests.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests that are being answered.
    going: usize,
    /// Whether the first byte of a head has come.
    head: bool,
    since: Instant,
}

/// What a look at a connection finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// Nothing; look again then.
    Again(Instant),
    /// It was idle for too long.
    Idle,
    /// A head takes too long.
    SlowHead,
}

/// The two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub idle: Duration,
    pub head: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                going: 0,
                head: false,
                since: now,
            }),
        })
    }

    /// Begins to answer a request, until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Going {
        let mut state = self.state.lock();
        state.going += 1;
        state.head = false;
        Going(Arc::clone(self))
    }

    fn bytes(&self) {
        let mut state = self.state.lock();
        if state.going == 0 && !state.head {
            (state.head, state.since) = (true, Instant::now());
        }
    }

    /// Looks whether a time is over.
    pub(super) fn look(&self, times: Times, now: Instant) -> Look {
        let state = *self.state.lock();
        if state.going > 0 {
            return Look::Again(now + times.idle.min(times.head));
        }
        let (limit, over) = if state.head {
            (times.head, Look::SlowHead)
        } else {
            (times.idle, Look::Idle)
        };
        if now < state.since + limit {
            // A head may begin in the meantime, and its time is the shorter one.
            Look::Again((state.since + limit).min(now + times.head))
        } else {
            over
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Going(Arc<Pace>);

impl Drop for Going {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.going -= 1;
        state.since = Instant::now();
    }
}

/// A stream that tells when the first byte of a head comes.
#[derive(Debug)]
pub(super) struct Heard<S> {
    inner: S,
    pace: Arc<Pace>,
}

impl<S> Heard<S> {
    pub(super) fn new(inner: S, pace: Arc<Pace>) -> Self {
        Self { inner, pace }
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.bytes();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        idle: Duration::from_secs(60),
        head: Duration::from_secs(10),
    };

    #[test]
    fn idle_and_slow_heads_are_told_apart() {
        let begun = Instant::now();
        let pace = Pace::new(begun);
        let second = Duration::from_secs(1);
        assert_eq!(pace.look(TIMES, begun + 55 * second), Look::Again(begun + 60 * second));
        assert_eq!(pace.look(TIMES, begun), Look::Again(begun + 10 * second));
        assert_eq!(pace.look(TIMES, begun + 60 * second), Look::Idle);
        pace.bytes();
        let heard = pace.state.lock().since;
        assert_eq!(pace.look(TIMES, heard + 9 * second), Look::Again(heard + 10 * second));
        pace.bytes();
        assert_eq!(pace.look(TIMES, heard + 10 * second), Look::SlowHead, "later bytes buy no time");
        let (going, other) = (pace.begin(), pace.begin());
        pace.bytes();
        drop(going);
        let later = begun + 3600 * second;
        assert_eq!(
            pace.look(TIMES, later),
            Look::Again(later + 10 * second),
            "an answer may take its time"
        );
        drop(other);
        assert_eq!(pace.look(TIMES, later), Look::Idle);
    }
}
