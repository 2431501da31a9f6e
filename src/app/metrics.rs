//! The listener of metrics: `/metrics` in plain HTTP, on an address of its own and never on the gateway's hosts (SSRF-2).

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::StartError;
use crate::{codespace::Codespaces, domain::Networks, ops};

/// Most connections at once: Prometheus needs one.
const CONNECTIONS: usize = 16;
/// How long one connection may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Binds the address, if there is one.
pub(super) async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| StartError::Metrics { address, source })
}

/// Answers until told to close.
pub(super) async fn serve(
    listener: TcpListener,
    turned_away: Networks,
    metrics: ops::Metrics,
    codespaces: Codespaces,
    close: CancellationToken,
) {
    let text = move || metrics.text(codespaces.all().iter().map(|codespace| codespace.snapshot().phase()));
    serve_text(listener, turned_away, text, close).await;
}

async fn serve_text(
    listener: TcpListener,
    turned_away: Networks,
    text: impl Fn() -> String + Clone + Send + Sync + 'static,
    close: CancellationToken,
) {
    let (room, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = close.cancelled() => break,
        };
        match (accepted, Arc::clone(&room).try_acquire_owned()) {
            (Ok((_, peer)), _) if turned_away.contains(peer.ip()) => {}
            (Ok((stream, _)), Ok(slot)) => {
                let (text, close) = (text.clone(), close.clone());
                connections.spawn(async move {
                    tokio::select! {
                        _ended = timeout(PATIENCE, connection(stream, text)) => {}
                        () = close.cancelled() => {}
                    }
                    drop(slot);
                });
            }
            (Ok(_), Err(_)) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "cannot accept readers of metrics for the moment");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, text: impl Fn() -> String) {
    let service = service_fn(|request| {
        let answer = answer(&request, &text);
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // An error is the reader's: it went away.
    drop(serving.await);
}

fn answer<B>(request: &Request<B>, text: impl Fn() -> String) -> Response<String> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, ops::CONTENT_TYPE, text()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "Metrics are read with GET.\n".into()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "Metrics are at /metrics.\n".into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn ssrf_2_metrics_alone_are_served() {
        let listener = listen(Some(([127, 0, 0, 1], 0).into())).await.expect("it binds").expect("one");
        let address = listener.local_addr().expect("an address");
        let close = CancellationToken::new();
        let served = tokio::spawn(serve_text(
            listener,
            Networks::default(),
            || "portico_x 1\n# EOF\n".into(),
            close.clone(),
        ));
        let good = ask(address, "GET /metrics").await;
        assert!(
            good.starts_with("HTTP/1.1 200") && good.contains("openmetrics-text") && good.ends_with("# EOF\n"),
            "{good}"
        );
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        let _silent = TcpStream::connect(address).await.expect("it listens");
        close.cancel();
        served.await.expect("it ends although somebody is silent");
    }
}
