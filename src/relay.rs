//! Two byte streams made one: what is read from either is written to the other, until both have ended.
//!
//! Owns the copy loop of upgraded connections and tunnel streams: real half-close, back-pressure, no buffer while nothing
//! is in flight, `splice` for bulk between plain sockets, and turns, so that a download does not hold up a keystroke.
//! Refuses to know what the bytes mean and why a connection should end early.

mod backlog;
mod buffer;
mod direction;
mod pieces;
mod pipe;
mod sip;
mod stream;
mod write_timeout;

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
};

use bytes::Bytes;

use self::direction::Direction;
pub use self::{backlog::Backlog, pieces::poll_write_pieces, pipe::Pipe, sip::poll_sip, stream::Relayed, write_timeout::WriteTimeout};

/// How a relay ended, with the bytes that passed.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes from the first stream to the second.
    pub forth: u64,
    /// Bytes from the second stream to the first.
    pub back: u64,
    pub end: End,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions came to their end.
    Finished,
    /// One of the streams failed.
    Failed(io::Error),
    /// The `ended` future was ready first.
    Cut,
}

/// Copies both ways until both directions have ended, a stream fails or `ended` is ready.
///
/// The end of one direction is passed on by shutting down writing; the other direction goes on (RFC 9293 §3.6).
pub async fn relay(a: impl Relayed, b: impl Relayed, ended: impl Future<Output = ()>) -> Outcome {
    relay_ahead((a, Bytes::new()), (b, Bytes::new()), ended).await
}

/// Does what [`relay`] does with streams of which something was read before: it comes first.
pub async fn relay_ahead(a: (impl Relayed, Bytes), b: (impl Relayed, Bytes), ended: impl Future<Output = ()>) -> Outcome {
    let (mut forth, mut back) = (Direction::with_ahead(&a.1), Direction::with_ahead(&b.1));
    // An empty rest may be the last part of a large buffer.
    drop((a.1, b.1));
    let (mut a, mut b) = (a.0, b.0);
    let mut ended = pin!(ended);
    let end = poll_fn(|cx| {
        if ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Cut);
        }
        let there = forth.poll(cx, &mut a, &mut b);
        let here = back.poll(cx, &mut b, &mut a);
        match (there, here) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(End::Failed(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Finished),
            _ => Poll::Pending,
        }
    })
    .await;
    Outcome {
        forth: forth.copied(),
        back: back.copied(),
        end,
    }
}

#[cfg(test)]
pub(crate) mod tests;
