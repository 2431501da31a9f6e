//! A stream that outlives what was made of it: the connection of HTTP/2 above it ends with all that it holds, and what its
//! client was told last can still be read (RFC 9112 §9.6 says why for HTTP/1.1: what is closed with bytes that nobody read is
//! reset, and takes back what was sent).
//!
//! Owns the close that waits for the client's. Refuses to know what was said.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Most bytes of a client that goes on sending which are read, to be forgotten.
const MOST_READ: usize = 256 * 1024;

/// A stream that comes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent<S> {
    /// There until the drop.
    stream: Option<S>,
    back: Arc<Mutex<Option<S>>>,
}

/// Where it comes back to.
#[derive(Debug)]
pub(super) struct Lender<S>(Arc<Mutex<Option<S>>>);

/// Lends a stream.
pub(super) fn lend<S>(stream: S) -> (Lent<S>, Lender<S>) {
    let back = Arc::default();
    let lent = Lent {
        stream: Some(stream),
        back: Arc::clone(&back),
    };
    (lent, Lender(back))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lender<S> {
    /// Closes the stream, if it is back: says so to its client, and waits for the client to close it. However much comes until
    /// then, no more than 256 KiB of it are read.
    pub(super) async fn close(self) {
        let Some(mut stream) = self.0.lock().take() else { return };
        // One that failed is closed already.
        let _ = stream.shutdown().await;
        let (mut read, mut room) = (0, vec![0; 4096]);
        while read < MOST_READ {
            match stream.read(&mut room).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => read += bytes,
            }
        }
        drop(room);
        std::future::pending().await
    }
}

impl<S> Lent<S> {
    fn stream(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        *self.back.lock() = self.stream.take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn h2_1_what_was_said_last_is_read_and_the_clients_close_ends_it() {
        let (near, mut far) = duplex(1024);
        let (mut lent, lender) = lend(near);
        lent.write_all(b"calm down").await.expect("there is room");
        drop(lent);
        let closed = tokio::spawn(lender.close());
        let mut said = String::new();
        far.read_to_string(&mut said).await.expect("its end is said");
        assert_eq!(said, "calm down");
        far.write_all(&[0; 10_000]).await.expect("what comes is read");
        assert!(!closed.is_finished());
        drop(far);
        closed.await.expect("it ended with the client");
    }

    #[tokio::test]
    async fn h2_1_of_one_that_goes_on_only_so_much_is_read() {
        const ROOM: usize = 1024;
        let (near, mut far) = duplex(ROOM);
        let (lent, lender) = lend(near);
        drop(lent);
        let closed = tokio::spawn(lender.close());
        far.write_all(&vec![0; MOST_READ + ROOM])
            .await
            .expect("so much is read, and the rest fits");
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert!(poll!(pin!(far.write(&[0]))).is_pending(), "nobody makes room");
        }
        closed.abort();
    }
}
