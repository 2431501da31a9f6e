//! One agent's link: how to dial through it, and how to end it.

use std::{io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, Semaphore, mpsc, watch},
    time::Instant,
};

use super::{AgentStream, DialError, Tenure, direct::Direct, reverse::Reverse, stream::Held};
use crate::{
    domain::{CodespaceName, Generation},
    protocol::{
        bootstrap::Secret,
        tunnel::{Endpoint, OPENED, Refusal, Stopping},
    },
};

/// Most streams of one agent at once (AGT-8).
const MAX_STREAMS: usize = 10_000;
/// Most streams opened to one agent in a second (AGT-8): above what a load test of one's own app makes.
const MAX_OPENS_PER_SECOND: u32 = 5_000;

/// An agent that said hello.
pub struct Link {
    pub codespace: CodespaceName,
    pub generation: Generation,
    pub number: u64,
    direct: Option<Direct>,
    pub reverse: Reverse,
    /// Takes a fresh credential to the agent; none if it takes none.
    renewals: Option<mpsc::Sender<Secret>>,
    /// Wakes the connection when the agent is to be told anew what its user keeps.
    pub personal: Notify,
    /// Whether its codespace is about to stop by itself, which the connection tells an agent that wants to know.
    pub stopping: watch::Sender<Option<Stopping>>,
    room: Arc<Semaphore>,
    opens: Mutex<(Instant, u32)>,
    closing: watch::Sender<Option<u16>>,
    tenure: Tenure,
}

impl Link {
    pub fn new(
        codespace: CodespaceName,
        generation: Generation,
        number: u64,
        direct: Option<Direct>,
        reverse: Reverse,
        renewals: Option<mpsc::Sender<Secret>>,
    ) -> Self {
        Self {
            codespace,
            generation,
            number,
            direct,
            reverse,
            renewals,
            personal: Notify::new(),
            stopping: watch::Sender::default(),
            room: Arc::new(Semaphore::new(MAX_STREAMS)),
            opens: Mutex::new((Instant::now(), 0)),
            closing: watch::Sender::new(None),
            tenure: Tenure::default(),
        }
    }

    /// Has its control connection closed with a code; the first code stays.
    pub fn close(&self, code: u16) {
        self.end_tenure();
        self.closing.send_if_modified(|there| {
            let first = there.is_none();
            there.get_or_insert(code);
            first
        });
    }

    pub fn end_tenure(&self) {
        self.tenure.end();
    }

    /// Waits until somebody closes it.
    pub async fn closed(&self) -> u16 {
        let mut closing = self.closing.subscribe();
        match closing.wait_for(Option::is_some).await.map(|code| *code) {
            Ok(Some(code)) => code,
            _ => std::future::pending().await,
        }
    }

    /// Has the agent told a fresh credential; false if it takes none, or is told one already.
    pub fn renew(&self, credential: Secret) -> bool {
        self.renewals.as_ref().is_some_and(|renewals| renewals.try_send(credential).is_ok())
    }

    /// Whether its agent takes fresh credentials.
    pub fn may_renew(&self) -> bool {
        self.renewals.is_some()
    }

    /// Whether streams can only come from the agent; then some are kept opened ahead.
    pub fn needs_reverse(&self) -> bool {
        self.direct.is_none()
    }

    /// Opens a stream: directly where that works, else through one that the agent opens.
    pub async fn dial(&self, endpoint: Endpoint) -> Result<AgentStream, DialError> {
        let permit = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| self.limited("streams at once"))?;
        if !self.may_open(Instant::now()) {
            return Err(self.limited("streams opened in a second"));
        }
        let mut stream = match &self.direct {
            Some(direct) => match direct.connect().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(codespace = %self.codespace, %error, "no direct way; the agent shall open a stream");
                    self.reverse.fresh().await?
                }
            },
            None => return self.dial_reverse(endpoint, permit).await,
        };
        ask(&mut stream, endpoint).await?;
        Ok(AgentStream::new(stream, permit, self.tenure.clone()))
    }

    /// A stream opened ahead may have died unnoticed: then a fresh one is tried.
    async fn dial_reverse(&self, endpoint: Endpoint, permit: tokio::sync::OwnedSemaphorePermit) -> Result<AgentStream, DialError> {
        if let Some(mut stream) = self.reverse.ready() {
            match ask(&mut stream, endpoint).await {
                Ok(()) => return Ok(AgentStream::new(stream, permit, self.tenure.clone())),
                Err(DialError::Broken(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut stream = self.reverse.fresh().await?;
        ask(&mut stream, endpoint).await?;
        Ok(AgentStream::new(stream, permit, self.tenure.clone()))
    }

    fn may_open(&self, now: Instant) -> bool {
        let mut opens = self.opens.lock();
        if now.duration_since(opens.0) >= Duration::from_secs(1) {
            *opens = (now, 0);
        }
        opens.1 += 1;
        opens.1 <= MAX_OPENS_PER_SECOND
    }

    fn limited(&self, limit: &str) -> DialError {
        tracing::warn!(codespace = %self.codespace, limit, "an agent's limit is reached");
        DialError::Refused(Refusal::Fault)
    }
}

/// Asks for an endpoint on an idle stream.
async fn ask(stream: &mut Held, endpoint: Endpoint) -> Result<(), DialError> {
    let exchange = async {
        stream.write_all(&endpoint.encode()).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    match exchange.await {
        Ok(OPENED) => Ok(()),
        Ok(status) => Err(DialError::Refused(Refusal::from_status(status))),
        Err(error) => Err(DialError::Broken(error)),
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
