//! Accepting connections and serving HTTP/1.1 on them, until told to drain.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use super::{Edge, Peer};

/// Limits of the front door; each says in configuration how to raise it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most connections at once; beyond it nothing is accepted until one ends.
    pub connections: usize,
    /// Longest wait for a request's whole head, also on an idle kept-alive connection (TO-1).
    pub header_timeout: Duration,
    /// Longest drain: what has not finished by then is cut.
    pub drain_timeout: Duration,
}

/// How long accepting pauses when the process is out of descriptors, instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest head that hyper reads; above what admission allows, so that the refusal is ours and has a page (HDR-9).
const HYPER_HEAD_BYTES: usize = 128 * 1024;
/// As many fields, for the same reason.
const HYPER_FIELDS: usize = 256;

/// Accepts and serves until `drain` is cancelled and every connection has ended or the drain timeout is over.
pub async fn serve(edge: Edge, listener: TcpListener, options: Options, drain: CancellationToken) {
    let slots = Arc::new(Semaphore::new(options.connections));
    let cut = CancellationToken::new();
    let connections = tokio_util::task::TaskTracker::new();
    while let Some((stream, address, slot)) = next(&listener, &slots, &drain).await {
        let connection = Connection {
            edge: edge.clone(),
            address,
            options,
            drain: drain.clone(),
            cut: cut.clone(),
            _slot: slot,
        };
        connections.spawn(connection.run(stream));
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

struct Connection {
    edge: Edge,
    address: IpAddr,
    options: Options,
    drain: CancellationToken,
    cut: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let _open = self.edge.metrics.connection();
        let (leases, mut watched) = mpsc::unbounded_channel();
        let peer = Arc::new(Peer {
            address: self.address,
            leases,
        });
        let edge = self.edge.clone();
        let service = service_fn(move |request| {
            let (edge, peer) = (edge.clone(), Arc::clone(&peer));
            async move { Ok::<_, std::convert::Infallible>(edge.handle(request, peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(HYPER_HEAD_BYTES)
            .max_headers(HYPER_FIELDS)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut watches = FuturesUnordered::new();
        let mut draining = false;
        loop {
            tokio::select! {
                // An error here is the client's: it went away or sent what is no HTTP.
                _ended = connection.as_mut() => return,
                Some(watch) = watched.recv() => watches.push(super::lease::Watch::fell(watch)),
                Some(true) = watches.next(), if !watches.is_empty() => return,
                () = self.drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => return,
            }
        }
    }
}
