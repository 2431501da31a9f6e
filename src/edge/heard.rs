//! A connection's stream, heard: when heads begin, how long they are, and where one that is too long ends.
//!
//! hyper answers a head beyond its buffer by itself, with nothing in it that would help a browser whose cookies have piled
//! up (HDR-10). So such a head is read to its end and forgotten, hyper gets its beginning as if that were all, and the
//! refusal is ours. Nothing that follows is served.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::{Pace, Part};
use crate::{
    forward::admission::{Cut, MAX_FIELDS, MAX_HEAD_BYTES},
    relay::poll_sip,
};

/// So much of a head is kept: more than admission allows, and less than fills hyper's buffer.
const KEPT_BYTES: usize = MAX_HEAD_BYTES + 16 * 1024;
const _: () = assert!(KEPT_BYTES + READ_BYTES < super::connection::HEAD_BYTES);
/// Most that is read at once from there on.
const READ_BYTES: usize = 8 * 1024;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// A stream that tells what it hears.
#[derive(Debug)]
pub(super) struct Heard<S> {
    inner: S,
    pace: Arc<Pace>,
    lines: Lines,
    rest: Rest,
}

/// The lines of a head so far.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    ended: usize,
    /// Whether the last one goes on.
    open: bool,
}

impl Lines {
    /// The request line, and as many fields as may be.
    const MOST: usize = 1 + MAX_FIELDS;

    /// Reads on. Says where the first field begins that is one too many, if it does.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let before = *self;
        self.ended += memchr::memchr_iter(b'\n', bytes).count();
        self.open = !matches!(bytes, [.., b'\n'] | [.., b'\n', b'\r']);
        // What follows the head in the same bytes was counted too.
        if self.ended < Self::MOST { None } else { before.look(bytes) }
    }

    fn look(mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        loop {
            if !self.open {
                match bytes.get(start)? {
                    b'\r' | b'\n' if self.ended > 0 => return None,
                    _ if self.ended >= Self::MOST => return Some(start),
                    _ => {}
                }
            }
            start += memchr::memchr(b'\n', &bytes[start..])? + 1;
            (self.ended, self.open) = (self.ended + 1, false);
        }
    }
}

/// What becomes of a head that goes on and on.
#[derive(Debug)]
enum Rest {
    /// None does.
    Passed,
    /// It is read and forgotten; it ended with this.
    Forgotten(Tail),
    /// It ended.
    Over,
}

/// The last bytes of what was read, enough to find an end that came in two pieces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tail([u8; 3]);

impl Tail {
    fn after_a_line() -> Self {
        Self([0, 0, b'\n'])
    }

    /// Reads on; whether a head's end was there. A bare line feed ends a line here, as it does for hyper.
    fn ends_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            let [_, before, last] = self.0;
            if *byte == b'\n' && (last == b'\n' || (before == b'\n' && last == b'\r')) {
                return true;
            }
            self.0 = [before, last, *byte];
        }
        false
    }
}

impl<S> Heard<S> {
    pub(super) fn new(inner: S, pace: Arc<Pace>) -> Self {
        Self {
            inner,
            pace,
            lines: Lines::default(),
            rest: Rest::Passed,
        }
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Heard<S> {
    /// Counts the fields of a head, and leaves out of what was just read what comes after too many of them.
    fn count(&mut self, part: Part, buf: &mut ReadBuf<'_>, before: usize) {
        if part == Part::First {
            self.lines = Lines::default();
        }
        let Some(at) = self.lines.read(&buf.filled()[before..]) else {
            return;
        };
        self.pace.cut_head(Cut::Fields);
        let mut tail = Tail::after_a_line();
        let over = tail.ends_in(&buf.filled()[before + at..]);
        buf.set_filled(before + at);
        self.rest = if over { Rest::Over } else { Rest::Forgotten(tail) };
        if over {
            buf.put_slice(&END[..END.len().min(buf.remaining())]);
        }
    }
}

impl<S: AsyncRead + Unpin> Heard<S> {
    /// Reads what is left of a head to its end, and says that it ended. What follows is read and forgotten too: unread, it
    /// would have the system take back the answer. The stream ends when the client goes, which hyper takes for its leaving.
    fn poll_forget(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut room = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut room);
            let polled = Pin::new(&mut self.inner).poll_read(cx, &mut read);
            if !matches!(polled, Poll::Ready(Ok(()))) || read.filled().is_empty() {
                return polled;
            }
            if let Rest::Forgotten(tail) = &mut self.rest
                && tail.ends_in(read.filled())
            {
                self.rest = Rest::Over;
                buf.put_slice(&END[..END.len().min(buf.remaining())]);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !matches!(this.rest, Rest::Passed) {
            return this.poll_forget(cx, buf);
        }
        let length = this.pace.head_length();
        if length.is_some_and(|length| length > KEPT_BYTES) {
            this.pace.cut_head(Cut::Bytes);
            this.rest = Rest::Forgotten(Tail::default());
            return this.poll_forget(cx, buf);
        }
        let before = buf.filled().len();
        let polled = if length.is_some_and(|length| length + buf.remaining() > KEPT_BYTES + READ_BYTES) {
            // Piece by piece, so that what is kept stays below what hyper takes.
            let room = READ_BYTES.min(buf.remaining());
            let mut piece = ReadBuf::new(buf.initialize_unfilled_to(room));
            let polled = Pin::new(&mut this.inner).poll_read(cx, &mut piece);
            let read = piece.filled().len();
            buf.advance(read);
            polled
        } else {
            poll_sip(Pin::new(&mut this.inner), cx, buf)
        };
        if buf.filled().len() > before
            && let Some(part) = this.pace.bytes(&buf.filled()[before..])
        {
            this.count(part, buf, before);
        }
        polled
    }
}

impl<S> Heard<S> {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.pace.backlog.written(*bytes);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(polled)
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
    use std::time::Instant;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn heard(sent: &[u8]) -> (Vec<u8>, Option<Cut>) {
        let (mut near, far) = tokio::io::duplex(1024);
        let pace = Pace::new(Instant::now());
        let mut heard = Heard::new(far, Arc::clone(&pace));
        let sent = sent.to_vec();
        let sender = tokio::spawn(async move {
            for piece in sent.chunks(999) {
                near.write_all(piece).await.expect("it is read to its end");
            }
        });
        let mut got = Vec::new();
        heard.read_to_end(&mut got).await.expect("read");
        sender.await.expect("sent");
        (got, pace.begin().cut)
    }

    #[tokio::test]
    async fn hdr_9_fields_beyond_measure_are_left_out_wherever_they_are_cut() {
        let head = |fields: usize, end: &str| {
            let lines: String = (0..fields).map(|index| format!("X-{index}: {index}{end}")).collect();
            format!("GET / HTTP/1.1{end}{lines}{end}")
        };
        let body = "\n".repeat(300);
        for end in ["\r\n", "\n"] {
            // Pieces of 999 bytes end at every place of a line once the path is as long.
            for long in 0..12 {
                let path = "p".repeat(long);
                let sent = |fields| format!("{}{body}", head(fields, end).replacen("GET /", &format!("GET /{path}"), 1));
                let most = sent(MAX_FIELDS);
                assert_eq!(heard(most.as_bytes()).await, (most.into_bytes(), None));
                for fields in [MAX_FIELDS + 1, MAX_FIELDS + 2, 3 * MAX_FIELDS] {
                    let (got, cut) = heard(sent(fields).as_bytes()).await;
                    assert_eq!(cut, Some(Cut::Fields));
                    let whole = sent(MAX_FIELDS);
                    let kept = &whole[..whole.len() - end.len() - body.len()];
                    assert_eq!(String::from_utf8(got).expect("text"), format!("{kept}\r\n\r\n"), "{fields} {long}");
                }
            }
        }
    }

    #[tokio::test]
    async fn hdr_10_a_head_beyond_measure_ends_early_and_is_known_for_it() {
        let whole = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(KEPT_BYTES - 1000));
        assert_eq!(heard(whole.as_bytes()).await, (whole.clone().into_bytes(), None));

        for end in ["\r\n\r\n", "\n\n", "\r\n\n"] {
            for more in 0..8 {
                let kept = "x".repeat(800_000 + more);
                let long = format!("GET / HTTP/1.1\r\nCookie: {kept}{end}GET /smuggled HTTP/1.1\r\n\r\n");
                let (got, cut) = heard(long.as_bytes()).await;
                assert_eq!(cut, Some(Cut::Bytes));
                assert!(got.len() < super::super::connection::HEAD_BYTES, "{}", got.len());
                let (start, got_end) = got.split_at(got.len() - END.len());
                assert_eq!(
                    (&long.as_bytes()[..start.len()], got_end),
                    (start, END),
                    "nothing of what follows is there"
                );
            }
        }
    }
}
