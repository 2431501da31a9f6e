//! The gateway's Unix sockets: one for agents on this machine, one for its operator's command line.

use std::{collections::VecDeque, convert::Infallible, future::Future};

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    task::AbortHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{
    api::{ClientAddress, Door, RequestId},
    tunnel::Tunnels,
};

/// Connections to the agents' socket that said nothing yet that made them a tunnel's. Whoever is in a container may connect
/// there, and all containers look alike from here; who has something to say says it at once.
pub(super) const MOST_UNSAID: usize = 1024;

/// Serves HTTP/1.1 on a Unix socket until told to close; what is open then is closed. Of more than `most` connections that
/// speak HTTP, upgraded ones not among them, the oldest is closed for each new one.
pub(super) async fn serve<H, F>(listener: UnixListener, most: usize, handler: H, close: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = TaskTracker::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = close.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if open.len() >= most {
                    open.retain(|connection| !connection.is_finished());
                }
                while open.len() >= most {
                    open.pop_front().iter().for_each(AbortHandle::abort);
                }
                let spawned = connections.spawn(connection(stream, handler.clone(), close.clone()));
                open.push_back(spawned.abort_handle());
            }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn silent_connections_give_way_to_new_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).expect("bound");
        let close = CancellationToken::new();
        let answer = |_| async { Response::new(Body::from("here")) };
        let serving = tokio::spawn(serve(listener, 2, answer, close.clone()));
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(UnixStream::connect(&path).await.expect("connected"));
        }
        let mut byte = [0];
        assert_eq!(silent[0].read(&mut byte).await.expect("closed in order"), 0, "the oldest went");
        let mut told = UnixStream::connect(&path).await.expect("connected");
        told.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .expect("asked");
        let mut text = String::new();
        told.read_to_string(&mut text).await.expect("answered");
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("here"), "{text}");
        assert_eq!(silent[1].read(&mut byte).await.expect("closed in order"), 0, "then the next");
        let last = silent[2].try_read(&mut byte).expect_err("it is open, and silent");
        assert_eq!(last.kind(), std::io::ErrorKind::WouldBlock);
        close.cancel();
        serving.await.expect("it ended");
    }
}
