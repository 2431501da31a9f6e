//! Two byte streams made one: what is read from either is written to the other, until both have ended.
//!
//! Owns the copy loop of upgraded connections and tunnel streams: real half-close, back-pressure, buffers that start
//! small and grow while reads fill them. Refuses to know what the bytes mean and why a connection should end early.

mod write_timeout;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use write_timeout::WriteTimeout;

/// First size of a direction's buffer; most connections are idle sockets that never need more.
const FIRST_BUFFER_BYTES: usize = 8 * 1024;
/// Size to which a buffer grows when reads keep filling it.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

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
pub async fn relay<A, B>(a: A, b: B, ended: impl Future<Output = ()>) -> Outcome
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut a, mut b) = (a, b);
    let (mut forth, mut back) = (Direction::default(), Direction::default());
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
        forth: forth.copied,
        back: back.copied,
        end,
    }
}

/// One direction of a relay.
#[derive(Default)]
struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    copied: u64,
    unflushed: bool,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Copying,
    /// The reader is at its end; what is buffered is written, then writing is shut down.
    Draining,
    Done,
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.start < self.end {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
                self.copied += written as u64;
                self.unflushed = true;
                continue;
            }
            match self.state {
                State::Copying => match self.poll_fill(cx, from) {
                    Poll::Ready(result) => result?,
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
                    self.buffer = Vec::new();
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &mut (impl AsyncRead + Unpin)) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            self.buffer.resize(FIRST_BUFFER_BYTES, 0);
        } else if self.end == self.buffer.len() && self.buffer.len() < MAX_BUFFER_BYTES {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let mut filled = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(from).poll_read(cx, &mut filled))?;
        (self.start, self.end) = (0, filled.filled().len());
        if self.end == 0 {
            self.state = State::Draining;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn half_close_lets_the_other_direction_go_on() {
        let (mut client, a) = duplex(7);
        let (b, mut server) = duplex(7);
        let relayed = tokio::spawn(relay(a, b, pending()));
        client.write_all(b"request").await.expect("written");
        client.shutdown().await.expect("shut down");
        let mut asked = String::new();
        server.read_to_string(&mut asked).await.expect("read to the end");
        server.write_all(b"a late answer").await.expect("written after the client's end");
        drop(server);
        let mut answered = String::new();
        client.read_to_string(&mut answered).await.expect("read to the end");
        let outcome = relayed.await.expect("joined");
        assert_eq!((asked.as_str(), answered.as_str()), ("request", "a late answer"));
        assert_eq!((outcome.forth, outcome.back), (7, 13));
        assert!(matches!(outcome.end, End::Finished));
    }

    #[tokio::test]
    async fn much_passes_through_little_buffers_unchanged() {
        let (mut client, a) = duplex(1000);
        let (b, mut server) = duplex(300);
        tokio::spawn(relay(a, b, pending()));
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let expected = sent.clone();
        tokio::spawn(async move {
            client.write_all(&sent).await.expect("written");
            client.shutdown().await.expect("shut down");
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.expect("read");
        assert!(got == expected);
    }

    #[tokio::test]
    async fn it_can_be_cut() {
        let (_client, a) = duplex(8);
        let (b, mut server) = duplex(8);
        let (cut, ended) = tokio::sync::oneshot::channel::<()>();
        let relayed = tokio::spawn(relay(a, b, async { drop(ended.await) }));
        cut.send(()).expect("listened to");
        assert!(matches!(relayed.await.expect("joined").end, End::Cut));
        assert_eq!(server.read(&mut [0; 1]).await.expect("read"), 0);
    }
}
