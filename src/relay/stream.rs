//! What a relay can join: any byte stream, and plain sockets with fewer copies.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_util::either::Either;

use super::Pipe;

/// A byte stream that can be relayed. One whose bytes are those of a plain socket says so, and takes part in splicing.
pub trait Relayed: AsyncRead + AsyncWrite + Unpin {
    /// Whether its bytes are its socket's, from the next one on.
    fn splices(&self) -> bool {
        false
    }

    /// Reads as much as there is room for, also where it is read in sips otherwise.
    fn poll_gulp(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, buf)
    }

    /// Moves bytes from the socket into the empty pipe; 0 at the socket's end.
    fn poll_fill(&mut self, _: &mut Context<'_>, _: &mut Pipe) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Moves bytes from the pipe into the socket.
    fn poll_drain(&mut self, _: &mut Context<'_>, _: &mut Pipe) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl Relayed for DuplexStream {}
impl Relayed for TokioIo<Upgraded> {}

impl<A: Relayed, B: Relayed> Relayed for Either<A, B> {
    fn splices(&self) -> bool {
        match self {
            Self::Left(stream) => stream.splices(),
            Self::Right(stream) => stream.splices(),
        }
    }

    fn poll_gulp(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Left(stream) => stream.poll_gulp(cx, buf),
            Self::Right(stream) => stream.poll_gulp(cx, buf),
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match self {
            Self::Left(stream) => stream.poll_fill(cx, pipe),
            Self::Right(stream) => stream.poll_fill(cx, pipe),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match self {
            Self::Left(stream) => stream.poll_drain(cx, pipe),
            Self::Right(stream) => stream.poll_drain(cx, pipe),
        }
    }
}

macro_rules! plain_socket {
    ($socket:ty) => {
        impl Relayed for $socket {
            fn splices(&self) -> bool {
                true
            }

            fn poll_fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
                loop {
                    ready!(self.poll_read_ready(cx))?;
                    let filled = self.try_io(Interest::READABLE, || pipe.fill(&*self));
                    if !is_transient(&filled) {
                        return Poll::Ready(filled);
                    }
                }
            }

            fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
                loop {
                    ready!(self.poll_write_ready(cx))?;
                    let drained = self.try_io(Interest::WRITABLE, || pipe.drain(&*self));
                    if !is_transient(&drained) {
                        return Poll::Ready(drained);
                    }
                }
            }
        }
    };
}

plain_socket!(TcpStream);
plain_socket!(UnixStream);

fn is_transient(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted))
}
