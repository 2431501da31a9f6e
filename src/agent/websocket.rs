//! WebSockets that end in the agent, within the limits of WS-4.
//!
//! Owns the handshake, sizes, pings and deadlines. Refuses to know: what the messages mean.

use std::time::Duration;

use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// Largest message and frame in bytes, either way.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// How often a quiet peer is pinged.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A peer that said nothing for this long is dead.
const DEAD_AFTER: Duration = Duration::from_secs(75);
/// A write that makes no progress for this long ends the socket (TO-1).
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long the end of a socket may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Most bytes that are taken and forgotten after a fault.
const MAX_EXHAUSTED: u64 = 16 * 1024 * 1024;

/// A byte stream that a WebSocket can run on.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A WebSocket on any of these.
pub type Stream = WebSocketStream<Box<dyn Io>>;

/// An accepted WebSocket that pings by itself while it is read.
pub struct Socket {
    stream: Stream,
    heard: Instant,
    ping_at: Instant,
}

/// What a peer said.
#[derive(Debug)]
pub enum Heard {
    Text(String),
    Binary(bytes::Bytes),
}

/// The socket is over: closed, broken, stalled or dead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the WebSocket is over")]
pub struct Over;

/// Why a request is no WebSocket handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this address takes a WebSocket of version 13 only")]
pub struct NoHandshake;

impl Socket {
    /// Runs the server's end on a stream whose handshake is done.
    pub async fn server(io: impl Io) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_MESSAGE + 64 * 1024)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(Box::new(io) as Box<dyn Io>, Role::Server, Some(config)).await;
        let now = Instant::now();
        Self {
            stream,
            heard: now,
            ping_at: now + PING_EVERY,
        }
    }

    /// The stream itself, for who keeps pings and deadlines of its own.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// The next message; cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Heard, Over> {
        loop {
            let due = self.ping_at.min(self.heard + DEAD_AFTER);
            tokio::select! {
                // Who could not listen for a while hears what was said meanwhile before anybody is taken for dead.
                biased;
                message = self.stream.next() => {
                    let message = match message.ok_or(Over)? {
                        Ok(message) => message,
                        Err(error) => return Err(self.fail(&error).await),
                    };
                    self.heard = Instant::now();
                    match message {
                        Message::Text(text) => return Ok(Heard::Text(text.as_str().to_owned())),
                        Message::Binary(bytes) => return Ok(Heard::Binary(bytes)),
                        Message::Close(_) => return Err(self.finish().await),
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                () = tokio::time::sleep_until(due) => self.ping().await?,
            }
        }
    }

    /// Waits for the next ping and sends it, again and again; for who cannot read at the moment.
    pub async fn keep_alive(&mut self) -> Over {
        loop {
            tokio::time::sleep_until(self.ping_at).await;
            self.heard = Instant::now();
            if self.ping().await.is_err() {
                return Over;
            }
        }
    }

    /// Sends a binary message.
    pub async fn binary(&mut self, bytes: impl Into<bytes::Bytes>) -> Result<(), Over> {
        self.send(Message::Binary(bytes.into())).await
    }

    /// Sends a text message.
    pub async fn text(&mut self, text: String) -> Result<(), Over> {
        self.send(Message::Text(text.into())).await
    }

    /// Sends a value as a text message.
    pub async fn json(&mut self, value: &serde_json::Value) -> Result<(), Over> {
        self.text(value.to_string()).await
    }

    /// Closes with a code and waits a moment for the other side's close.
    pub async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        if self.send(Message::Close(Some(frame))).await.is_ok() {
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            let _ = timeout(LAST_WORDS, rest).await;
        }
    }

    /// Lets the answer to the other side's close go out; it stands ready, and to close once more would be refused.
    async fn finish(&mut self) -> Over {
        let _ = timeout(LAST_WORDS, self.stream.flush()).await;
        Over
    }

    /// Says what was wrong, as far as the other side still listens (RFC 6455 §7.1.7).
    async fn fail(&mut self, error: &Error) -> Over {
        if let Some((code, reason)) = fault(error) {
            let reason = reason.into();
            if self.send(Message::Close(Some(CloseFrame { code, reason }))).await.is_ok() {
                let _ = timeout(LAST_WORDS, self.exhaust()).await;
            }
        }
        Over
    }

    /// Takes what was under way: a stream dropped before that is reset, and the close that was sent with it.
    async fn exhaust(&mut self) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_EXHAUSTED), &mut tokio::io::sink())
            .await
            .map(drop)
    }

    async fn ping(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if now - self.heard >= DEAD_AFTER {
            return Err(Over);
        }
        self.ping_at = now + PING_EVERY;
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        timeout(WRITE_STALL, self.stream.send(message))
            .await
            .map_err(|_| Over)?
            .map_err(|_| Over)
    }
}

/// What the other side did wrong; nothing if it is only gone.
fn fault(error: &Error) -> Option<(CloseCode, &'static str)> {
    match error {
        Error::Capacity(_) => Some((CloseCode::Size, "a message is at most 1 MiB")),
        Error::Utf8(_) => Some((CloseCode::Invalid, "text is UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((CloseCode::Protocol, "not as RFC 6455 says")),
        _ => None,
    }
}

/// Answers a handshake; the socket comes once the answer is out.
pub fn accept<B, R>(
    mut request: Request<B>,
    body: R,
) -> Result<(Response<R>, impl Future<Output = Option<Socket>> + use<B, R>), NoHandshake> {
    let key = handshake_key(request.method(), request.headers()).ok_or(NoHandshake)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_ACCEPT,
        http::HeaderValue::from_str(&derive_accept_key(&key)).map_err(|_| NoHandshake)?,
    );
    let socket = async move {
        let upgraded = upgrade.await.ok()?;
        Some(Socket::server(TokioIo::new(upgraded)).await)
    };
    Ok((response, socket))
}

/// The key of a correct handshake (WS-6).
fn handshake_key(method: &Method, headers: &HeaderMap) -> Option<Vec<u8>> {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let whole = method == Method::GET
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && base64::engine::general_purpose::STANDARD
            .decode(key)
            .is_ok_and(|bytes| bytes.len() == 16);
    whole.then(|| key.as_bytes().to_vec())
}
