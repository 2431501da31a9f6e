//! The gateway's own certificates, for admins: how long each is good, what went wrong, what comes next.

use axum::{Json, extract::State};

use super::{
    Services,
    identify::Who,
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
