//! What an app says before it answers: so much, and its connection is cut (SMUG-6).
//!
//! Of HTTP/1.1 hyper tells each informational answer. Of HTTP/2 it tells none, and its decoder keeps all of them until
//! somebody asks, a hundred bytes for each byte that names a field: there the heads and their fields are counted as they
//! are read, as those of clients are.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, ready},
};

use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
};

use super::flood::frames::Frames;

/// Most informational responses before the one that counts.
const MAX_INFORMATIONAL: usize = 16;

/// What a head of HTTP/2 costs beside one for each of its fields, and what a request adds to spend: four heads of many
/// fields, or thirty of a few.
const HEAD: usize = 64;
const FOR_REQUEST: usize = 2_048;
/// Most that is kept to spend: what as many requests at once add as go over one connection.
const MOST: usize = 32 * FOR_REQUEST;

/// Counts what an app says before it answers, over one connection of HTTP/1.1.
#[derive(Debug)]
pub(super) struct Chatter {
    heard: AtomicUsize,
    connection: AbortHandle,
}

impl Chatter {
    pub(super) fn of(connection: AbortHandle) -> Self {
        Self {
            heard: AtomicUsize::new(0),
            connection,
        }
    }

    /// Begins to count for a request.
    pub(super) fn listen<B>(self: &Arc<Self>, request: &mut Request<B>) {
        self.heard.store(0, Relaxed);
        let chatter = Arc::clone(self);
        hyper::ext::on_informational(request, move |_| {
            if chatter.heard.fetch_add(1, Relaxed) >= MAX_INFORMATIONAL {
                chatter.connection.abort();
            }
        });
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.heard.load(Relaxed) > MAX_INFORMATIONAL
    }
}

/// What an app may still say over one connection of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Heads {
    left: AtomicUsize,
    too_much: AtomicBool,
}

impl Heads {
    /// A request goes to it.
    pub(super) fn ask(&self) {
        let add = |left: usize| Some(MOST.min(left + FOR_REQUEST));
        // It never fails: there is always something to add.
        let _ = self.left.fetch_update(SeqCst, SeqCst, add);
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.too_much.load(Relaxed)
    }

    fn spend(&self, cost: usize) -> io::Result<()> {
        let spent = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(cost));
        if spent.is_ok() {
            return Ok(());
        }
        self.too_much.store(true, Relaxed);
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "an app sent more heads than there were requests for",
        ))
    }
}

/// A stream over which an app speaks HTTP/2, which breaks once it says too much.
#[derive(Debug)]
pub(super) struct Heeded<S> {
    inner: S,
    frames: Frames,
    heads: Arc<Heads>,
}

impl<S> Heeded<S> {
    pub(super) fn new(inner: S, heads: Arc<Heads>) -> Self {
        Self {
            inner,
            frames: Frames::of_server(),
            heads,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heeded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let seen = this.frames.read(&mut buf.filled_mut()[before..]);
        let cost = seen.heads as usize * HEAD + seen.fields as usize;
        if cost > 0 {
            this.heads.spend(cost)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heeded<S> {
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
