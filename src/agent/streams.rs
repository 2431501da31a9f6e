//! Data streams: each one leads to a port, the editor or the agent's own API.
//!
//! Owns every stream from its first byte to its last, whichever side opened it. Refuses to know: what a stream carries,
//! and who is behind it; the gateway authorised it before.

mod direct;
mod opened;

use std::{future::pending, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    connector::{Connection, Connector},
    ports::Ports,
};
use crate::{
    protocol::{
        bootstrap::Secret,
        tunnel::{Endpoint, OPEN_BYTES, OPENED, Refusal},
    },
    relay::{End, relay},
    unix_socket,
};

pub use direct::{DirectKey, DirectListener};

/// Most streams at once (AGT-8).
const MAX_STREAMS: usize = 10_000;
/// How long a connect inside the codespace may take (TO-1).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a stream can lead to besides a port.
pub trait Inside: Send + Sync + 'static {
    /// The editor's socket, if the editor is ready.
    fn editor(&self) -> Result<PathBuf, Refusal>;
    /// Speaks the agent's API on a connection until it ends.
    fn serve(&self, connection: Connection) -> BoxFuture<'static, ()>;
}

/// Serves streams; cheap to clone.
#[derive(Clone)]
pub struct Streams {
    ports: Ports,
    inside: Arc<dyn Inside>,
    room: Arc<Semaphore>,
    running: TaskTracker,
}

impl Streams {
    /// Makes a server of streams that dials through `ports`.
    pub fn new(ports: Ports, inside: Arc<dyn Inside>) -> Self {
        Self {
            ports,
            inside,
            room: Arc::new(Semaphore::new(MAX_STREAMS)),
            running: TaskTracker::new(),
        }
    }

    /// Opens one stream to the gateway for each id, and serves it there. Ids beyond the limit are dropped: the gateway
    /// stops waiting for them by itself.
    pub fn open(&self, connector: &Connector, credential: &Secret, ids: Vec<String>) {
        for id in ids {
            let Some(permit) = self.permit() else {
                tracing::warn!(limit = MAX_STREAMS, "too many streams");
                return;
            };
            let (streams, connector, credential) = (self.clone(), connector.clone(), credential.clone());
            self.running.spawn(async move {
                match opened::open(&connector, &credential, &id).await {
                    Ok(connection) => streams.serve(connection, permit).await,
                    Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a stream could not be opened"),
                }
            });
        }
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Serves one stream from its open request to its end; the request may be long in coming.
    async fn serve(&self, mut connection: Connection, _permit: OwnedSemaphorePermit) {
        let mut request = [0; OPEN_BYTES];
        if connection.read_exact(&mut request).await.is_err() {
            return;
        }
        if let Err(error) = self.connect(connection, Endpoint::decode(request)).await {
            tracing::debug!(%error, "a stream broke");
        }
    }

    async fn connect(&self, mut connection: Connection, endpoint: Option<Endpoint>) -> std::io::Result<()> {
        let far: Result<Connection, Refusal> = match endpoint {
            Some(Endpoint::Agent) => {
                connection.write_all(&[OPENED]).await?;
                self.inside.serve(connection).await;
                return Ok(());
            }
            Some(Endpoint::Port(port)) => self.ports.dial(port).await.map(Connection::from),
            Some(Endpoint::Beside(port)) => self.ports.dial_beside(port).await.map(Connection::from),
            Some(Endpoint::Editor) => self.dial_editor().await.map(Connection::from),
            None => Err(Refusal::Unsupported),
        };
        match far {
            Ok(far) => {
                connection.write_all(&[OPENED]).await?;
                match relay(connection, far, pending()).await.end {
                    End::Failed(error) => Err(error),
                    End::Finished | End::Cut => Ok(()),
                }
            }
            Err(refusal) => {
                tracing::debug!(?endpoint, %refusal, "a stream was refused");
                connection.write_all(&[refusal as u8]).await?;
                connection.shutdown().await
            }
        }
    }

    async fn dial_editor(&self) -> Result<UnixStream, Refusal> {
        let socket = self.inside.editor()?;
        match timeout(CONNECT_TIMEOUT, unix_socket::connect(&socket)).await {
            Ok(Ok(stream)) => Ok(stream),
            // It was ready a moment ago: it is being restarted.
            Ok(Err(error)) => {
                tracing::debug!(%error, "the editor's socket does not answer");
                Err(Refusal::EditorStarting)
            }
            Err(_) => Err(Refusal::Fault),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
