//! Terminals and commands inside a codespace; the agent keeps them, this passes them on.

use axum::{
    Json,
    extract::{Query, Request, State},
    response::Response,
};
use http::{Method, StatusCode, Uri};
use serde::Deserialize;

use super::{
    Services, agent_calls,
    body::Sent,
    identify::{Params, Who},
    model::{CreateTerminal, Terminal},
    problem::{Problem, ProblemBody},
    websocket,
};
use crate::{domain::Access, lifecycle::Activity};

/// Lists the terminals of a codespace.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/terminals", tag = "terminals", params(("name" = String, Path)), responses(
    (status = 200, body = [Terminal]),
    (status = 404, body = ProblemBody), (status = 409, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, Who(who): Who, Params(name): Params<String>) -> Result<Json<Vec<Terminal>>, Problem> {
    let codespace = services.codespace(&who, &name, Access::Work)?;
    let terminals = agent_calls::json(&services, &codespace, Method::GET, "/terminals", None).await?;
    Ok(Json(terminals))
}

/// Opens a terminal; it lives until it is removed or its program ends, whoever is attached.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/terminals", tag = "terminals", params(("name" = String, Path)), request_body = CreateTerminal, responses(
    (status = 201, body = Terminal),
    (status = 404, body = ProblemBody), (status = 409, body = ProblemBody), (status = 422, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn create(
    State(services): State<Services>,
    Who(who): Who,
    Params(name): Params<String>,
    Sent(sent): Sent<CreateTerminal>,
) -> Result<(StatusCode, Json<Terminal>), Problem> {
    let codespace = services.codespace(&who, &name, Access::Work)?;
    let body = serde_json::to_vec(&sent).map_err(|error| Problem::internal(&error))?;
    let made = agent_calls::json(&services, &codespace, Method::POST, "/terminals", Some(body)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Ends a terminal and what runs in it.
#[utoipa::path(delete, path = "/api/v1/codespaces/{name}/terminals/{id}", tag = "terminals",
    params(("name" = String, Path), ("id" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn remove(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, id)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    let codespace = services.codespace(&who, &name, Access::Work)?;
    let path = format!("/terminals/{}", terminal_id(&id)?);
    agent_calls::bytes(&services, &codespace, Method::DELETE, &path, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Default, Deserialize)]
struct AttachQuery {
    since: Option<u64>,
    client: Option<String>,
}

/// Attaches to a terminal: a WebSocket whose binary frames are output and input, whose text frames are JSON control.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/terminals/{id}/attach", tag = "terminals",
    params(
        ("name" = String, Path), ("id" = String, Path),
        ("since" = Option<u64>, Query, description = "Bytes of output seen so far; without it the screen is redrawn"),
        ("client" = Option<String>, Query, description = "A random id that the client keeps, so that no input is lost or doubled"),
    ), responses(
    (status = 101, description = "WebSocket"), (status = 400, body = ProblemBody, description = "No valid WebSocket handshake"),
    (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 426, body = ProblemBody, description = "It is no WebSocket handshake"), (status = 502, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn attach(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, id)): Params<(String, String)>,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    let codespace = services.codespace(&who, &name, Access::Work)?;
    let path = format!("/terminals/{}/attach{}", terminal_id(&id)?, attach_query(&uri)?);
    websocket::forward(&services, who, codespace, request, &path, websocket::Kind::Terminal).await
}

#[derive(Default, Deserialize)]
struct ExecQuery {
    #[serde(rename = "as")]
    way: Option<Way>,
}

/// A way in of its own.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Ssh,
}

/// Runs a command: a WebSocket that begins with what to run and ends with its exit status.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/exec", tag = "terminals",
    params(("name" = String, Path), ("as" = Option<String>, Query, description = "`ssh`, so that it counts as use by that name")), responses(
    (status = 101, description = "WebSocket"), (status = 400, body = ProblemBody, description = "No valid WebSocket handshake"),
    (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 426, body = ProblemBody, description = "It is no WebSocket handshake"), (status = 502, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn exec(
    State(services): State<Services>,
    Who(who): Who,
    Params(name): Params<String>,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    let codespace = services.codespace(&who, &name, Access::Work)?;
    let Query(query) = Query::<ExecQuery>::try_from_uri(&uri).map_err(|_| bad_query("`as` is `ssh`, or is left out."))?;
    let (activity, path) = match query.way {
        Some(Way::Ssh) => (Activity::Ssh, "/exec?as=ssh"),
        None => (Activity::Exec, "/exec"),
    };
    codespace.touch(activity);
    websocket::forward(&services, who, codespace, request, path, websocket::Kind::Command).await
}

/// Checks an id before it becomes part of a path that the agent reads.
fn terminal_id(id: &str) -> Result<&str, Problem> {
    let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain.then_some(id).ok_or_else(|| agent_calls::refusal(StatusCode::NOT_FOUND, b""))
}

fn bad_query(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-query", "The query is not right", detail)
}

/// Writes the query anew from what was understood of it.
fn attach_query(uri: &Uri) -> Result<String, Problem> {
    let bad = || bad_query("`since` is a number, `client` at most 64 of a-z, A-Z, 0-9, - and _.");
    let Query(query) = Query::<AttachQuery>::try_from_uri(uri).map_err(|_| bad())?;
    let plain = |id: &str| id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !query.client.as_deref().is_none_or(plain) {
        return Err(bad());
    }
    let since = query.since.map(|since| format!("since={since}"));
    let client = query.client.map(|client| format!("client={client}"));
    let parts: Vec<String> = since.into_iter().chain(client).collect();
    Ok(if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    })
}
