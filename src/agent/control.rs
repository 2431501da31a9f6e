//! The control connection: one WebSocket to the gateway, made again whenever it is lost.
//!
//! Owns reconnecting and what is said on the connection. Refuses to know: what a report means, and what runs in a stream.

mod backoff;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode, header};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{
    connector::{ConnectError, Connection, Connector},
    credential::Credential,
    personal::Personal,
    report::{Reporter, State},
    streams::Streams,
    warning::Warning,
};
use crate::protocol::{
    bootstrap::Secret,
    tunnel::{CLOSE_ENDED, CLOSE_SUPERSEDED, FromAgent, MAX_CONTROL_BYTES, MAX_ORDER_BYTES, ToAgent, VERSION},
};

/// How long the gateway may take for the handshake, and to take a message.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection that held this long was a good one: the next attempt comes soon.
const HELD: Duration = Duration::from_secs(10);
/// How long to wait after the gateway did not know the credential.
const UNAUTHORIZED_WAIT: Duration = Duration::from_secs(30);

/// The agent's end of the control connection.
pub struct Control {
    pub connector: Connector,
    pub credential: Credential,
    /// Hex of the key for dialled streams, if the agent listens for them.
    pub direct_key: Option<String>,
    /// Takes what the gateway tells of the user.
    pub personal: Personal,
    /// Takes what the gateway tells of a stop.
    pub warning: Warning,
    pub reporter: Reporter,
    pub streams: Streams,
    pub timing: Timing,
}

/// The times that a test shortens.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long the gateway may be silent.
    pub silence: Duration,
    /// Least time between two reports of activity.
    pub activity: Duration,
}

impl Default for Timing {
    /// The gateway pings every 20 s and wants activity at most every 15 s.
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            activity: Duration::from_secs(15),
        }
    }
}

/// Why the agent must not come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// A newer generation took over.
    Superseded,
    /// The codespace is stopped or gone.
    Ended,
}

/// Why a connection is no more.
#[derive(Debug, Error)]
enum Lost {
    #[error("it is over: {0:?}")]
    Over(Over),
    #[error("the gateway does not know this agent's credential")]
    Unauthorized,
    #[error("the gateway answered {0}")]
    Status(StatusCode),
    #[error("the gateway was not reached")]
    Connect(#[from] ConnectError),
    #[error("the connection broke")]
    WebSocket(#[source] Box<tungstenite::Error>),
    #[error("the gateway closed the connection")]
    Closed,
    #[error("the gateway was silent")]
    Silent,
    #[error("the gateway said what is no message")]
    Malformed(#[from] serde_json::Error),
}

/// A connection after its handshake.
struct Session<'a> {
    control: &'a Control,
    socket: WebSocketStream<Connection>,
    heard: Instant,
    /// What the gateway was told on this connection; none before its welcome.
    told: Option<State>,
    /// Whether it takes [`FromAgent::DefaultBranch`].
    takes_default_branch: bool,
    next_activity: Instant,
}

impl Control {
    /// Keeps connected until it is over, however long the gateway is away.
    pub async fn run(&self) -> Over {
        let mut attempt = 0_u32;
        loop {
            let began = Instant::now();
            let (welcomed, lost) = self.once().await;
            let wait = match lost {
                Lost::Over(over) => return over,
                Lost::Unauthorized => backoff::around(UNAUTHORIZED_WAIT, rand::random()),
                _ => {
                    attempt = if welcomed && began.elapsed() >= HELD {
                        1
                    } else {
                        attempt.saturating_add(1)
                    };
                    backoff::delay(attempt - 1, rand::random())
                }
            };
            lost.log(welcomed, wait);
            sleep(wait).await;
        }
    }

    /// One connection, from dial to end; also whether the gateway welcomed it.
    async fn once(&self) -> (bool, Lost) {
        let socket = match self.connect().await {
            Ok(socket) => socket,
            Err(lost) => return (false, lost),
        };
        let now = Instant::now();
        let mut session = Session {
            control: self,
            socket,
            heard: now,
            told: None,
            takes_default_branch: false,
            next_activity: now,
        };
        let lost = session.run().await.unwrap_or_else(|lost| lost);
        // Who said that it is about to stop can no longer say that it is not. An end is what was said.
        if !matches!(lost, Lost::Over(_)) {
            self.warning.learn(None, OffsetDateTime::now_utc());
        }
        (session.told.is_some(), lost)
    }

    async fn connect(&self) -> Result<WebSocketStream<Connection>, Lost> {
        let connection = self.connector.connect().await?;
        let url = format!("ws://{}/api/v1/agent/connect", self.connector.gateway().authority());
        let mut request: Request<()> = url.into_client_request().map_err(Lost::from)?;
        let bearer = format!("Bearer {}", self.credential.now().0)
            .try_into()
            .map_err(|_| Lost::Unauthorized)?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let config = WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .max_message_size(Some(MAX_ORDER_BYTES))
            .max_frame_size(Some(MAX_ORDER_BYTES))
            .write_buffer_size(0)
            .max_write_buffer_size(4 * MAX_CONTROL_BYTES);
        let handshake = client_async_with_config(request, connection, Some(config));
        match timeout(ANSWER_TIMEOUT, handshake).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Lost::Silent),
        }
    }
}

impl Session<'_> {
    /// Speaks until the connection is lost; what it gives is always the reason.
    async fn run(&mut self) -> Result<Lost, Lost> {
        let mut state = self.control.reporter.watch();
        self.say(&FromAgent::Hello {
            version: VERSION,
            direct_key: self.control.direct_key.clone(),
            renews: true,
            personal: true,
            warned: true,
        })
        .await?;
        loop {
            let welcomed = self.told.is_some();
            tokio::select! {
                heard = self.socket.next() => match heard {
                    Some(message) => self.hear(message?).await?,
                    None => return Err(Lost::Closed),
                },
                () = sleep_until(self.heard + self.control.timing.silence) => return Err(Lost::Silent),
                // The reporter outlives every connection.
                Ok(()) = state.changed(), if welcomed => self.tell().await?,
                () = self.control.reporter.urgent(), if welcomed => self.next_activity = Instant::now(),
                kinds = activity(&self.control.reporter, self.next_activity), if welcomed => {
                    self.next_activity = Instant::now() + self.control.timing.activity;
                    self.say(&FromAgent::Activity { kinds }).await?;
                }
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), Lost> {
        self.heard = Instant::now();
        match message {
            Message::Text(text) => match serde_json::from_str(&text)? {
                ToAgent::Welcome { default_branch } => {
                    self.takes_default_branch = default_branch;
                    tracing::info!(gateway = %self.control.connector.gateway(), "connected");
                    self.told.get_or_insert_default();
                    self.tell().await
                }
                ToAgent::Personal(personal) => {
                    self.control.personal.learn(personal);
                    Ok(())
                }
                ToAgent::Open { ids } => {
                    self.control
                        .streams
                        .open(&self.control.connector, &self.control.credential.now(), ids);
                    Ok(())
                }
                ToAgent::Credential { credential } => self.renew(credential).await,
                ToAgent::Stopping { stopping } => {
                    self.control.warning.learn(stopping, OffsetDateTime::now_utc());
                    Ok(())
                }
                ToAgent::Ping => self.say(&FromAgent::Pong).await,
                ToAgent::Unknown => Ok(()),
            },
            Message::Close(frame) => Err(closed(frame.as_ref())),
            // Pings are answered underneath.
            _ => Ok(()),
        }
    }

    /// Takes a fresh credential; one that cannot be kept is not used, and the gateway goes on to take the one before.
    async fn renew(&mut self, fresh: Secret) -> Result<(), Lost> {
        match self.control.credential.renew(fresh).await {
            Ok(()) => self.say(&FromAgent::Renewed).await,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the credential stays: a fresh one cannot be kept"
                );
                Ok(())
            }
        }
    }

    /// Tells what the gateway does not know yet.
    async fn tell(&mut self) -> Result<(), Lost> {
        let now = self.control.reporter.watch().borrow().clone();
        let told = self.told.replace(now.clone()).unwrap_or_default();
        for message in now.since(&told) {
            if matches!(message, FromAgent::DefaultBranch { .. }) && !self.takes_default_branch {
                continue;
            }
            self.say(&message).await?;
        }
        Ok(())
    }

    async fn say(&mut self, message: &FromAgent) -> Result<(), Lost> {
        let text = serde_json::to_string(message)?;
        timeout(ANSWER_TIMEOUT, self.socket.send(Message::text(text)))
            .await
            .map_err(|_| Lost::Silent)??;
        Ok(())
    }
}

impl Lost {
    fn log(&self, welcomed: bool, wait: Duration) {
        let cause = self as &dyn std::error::Error;
        if welcomed {
            tracing::warn!(cause, ?wait, "lost the gateway");
        } else {
            tracing::debug!(cause, ?wait, "no gateway");
        }
    }
}

impl From<tungstenite::Error> for Lost {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => match response.status() {
                StatusCode::GONE => Self::Over(Over::Ended),
                StatusCode::UNAUTHORIZED => Self::Unauthorized,
                status => Self::Status(status),
            },
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Self::Closed,
            error => Self::WebSocket(Box::new(error)),
        }
    }
}

fn closed(frame: Option<&CloseFrame>) -> Lost {
    match frame.map(|frame| u16::from(frame.code)) {
        Some(CLOSE_SUPERSEDED) => Lost::Over(Over::Superseded),
        Some(CLOSE_ENDED) => Lost::Over(Over::Ended),
        _ => Lost::Closed,
    }
}

async fn activity(reporter: &Reporter, earliest: Instant) -> Vec<crate::protocol::tunnel::ActivityKind> {
    sleep_until(earliest).await;
    reporter.happened().await
}

#[cfg(test)]
mod tests;
