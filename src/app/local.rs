//! The gateway's Unix sockets: one for agents on this machine, one for its operator's command line.

use std::{convert::Infallible, future::Future};

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{
    api::{ClientAddress, Door, RequestId},
    tunnel::Tunnels,
};

/// Serves HTTP/1.1 on a Unix socket until told to close; what is open then is closed.
pub(super) async fn serve<H, F>(listener: UnixListener, handler: H, close: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = close.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, handler.clone(), close.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept on a Unix socket for the moment");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection<H, F>(stream: UnixStream, handler: H, close: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        // An error is the other end's: it went away.
        _ended = serving => {}
        () = close.cancelled() => {}
    }
}

/// Answers agents.
pub(super) fn agents(
    tunnels: Tunnels,
) -> impl Fn(Request<Incoming>) -> std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Clone + Send + Sync {
    move |request| {
        let tunnels = tunnels.clone();
        Box::pin(async move { tunnels.serve(request).await.map(Body::new) })
    }
}

/// Answers through a door of the API.
pub(super) fn through(
    api: Router,
    door: Door,
) -> impl Fn(Request<Incoming>) -> std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Clone + Send + Sync {
    move |mut request| {
        let api = api.clone();
        request.extensions_mut().insert(door.clone());
        request.extensions_mut().insert(ClientAddress(None));
        request
            .extensions_mut()
            .insert(RequestId(format!("{:016x}", rand::random::<u64>())));
        Box::pin(async move {
            match api.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    }
}
