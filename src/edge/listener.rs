//! Accepting connections, so many together and from one address, until told to drain.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use dashmap::DashMap;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::{Edge, Tls, connection::Connection};

/// Limits of the front door; each says in configuration how to raise it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most connections at once; beyond it nothing is accepted until one ends.
    pub connections: usize,
    /// Most connections at once from one address. Loopback is not counted: a proxy in front may be all of the world.
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
}

/// How long accepting pauses when the process is out of descriptors, instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Accepts and serves until `drain` is cancelled and every connection has ended or the drain timeout is over.
///
/// Speaks TLS if it is given a way to, else plain HTTP.
pub async fn serve(edge: Edge, listener: TcpListener, tls: Option<Tls>, gate: Gate, drain: CancellationToken) {
    let Gate { options, slots, addresses } = gate;
    let cut = CancellationToken::new();
    let connections = tokio_util::task::TaskTracker::new();
    while let Some((stream, address, slot)) = next(&listener, &slots, &drain).await {
        // One too many is closed without a word: an answer, and TLS before it, is what a flood would want (LIM-1).
        let Some(place) = addresses.take(address) else { continue };
        let connection = Connection {
            edge: edge.clone(),
            address,
            options,
            drain: drain.clone(),
            cut: cut.clone(),
        };
        let tls = tls.clone();
        connections.spawn(async move {
            connection.run(stream, tls).await;
            drop((slot, place));
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(options.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not finish in time and are cut");
        cut.cancel();
        connections.wait().await;
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

/// Connections by address; an IPv6 /64 is one, because whoever has one address of it has them all.
#[derive(Clone)]
struct Addresses {
    limit: usize,
    open: Arc<DashMap<IpAddr, usize>>,
}

/// A connection's place among those of its address.
struct Place {
    address: IpAddr,
    open: Arc<DashMap<IpAddr, usize>>,
}

impl Addresses {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            open: Arc::default(),
        }
    }

    /// Counts a connection; none if its address has too many. Loopback is not counted.
    fn take(&self, address: IpAddr) -> Option<Option<Place>> {
        if address.is_loopback() {
            return Some(None);
        }
        let address = network(address);
        let mut open = self.open.entry(address).or_insert(0);
        if *open >= self.limit {
            return None;
        }
        if *open + 1 == self.limit {
            tracing::warn!(%address, limit = self.limit, "an address reached limits.connections_per_address; more of its connections are closed");
        }
        *open += 1;
        Some(Some(Place {
            address,
            open: Arc::clone(&self.open),
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.remove_if_mut(&self.address, |_, open| {
            *open -= 1;
            *open == 0
        });
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_so_many_places() {
        let addresses = Addresses::new(2);
        let take = |address: &str| addresses.take(address.parse().expect("an address"));
        let (first, second) = (take("2001:db8::1"), take("2001:db8::ffff:1"));
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8::2").is_none(), "the same /64");
        assert!(take("2001:db8:0:1::1").is_some());
        assert!(take("192.0.2.1").is_some());
        drop(first);
        let again = take("2001:db8::3");
        assert!(again.is_some());
        drop((second, again));
        assert!(addresses.open.is_empty(), "nothing is kept of who left");
        let many: Vec<_> = (0..5).map(|_| take("127.0.0.1")).collect();
        assert!(many.iter().all(Option::is_some));
    }
}
