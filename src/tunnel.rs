//! The agents' connections to us: control links, data streams, and the one way to dial through them.
//!
//! Owns the registry of links by codespace and every limit on an agent (AGT-1 to AGT-8): an agent is hostile code with a
//! key to one codespace. Refuses to know: what an agent's reports mean, who may open a stream, HTTP inside of streams.

mod bounds;
mod claims;
mod control;
mod direct;
mod link;
mod registry;
mod reverse;
mod serve;
mod stream;
pub mod tls;

use std::{io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use thiserror::Error;
use tokio::{sync::mpsc, time::timeout};

use self::registry::Registry;
pub use self::stream::{AgentStream, Held, Tenure};
use crate::{
    domain::{CodespaceName, Generation},
    protocol::{
        bootstrap::Secret,
        personal::Personal,
        tunnel::{CLOSE_ENDED, Endpoint, FromAgent, Refusal, Stopping},
    },
};

/// Opens byte streams into codespaces.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Connects to an endpoint of a codespace. The caller has authorized it: this asks nobody.
    async fn dial(&self, codespace: &CodespaceName, endpoint: Endpoint) -> Result<AgentStream, DialError>;
}

/// A dialer behind its seam.
pub type SharedDialer = Arc<dyn Dialer>;

/// How long opening a stream may take, connecting to the app included, unless configuration says otherwise (TO-1).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no stream.
#[derive(Debug, Error)]
pub enum DialError {
    /// No agent of this codespace is connected.
    #[error("the codespace is not connected")]
    NotConnected,
    /// The agent said no.
    #[error(transparent)]
    Refused(Refusal),
    /// The agent did not answer in time.
    #[error("the codespace did not answer in time")]
    TimedOut,
    /// The connection to the agent broke.
    #[error("the connection to the codespace broke")]
    Broken(#[source] io::Error),
}

/// Whose a credential is; the only source of an agent's identity (AGT-1).
pub trait AgentCredentials: Send + Sync + 'static {
    fn verify(&self, credential: &str) -> Verdict;
    /// Notes that whoever showed this was turned away; it may be long, or nothing.
    fn turned_away(&self, _credential: &str, _client: &Client) {}
    /// Where a codespace's task takes its agent's reports; none if there is no such codespace.
    fn events(&self, codespace: &CodespaceName) -> Option<mpsc::Sender<AgentEvent>>;
    /// The socket on which the codespace's agent may be dialled, as its runtime knows it.
    fn direct_address(&self, codespace: &CodespaceName) -> Option<PathBuf>;
    /// What the agent of a codespace is told of its user.
    fn personal(&self, _codespace: &CodespaceName) -> Option<Personal> {
        None
    }
}

/// Where an agent comes from; whoever serves it puts this into its request's extensions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Client {
    /// None on this very machine.
    pub address: Option<IpAddr>,
    /// The id of the request in the access log.
    pub request_id: Option<String>,
}

/// What a credential is worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    Current(CodespaceName, Generation),
    /// It was good for an older start of the codespace.
    Superseded,
    /// Its codespace is stopped or gone.
    Ended,
    Unknown,
}

/// What happened on an agent's control link.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// Its `Hello` was accepted; streams can be dialled.
    Connected { generation: Generation, link: u64, client: Client },
    /// It said something, bounded in every length. Never a `Hello` or `Pong`.
    Said { generation: Generation, message: FromAgent },
    /// The link is gone, for this reason. A newer link may be there already: compare `link`.
    Disconnected { generation: Generation, link: u64, reason: String },
}

/// The links of all agents. Cheap to clone.
#[derive(Clone)]
pub struct Tunnels {
    registry: Arc<Registry>,
    connect_timeout: Duration,
}

impl Tunnels {
    /// Makes an empty registry; [`Tunnels::trust`] must be called before it serves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long opening a stream may take in all; 5 s if nobody does.
    #[must_use]
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Says who knows the agents' credentials. Once, at start; until then every agent is told to come back later.
    pub fn trust(&self, credentials: Arc<dyn AgentCredentials>) {
        self.registry.trust(credentials);
    }

    /// Answers `/api/v1/agent/connect` and `/api/v1/agent/stream`; 404 for any other path. The connection below must
    /// allow upgrades.
    pub async fn serve<B: Send>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        serve::answer(&self.registry, request)
    }

    /// Closes the link of a codespace for good: its agent is told to end.
    pub fn end(&self, codespace: &CodespaceName) {
        if let Some(link) = self.registry.find(codespace) {
            link.close(CLOSE_ENDED);
        }
    }

    /// Whether the agent at this link takes fresh credentials.
    pub fn may_renew(&self, codespace: &CodespaceName, link: u64) -> bool {
        self.registry
            .find(codespace)
            .is_some_and(|found| found.number == link && found.may_renew())
    }

    /// Has the agent at this link told a fresh credential, which must be good by now; false if that link is gone.
    pub fn renew(&self, codespace: &CodespaceName, link: u64, credential: Secret) -> bool {
        let found = self.registry.find(codespace).filter(|found| found.number == link);
        found.is_some_and(|found| found.renew(credential))
    }

    /// Has the agent at this link told whether its codespace is about to stop by itself.
    pub fn warn(&self, codespace: &CodespaceName, link: u64, stopping: Option<Stopping>) {
        if let Some(found) = self.registry.find(codespace).filter(|found| found.number == link) {
            found.stopping.send_replace(stopping);
        }
    }

    /// Has the agent of a codespace told anew what its user keeps.
    pub fn tell_personal(&self, codespace: &CodespaceName) {
        if let Some(link) = self.registry.find(codespace) {
            link.personal.notify_one();
        }
    }

    /// Closes all links, as the gateway goes: the agents come back to the next one. Returns when they are closed.
    pub async fn shutdown(&self) {
        self.registry.shutdown().await;
    }
}

impl Default for Tunnels {
    fn default() -> Self {
        Self {
            registry: Arc::default(),
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

#[async_trait]
impl Dialer for Tunnels {
    async fn dial(&self, codespace: &CodespaceName, endpoint: Endpoint) -> Result<AgentStream, DialError> {
        let link = self.registry.find(codespace).ok_or(DialError::NotConnected)?;
        timeout(self.connect_timeout, link.dial(endpoint))
            .await
            .unwrap_or(Err(DialError::TimedOut))
    }
}

#[cfg(test)]
mod tests;
