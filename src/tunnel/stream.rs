//! A connected byte stream into a codespace.

use std::{
    fmt, io,
    io::IoSlice,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
};

use crate::relay::{Backlog, Pipe, Relayed, poll_sip, poll_write_pieces};

/// A byte stream into a codespace. It counts against its agent's limit while it lives.
pub struct AgentStream {
    io: Held,
    permit: Option<OwnedSemaphorePermit>,
    tenure: Tenure,
    backlog: Option<Arc<Backlog>>,
}

/// An agent's time as its codespace's own, which ends once another takes its place: what runs on a stream of its may go on,
/// and nothing new is begun there (AGT-6).
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<AtomicBool>);

/// The kind of socket that a stream is, so that two plain ones can be spliced.
pub enum Held {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// A connection that the agent opened, upgraded.
    Upgraded(TokioIo<Upgraded>),
    /// In memory, for tests.
    Duplex(DuplexStream),
}

impl AgentStream {
    pub(super) fn new(io: Held, permit: OwnedSemaphorePermit, tenure: Tenure) -> Self {
        Self {
            io,
            permit: Some(permit),
            tenure,
            backlog: None,
        }
    }

    /// Has it tell what it writes.
    pub fn backlog(&mut self) -> Arc<Backlog> {
        Arc::clone(self.backlog.get_or_insert_default())
    }

    /// The time of the agent that it came from.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(backlog), Poll::Ready(Ok(bytes))) = (&self.backlog, &polled) {
            backlog.written(*bytes);
        }
        polled
    }
}

impl Tenure {
    pub(super) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<T: Into<Held>> From<T> for AgentStream {
    /// Makes a stream that counts against no limit, for tests.
    fn from(io: T) -> Self {
        Self {
            io: io.into(),
            permit: None,
            tenure: Tenure::default(),
            backlog: None,
        }
    }
}

impl From<DuplexStream> for Held {
    fn from(io: DuplexStream) -> Self {
        Self::Duplex(io)
    }
}

impl From<TcpStream> for Held {
    fn from(io: TcpStream) -> Self {
        Self::Tcp(io)
    }
}

impl From<UnixStream> for Held {
    fn from(io: UnixStream) -> Self {
        Self::Unix(io)
    }
}

impl fmt::Debug for AgentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.io {
            Held::Unix(_) => "Unix",
            Held::Tcp(_) => "Tcp",
            Held::Upgraded(_) => "Upgraded",
            Held::Duplex(_) => "Duplex",
        };
        write!(f, "AgentStream({kind}, counted: {})", self.permit.is_some())
    }
}

impl AsyncRead for AgentStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_sip(Pin::new(&mut self.get_mut().io), cx, buf)
    }
}

impl AsyncWrite for AgentStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = poll_write_pieces(Pin::new(&mut self.io), cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl Relayed for AgentStream {
    fn splices(&self) -> bool {
        matches!(self.io, Held::Unix(_) | Held::Tcp(_))
    }

    fn poll_gulp(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Held::Unix(io) => io.poll_fill(cx, pipe),
            Held::Tcp(io) => io.poll_fill(cx, pipe),
            Held::Upgraded(_) | Held::Duplex(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Held::Unix(io) => io.poll_drain(cx, pipe),
            Held::Tcp(io) => io.poll_drain(cx, pipe),
            Held::Upgraded(_) | Held::Duplex(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Unix($io) => $call,
            Self::Tcp($io) => $call,
            Self::Upgraded($io) => $call,
            Self::Duplex($io) => $call,
        }
    };
}

impl AsyncRead for Held {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Held {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(io) => io.is_write_vectored(),
            Self::Tcp(io) => io.is_write_vectored(),
            Self::Upgraded(io) => io.is_write_vectored(),
            Self::Duplex(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn lim_3_more_is_taken_once_something_was_written() {
        const MOST: usize = 48 * 1024;
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
    }
}
