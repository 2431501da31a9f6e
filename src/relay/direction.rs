//! One direction of a relay.

use std::{
    future::Future as _,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::{Pipe, Relayed, buffer::Buffer};

/// How much a direction moves before it lets other streams of the thread have their turn: a keystroke waits for it.
const TURN_BYTES: u64 = 256 * 1024;
/// From how much in one read on the bytes that follow are spliced. For less, a copy is cheaper than a detour.
const BULK_BYTES: usize = 32 * 1024;
/// Below how much in one splice reading begins again.
const SMALL_BYTES: usize = 16 * 1024;

/// Bytes on their way from one stream to the other. Holds no memory and no descriptor while none are.
#[derive(Default)]
pub(super) struct Direction {
    held: Held,
    copied: u64,
    /// Whether so much comes at once that it is worth splicing.
    bulk: bool,
    unflushed: bool,
    state: State,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Read(Buffer),
    Spliced(Pipe),
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Copying,
    /// The reader is at its end; what is held is written, then writing is shut down.
    Draining,
    Done,
}

impl Direction {
    /// Begins with bytes that were read ahead.
    pub(super) fn with_ahead(ahead: &[u8]) -> Self {
        Self {
            held: if ahead.is_empty() {
                Held::Nothing
            } else {
                Held::Read(Buffer::of(ahead))
            },
            ..Self::default()
        }
    }

    /// Bytes that were written.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, from: &mut impl Relayed, to: &mut impl Relayed) -> Poll<io::Result<()>> {
        let turn_ends = self.copied + TURN_BYTES;
        loop {
            ready!(self.poll_write(cx, to))?;
            match self.state {
                State::Copying if self.copied >= turn_ends => return yield_turn(cx),
                State::Copying => match self.poll_read(cx, from, to.splices()) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => {
                        if self.unflushed {
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                },
                State::Draining => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes all that is held, and lets go of what held it.
    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut impl Relayed) -> Poll<io::Result<()>> {
        loop {
            let written = match &mut self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Read(buffer) => {
                    let written = ready!(Pin::new(&mut *to).poll_write(cx, buffer.filled()))?;
                    buffer.written(written);
                    self.unflushed = true;
                    written
                }
                Held::Spliced(pipe) => ready!(to.poll_drain(cx, pipe))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.copied += written as u64;
            self.held = match std::mem::take(&mut self.held) {
                Held::Read(buffer) if buffer.filled().is_empty() => {
                    buffer.give_back();
                    Held::Nothing
                }
                Held::Spliced(pipe) if pipe.held() == 0 => {
                    pipe.give_back();
                    Held::Nothing
                }
                more => more,
            };
        }
    }

    /// Reads once, into a buffer or a pipe.
    fn poll_read(&mut self, cx: &mut Context<'_>, from: &mut impl Relayed, splices: bool) -> Poll<io::Result<()>> {
        let pipe = if self.bulk && splices && from.splices() {
            Pipe::take()
        } else {
            None
        };
        let read = match pipe {
            Some(pipe) => ready!(self.poll_splice(cx, from, pipe))?,
            None => ready!(self.poll_copy(cx, from))?,
        };
        if read == 0 {
            self.state = State::Draining;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut impl Relayed, mut pipe: Pipe) -> Poll<io::Result<usize>> {
        let Poll::Ready(filled) = from.poll_fill(cx, &mut pipe) else {
            pipe.give_back();
            return Poll::Pending;
        };
        let filled = filled?;
        self.bulk = filled >= SMALL_BYTES;
        if filled == 0 {
            pipe.give_back();
        } else {
            self.held = Held::Spliced(pipe);
        }
        Poll::Ready(Ok(filled))
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, from: &mut impl Relayed) -> Poll<io::Result<usize>> {
        let mut buffer = Buffer::take();
        let mut room = ReadBuf::new(buffer.room());
        let polled = from.poll_gulp(cx, &mut room);
        let filled = room.filled().len();
        if filled == 0 || polled.is_pending() {
            buffer.give_back();
            return polled.map_ok(|()| 0);
        }
        ready!(polled)?;
        buffer.read(filled);
        self.bulk = filled >= BULK_BYTES;
        self.held = Held::Read(buffer);
        Poll::Ready(Ok(filled))
    }
}

/// Comes back after every other task that is ready, and after a look at all sockets; waking oneself would come first.
fn yield_turn<T>(cx: &mut Context<'_>) -> Poll<T> {
    match pin!(tokio::task::yield_now()).poll(cx) {
        Poll::Pending => {}
        Poll::Ready(()) => cx.waker().wake_by_ref(),
    }
    Poll::Pending
}
