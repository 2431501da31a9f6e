//! A connection's stream, heard: when heads begin, how long they are, and where one that is too long ends.
//!
//! hyper answers a head beyond its buffer by itself, with nothing in it that would help a browser whose cookies have piled
//! up (HDR-10). So such a head is read to its end and forgotten, hyper gets its beginning as if that were all, and the
//! refusal is ours. Nothing that follows is served.

#[cfg(test)]
mod fuzz_tests;
mod heads;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::heads::Heads;
use super::pace::Pace;
use crate::{
    forward::admission::{Cut, MAX_HEAD_BYTES},
    relay::poll_sip,
};

/// So much of a head is kept: more than admission allows, and less than fills hyper's buffer.
const KEPT_BYTES: usize = MAX_HEAD_BYTES + 16 * 1024;
const _: () = assert!(KEPT_BYTES + READ_BYTES < super::connection::HEAD_BYTES);
/// Most that is read at once from there on.
const READ_BYTES: usize = 8 * 1024;

/// A stream that tells what it hears.
#[derive(Debug)]
pub(super) struct Heard<S> {
    inner: S,
    pace: Arc<Pace>,
    heads: Heads,
    /// What the pace was told last: whether a head is coming, and which one holds a `#`.
    told: (bool, Option<u64>),
    rest: Rest,
}

/// What becomes of a head that goes on and on.
#[derive(Debug)]
enum Rest {
    /// None does.
    Passed,
    /// It is read and forgotten. What came of it ended with this, and will be ended so for whoever read its beginning.
    Forgotten(Tail, &'static [u8]),
    /// It ended; so much of that is to be said.
    Over(&'static [u8]),
}

/// The last bytes of what was read, enough to find an end that came in two pieces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tail([u8; 3]);

impl Tail {
    fn after_a_line() -> Self {
        Self([0, 0, b'\n'])
    }

    /// An empty line whose line feed is to come.
    fn in_an_end() -> Self {
        Self([0, b'\n', b'\r'])
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
            heads: Heads::default(),
            told: (false, None),
            rest: Rest::Passed,
        }
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Heard<S> {
    /// Looks for heads in what was just read, and leaves out of it what comes after too many fields.
    fn hear(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let cut = self.heads.read(&buf.filled()[before..]);
        let told = (self.heads.is_coming(), self.heads.fragment());
        // Most heads come whole, and there is nothing to tell of them.
        if told != self.told {
            self.told = told;
            self.pace.heard(told.0, told.1);
        }
        let Some(at) = cut else { return };
        self.forget(Cut::Fields);
        self.follow(&buf.filled()[before + at..]);
        buf.set_filled(before + at);
    }

    /// Leaves out what is still to come of a head.
    fn forget(&mut self, why: Cut) {
        self.pace.cut_head(self.heads.ended(), why);
        self.rest = Rest::Forgotten(self.heads.tail(), self.heads.ending());
    }

    /// Looks whether a head that is forgotten ends in these bytes.
    fn follow(&mut self, bytes: &[u8]) {
        let Rest::Forgotten(tail, ending) = &mut self.rest else { return };
        let ending = *ending;
        if tail.ends_in(bytes) {
            self.rest = Rest::Over(ending);
        }
    }
}

impl<S: AsyncRead + Unpin> Heard<S> {
    /// Reads what is left of a head to its end, and says that it ended. What follows is read and forgotten too: unread, it
    /// would have the system take back the answer. The stream ends when the client goes, which hyper takes for its leaving.
    fn poll_forget(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Rest::Over(ending) = &mut self.rest
                && !ending.is_empty()
            {
                let (now, later) = ending.split_at(ending.len().min(buf.remaining()));
                buf.put_slice(now);
                *ending = later;
                return Poll::Ready(Ok(()));
            }
            let mut room = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut room);
            let polled = Pin::new(&mut self.inner).poll_read(cx, &mut read);
            if !matches!(polled, Poll::Ready(Ok(()))) || read.filled().is_empty() {
                return polled;
            }
            self.follow(read.filled());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !matches!(this.rest, Rest::Passed) {
            return this.poll_forget(cx, buf);
        }
        if this.pace.is_switched() {
            return poll_sip(Pin::new(&mut this.inner), cx, buf);
        }
        let length = this.heads.length();
        if length.is_some_and(|length| length > KEPT_BYTES) {
            if !this.heads.is_coming() {
                // Nothing but empty lines: there is no request that could be answered, and the stream ends.
                return Poll::Ready(Ok(()));
            }
            this.forget(Cut::Bytes);
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
        this.hear(buf, before);
        if buf.filled().len() == before && !matches!(this.rest, Rest::Passed) {
            // All that came is left out: to give nothing would be to say that the client has left.
            return this.poll_forget(cx, buf);
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
    use std::{convert::Infallible, time::Instant};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use parking_lot::Mutex;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{super::connection::HEAD_BYTES, heads::tests::streams, *};
    use crate::{forward::admission::MAX_FIELDS, relay::tests::Pieces};

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

        // A carriage return that stands alone spoils a head, and makes it no shorter.
        for (end, stray) in ["\r\n\r\n", "\n\n", "\r\n\n"].into_iter().flat_map(|end| [(end, ""), (end, "\r")]) {
            for more in 0..8 {
                let kept = "x".repeat(800_000 + more);
                let long = format!("{stray}GET / HTTP/1.1\r\n{stray}Cookie: {kept}{end}GET /smuggled HTTP/1.1\r\n\r\n");
                let (got, cut) = heard(long.as_bytes()).await;
                assert_eq!(cut, Some(Cut::Bytes));
                assert!(got.len() < HEAD_BYTES, "{}", got.len());
                let (start, got_end) = got.split_at(got.len() - 4);
                assert_eq!(
                    (&long.as_bytes()[..start.len()], got_end),
                    (start, &b"\r\n\r\n"[..]),
                    "nothing of what follows is there"
                );
            }
        }
    }

    #[tokio::test]
    async fn hdr_9_only_the_head_that_has_too_many_fields_is_refused() {
        let (plain, many) = ("GET / HTTP/1.1\r\n\r\n", "X: y\r\n".repeat(MAX_FIELDS + 1));
        let sent = format!("\r\n{plain}{plain}GET / HTTP/1.1\r\n{many}\r\n{plain}");
        let (mut near, far) = tokio::io::duplex(sent.len());
        let pace = Pace::new(Instant::now());
        let mut heard = Heard::new(far, Arc::clone(&pace));
        near.write_all(sent.as_bytes()).await.expect("there is room");
        drop(near);
        let mut got = String::new();
        heard.read_to_string(&mut got).await.expect("read");
        assert_eq!(got.matches("GET").count(), 3);
        assert_eq!(
            [pace.begin().cut, pace.begin().cut, pace.begin().cut],
            [None, None, Some(Cut::Fields)]
        );
    }

    type Served = Vec<(String, bool, Option<Cut>)>;

    /// The targets of the requests that hyper takes from such bytes, and what was found out about each.
    async fn served(sent: &[u8], piece: usize) -> Served {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let sending = async {
            for piece in sent.chunks(piece) {
                // It may be over before its client knows.
                drop(near.write_all(piece).await);
                tokio::task::yield_now().await;
            }
            drop(near.shutdown().await);
        };
        tokio::join!(served_on(far), sending).0
    }

    /// The same of what a stream gives.
    async fn served_on(stream: impl AsyncRead + AsyncWrite + Unpin) -> Served {
        let pace = Pace::new(Instant::now());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = service_fn(|request: Request<Incoming>| {
            let going = pace.begin();
            seen.lock().push((request.uri().path().to_owned(), going.fragment, going.cut));
            async move {
                drop(request.into_body().collect().await);
                drop(going);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES).max_headers(MAX_FIELDS).half_close(true);
        let heard = Heard::new(stream, Arc::clone(&pace));
        drop(builder.serve_connection(TokioIo::new(heard), service).await);
        std::mem::take(&mut *seen.lock())
    }

    /// What is served of such pieces, and what is read of them by so many bytes at once.
    async fn in_pieces(pieces: &[&[u8]], at_once: usize) -> (Served, Vec<u8>) {
        let served = served_on(tokio::io::join(Pieces::of(pieces), tokio::io::sink())).await;
        let (mut heard, mut read) = (Heard::new(Pieces::of(pieces), Pace::new(Instant::now())), Vec::new());
        let mut room = vec![0; at_once];
        while let Ok(count @ 1..) = heard.read(&mut room).await {
            read.extend_from_slice(&room[..count]);
        }
        (served, read)
    }

    #[tokio::test]
    async fn hdr_10_a_head_that_is_cut_anywhere_is_answered_and_nothing_after_it() {
        for head in [
            "GET /plain HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nC: d\r\n\r\n",
            "GET /plain HTTP/1.0\nHost: a\nContent-Length-X: 1\nTransfer-Encodings: x\n\n",
            "POST /plain HTTP/1.1\r\nContent-Length: 12 \r\nX: y\r\n\r\n",
            "POST /plain HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nX: y\r\n\r\n",
        ] {
            for at in 1..head.len() {
                // What stands before it is so long that it is cut there.
                let before = "\n".repeat(KEPT_BYTES + 1 - at);
                let kept = format!("{before}{}", &head[..at]);
                for after in ["", "GET /smuggled HTTP/1.1\r\n\r\n"] {
                    let rest = format!("{}{after}", &head[at..]);
                    let (served, read) = in_pieces(&[kept.as_bytes(), rest.as_bytes()], 5000).await;
                    let [(target, false, Some(Cut::Bytes))] = &served[..] else {
                        panic!("{served:?} of {head:?} cut at {at}, with {after:?} behind it");
                    };
                    assert!("/plain".starts_with(target.trim_end_matches('/')), "{target}");
                    let ending = read.strip_prefix(kept.as_bytes()).expect("nothing is left out of it");
                    assert!(ending.len() < 20, "{:?}", String::from_utf8_lossy(ending));
                }
            }
            let kept = format!("{}{head}", "\n".repeat(KEPT_BYTES - head.len()));
            assert_eq!(
                in_pieces(&[kept.as_bytes()], 5000).await,
                (vec![("/plain".into(), false, None)], kept.into_bytes())
            );
        }
        let empty = "\r\n".repeat(KEPT_BYTES);
        let (served, read) = in_pieces(&[empty.as_bytes(), b"GET / HTTP/1.1\r\n\r\n"], 5000).await;
        assert!(served.is_empty() && read.len() < HEAD_BYTES, "{served:?}");
    }

    #[tokio::test]
    async fn hdr_9_fields_beyond_measure_are_answered_in_whatever_pieces_they_come() {
        for end in ["\r\n", "\n"] {
            let whole: String = (0..MAX_FIELDS).map(|index| format!("X-{index}: y{end}")).collect();
            let whole = format!("GET / HTTP/1.1{end}{whole}");
            let sent = format!("{whole}More: z{end}{end}");
            let expected = (
                vec![("/".to_owned(), false, Some(Cut::Fields))],
                format!("{whole}\r\n\r\n").into_bytes(),
            );
            for at in whole.len() - 12..=sent.len() {
                let (first, second) = sent.as_bytes().split_at(at);
                for at_once in [1, 5000] {
                    assert_eq!(in_pieces(&[first, second], at_once).await, expected, "cut at {at}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn path_2_heads_are_counted_as_they_are_served(sent in streams(), piece in prop_oneof![1_usize..80, 500_usize..5000]) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let seen = runtime.block_on(served(&sent, piece));
            let mut refused = false;
            for (target, fragment, cut) in seen {
                // What follows a request that is refused is not served at the edge.
                refused |= target == "/marked";
                prop_assert_eq!((fragment, cut), (refused, None), "{}", target);
            }
        }
    }
}
