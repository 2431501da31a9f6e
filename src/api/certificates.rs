//! The gateway's own certificates, for admins: how long each is good, what went wrong, what comes next.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    identify::{By, Who},
    model::Certificate,
    problem::{Problem, ProblemBody},
    views,
};

/// Lists the certificates with which the gateway speaks TLS; none if it speaks plain HTTP, behind a proxy for instance.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "about", responses(
    (status = 200, body = [Certificate]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<Certificate>>, Problem> {
    who.into_admin()?;
    let now = services.clock.now();
    let records = services.certificates.all().into_iter();
    Ok(Json(records.map(|record| views::certificate(record, now)).collect()))
}

/// Has the certificates that did not come tried again at once, instead of at `next_try_at`.
#[utoipa::path(post, path = "/api/v1/certificates/try", tag = "about", responses(
    (status = 202, description = "It is tried; the list says what came of it"), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
))]
pub async fn try_now(State(services): State<Services>, who: Who, By(by): By) -> Result<StatusCode, Problem> {
    who.into_admin()?;
    services.certificates.try_now();
    services.audit.record("certificates.tried", &by, "", "");
    Ok(StatusCode::ACCEPTED)
}
