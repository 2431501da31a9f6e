//! Streams that the agent opens: an HTTP/1.1 upgrade at the gateway, raw bytes after it.

use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    agent::connector::{ConnectError, Connection, Connector},
    protocol::{bootstrap::Secret, tunnel::UPGRADE},
};

/// How long the gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest id of a stream in bytes.
const MAX_ID: usize = 128;

/// Why a stream did not come to be.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    #[error("the gateway was not reached")]
    Connect(#[from] ConnectError),
    #[error("the gateway spoke no HTTP")]
    Http(#[from] hyper::Error),
    #[error("the request could not be made")]
    Request(#[from] http::Error),
    #[error("the gateway answered {0}")]
    Status(StatusCode),
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Timeout,
    #[error("that is no stream id")]
    Id,
}

/// Opens the stream `id`; the bytes after the 101 are the stream's.
pub(super) async fn open(connector: &Connector, credential: &Secret, id: &str) -> Result<Connection, OpenError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(plain) {
        return Err(OpenError::Id);
    }
    let connection = connector.connect().await?;
    let request = Request::get(format!("/api/v1/agent/stream?id={id}"))
        .header(header::HOST, connector.gateway().authority())
        .header(header::AUTHORIZATION, format!("Bearer {}", credential.0))
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, UPGRADE)
        .body(Empty::<bytes::Bytes>::new())?;
    timeout(ANSWER_TIMEOUT, upgrade(connection, request))
        .await
        .map_err(|_| OpenError::Timeout)?
}

async fn upgrade(connection: Connection, request: Request<Empty<bytes::Bytes>>) -> Result<Connection, OpenError> {
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Ok(hyper::upgrade::on(response).await?),
            status => Err(OpenError::Status(status)),
        }
    };
    let (_, upgraded) = tokio::join!(driver.with_upgrades(), exchange);
    let parts = upgraded?
        .downcast::<TokioIo<Connection>>()
        .map_err(|_| OpenError::Status(StatusCode::SWITCHING_PROTOCOLS))?;
    Ok(parts.io.into_inner().with_ahead(parts.read_buf))
}
