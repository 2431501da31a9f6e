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
type Served = Vec<(String, bool, Option<Cut>)>;

/// What hyper serves of such bytes alone, and for whom it is asked.
async fn served(bytes: &[u8], pace: &Arc<Pace>, (head, fields): (usize, usize)) -> Served {
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
    let stream = tokio::io::join(Pieces::of(&[bytes]), tokio::io::sink());
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
    seen.into_inner()
}

/// The bytes that are passed on of such pieces, and what is served of them.
async fn heard(pieces: &[&[u8]]) -> (Vec<u8>, Served) {
    let pace = Pace::new(Instant::now());
    let mut heard = Heard::new(Pieces::of(pieces), Arc::clone(&pace));
    let mut read = Vec::new();
    let mut room = vec![0; 8192];
    while let Ok(count @ 1..) = heard.read(&mut room).await {
        read.extend_from_slice(&room[..count]);
    }
    let served = served(&read, &pace, (HEAD_BYTES, MAX_FIELDS)).await;
    (read, served)
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
    let first = if is_grown { KEPT_BYTES + 1 } else { 0 };

    let (whole, of_whole) = heard(&[&sent]).await;
    let (pieced, of_pieces) = heard(&pieces(&sent, first)).await;
    let alone = served(&sent, &Pace::new(Instant::now()), (4 * HEAD_BYTES, 4096)).await;
    // What says a length more than once can be cut so that it says two.
    let is_plain = mentions(&sent, "content-length") < 2 && mentions(&sent, "transfer-encoding") < 2;
    for (read, served) in [(&whole, &of_whole), (&pieced, &of_pieces)] {
        let cut = served.iter().position(|(.., cut)| cut.is_some());
        for (one, other) in served.iter().zip(&alone).take(cut.unwrap_or(served.len())) {
            assert_eq!(one.0, other.0, "{served:?} {alone:?}");
        }
        match cut {
            Some(cut) => assert_eq!(served.len(), cut + 1, "nothing follows: {served:?}"),
            None if *read == sent => assert_eq!(served.len(), alone.len(), "{served:?} {alone:?}"),
            None => assert!(served.len() >= alone.len() || !is_plain, "it is answered: {served:?} {alone:?}"),
        }
    }
    if !is_grown {
        assert_eq!((&whole, &of_whole), (&pieced, &of_pieces), "pieces change nothing");
    }
    // A head that grew too long is cut where it is read, and refused for its length where it is not.
    for (one, other) in of_whole.iter().zip(&of_pieces) {
        assert_eq!(one.1, other.1, "{of_whole:?} {of_pieces:?}");
        if one.2.is_some() || other.2.is_some() {
            break;
        }
    }
    let fragments = of_whole.iter().filter(|(_, fragment, _)| *fragment).count();
    let cut = of_whole
        .iter()
        .find_map(|(.., cut)| *cut)
        .map_or(0, |cut| 1 + u8::from(cut == Cut::Fields));
    (of_whole.len(), u32::try_from(fragments).expect("they are few"), cut)
}

#[test]
fn hdr_9_and_hdr_10_and_path_2_heard() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    driver::fuzz("heard", &WORDS, |input| runtime.block_on(check(input)));
}
