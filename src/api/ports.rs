//! Ports of a codespace, and who may open them.

use axum::{Json, extract::State};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Services,
    body::Sent,
    identify::{By, Params, Who},
    model::{self, ChangePort, DecideOffer, Port},
    problem::{Problem, ProblemBody},
};
use crate::{
    codespace::{BadChange, CodespaceError, OfferDecision, PortChange},
    domain::{self, Access, Network, PortLimits, PortLimitsError, UserId},
};

/// Lists the ports that listen or have settings.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/ports", tag = "ports", params(("name" = String, Path)), responses(
    (status = 200, body = [Port]), (status = 404, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, Who(who): Who, Params(name): Params<String>) -> Result<Json<Vec<Port>>, Problem> {
    let codespace = services.codespace(&who, &name, Access::View)?;
    Ok(Json(services.show_ports(&codespace.snapshot())))
}

/// Changes who may open a port and how it is forwarded, at once and for open connections too. The port need not listen.
#[utoipa::path(patch, path = "/api/v1/codespaces/{name}/ports/{port}", tag = "ports",
    params(("name" = String, Path), ("port" = u16, Path)), request_body = ChangePort, responses(
    (status = 200, body = Port),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn change(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params((name, port)): Params<(String, String)>,
    Sent(sent): Sent<ChangePort>,
) -> Result<Json<Port>, Problem> {
    let codespace = services.codespace(&who, &name, Access::Share)?;
    let port: domain::Port = port
        .parse()
        .map_err(|error: domain::PortError| Problem::unprocessable("bad-port", "That is no port", error.to_string()))?;
    let change = read(&services, sent)?;
    let other_way = change.protocol.is_some() || change.host_header.is_some();
    // What the app refused when it was asked in the old way says nothing of the new one: not to watchers, who are told of
    // the change as it happens, and not of a request that was under way.
    let forget = || {
        if other_way {
            services.doctor.memory().forget(codespace.name(), port);
        }
    };
    forget();
    let view = services.codespaces.change_port(codespace.name(), port, change, &actor).await?;
    forget();
    Ok(Json(services.show_port(&codespace.snapshot(), port, &view, services.clock.now())))
}

/// Decides on what the repository asks to share: takes all of it, or leaves it for good.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/offer", tag = "ports", params(("name" = String, Path)), request_body = DecideOffer,
    responses(
    (status = 200, body = [Port], description = "The ports as they are now"), (status = 401, body = ProblemBody),
    (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn decide_offer(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    Sent(sent): Sent<DecideOffer>,
) -> Result<Json<Vec<Port>>, Problem> {
    let codespace = services.codespace(&who, &name, Access::Share)?;
    let decision = if sent.accept {
        OfferDecision::Accept
    } else {
        OfferDecision::Dismiss
    };
    let codespace = services
        .codespaces
        .decide_offer(codespace.name(), sent.hash, decision, &actor)
        .await?;
    Ok(Json(services.show_ports(&codespace.snapshot())))
}

fn read(services: &Services, sent: ChangePort) -> Result<PortChange, Problem> {
    Ok(PortChange {
        visibility: sent
            .visibility
            .map(|word| word.parse())
            .transpose()
            .map_err(|_| Problem::unprocessable("bad-visibility", "That is no visibility", "A port is private, org or public."))?,
        label: sent.label,
        protocol: sent.protocol,
        host_header: sent.host_header,
        expires_at: match sent.expires_at {
            Some(Some(text)) => Some(Some(OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| {
                Problem::unprocessable("bad-time", "That is no time", "Write expires_at as in 2026-01-31T12:00:00Z.")
            })?)),
            Some(None) => Some(None),
            None => None,
        },
        users: sent
            .users
            .map(|names| names.iter().map(|name| user_id(services, name)).collect())
            .transpose()?,
        log_entries: sent.log_entries,
        woken_by: sent
            .woken_by
            .map(|word| word.map(|word| word.parse().map_err(|_| BadChange::WokenBy)).transpose())
            .transpose()
            .map_err(CodespaceError::from)?,
        limits: sent
            .limits
            .map(|limits| limits.map_or(Ok(PortLimits::default()), limits_of))
            .transpose()?,
    })
}

/// Reads limits by way of their text, whose grammar has the bounds.
fn limits_of(sent: model::PortLimits) -> Result<PortLimits, Problem> {
    let from: Result<Vec<Network>, _> = sent.addresses.iter().map(|range| range.parse()).collect();
    let read = from.ok().map(|from| PortLimits {
        rate: sent.requests_per_second,
        connections: sent.connections,
        body: sent.body_bytes,
        from,
    });
    let whole = read.and_then(|limits| limits.to_string().parse().ok());
    whole.ok_or_else(|| Problem::unprocessable("bad-limits", "Those limits cannot be", format!("{PortLimitsError}.")))
}

fn user_id(services: &Services, name: &str) -> Result<UserId, Problem> {
    let user = name.parse().ok().and_then(|name| services.auth.user_by_name(&name));
    user.map(|user| user.id.clone()).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        Problem::unprocessable("no-such-user", "No such account", format!("There is no account named {name:?}."))
    })
}
