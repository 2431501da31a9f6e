//! An agent's control connection, from its hello to its end.

#[cfg(test)]
mod fuzz_tests;

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WebSocketError, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    AgentCredentials, AgentEvent, Client, Verdict,
    bounds::{MAX_BRANCH, bound},
    claims,
    direct::Direct,
    link::Link,
    registry::Registry,
    reverse::Reverse,
};
use crate::{
    domain::{CodespaceName, Generation},
    protocol::{
        bootstrap::Secret,
        tunnel::{CLOSE_SUPERSEDED, FromAgent, MAX_CONTROL_BYTES, MAX_ORDER_BYTES, Stopping, ToAgent, VERSION},
    },
};

/// How long an agent may take to say hello, and to take a message.
const PATIENCE: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// An agent that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Least time between two messages on average; an agent that says more is read slower.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(20);
/// How far an agent may run ahead of that average.
const BURST: Duration = Duration::from_secs(4);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why a control connection ended; goes to the codespace's log, never to the agent.
#[derive(Debug, Error)]
enum Over {
    #[error("the agent closed the connection")]
    Closed,
    #[error("the agent was silent for too long")]
    Silent,
    #[error("the agent did not take what was said")]
    Stuck,
    #[error("the agent said what is no message")]
    Malformed,
    #[error("the agent spoke for another than itself")]
    Foreign,
    #[error("the agent speaks version {0} of the protocol, this gateway speaks {VERSION}")]
    Version(u32),
    #[error("the connection broke: {0}")]
    Broken(Box<WebSocketError>),
    #[error("closed by the gateway with {0}")]
    Told(u16),
    #[error("the gateway is going")]
    Going,
}

impl From<WebSocketError> for Over {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => Self::Closed,
            error => Self::Broken(Box::new(error)),
        }
    }
}

impl Over {
    fn code(&self) -> u16 {
        match self {
            Self::Told(code) => *code,
            Self::Malformed | Self::Version(_) => 1002,
            Self::Foreign => 1008,
            Self::Broken(error) if matches!(**error, WebSocketError::Capacity(_)) => 1009,
            Self::Going => 1001,
            _ => 1000,
        }
    }
}

/// An agent, as its credential proved it.
pub struct Who {
    pub codespace: CodespaceName,
    pub generation: Generation,
    pub credential: String,
    pub client: Client,
}

/// What an agent says of itself.
struct Greeting {
    /// The key for direct streams.
    direct_key: Option<String>,
    /// Whether it takes fresh credentials.
    renews: bool,
    /// Whether it says that it is another than its credential says.
    foreign: bool,
    /// Whether it is told what its user keeps.
    personal: bool,
    /// Whether it is told that its codespace is about to stop.
    warned: bool,
}

/// One agent's connection.
struct Session {
    socket: Socket,
    link: Arc<Link>,
    asks: mpsc::Receiver<Vec<String>>,
    renewals: mpsc::Receiver<Secret>,
    events: mpsc::Sender<AgentEvent>,
    client: Client,
    foreign: bool,
    /// Knows what its user keeps; none for an agent that is not told.
    keeper: Option<Arc<dyn AgentCredentials>>,
    /// Whether its codespace is about to stop; none for an agent that is not told.
    stopping: Option<watch::Receiver<Option<Stopping>>>,
    heard: Instant,
    /// When the next message may be read, if all came evenly.
    due: Instant,
}

/// Runs an agent's connection to its end; whatever an agent does ends this task alone.
pub async fn run(registry: Arc<Registry>, upgrade: OnUpgrade, who: Who) {
    let going = registry.going.clone();
    let Ok(Ok(upgraded)) = timeout(PATIENCE, upgrade).await else {
        return;
    };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(bounds())).await;
    let greeting = match greet(&mut socket, &who).await {
        Ok(greeting) => greeting,
        Err(over) => {
            tracing::info!(codespace = %who.codespace, %over, "an agent was turned away");
            return close(&mut socket, &over).await;
        }
    };
    let Some(session) = Session::begin(&registry, socket, who, greeting).await else {
        return;
    };
    let (link, events) = (Arc::clone(&session.link), session.events.clone());
    let mut session = session;
    let over = tokio::select! {
        over = session.speak() => over,
        () = going.cancelled() => Over::Going,
    };
    registry.remove(&link);
    close(&mut session.socket, &over).await;
    tracing::info!(codespace = %link.codespace, %over, "an agent's connection ended");
    let gone = AgentEvent::Disconnected {
        generation: link.generation,
        link: link.number,
        reason: over.to_string(),
    };
    // Nobody listens when the codespace is gone.
    drop(timeout(PATIENCE, events.send(gone)).await);
}

/// What an agent's frames may take (AGT-8).
fn bounds() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_ORDER_BYTES)
        .max_message_size(Some(MAX_CONTROL_BYTES))
        .max_frame_size(Some(MAX_CONTROL_BYTES))
}

/// Waits for the agent's hello.
async fn greet(socket: &mut Socket, who: &Who) -> Result<Greeting, Over> {
    let message = timeout(PATIENCE, socket.next())
        .await
        .map_err(|_| Over::Silent)?
        .ok_or(Over::Closed)??;
    let Message::Text(text) = message else {
        return Err(Over::Malformed);
    };
    match serde_json::from_str(&text) {
        Ok(FromAgent::Hello {
            version: VERSION,
            direct_key,
            renews,
            personal,
            warned,
        }) => Ok(Greeting {
            direct_key,
            renews,
            foreign: claims::are_foreign(&text, &who.codespace, who.generation),
            personal,
            warned,
        }),
        Ok(FromAgent::Hello { version, .. }) => Err(Over::Version(version)),
        _ => Err(Over::Malformed),
    }
}

async fn close(socket: &mut Socket, over: &Over) {
    let frame = CloseFrame {
        code: CloseCode::from(over.code()),
        reason: "".into(),
    };
    drop(timeout(PATIENCE, socket.close(Some(frame))).await);
}

impl Session {
    /// Makes the connection its codespace's own.
    async fn begin(registry: &Registry, mut socket: Socket, who: Who, greeting: Greeting) -> Option<Self> {
        let credentials = registry.credentials()?;
        let Who {
            codespace,
            generation,
            credential,
            client,
        } = who;
        // It may have been superseded between its handshake and its hello.
        if !matches!(credentials.verify(&credential), Verdict::Current(..)) {
            credentials.turned_away(&credential, &client);
            close(&mut socket, &Over::Told(CLOSE_SUPERSEDED)).await;
            return None;
        }
        let events = credentials.events(&codespace)?;
        let direct = greeting
            .direct_key
            .and_then(|key| Direct::new(credentials.direct_address(&codespace)?, &key));
        let (sender, asks) = mpsc::channel(256);
        let (renew, renewals) = mpsc::channel(1);
        let renew = greeting.renews.then_some(renew);
        let link = Link::new(codespace, generation, registry.number(), direct, Reverse::new(sender), renew);
        let link = Arc::new(link);
        if !registry.install(&link) {
            close(&mut socket, &Over::Told(CLOSE_SUPERSEDED)).await;
            return None;
        }
        if link.needs_reverse() {
            link.reverse.top_up();
        }
        let now = Instant::now();
        let stopping = greeting.warned.then(|| link.stopping.subscribe());
        Some(Self {
            socket,
            link,
            asks,
            renewals,
            events,
            client,
            foreign: greeting.foreign,
            keeper: greeting.personal.then(|| Arc::clone(credentials)),
            stopping,
            heard: now,
            due: now,
        })
    }

    async fn speak(&mut self) -> Over {
        match self.exchange().await {
            Ok(never) => match never {},
            Err(over) => over,
        }
    }

    async fn exchange(&mut self) -> Result<std::convert::Infallible, Over> {
        let link = Arc::clone(&self.link);
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.say(&ToAgent::Welcome { default_branch: true }).await?;
        let connected = AgentEvent::Connected {
            generation: link.generation,
            link: link.number,
            client: self.client.clone(),
        };
        self.tell(connected).await?;
        // Only now, so that the codespace hears of it and the audit log has it.
        if self.foreign {
            return Err(Over::Foreign);
        }
        self.say_personal().await?;
        loop {
            let readable = self.due.checked_sub(BURST).unwrap_or(self.due);
            tokio::select! {
                code = link.closed() => return Err(Over::Told(code)),
                Some(ids) = self.asks.recv() => self.say(&ToAgent::Open { ids }).await?,
                Some(credential) = self.renewals.recv() => self.say(&ToAgent::Credential { credential }).await?,
                () = link.personal.notified() => self.say_personal().await?,
                stopping = changed(&mut self.stopping) => self.say(&ToAgent::Stopping { stopping }).await?,
                _ = pings.tick() => self.say(&ToAgent::Ping).await?,
                () = sleep_until(self.heard + SILENCE) => return Err(Over::Silent),
                message = next(&mut self.socket, readable) => self.hear(message?).await?,
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), Over> {
        self.heard = Instant::now();
        self.due = self.due.max(self.heard) + MESSAGE_INTERVAL;
        let generation = self.link.generation;
        match understood(message, &self.link.codespace, generation)? {
            Some(message) => self.tell(AgentEvent::Said { generation, message }).await,
            None => Ok(()),
        }
    }

    /// Tells what the user keeps.
    async fn say_personal(&mut self) -> Result<(), Over> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        // An agent that is to be told waits for it: to that nothing is kept is an answer.
        let personal = keeper.personal(&self.link.codespace).unwrap_or_default();
        let hosts: Vec<_> = personal.git.iter().map(|git| git.host.as_str()).collect();
        tracing::info!(
            codespace = %self.link.codespace,
            generation = %self.link.generation.0,
            link = self.link.number,
            secrets = personal.variables.len(),
            git = hosts.join(" "),
            "an agent is told what its user keeps"
        );
        self.say(&ToAgent::Personal(personal)).await
    }

    async fn say(&mut self, message: &ToAgent) -> Result<(), Over> {
        let text = serde_json::to_string(message).map_err(|_| Over::Malformed)?;
        let sent = timeout(PATIENCE, self.socket.send(Message::text(text))).await;
        Ok(sent.map_err(|_| Over::Stuck)??)
    }

    /// Hands an event to the codespace; one whose task is gone ends the connection.
    async fn tell(&mut self, event: AgentEvent) -> Result<(), Over> {
        let sent = timeout(PATIENCE, self.events.send(event)).await;
        sent.map_err(|_| Over::Stuck)?.map_err(|_| Over::Going)
    }
}

/// What an agent of this codespace and start says, cut down to what is kept; none if it only shows that it is there.
fn understood(message: Message, codespace: &CodespaceName, generation: Generation) -> Result<Option<FromAgent>, Over> {
    let text = match message {
        Message::Text(text) => text,
        Message::Close(_) => return Err(Over::Closed),
        Message::Ping(_) | Message::Pong(_) => return Ok(None),
        Message::Binary(_) | Message::Frame(_) => return Err(Over::Malformed),
    };
    match serde_json::from_str(&text).map_err(|_| Over::Malformed)? {
        _ if claims::are_foreign(&text, codespace, generation) => Err(Over::Foreign),
        FromAgent::Pong => Ok(None),
        // Of no use, and no reason to part.
        FromAgent::DefaultBranch { name } if name.len() > MAX_BRANCH => Ok(None),
        message => bound(message).ok_or(Over::Malformed).map(Some),
    }
}

/// Whether the codespace is about to stop, once that changes; never for an agent that is not told.
async fn changed(stopping: &mut Option<watch::Receiver<Option<Stopping>>>) -> Option<Stopping> {
    let Some(stopping) = stopping else {
        return std::future::pending().await;
    };
    // Never an error: whoever waits here holds the link.
    let _ = stopping.changed().await;
    *stopping.borrow_and_update()
}

/// The next message, not before its time.
async fn next(socket: &mut Socket, readable: Instant) -> Result<Message, Over> {
    sleep_until(readable).await;
    Ok(socket.next().await.ok_or(Over::Closed)??)
}
