//! What a client of HTTP/2 sends that asks for nothing, counted: h2 answers PING and SETTINGS and skips PRIORITY and
//! unknown frames for as long as they come (H2-1). Heads that are refused count as well, windows that are opened further
//! than anything was sent through them, and the fields of a head: one byte can name a field that h2 keeps in a hundred
//! (LIM-2).
//!
//! Reads of each frame its length and its type, and of a head where its fields begin. Refuses to know requests, and to
//! bound what asks for something: that is h2's. Has no word of its own for a client that floods: h2 says GOAWAY, because
//! it is shown what it ends a connection for.
//!
//! What was sent to a client pays for what it says in return (see [`sent`]), so that one that is busy is never cut however
//! fast it is: it measures round trips, opens windows and leaves what it no longer wants as often as it is answered.

mod fields;
pub(super) mod frames;
mod sent;
mod turn;

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use self::{
    frames::{Frames, Seen},
    sent::Sent,
    turn::Turn,
};
use super::connection::h2::FIELD_BYTES;

/// What a frame that asks for nothing costs, a WINDOW_UPDATE that nothing was sent for, a reset, for which a request was
/// begun, a head that is refused, and each of its fields.
const VAIN: u32 = 10;
const UPDATE: u32 = 5;
const RESET: u32 = 100;
const REFUSED_HEAD: u32 = 4_000;
const REFUSED_FIELD: u32 = 16;
/// How much there is to spend at once: a thousand resets, eight times what a browser can have under way on a page that it
/// leaves, or ten thousand frames that set another order: two thousand files of a page, five times each.
const AT_ONCE: u32 = 10_000 * VAIN;
/// How long it takes to have one more: eight thousand frames a second that nothing was sent for.
const ONE_MORE: Duration = Duration::from_nanos(12_500);
/// What a reset takes of a turn, where other frames take what they cost.
const RESET_WORK: u32 = 25;
/// How long nothing is read of a client that sent too much, before it is told to calm down: most of those that are told
/// come back at once.
const SILENCE: Duration = Duration::from_millis(250);
/// Frames of a head that never ends: more than h2 takes for a list of [`FIELD_BYTES`] in frames of 16 KiB, which is a quarter
/// more than it needs.
const LAST_FRAMES: usize = (FIELD_BYTES as usize / (16 * 1024)) * 2;

/// What heads of a connection cost that were refused, until it is counted.
#[derive(Debug, Default)]
pub(super) struct RefusedHeads(AtomicU32);

impl RefusedHeads {
    /// One was refused that had so many fields.
    pub(super) fn add(&self, fields: usize) {
        let fields = u32::try_from(fields).unwrap_or(u32::MAX);
        self.0.fetch_add(REFUSED_HEAD + REFUSED_FIELD * fields.min(fields::MOST), Relaxed);
    }

    fn take(&self) -> u32 {
        if self.0.load(Relaxed) == 0 { 0 } else { self.0.swap(0, Relaxed) }
    }
}

/// A stream of HTTP/2 whose client may not send too much in vain.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    frames: Frames,
    allowance: Allowance,
    refused: Arc<RefusedHeads>,
    sent: Sent,
    turn: Turn,
    state: State,
}

#[derive(Debug)]
enum State {
    Heard,
    /// Too much came; what begins next is not passed on.
    Over,
    /// Nothing is passed on until then.
    Silent(Pin<Box<Sleep>>),
    /// So many bytes of [`last_frames`] were passed on instead.
    Ended(usize),
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S, refused: Arc<RefusedHeads>, now: Instant) -> Self {
        Self {
            inner,
            frames: Frames::default(),
            allowance: Allowance::new(now),
            refused,
            sent: Sent::default(),
            turn: Turn::default(),
            state: State::Heard,
        }
    }

    fn count(&mut self, bytes: &mut [u8]) {
        let Seen {
            heads: _,
            vain,
            resets,
            updates,
            fields,
            crowded,
        } = self.frames.read(bytes);
        self.turn
            .read(sum([(vain, VAIN), (resets, RESET_WORK), (updates, UPDATE), (fields, 1)]));
        let (resets, vain, updates) = self.sent.paid.rest(resets, vain, updates);
        let frames = sum([(vain, VAIN), (resets, RESET), (updates, UPDATE)]);
        let cost = frames.saturating_add(self.refused.take());
        // A clock is asked only where there is something to count.
        if crowded || cost > 0 && !self.allowance.spend(cost, Instant::now()) {
            self.state = State::Over;
        }
    }

    fn end(&mut self, passed: usize, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let frames = last_frames();
        let next = &frames[passed..];
        if next.is_empty() {
            // Nothing is read any more; what h2 has to say goes out, and the connection ends.
            return Poll::Pending;
        }
        let next = &next[..next.len().min(buf.remaining())];
        buf.put_slice(next);
        self.state = State::Ended(passed + next.len());
        Poll::Ready(Ok(()))
    }
}

fn sum<const N: usize>(costs: [(u32, u32); N]) -> u32 {
    costs
        .into_iter()
        .fold(0, |sum, (count, cost)| sum.saturating_add(count.saturating_mul(cost)))
}

/// Frames that every HTTP/2 server must end a connection for: a head that never ends. h2 says ENHANCE_YOUR_CALM to them,
/// or PROTOCOL_ERROR inside of a head that does not end either.
fn last_frames() -> [u8; 9 * LAST_FRAMES] {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    let mut frames = [0; 9 * LAST_FRAMES];
    for (index, head) in frames.chunks_exact_mut(9).enumerate() {
        head[3] = if index == 0 { HEADERS } else { CONTINUATION };
        // The highest stream that a client can open, which is never open already.
        head[5..].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    }
    frames
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.state {
            State::Ended(passed) => {
                let passed = *passed;
                return this.end(passed, buf);
            }
            State::Silent(silence) => {
                ready!(silence.as_mut().poll(cx));
                return this.end(0, buf);
            }
            State::Heard | State::Over => ready!(this.turn.poll(cx)),
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        if polled.is_pending() {
            this.turn.end();
        }
        ready!(polled)?;
        if matches!(this.state, State::Over)
            && let Some(at) = this.frames.next_begins(&buf.filled()[before..])
        {
            buf.set_filled(before + at);
            let mut silence = Box::pin(tokio::time::sleep(SILENCE));
            // An empty read would be the end of the stream.
            let polled = if at > 0 { Poll::Ready(()) } else { silence.as_mut().poll(cx) };
            this.state = State::Silent(silence);
            return polled.map(Ok);
        }
        this.count(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.sent.read(&buf[..bytes]);
        }
        polled
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(mut bytes)) = polled {
            for buf in bufs {
                let written = bytes.min(buf.len());
                self.sent.read(&buf[..written]);
                bytes -= written;
            }
        }
        polled
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

/// So much at once, and then more with time.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// Takes so much; false if there is not as much left.
    fn spend(&mut self, cost: u32, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since).as_nanos() / ONE_MORE.as_nanos();
        if let Ok(earned) = u32::try_from(earned)
            && earned < AT_ONCE
        {
            self.left = (self.left + earned).min(AT_ONCE);
            self.since += ONE_MORE * earned;
        } else {
            *self = Self::new(now);
        }
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{
        frames::{PREFACE_BYTES, WINDOW_UPDATE, frame},
        *,
    };

    const PRIORITY: u8 = 2;
    const PING: u8 = 6;

    #[test]
    fn h2_1_an_allowance_comes_back_with_time() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        assert!(allowance.spend(AT_ONCE, begun));
        assert!(!allowance.spend(1, begun + ONE_MORE / 2));
        assert!(allowance.spend(1, begun + ONE_MORE));
        for second in 1..100 {
            assert!(allowance.spend(79_000, begun + Duration::from_secs(second)), "{second}");
        }
        assert!(allowance.spend(AT_ONCE, begun + Duration::from_secs(1_000_000)));
        assert!(!allowance.spend(AT_ONCE, begun + Duration::from_secs(1_000_001)));
    }

    #[tokio::test]
    async fn h2_1_what_comes_after_too_much_is_not_passed_on() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let refused = Arc::new(RefusedHeads::default());
        let mut server = Bounded::new(server, Arc::clone(&refused), Instant::now());
        let mut read = async |bytes: &[u8], expected: usize| {
            client.write_all(bytes).await.expect("sent");
            let mut got = vec![0; expected];
            server.read_exact(&mut got).await.expect("passed on");
            got
        };
        read(&[b'P'; PREFACE_BYTES], PREFACE_BYTES).await;
        let (data, ping) = (frame(0, 100), frame(PING, 8));
        assert_eq!(read(&data, data.len()).await, data);
        // Refused heads use the allowance up; what is under way then is passed on, what begins after it is not.
        (0..AT_ONCE / REFUSED_HEAD + 1).for_each(|_| refused.add(0));
        assert_eq!(read(&ping[..5], 5).await, ping[..5]);
        let rest = [&ping[5..], &data].concat();
        let before = Instant::now();
        let got = read(&rest, ping.len() - 5 + last_frames().len()).await;
        assert_eq!(got, [&ping[5..], &last_frames()].concat());
        assert!(before.elapsed() >= SILENCE, "it is not told at once");
        assert!(tokio::time::timeout(Duration::from_millis(20), server.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn h2_1_however_much_there_is_to_read_others_have_their_turns() {
        let (mut client, server) = tokio::io::duplex(1024 * 1024);
        let mut server = Bounded::new(server, Arc::default(), Instant::now());
        let mut head = frame(1, 500);
        head[4] = 4;
        head[9..].fill(0x82);
        client.write_all(&[b'P'; PREFACE_BYTES]).await.expect("sent");
        client.write_all(&head.repeat(100)).await.expect("sent");
        let (mut turns, mut read) = (0, 0);
        while read < PREFACE_BYTES + 100 * head.len() {
            let mut room = [0; 509];
            let mut buf = ReadBuf::new(&mut room);
            let mut waited = false;
            std::future::poll_fn(|cx| {
                let polled = Pin::new(&mut server).poll_read(cx, &mut buf);
                waited |= polled.is_pending();
                polled
            })
            .await
            .expect("read");
            turns += u32::from(waited);
            read += buf.filled().len();
        }
        assert!((30..=100 * 500 / turn::MOST).contains(&turns), "{turns}, and nothing was missing");
        assert!(matches!(server.state, State::Heard));
    }

    /// A client that is sent this and answers with that, twenty times as often as it could for nothing.
    async fn busy(sent: &[u8], answer: &[u8], cost: u32) {
        const ROUNDS: usize = 200;
        let at_once = (AT_ONCE / cost) as usize / 10;
        let (mut client, server) = tokio::io::duplex(16 * 1024 * 1024);
        let mut server = Bounded::new(server, Arc::default(), Instant::now());
        let (sent, answers) = (sent.repeat(at_once), answer.repeat(at_once));
        client.write_all(&[b'P'; PREFACE_BYTES]).await.expect("sent");
        server.read_exact(&mut [0; PREFACE_BYTES]).await.expect("passed on");
        for _ in 0..ROUNDS {
            server.write_all(&sent).await.expect("sent");
            client.read_exact(&mut sent.clone()).await.expect("there");
            client.write_all(&answers).await.expect("sent");
            server.read_exact(&mut answers.clone()).await.expect("passed on");
        }
        assert!(matches!(server.state, State::Heard));
        for _ in 0..ROUNDS {
            server.count(&mut answers.clone());
        }
        assert!(matches!(server.state, State::Over), "nothing was sent for these");
    }

    #[tokio::test]
    async fn h2_1_what_answers_what_was_sent_is_no_flood() {
        let (head, data) = (frame(1, 20), frame(0, 100));
        let (reset, ping, update) = (frame(3, 4), frame(PING, 8), frame(WINDOW_UPDATE, 4));
        busy(&head, &reset, RESET).await;
        busy(&head, &frame(PRIORITY, 5).repeat(3), 3 * VAIN).await;
        busy(&data, &ping, VAIN).await;
        busy(&data, &update.repeat(2), 2 * UPDATE).await;
    }
}
