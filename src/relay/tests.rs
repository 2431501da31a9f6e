//! Tests of [`super`] over real sockets, where bulk is spliced.

use std::{collections::VecDeque, future::pending, pin::Pin, task::Context, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, duplex},
    net::{TcpListener, TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;

/// Begins to wait where there are no timers, and gives what came of it: whatever asks for a time panics there. What ends
/// nevertheless was ended by whoever said so, and not because somebody looked again.
pub(crate) async fn without_timers<T: Send + 'static>(waiting: impl Future<Output = T> + Send + 'static) -> oneshot::Receiver<T> {
    let (begun, begins) = oneshot::channel();
    let (over, ends) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async move {
            let mut waiting = std::pin::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it has happened already");
            let _ = begun.send(());
            let _ = over.send(waiting.await);
        });
    });
    begins.await.expect("it waits");
    ends
}

/// Gives pieces one by one, none together with the next, and then ends.
pub(crate) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    pub(crate) fn of(pieces: &[&[u8]]) -> Self {
        Self(pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        if let Some(piece) = self.0.front_mut() {
            let count = piece.len().min(buf.remaining());
            buf.put_slice(&piece.split_to(count));
        }
        Poll::Ready(Ok(()))
    }
}

/// Cuts bytes into pieces of 1 to 16, as the bytes themselves have it, after a first one of this length.
pub(crate) fn pieces(bytes: &[u8], first: usize) -> Vec<&[u8]> {
    let (first, mut rest) = bytes.split_at(first.min(bytes.len()));
    let mut seed = rest
        .iter()
        .fold(17_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut pieces = vec![first];
    while !rest.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let size = usize::try_from(seed >> 60).expect("four bits") + 1;
        let (piece, more) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = more;
    }
    pieces
}

#[tokio::test]
async fn sess_3_what_is_to_end_ends_without_a_timer() {
    let (mut client, near) = duplex(64);
    let (far, mut app) = duplex(64);
    let ended = CancellationToken::new();
    let token = ended.clone();
    let relayed = without_timers(async move { relay(near, far, token.cancelled()).await }).await;
    // A client that reads nothing holds up nothing either.
    app.write_all(&[b'x'; 128]).await.expect("there is room");
    ended.cancel();
    let outcome = relayed.await.expect("no timer was asked for");
    assert!(matches!(outcome.end, End::Cut), "{outcome:?}");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("closed");
    assert!(app.write_all(b"more").await.is_err(), "closed");
}

/// A client and a server with a relay between them, over the two kinds of plain socket that there are.
async fn joined() -> (TcpStream, UnixStream, JoinHandle<Outcome>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let client = TcpStream::connect(listener.local_addr().expect("it is bound"))
        .await
        .expect("it listens");
    let (a, _) = listener.accept().await.expect("somebody connected");
    let (b, server) = UnixStream::pair().expect("a pair");
    (client, server, tokio::spawn(relay(a, b, pending())))
}

/// Bytes that look like nothing else, from a seed.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        })
        .collect()
}

/// Sends bytes in pieces of any size, from one to a few hundred thousand, and then ends its direction.
async fn send(writer: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8], seed: u32) {
    let mut sizes = noise(seed, bytes.len() / 64 + 64).into_iter();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (magnitude, part) = (sizes.next().unwrap_or(9), sizes.next().unwrap_or(1));
        let size = (1 + (usize::from(part) << (magnitude % 12))).min(rest.len());
        writer.write_all(&rest[..size]).await.expect("it is open");
        rest = &rest[size..];
        if magnitude % 5 == 0 {
            tokio::task::yield_now().await;
        }
    }
    writer.shutdown().await.expect("it is open");
}

#[tokio::test]
async fn pieces_of_any_size_arrive_in_order_both_ways() {
    for seed in [3, 77, 1234] {
        let (mut client, mut server, relayed) = joined().await;
        let (there, here) = (noise(seed, 7_000_001), noise(seed + 1, 3_000_003));
        let (mut client_reads, mut client_writes) = client.split();
        let (mut server_reads, mut server_writes) = server.split();
        let (mut came_there, mut came_here) = (Vec::new(), Vec::new());
        let (_, _, forth, back) = tokio::join!(
            send(&mut client_writes, &there, seed + 2),
            send(&mut server_writes, &here, seed + 3),
            server_reads.read_to_end(&mut came_there),
            client_reads.read_to_end(&mut came_here),
        );
        assert_eq!((forth.expect("read"), back.expect("read")), (there.len(), here.len()));
        assert!(came_there == there && came_here == here);
        let outcome = relayed.await.expect("joined");
        assert_eq!((outcome.forth, outcome.back), (there.len() as u64, here.len() as u64));
        assert!(matches!(outcome.end, End::Finished));
    }
}

/// More than a relay and its sockets hold.
const TOO_MUCH: usize = 64 * 1024 * 1024;

#[tokio::test]
async fn an_end_does_not_overtake_what_is_held() {
    let (client, mut server, relayed) = joined().await;
    let (mut reads, mut writes) = client.into_split();
    let sent = noise(5, 4_000_000);
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move { send(&mut writes, &sent, 6).await }
    });
    server.write_all(b"a late answer").await.expect("the other way goes on");
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.expect("read");
    assert!(got == sent);
    sending.await.expect("sent");
    server.shutdown().await.expect("it is open");
    let mut answer = String::new();
    reads.read_to_string(&mut answer).await.expect("read");
    assert_eq!(answer, "a late answer");
    assert!(matches!(relayed.await.expect("joined").end, End::Finished));
}

#[tokio::test]
async fn a_reader_that_goes_ends_it_and_leaves_nothing_for_the_next() {
    let (mut client, mut server, relayed) = joined().await;
    let sending = tokio::spawn(async move { client.write_all(&vec![b'x'; TOO_MUCH]).await });
    server.read_exact(&mut vec![0; 1_000_000]).await.expect("it is open");
    drop(server);
    assert!(matches!(relayed.await.expect("joined").end, End::Failed(_)));
    sending.await.expect("joined").expect_err("the relay is gone");
    // The next relay of this thread would get the pipe.
    let (mut client, mut server, _relayed) = joined().await;
    let sent = noise(9, 2_000_000);
    let mut got = vec![0; sent.len()];
    let (written, read) = tokio::join!(client.write_all(&sent), server.read_exact(&mut got));
    written.expect("it is open");
    read.expect("it is open");
    assert!(got == sent);
}

#[tokio::test]
async fn a_reader_that_stalls_is_given_up() {
    let (mut client, a) = UnixStream::pair().expect("a pair");
    let (b, _server) = UnixStream::pair().expect("a pair");
    let relayed = tokio::spawn(relay(a, WriteTimeout::new(b, Duration::from_millis(50)), pending()));
    client.write_all(&vec![b'x'; TOO_MUCH]).await.expect_err("the relay is gone");
    match relayed.await.expect("joined").end {
        End::Failed(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        end => panic!("{end:?}"),
    }
}

#[tokio::test]
async fn what_was_read_ahead_comes_first() {
    let (mut client, a) = duplex(64);
    let (b, mut server) = duplex(64);
    tokio::spawn(relay_ahead(
        (a, Bytes::from_static(b"first ")),
        (b, Bytes::from_static(b"hello ")),
        pending(),
    ));
    client.write_all(b"second").await.expect("it is open");
    server.write_all(b"world").await.expect("it is open");
    let (mut there, mut here) = ([0; 12], [0; 11]);
    server.read_exact(&mut there).await.expect("it is open");
    client.read_exact(&mut here).await.expect("it is open");
    assert_eq!((&there, &here), (b"first second", b"hello world"));
}

#[tokio::test]
async fn a_download_without_end_leaves_turns_to_others() {
    // Both relays share this one thread; the large one never has to wait for its sockets.
    let (source, a) = duplex(4 * 1024 * 1024);
    let (b, sink) = duplex(4 * 1024 * 1024);
    let pumping = tokio::spawn(relay(a, b, pending()));
    let (mut source, mut sink) = (source, sink);
    tokio::spawn(async move {
        let piece = vec![0; 1024 * 1024];
        while source.write_all(&piece).await.is_ok() {}
    });
    tokio::spawn(async move {
        let mut piece = vec![0; 1024 * 1024];
        while matches!(sink.read(&mut piece).await, Ok(1..)) {}
    });
    let (mut client, mut server, _relayed) = joined().await;
    for _ in 0..100 {
        client.write_all(b"k").await.expect("it is open");
        let key = server.read_u8().await.expect("it is open");
        server.write_u8(key).await.expect("it is open");
        assert_eq!(client.read_u8().await.expect("it is open"), b'k');
    }
    assert!(!pumping.is_finished());
}

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
    let (cut, ended) = oneshot::channel::<()>();
    let relayed = tokio::spawn(relay(a, b, async { drop(ended.await) }));
    cut.send(()).expect("listened to");
    assert!(matches!(relayed.await.expect("joined").end, End::Cut));
    assert_eq!(server.read(&mut [0; 1]).await.expect("read"), 0);
}
