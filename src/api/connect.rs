//! Raw TCP to a port, for programs: the same question to policy as for its pages, and bytes over a WebSocket.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, StatusCode, header};

use super::{
    Services,
    identify::{By, From, Params, Who},
    problem::{Problem, ProblemBody},
    websocket,
};
use crate::{
    codespace::Question,
    domain::{Exceeded, Port, PortError},
    policy::Presented,
    protocol::tunnel::Endpoint,
};

/// A client may open very many connections; one event tells of all within this time.
const AUDIT_EVERY: time::Duration = time::Duration::minutes(10);

/// Connects to a TCP port: a WebSocket whose binary messages are the connection's bytes; an empty one ends a direction.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/ports/{port}/connect", tag = "ports",
    params(("name" = String, Path), ("port" = u16, Path)), responses(
    (status = 101, description = "WebSocket"), (status = 400, body = ProblemBody, description = "No valid WebSocket handshake"),
    (status = 401, body = ProblemBody), (status = 403, body = ProblemBody, description = "Not from this address, as the port's owner set it"), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "The codespace does not run, or nothing listens on the port"),
    (status = 422, body = ProblemBody), (status = 426, body = ProblemBody),
    (status = 429, body = ProblemBody, description = "A limit that the port's owner set, or as many sockets as there may be"), (status = 502, body = ProblemBody),
    (status = 503, body = ProblemBody), (status = 504, body = ProblemBody),
))]
pub async fn connect(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    from: From,
    Params((name, port)): Params<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let port: Port = port
        .parse()
        .map_err(|error: PortError| Problem::unprocessable("bad-port", "That is no port", error.to_string()))?;
    let found = name.parse().ok().and_then(|name| services.codespaces.find(&name));
    let codespace = found.ok_or_else(Problem::no_such_codespace)?;
    let question = Question::of_port(Presented::Valid(Arc::new(who.clone())), port);
    let snapshot = codespace.snapshot();
    let asked = question.ask(&snapshot, &services.auth, services.clock.now());
    // Not theirs is not there (decision 10).
    asked.map_err(|_| Problem::no_such_codespace())?;
    let limited = snapshot.ports.get(&port).and_then(|view| view.limited.clone());
    // Who comes by the administration socket is on this very machine.
    let address = from.0.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let room = limited.map(|limited| limited.enter(address, Instant::now())).transpose();
    let room = room.map_err(|exceeded| limit_reached(port, exceeded))?;
    let entry = websocket::Entry {
        question,
        port,
        address,
        room,
    };
    let target = format!("{}:{port}", codespace.name());
    // What the question was about, whatever has the number a moment later.
    let path = match snapshot.endpoint(port) {
        Endpoint::Beside(_) => format!("/beside/{port}/connect"),
        _ => format!("/ports/{port}/connect"),
    };
    let response = websocket::forward(&services, who, codespace, request, &path, websocket::Kind::Port(entry)).await?;
    services
        .audit
        .record_once_in(AUDIT_EVERY, "port.connected", &actor, target, "raw TCP");
    Ok(response)
}

fn limit_reached(port: Port, exceeded: Exceeded) -> Problem {
    let status = match exceeded {
        Exceeded::Address => StatusCode::FORBIDDEN,
        Exceeded::Rate(_) | Exceeded::Connections(_) | Exceeded::Body(_) => StatusCode::TOO_MANY_REQUESTS,
    };
    let detail = format!("Port {port} has a limit that its owner set: {exceeded}. The codespace's owner can raise it.");
    let problem = Problem::new(status, "port-limit", "A limit of the port is reached", detail);
    if status == StatusCode::TOO_MANY_REQUESTS {
        problem.header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    } else {
        problem
    }
}
