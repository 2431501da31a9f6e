//! The bytes of a connection to a port, over a WebSocket: binary messages are bytes, an empty one is the end of a direction.
//!
//! Owns half-close and back-pressure: neither direction waits for the other, nothing is kept but what is under way.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, sleep_until},
};
use tokio_tungstenite::tungstenite::Message;

use crate::agent::websocket::{Over, Socket, Stream};

/// Bytes that are read at once.
const CHUNK: usize = 32 * 1024;
const TIMING: Timing = Timing {
    ping_every: Duration::from_secs(25),
    dead_after: Duration::from_secs(75),
};

type Sink = futures_util::stream::SplitSink<Stream, Message>;
type Messages = futures_util::stream::SplitStream<Stream>;

/// The times that a test shortens.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// How often a quiet peer is pinged.
    ping_every: Duration,
    /// A peer that said nothing for this long is dead.
    dead_after: Duration,
}

/// When the peer was heard last; none while what it said is still being written, because then nobody listens.
#[derive(Clone)]
struct Heard {
    at: Arc<Mutex<Option<Instant>>>,
    timing: Timing,
}

/// Carries bytes until both directions have ended, or either side breaks.
pub async fn carry(socket: Socket, app: TcpStream) {
    carry_within(TIMING, socket, app).await;
}

async fn carry_within(timing: Timing, socket: Socket, app: TcpStream) {
    let (sink, messages) = socket.into_stream().split();
    let (from_app, to_app) = app.into_split();
    let heard = Heard {
        at: Arc::new(Mutex::new(Some(Instant::now()))),
        timing,
    };
    let ended = {
        let forth = into_app(messages, to_app, heard.clone());
        let back = out_of_app(sink, from_app, heard.clone());
        tokio::pin!(forth, back);
        // A side that broke ends both at once; one that came to its end lets the other go on.
        tokio::select! {
            ended = &mut forth => match ended {
                Ok(messages) => tokio::select! {
                    ended = back => ended,
                    over = listen(messages, heard) => Err(over),
                },
                Err(over) => Err(over),
            },
            ended = &mut back => match ended {
                Ok(mut sink) => tokio::select! {
                    ended = forth => ended.map(drop),
                    over = attend(&mut sink, heard) => Err(over),
                }
                .map(|()| sink),
                Err(over) => Err(over),
            },
        }
    };
    if let Ok(mut sink) = ended {
        let _ = tokio::time::timeout(Duration::from_secs(5), sink.send(Message::Close(None))).await;
    }
}

/// Gives the messages back once the peer has said all that it has to say.
async fn into_app(mut messages: Messages, mut app: OwnedWriteHalf, heard: Heard) -> Result<Messages, Over> {
    loop {
        let message = messages.next().await.ok_or(Over)?.map_err(|_| Over)?;
        heard.now();
        match message {
            Message::Binary(bytes) if bytes.is_empty() => {
                app.shutdown().await.map_err(|_| Over)?;
                return Ok(messages);
            }
            Message::Binary(bytes) => {
                heard.busy();
                app.write_all(&bytes).await.map_err(|_| Over)?;
                heard.now();
            }
            Message::Close(_) => return Err(Over),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Hears that a peer which says no more is there, until it is not.
async fn listen(mut messages: Messages, heard: Heard) -> Over {
    while let Some(Ok(message)) = messages.next().await {
        if message.is_close() {
            break;
        }
        heard.now();
    }
    Over
}

/// Pings a peer that is told no more, until it is dead.
async fn attend(sink: &mut Sink, heard: Heard) -> Over {
    heard.refresh();
    let pings = async {
        loop {
            sleep(heard.timing.ping_every).await;
            if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = pings => Over,
        () = heard.silence() => Over,
    }
}

/// Gives the sink back once the app has said all that it has to say.
async fn out_of_app(mut sink: Sink, mut app: OwnedReadHalf, heard: Heard) -> Result<Sink, Over> {
    let mut buffer = BytesMut::new();
    let mut ping_at = Instant::now() + heard.timing.ping_every;
    loop {
        buffer.reserve(CHUNK);
        tokio::select! {
            read = app.read_buf(&mut buffer) => match read {
                Ok(0) => return sink.send(Message::Binary(Bytes::new())).await.map(|()| sink).map_err(|_| Over),
                Ok(_) => {
                    sink.send(Message::Binary(buffer.split().freeze())).await.map_err(|_| Over)?;
                    // It may have been stuck for long behind a client that reads slowly.
                    heard.refresh();
                }
                Err(_) => return Err(Over),
            },
            () = sleep_until(heard.due().map_or(ping_at, |due| due.min(ping_at))) => {
                let now = Instant::now();
                // It may have been heard meanwhile.
                if heard.due().is_some_and(|due| due <= now) {
                    return Err(Over);
                }
                if ping_at <= now {
                    ping_at = now + heard.timing.ping_every;
                    sink.send(Message::Ping(Bytes::new())).await.map_err(|_| Over)?;
                }
            }
        }
    }
}

impl Heard {
    fn now(&self) {
        *self.at.lock() = Some(Instant::now());
    }

    fn busy(&self) {
        *self.at.lock() = None;
    }

    fn refresh(&self) {
        if let Some(heard) = &mut *self.at.lock() {
            *heard = Instant::now();
        }
    }

    /// When the peer is dead unless it says something.
    fn due(&self) -> Option<Instant> {
        self.at.lock().map(|heard| heard + self.timing.dead_after)
    }

    /// Waits until the peer is dead.
    async fn silence(&self) {
        loop {
            match self.due() {
                Some(due) if due <= Instant::now() => return,
                Some(due) => sleep_until(due).await,
                None => sleep(self.timing.ping_every).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;

    /// A carried connection: its client's end, and the app's.
    async fn carried() -> (WebSocketStream<tokio::io::DuplexStream>, TcpStream) {
        carried_within(TIMING).await
    }

    async fn carried_within(timing: Timing) -> (WebSocketStream<tokio::io::DuplexStream>, TcpStream) {
        let (near, far) = tokio::io::duplex(4096);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let dialled = TcpStream::connect(listener.local_addr().expect("it is bound"))
            .await
            .expect("connected");
        let (app, _) = listener.accept().await.expect("accepted");
        tokio::spawn(async move { carry_within(timing, Socket::server(far).await, dialled).await });
        (WebSocketStream::from_raw_socket(near, Role::Client, None).await, app)
    }

    async fn bytes(client: &mut WebSocketStream<tokio::io::DuplexStream>) -> Option<Bytes> {
        loop {
            match client.next().await?.expect("a message") {
                Message::Binary(bytes) => return Some(bytes),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (mut client, mut app) = carried().await;
        client.send(Message::binary(&b"question"[..])).await.expect("sent");
        client.send(Message::binary(Bytes::new())).await.expect("sent");
        let mut question = String::new();
        app.read_to_string(&mut question).await.expect("read to its end");
        assert_eq!(question, "question");
        app.write_all(b"answer").await.expect("written");
        assert_eq!(bytes(&mut client).await.as_deref(), Some(&b"answer"[..]));
        drop(app);
        assert_eq!(bytes(&mut client).await.as_deref(), Some(&b""[..]));
        assert_eq!(bytes(&mut client).await, None, "and then it is closed");
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_holds_up_the_app_and_not_its_own_bytes() {
        let (mut client, app) = carried().await;
        let (mut from_client, mut to_client) = app.into_split();
        let flood = tokio::spawn(async move { to_client.write_all(&vec![7; 64 * 1024 * 1024]).await });
        for _ in 0..100 {
            client.feed(Message::binary(vec![1; 1000])).await.expect("taken");
            client.flush().await.expect("sent");
        }
        let mut got = vec![0; 100_000];
        from_client.read_exact(&mut got).await.expect("all of it");
        assert!(!flood.is_finished(), "64 MiB are not kept anywhere");
        let mut received = 0;
        while received < 64 * 1024 * 1024 {
            received += bytes(&mut client).await.expect("more").len();
        }
        flood.await.expect("it ran").expect("written");
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_apps_connection() {
        let (client, mut app) = carried().await;
        drop(client);
        let mut rest = Vec::new();
        let _broken_or_ended = app.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_is_dead_is_given_up_though_the_app_has_said_all() {
        let timing = Timing {
            ping_every: Duration::from_millis(100),
            dead_after: Duration::from_secs(2),
        };
        for is_there in [true, false] {
            let (mut client, mut app) = carried_within(timing).await;
            app.shutdown().await.expect("it is open");
            assert_eq!(bytes(&mut client).await.as_deref(), Some(&b""[..]));
            let mut rest = Vec::new();
            if is_there {
                // Who reads answers pings, and is held.
                let silent = tokio::time::timeout(2 * timing.dead_after, bytes(&mut client)).await;
                assert!(silent.is_err(), "{silent:?}");
                client.send(Message::binary(&b"more"[..])).await.expect("it is open");
                client.send(Message::binary(Bytes::new())).await.expect("it is open");
            }
            // Its connection is there, but nobody answers.
            let ended = tokio::time::timeout(Duration::from_secs(60), app.read_to_end(&mut rest)).await;
            drop(ended.expect("it ends"));
            assert_eq!(rest, if is_there { &b"more"[..] } else { b"" });
            drop(client);
        }
    }
}
