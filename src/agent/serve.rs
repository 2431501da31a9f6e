//! The agent's HTTP API: terminals, exec, work, ports and connections to them, log, shutdown.
//!
//! Owns paths, bodies and statuses. Refuses to know who asks: the gateway authorized it, and only the gateway gets here.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    exec,
    leases::LeaseError,
    ports::carry::carry,
    terminals::{NewTerminal, NewTerminalError, attach},
    websocket::{self, Socket},
    work,
    workshop::Workshop,
};

use crate::{
    domain::{Port, PortError},
    protocol::tunnel::Refusal,
};

pub mod inside;

/// Largest request body in bytes.
const MAX_BODY: usize = 64 * 1024;

type Answer = Response<Full<Bytes>>;

/// Why a request is not done.
struct Problem {
    status: StatusCode,
    detail: String,
}

/// Speaks HTTP/1.1 on a connection until it ends.
pub async fn serve_connection(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, workshop: Arc<Workshop>) {
    let service = service_fn(move |request| {
        let workshop = Arc::clone(&workshop);
        async move { Ok::<_, std::convert::Infallible>(answer(request, workshop).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(io), service).with_upgrades().await {
        tracing::debug!(%error, "an API connection broke");
    }
}

async fn answer(request: Request<Incoming>, workshop: Arc<Workshop>) -> Answer {
    answered(route(request, workshop).await)
}

fn answered(done: Result<Answer, Problem>) -> Answer {
    done.unwrap_or_else(|problem| {
        let title = problem.status.canonical_reason().unwrap_or("Error");
        let body = json!({"type": "about:blank", "title": title, "status": problem.status.as_u16(), "detail": problem.detail});
        reply(problem.status, "application/problem+json", body.to_string())
    })
}

async fn route(request: Request<Incoming>, workshop: Arc<Workshop>) -> Result<Answer, Problem> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["terminals"]) => Ok(json_reply(StatusCode::OK, &workshop.terminals.list())),
        (&Method::POST, ["terminals"]) => open_terminal(request, &workshop).await,
        (&Method::DELETE, ["terminals", id]) if workshop.terminals.remove(id) => Ok(no_content()),
        (&Method::GET, ["terminals", id, "attach"]) => attach_terminal(id, request, &workshop),
        (&Method::POST, ["leases"]) => take_lease(request, &workshop).await,
        (&Method::DELETE, ["leases", id]) if workshop.leases.end(id) => Ok(no_content()),
        (&Method::GET, ["exec"]) => {
            let (inside, kind) = (Arc::clone(&workshop), exec::kind(request.uri().query().unwrap_or_default()));
            upgrade(request, &workshop, async move |socket| exec::serve(socket, inside, kind).await)
        }
        (&Method::GET, ["work"]) => Ok(json_reply(StatusCode::OK, &work::look(&workshop.git()).await)),
        (&Method::GET, ["ports"]) => Ok(json_reply(StatusCode::OK, &workshop.ports.scan().await)),
        (&Method::GET, ["ports", port, "connect"]) => connect(port_of(port)?, false, request, &workshop).await,
        (&Method::GET, ["beside", port, "connect"]) => connect(port_of(port)?, true, request, &workshop).await,
        (&Method::GET, ["log"]) => Ok(reply(StatusCode::OK, "text/plain; charset=utf-8", workshop.log.text())),
        (&Method::POST, ["shutdown"]) => {
            workshop.ending.cancel();
            Ok(no_content())
        }
        (_, ["terminals", ..]) => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such terminal")),
        _ => Err(Problem::new(StatusCode::NOT_FOUND, "the agent has nothing there")),
    }
}

async fn open_terminal(request: Request<Incoming>, workshop: &Workshop) -> Result<Answer, Problem> {
    let body = read(request).await?;
    let new: NewTerminal = if body.is_empty() {
        Ok(NewTerminal::default())
    } else {
        serde_json::from_slice(&body)
    }
    .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    workshop.environment.personal().told().await;
    let listed = workshop.terminals.open(new)?;
    Ok(json_reply(StatusCode::CREATED, &listed))
}

async fn take_lease(request: Request<Incoming>, workshop: &Workshop) -> Result<Answer, Problem> {
    let body = read(request).await?;
    let new = serde_json::from_slice(&body).map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let taken = workshop.leases.take(new, OffsetDateTime::now_utc())?;
    Ok(json_reply(StatusCode::CREATED, &taken))
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Problem> {
    read_within(MAX_BODY, request).await
}

async fn read_within(most: usize, request: Request<Incoming>) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), most).collect().await;
    let body = body.map_err(|_| {
        let detail = format!("the body is larger than {} KiB, or broke off", most / 1024);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    Ok(body.to_bytes())
}

fn attach_terminal(id: &str, request: Request<Incoming>, workshop: &Workshop) -> Result<Answer, Problem> {
    let terminal = workshop
        .terminals
        .find(id)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such terminal"))?;
    let wish = attach_wish(request.uri().query().unwrap_or_default())?;
    upgrade(request, workshop, async move |socket| attach::attach(socket, terminal, wish).await)
}

fn port_of(text: &str) -> Result<Port, Problem> {
    let parsed = text.parse();
    parsed.map_err(|error: PortError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// Carries a connection to a port. It is there before the handshake is answered, so that a refusal has words.
async fn connect(port: Port, beside: bool, request: Request<Incoming>, workshop: &Workshop) -> Result<Answer, Problem> {
    let dialled = match beside {
        true => workshop.ports.dial_beside(port).await,
        false => workshop.ports.dial(port).await,
    };
    let app = dialled.map_err(|refusal| match refusal {
        Refusal::NothingListens => Problem::new(
            StatusCode::CONFLICT,
            format!("Nothing listens on port {port} there. Start the server first."),
        ),
        other => Problem::new(StatusCode::SERVICE_UNAVAILABLE, other.to_string()),
    })?;
    upgrade(request, workshop, async move |socket| carry(socket, app).await)
}

fn attach_wish(query: &str) -> Result<attach::Request, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut wish = attach::Request::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "since" => wish.since = Some(value.parse().map_err(|_| bad("since is a number of bytes"))?),
            "client" => {
                let fits = (1..=64).contains(&value.len()) && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                wish.client = Some(if fits {
                    value.into_owned()
                } else {
                    return Err(bad("client is 1 to 64 letters, digits, - and _"));
                });
            }
            _ => {}
        }
    }
    Ok(wish)
}

fn upgrade<F: Future<Output = ()> + Send>(
    request: Request<Incoming>,
    workshop: &Workshop,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Answer, Problem> {
    let (response, socket) =
        websocket::accept(request, Full::default()).map_err(|error| Problem::new(StatusCode::UPGRADE_REQUIRED, error.to_string()))?;
    let ending = workshop.ending.clone();
    workshop.tasks.spawn(async move {
        let serving = async {
            if let Some(socket) = socket.await {
                serve(socket).await;
            }
        };
        tokio::select! {
            () = serving => {}
            () = ending.cancelled() => {}
        }
    });
    Ok(response)
}

fn json_reply(status: StatusCode, value: &impl Serialize) -> Answer {
    reply(
        status,
        "application/json",
        serde_json::to_string(value).unwrap_or_else(|_| "null".into()),
    )
}

fn no_content() -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        let status = match error {
            LeaseError::TooMany => StatusCode::CONFLICT,
            LeaseError::NoProcess | LeaseError::NoTime | LeaseError::TooLong(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<NewTerminalError> for Problem {
    fn from(error: NewTerminalError) -> Self {
        let status = match error {
            NewTerminalError::TooMany => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests;
