//! One connection, whatever it runs over.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

use crate::relay::{Pipe, Relayed};

/// A byte stream, and bytes of it that were read ahead.
///
/// The kind of socket stays visible in here, so that copying becomes `splice` where both ends are plain.
#[derive(Debug)]
pub struct Connection {
    ahead: Bytes,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Puts bytes that were read too early in front.
    #[must_use]
    pub fn with_ahead(mut self, ahead: Bytes) -> Self {
        self.ahead = if self.ahead.is_empty() {
            ahead
        } else {
            [ahead, self.ahead].concat().into()
        };
        self
    }
}

impl From<TcpStream> for Connection {
    fn from(socket: TcpStream) -> Self {
        Self {
            ahead: Bytes::new(),
            socket: Socket::Tcp(socket),
        }
    }
}

impl From<UnixStream> for Connection {
    fn from(socket: UnixStream) -> Self {
        Self {
            ahead: Bytes::new(),
            socket: Socket::Unix(socket),
        }
    }
}

impl From<TlsStream<TcpStream>> for Connection {
    fn from(socket: TlsStream<TcpStream>) -> Self {
        Self {
            ahead: Bytes::new(),
            socket: Socket::Tls(Box::new(socket)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Tls(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Tls(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_) | Socket::Unix(_))
    }
}

impl Relayed for Connection {
    fn splices(&self) -> bool {
        self.ahead.is_empty() && matches!(self.socket, Socket::Tcp(_) | Socket::Unix(_))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.poll_fill(cx, pipe),
            Socket::Unix(socket) => socket.poll_fill(cx, pipe),
            Socket::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.poll_drain(cx, pipe),
            Socket::Unix(socket) => socket.poll_drain(cx, pipe),
            Socket::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }
}
