//! `portico ports forward`: TCP ports of a codespace on this machine, for databases and whatever else speaks no HTTP.
//!
//! Each connection is a WebSocket of its own to the gateway, which asks policy anew and cuts it when the answer changes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _, stream::SplitStream};
use http::Method;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    cli::{
        args::{PortMapping, PortsForward},
        client::{Client, ClientError, Socket},
        codespace::path,
        output::{Output, table, words},
        place,
    },
    domain::Port,
};

/// Bytes that are read at once.
const CHUNK: usize = 32 * 1024;
/// How soon the same is said again.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait after this machine could not take a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One port that is forwarded, as it is shown.
#[derive(Debug, Serialize)]
struct Forwarded {
    codespace: String,
    port: u16,
    /// The address on this machine.
    local: SocketAddr,
}

/// Everything that one forwarded port needs.
struct Forward {
    client: Client,
    codespace: String,
    port: Port,
    /// What was said last, and when.
    said: Mutex<Option<(String, Instant)>>,
}

/// How a connection ended.
#[derive(Debug, Eq, PartialEq)]
enum Ended {
    /// Both directions came to their end, or the local program went away.
    Well,
    /// The gateway's side broke off.
    Cut,
}

/// Forwards until it is interrupted.
pub async fn run(wish: &PortsForward, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&wish.place).await?;
    let codespace = place::codespace(&client, wish.which.codespace.as_deref()).await?;
    if !wish.bind.is_loopback() {
        words(&format!(
            "Warning: {} is not this machine alone. Whoever can reach it can use these ports with your access.",
            wish.bind
        ));
    }
    let mut bound = Vec::new();
    for mapping in &wish.mappings {
        may_connect(&client, &codespace, mapping.remote).await?;
        let listener = bind(wish.bind, mapping).await?;
        bound.push((listener.local_addr()?, listener, mapping.remote));
    }
    let shown: Vec<Forwarded> = bound
        .iter()
        .map(|(local, _, port)| Forwarded {
            codespace: codespace.clone(),
            port: port.number(),
            local: *local,
        })
        .collect();
    output.show(&shown, || {
        let row = |one: &Forwarded| vec![one.local.to_string(), one.port.to_string(), one.codespace.clone()];
        table(&["local", "port", "codespace"], &shown.iter().map(row).collect::<Vec<_>>())
    });
    words("Forwarding. Ctrl-C ends it.");
    let mut all = JoinSet::new();
    for (_, listener, port) in bound {
        let forward = Arc::new(Forward {
            client: client.clone(),
            codespace: codespace.clone(),
            port,
            said: Mutex::default(),
        });
        all.spawn(forward.serve(listener));
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Asks before anything listens here: the plain request of someone who may is told to be a WebSocket.
async fn may_connect(client: &Client, codespace: &str, port: Port) -> Result<(), ClientError> {
    match client.call(Method::GET, &connect_path(codespace, port), None::<&()>).await {
        Err(error) if error.slug() == Some("websocket-required") => Ok(()),
        answered => answered.map(drop),
    }
}

async fn bind(address: IpAddr, mapping: &PortMapping) -> anyhow::Result<TcpListener> {
    TcpListener::bind((address, mapping.local)).await.with_context(|| {
        format!(
            "{} cannot be listened on here. Name another local port, or 0 for any: portico ports forward {}:0",
            SocketAddr::new(address, mapping.local),
            mapping.remote
        )
    })
}

fn connect_path(codespace: &str, port: Port) -> String {
    format!("{}/ports/{port}/connect", path(codespace))
}

impl Forward {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((local, _)) => drop(connections.spawn(Arc::clone(&self).connect(local))),
                    Err(error) => {
                        self.say(&format!("a connection could not be taken: {error}"));
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connect(self: Arc<Self>, local: TcpStream) {
        // What is typed should arrive as it is typed.
        let _ = local.set_nodelay(true);
        match self.client.websocket(&connect_path(&self.codespace, self.port)).await {
            Ok(socket) => {
                if carry(socket, local).await == Ended::Cut {
                    self.say("a connection was cut: the gateway or the codespace restarted, or your access ended. Connect again with your program; this goes on forwarding");
                }
            }
            Err(error) => self.say(&format!("a connection was refused. {error}")),
        }
    }

    /// Says something, but not over and over: a program that reconnects does so many times a second.
    fn say(&self, text: &str) {
        let mut said = self.said.lock();
        let now = Instant::now();
        let again = said.as_ref().is_some_and(|(before, at)| before == text && now - *at < SAY_AGAIN);
        if !again {
            words(&format!("Port {}: {text}", self.port));
            *said = Some((text.to_owned(), now));
        }
    }
}

/// Carries bytes both ways; neither direction waits for the other.
async fn carry(socket: Socket, local: TcpStream) -> Ended {
    let (mut sink, mut messages) = socket.split();
    let (mut from_local, mut to_local) = local.into_split();
    let forth = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match from_local.read_buf(&mut buffer).await {
                Ok(0) => return sink.send(Message::Binary(Bytes::new())).await.map_err(|_| Ended::Cut),
                Ok(_) => sink.send(Message::Binary(buffer.split().freeze())).await.map_err(|_| Ended::Cut)?,
                Err(_) => return Err(Ended::Well),
            }
        }
    };
    let back = async {
        loop {
            match messages.next().await {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {
                    return to_local.shutdown().await.map(|()| messages).map_err(|_| Ended::Well);
                }
                Some(Ok(Message::Binary(bytes))) => to_local.write_all(&bytes).await.map_err(|_| Ended::Well)?,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Ended::Cut),
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::pin!(forth, back);
    let ended = tokio::select! {
        ended = &mut forth => match ended { Ok(()) => back.await.map(drop), Err(ended) => Err(ended) },
        ended = &mut back => match ended {
            Ok(messages) => tokio::select! {
                biased;
                ended = forth => ended,
                ended = listen(messages) => Err(ended),
            },
            Err(ended) => Err(ended),
        },
    };
    ended.err().unwrap_or(Ended::Well)
}

/// Answers pings of who says no more; without that it would be taken for dead.
async fn listen(mut messages: SplitStream<Socket>) -> Ended {
    while let Some(Ok(message)) = messages.next().await {
        if message.is_close() {
            break;
        }
    }
    Ended::Cut
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;
    use crate::cli::client::Connection;

    async fn carried() -> (WebSocketStream<tokio::io::DuplexStream>, TcpStream, tokio::task::JoinHandle<Ended>) {
        let (near, far) = tokio::io::duplex(4096);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let program = TcpStream::connect(listener.local_addr().expect("it is bound"))
            .await
            .expect("connected");
        let (local, _) = listener.accept().await.expect("accepted");
        let socket = WebSocketStream::from_raw_socket(Box::new(far) as Box<dyn Connection>, Role::Client, None).await;
        let gateway = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        (gateway, program, tokio::spawn(carry(socket, local)))
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (mut gateway, mut program, carrying) = carried().await;
        program.write_all(b"question").await.expect("written");
        program.shutdown().await.expect("shut");
        let mut question = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = gateway.next().await {
            if bytes.is_empty() {
                break;
            }
            question.extend(bytes);
        }
        assert_eq!(question, b"question");
        gateway.send(Message::binary(&b"answer"[..])).await.expect("sent");
        gateway.send(Message::binary(Bytes::new())).await.expect("sent");
        let mut answer = String::new();
        program.read_to_string(&mut answer).await.expect("read to its end");
        assert_eq!(answer, "answer");
        assert_eq!(carrying.await.expect("it ran"), Ended::Well);
    }

    #[tokio::test]
    async fn pings_are_answered_though_the_app_has_said_all() {
        let (mut gateway, mut program, carrying) = carried().await;
        gateway.send(Message::binary(Bytes::new())).await.expect("sent");
        program.read_to_end(&mut Vec::new()).await.expect("read to its end");
        gateway.send(Message::Ping("still there?".into())).await.expect("sent");
        let pong = tokio::time::timeout(Duration::from_secs(60), gateway.next()).await;
        assert!(
            matches!(&pong, Ok(Some(Ok(Message::Pong(bytes)))) if bytes == "still there?"),
            "{pong:?}"
        );
        program.shutdown().await.expect("shut");
        let end = gateway.next().await.expect("a message").expect("it is open");
        assert_eq!(end, Message::binary(Bytes::new()));
        assert_eq!(carrying.await.expect("it ran"), Ended::Well);
    }

    #[tokio::test]
    async fn a_cut_is_told_and_ends_the_program() {
        let (gateway, mut program, carrying) = carried().await;
        drop(gateway);
        assert_eq!(carrying.await.expect("it ran"), Ended::Cut);
        let mut rest = Vec::new();
        let _broken_or_ended = program.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}
