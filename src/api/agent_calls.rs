//! Calls to a codespace's agent: HTTP/1.1 on a stream of its own, bounded in size and time.
//!
//! The agent is hostile: its headers are not looked at, its JSON is parsed into our types, its words are cut short.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Services, problem::Problem};
use crate::{codespace::Codespace, domain::Phase, protocol::tunnel::Endpoint, tunnel::AgentStream};

/// Longest answer of an agent in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long an agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest text of an agent's problem that is passed on, in characters.
const MAX_DETAIL: usize = 300;

/// Calls the agent and reads its JSON.
pub async fn json<T: DeserializeOwned>(
    services: &Services,
    codespace: &Codespace,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<T, Problem> {
    let bytes = bytes(services, codespace, method, path, body).await?;
    serde_json::from_slice(&bytes).map_err(|_| Problem::agent("Its answer makes no sense."))
}

/// Calls the agent and reads the bytes of its answer.
pub async fn bytes(
    services: &Services,
    codespace: &Codespace,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Bytes, Problem> {
    let calling = async {
        let stream = dial(services, codespace).await?;
        call(stream, method, path, body.unwrap_or_default()).await
    };
    tokio::time::timeout(TIMEOUT, calling).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Dials the agent of a codespace that runs.
pub async fn dial(services: &Services, codespace: &Codespace) -> Result<AgentStream, Problem> {
    let phase = codespace.snapshot().phase();
    if !matches!(phase, Phase::Running | Phase::Starting | Phase::Creating) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not-running",
            "The codespace is not running",
            format!("It is {phase}. Start it first."),
        ));
    }
    Ok(services.dialer.dial(codespace.name(), Endpoint::Agent).await?)
}

/// What is said when an agent takes too long.
pub fn timed_out() -> Problem {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        "agent-timeout",
        "The codespace did not answer",
        "It did not answer in time. Try again.",
    )
}

async fn call(stream: AgentStream, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, Problem> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| broken())?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "agent")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Problem::internal(&error))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|_| broken())?;
        read(answer).await
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven here, so that nothing outlives the call.
    tokio::select! {
        read = &mut exchange => read,
        _ = &mut connection => exchange.await,
    }
}

async fn read(answer: Response<Incoming>) -> Result<Bytes, Problem> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    let bytes = body.map_err(|_| Problem::agent("Its answer broke off or is too long."))?.to_bytes();
    if status.is_success() {
        Ok(bytes)
    } else {
        Err(refusal(status, &bytes))
    }
}

/// What an agent says when it refuses.
#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// Puts an agent's refusal into our own words where its status is known, and never passes on more than text.
pub fn refusal(status: StatusCode, body: &[u8]) -> Problem {
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    let said = if said.detail.is_empty() { said.title } else { said.detail };
    let detail: String = said.chars().filter(|char| !char.is_control()).take(MAX_DETAIL).collect();
    match status {
        StatusCode::NOT_FOUND => Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-terminal",
            "No such terminal",
            "It has ended, or never was.",
        ),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Problem::unprocessable("refused-by-codespace", "The codespace refused", detail)
        }
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
            Problem::new(StatusCode::CONFLICT, "refused-by-codespace", "The codespace refused", detail)
        }
        _ => Problem::agent("It could not do it."),
    }
}

fn broken() -> Problem {
    Problem::agent("The connection to it broke. Try again.")
}
