//! A fuzz target: whatever a client sends is heard in pieces as it is heard whole, and as hyper reads it (`fuzz/README.md`).

use std::{convert::Infallible, time::Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::{
    edge::connection::HEAD_BYTES,
    forward::admission::MAX_FIELDS,
    fuzz_driver as driver,
    relay::tests::{Pieces, pieces},
};

const WORDS: [&str; 26] = [
    "+",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    ":",
    "#",
    ";",
    "GET /a HTTP/1.1\r\n",
    "POST /b#c HTTP/1.0\n",
    "Host: a\r\n",
    "Cookie: a=1\r\n",
    "Content-Length: 3\r\n",
    "Content-Length:",
    "content-length: x\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip",
    "Content-Length-X",
    "TE: y\r\n",
    "C: d\r\n",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n",
    "99999999999999999999",
];

/// What is served of some bytes: each target, and what was found out about its request.
type Served = Vec<OneServed>;

/// One of them.
type OneServed = (String, bool, Option<Cut>);

/// What hyper serves of a stream, and for whom it is asked.
async fn served(stream: impl AsyncRead + Unpin, pace: &Arc<Pace>, (head, fields): (usize, usize)) -> Served {
    let seen = Mutex::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        let going = pace.begin();
        seen.lock().push((request.uri().to_string(), going.fragment, going.cut));
        async move {
            drop(request.into_body().collect().await);
            drop(going);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(head).max_headers(fields).half_close(true);
    let stream = tokio::io::join(stream, tokio::io::sink());
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
    seen.into_inner()
}

/// The bytes that are passed on of such pieces.
async fn passed(pieces: &[&[u8]]) -> Vec<u8> {
    let mut heard = Heard::new(Pieces::of(pieces), Pace::new(Instant::now()));
    let mut read = Vec::new();
    heard.read_to_end(&mut read).await.expect("pieces do not fail");
    read
}

/// Serves what is heard of such pieces: exactly the requests that hyper alone takes from the same pieces, but for a head
/// that is cut, which is the last.
async fn heard(pieces: &[&[u8]], is_plain: bool) -> Served {
    let pace = Pace::new(Instant::now());
    let stream = Heard::new(Pieces::of(pieces), Arc::clone(&pace));
    let heard = served(stream, &pace, (HEAD_BYTES, MAX_FIELDS)).await;
    let last_is_cut = pace.begin().cut.is_some();
    let alone = served(Pieces::of(pieces), &Pace::new(Instant::now()), (4 * HEAD_BYTES, 4096)).await;
    let cut = heard.iter().position(|(.., cut)| cut.is_some());
    let whole = &heard[..cut.unwrap_or(heard.len())];
    assert!(
        whole.len() <= alone.len() && whole.iter().zip(&alone).all(|(one, other)| one.0 == other.0),
        "requests that nobody sent: {heard:?} {alone:?}"
    );
    match cut {
        Some(cut) => {
            assert_eq!(heard.len(), cut + 1, "nothing follows: {heard:?}");
            // What comes after the cut may spoil it for hyper alone.
            let begun = heard[cut].0.trim_end_matches('/');
            assert!(
                alone.get(cut).is_none_or(|(target, ..)| target.starts_with(begun)),
                "{heard:?} {alone:?}"
            );
        }
        None if last_is_cut && !is_plain => {}
        None => assert_eq!(heard.len(), alone.len(), "all are answered: {heard:?} {alone:?}"),
    }
    heard
}

/// The bytes with a field in the first head that is so long that what is kept of it ends there.
fn grown(bytes: &[u8], kept: usize) -> Vec<u8> {
    let line = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    let (line, rest) = bytes.split_at(line);
    let pad = "x".repeat((KEPT_BYTES + 1).saturating_sub(line.len() + kept + "X-Pad: \r\n".len()));
    [line, format!("X-Pad: {pad}\r\n").as_bytes(), rest].concat()
}

fn mentions(bytes: &[u8], name: &str) -> usize {
    String::from_utf8_lossy(bytes).to_ascii_lowercase().matches(name).count()
}

async fn check(input: &[u8]) -> (usize, u32, u8) {
    let is_grown = input.first() == Some(&b'+');
    // Anywhere in it, another place for another input.
    let place = input.iter().fold(0_usize, |sum, byte| sum * 31 % 8191 + usize::from(*byte)) % input.len().max(1);
    let sent = if is_grown { grown(&input[1..], place) } else { input.to_vec() };
    let first = if is_grown { (KEPT_BYTES + 1).min(sent.len()) } else { place };

    // No piece is longer than what is read at once, so that hyper alone reads them by the same pieces.
    let (before, after) = sent.split_at(first);
    let whole: Vec<_> = sent.chunks(READ_BYTES).collect();
    let halves: Vec<_> = before.chunks(READ_BYTES).chain(after.chunks(READ_BYTES)).collect();
    let many: Vec<_> = before.chunks(READ_BYTES).chain(pieces(after, 0)).collect();
    // What says a length more than once can be cut so that it says two.
    let is_plain = mentions(&sent, "content-length") < 2 && mentions(&sent, "transfer-encoding") < 2;
    let of_whole = heard(&whole, is_plain).await;
    let others = [heard(&halves, is_plain).await, heard(&many, is_plain).await];
    if !is_grown {
        assert_eq!(passed(&whole).await, passed(&many).await, "pieces change nothing");
    }
    // A head that grew too long is cut where it is read, and refused for its length where it is not.
    for (one, other) in others.iter().flat_map(|other| of_whole.iter().zip(other).take_while(is_uncut)) {
        assert_eq!(one, other);
    }
    let fragments = of_whole.iter().filter(|(_, fragment, _)| *fragment).count();
    let cut = of_whole
        .iter()
        .find_map(|(.., cut)| *cut)
        .map_or(0, |cut| 1 + u8::from(cut == Cut::Fields));
    (of_whole.len(), u32::try_from(fragments).expect("they are few"), cut)
}

fn is_uncut((one, other): &(&OneServed, &OneServed)) -> bool {
    one.2.is_none() && other.2.is_none()
}

#[test]
fn hdr_9_and_hdr_10_and_path_2_heard() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    driver::fuzz("heard", &WORDS, |input| runtime.block_on(check(input)));
}
