//! Accepting connections, so many together and from one address, until told to drain.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::{
    Edge, Fronts, Tls,
    addresses::{Addresses, Place, TooMany},
    caller::Caller,
    connection::Connection,
    proxy_protocol,
};

/// Limits of the front door; each says in configuration how to raise it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most connections at once; beyond it nothing is accepted until one ends.
    pub connections: usize,
    /// Most connections at once from one address. Loopback is not counted: a proxy in front may be all of the world. Of a
    /// named proxy's clients, the requests are counted.
    pub connections_per_address: usize,
    /// Longest TLS handshake (TO-1).
    pub handshake_timeout: Duration,
    /// Longest time from the first byte of a request to the end of its head.
    pub header_timeout: Duration,
    /// Longest time between two requests of a connection.
    pub idle_timeout: Duration,
    /// Longest time in which a request's body may stand still.
    pub body_timeout: Duration,
    /// Longest time in which a client may take nothing of what it is sent.
    pub write_timeout: Duration,
    /// Longest drain: what has not finished by then is cut.
    pub drain_timeout: Duration,
}

/// How many may come in, counted over all listeners that share it. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    options: Options,
    slots: Arc<Semaphore>,
    addresses: Addresses,
}

impl Gate {
    /// Counts from nothing.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            slots: Arc::new(Semaphore::new(options.connections)),
            addresses: Addresses::new(options.connections_per_address),
        }
    }

    /// Looks who is at an address, and takes a place for a connection from there.
    pub(super) fn admit(&self, address: IpAddr, fronts: &Fronts) -> Result<(Caller, Option<Place>), TooMany> {
        let caller = Caller::new(address, fronts, &self.addresses);
        let place = caller.place(&self.addresses)?;
        Ok((caller, place))
    }
}

/// How long accepting pauses when the process is out of descriptors, instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Accepts and serves until `drain` is cancelled and every connection has ended or the drain timeout is over.
///
/// Speaks TLS if it is given a way to, else plain HTTP.
pub async fn serve(edge: Edge, listener: TcpListener, tls: Option<Tls>, gate: Gate, drain: CancellationToken) {
    let (options, slots) = (gate.options, Arc::clone(&gate.slots));
    let cut = CancellationToken::new();
    let connections = tokio_util::task::TaskTracker::new();
    let door = Door {
        edge,
        tls,
        options,
        gate,
        drain: drain.clone(),
        cut: cut.clone(),
    };
    while let Some((stream, address, slot)) = next(&listener, &slots, &drain).await {
        if door.edge.fronts.codespaces.contains(address) {
            door.edge.metrics.closed("codespace");
        } else if door.edge.fronts.balancers.contains(address) {
            connections.spawn(door.clone().balanced(stream, slot));
        } else if let Some((caller, place)) = door.admit(address) {
            connections.spawn(door.clone().serve(stream, caller, (slot, place)));
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(options.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not finish in time and are cut");
        cut.cancel();
        connections.wait().await;
    }
}

/// What each connection is served with.
#[derive(Clone)]
struct Door {
    edge: Edge,
    tls: Option<Tls>,
    options: Options,
    gate: Gate,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Door {
    /// Takes a place for a connection. One too many is closed without a word: an answer, and TLS before it, is what a flood
    /// would want (LIM-1).
    fn admit(&self, address: IpAddr) -> Option<(Caller, Option<Place>)> {
        let admitted = self.gate.admit(address, &self.edge.fronts);
        if admitted.is_err() {
            self.edge.metrics.closed("too_many_of_address");
        }
        admitted.ok()
    }

    /// Reads whose connection a balancer passes on, then serves it.
    async fn balanced(self, mut stream: TcpStream, slot: OwnedSemaphorePermit) {
        let header = Box::pin(proxy_protocol::read(&mut stream));
        let read = tokio::select! {
            read = tokio::time::timeout(self.options.handshake_timeout, header) => read,
            () = self.drain.cancelled() => return,
        };
        let source = match read {
            Ok(Ok(source)) => source,
            Ok(Err(error)) => {
                self.edge.metrics.closed("proxy_protocol");
                tracing::debug!(%error, "a connection from an address of proxy_protocol is closed");
                return;
            }
            Err(_) => return self.edge.metrics.closed("proxy_protocol"),
        };
        let Some(address) = source.or_else(|| stream.peer_addr().ok().map(|peer| peer.ip().to_canonical())) else {
            return;
        };
        if let Some((caller, place)) = self.admit(address) {
            self.serve(stream, caller, (slot, place)).await;
        }
    }

    /// Serves a connection, which keeps what it holds until its end.
    async fn serve(self, stream: TcpStream, caller: Caller, held: (OwnedSemaphorePermit, Option<Place>)) {
        let connection = Connection {
            edge: self.edge,
            caller,
            options: self.options,
            drain: self.drain,
            cut: self.cut,
        };
        connection.run(stream, self.tls).await;
        drop(held);
    }
}

async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    drain: &CancellationToken,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(slots).acquire_owned() => slot.ok()?,
            () = drain.cancelled() => return None,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => return None,
        };
        match accepted {
            Ok((stream, peer)) => {
                drop(stream.set_nodelay(true));
                return Some((stream, peer.ip().to_canonical(), slot));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
    )
}
