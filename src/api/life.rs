//! What keeps a codespace awake: what is seen of it, saying that it is needed, and leases of processes inside.

use axum::{Json, extract::State};
use http::{Method, StatusCode};
use serde_json::json;

use super::{
    Services, agent_calls,
    body::{MaybeSent, Sent},
    codespaces::Nothing,
    identify::{By, Params, Who},
    model::{Activity, Lease, TakeLease, TakenLease},
    problem::{Problem, ProblemBody},
};
use crate::{codespace::Snapshot, domain::Access};

/// Says why a codespace is awake, when it will stop, or why it stopped.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/activity", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 200, body = Activity), (status = 404, body = ProblemBody),
))]
pub async fn activity(State(services): State<Services>, Who(who): Who, Params(name): Params<String>) -> Result<Json<Activity>, Problem> {
    let snapshot = services.codespace(&who, &name, Access::View)?.snapshot();
    Ok(Json(shown(&snapshot)))
}

/// Says that a codespace is needed: its idle time begins anew, and one that was announced to be deleted stays. Starts nothing.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/activity", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 200, body = Activity), (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
))]
pub async fn keep(
    State(services): State<Services>,
    Who(who): Who,
    Params(name): Params<String>,
    MaybeSent(Nothing {}): MaybeSent<Nothing>,
) -> Result<Json<Activity>, Problem> {
    // Its editor's own page may, which may start and stop nothing.
    let codespace = services
        .codespace(&who, &name, Access::Operate)
        .or_else(|_| services.codespace(&who, &name, Access::Work))?;
    let codespace = services.codespaces.keep(codespace.name()).await?;
    Ok(Json(shown(&codespace.snapshot())))
}

/// Takes a lease: keeps a codespace awake for as long as a process inside runs.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/leases", tag = "codespaces", params(("name" = String, Path)), request_body = TakeLease, responses(
    (status = 201, body = TakenLease), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn take_lease(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    Sent(sent): Sent<TakeLease>,
) -> Result<(StatusCode, Json<TakenLease>), Problem> {
    let codespace = services.codespace(&who, &name, Access::Operate)?;
    let most = services.codespaces.rules().max_lease;
    let asked = sent.max.as_deref().map(humantime::parse_duration).transpose();
    let asked = asked.map_err(|_| Problem::unprocessable("invalid-field", "A field is not right", "max is a duration such as 6h."))?;
    let holds = asked.unwrap_or(most);
    if holds > most {
        let most = humantime::format_duration(most);
        let said = format!("A lease holds for {most} at most here (codespaces.max_lease). Ask for less.");
        return Err(Problem::unprocessable("lease-too-long", "That is too long", said));
    }
    let body = json!({ "pid": sent.pid, "seconds": holds.as_secs(), "what": sent.what });
    let body = Some(body.to_string().into_bytes());
    let taken: TakenLease = agent_calls::json(&services, &codespace, Method::POST, "/leases", body).await?;
    let detail = format!("process {} for {}", taken.pid, humantime::format_duration(holds));
    services.audit.record("codespace.lease-taken", &actor, name, detail);
    Ok((StatusCode::CREATED, Json(taken)))
}

/// Ends a lease; its process runs on.
#[utoipa::path(delete, path = "/api/v1/codespaces/{name}/leases/{id}", tag = "codespaces", params(("name" = String, Path), ("id" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn end_lease(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params((name, id)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    let codespace = services.codespace(&who, &name, Access::Operate)?;
    let known = codespace.snapshot().leases.iter().any(|lease| lease.id == id);
    if !known {
        return Err(Problem::not_found("There is no such lease; it may have ended."));
    }
    agent_calls::bytes(&services, &codespace, Method::DELETE, &format!("/leases/{id}"), None).await?;
    services.audit.record("codespace.lease-ended", &actor, name, "");
    Ok(StatusCode::NO_CONTENT)
}

fn shown(snapshot: &Snapshot) -> Activity {
    Activity {
        state: snapshot.phase().to_string(),
        awake_because: snapshot.awake_because.clone(),
        last_active_at: snapshot.record.last_used_at,
        stops_at: snapshot.idle_at,
        stops_soon: snapshot.stops_soon,
        stops_anyway: snapshot.stops_anyway,
        stopped_because: snapshot.stopped_because.clone(),
        idle_timeout_minutes: snapshot.record.idle_timeout_minutes,
        leases: leases(snapshot),
    }
}

/// The leases that hold.
pub(super) fn leases(snapshot: &Snapshot) -> Vec<Lease> {
    let shown = |lease: &crate::lifecycle::Lease| Lease {
        id: lease.id.clone(),
        pid: lease.pid,
        what: lease.what.clone(),
        since: lease.since,
        until: lease.until,
    };
    snapshot.leases.iter().map(shown).collect()
}
