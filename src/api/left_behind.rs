//! What holds work of codespaces that are no more, for admins: nothing but the operator removes it.

use axum::{Json, extract::State};

use super::{
    Services,
    identify::Who,
    model::LeftBehind,
    problem::{Problem, ProblemBody},
};

/// Lists what runtimes keep of codespaces that the gateway does not know, since its store was restored or begun anew for instance.
/// It may hold somebody's work, so that nothing removes it by itself.
#[utoipa::path(get, path = "/api/v1/left-behind", tag = "about", responses(
    (status = 200, body = [LeftBehind]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 502, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<LeftBehind>>, Problem> {
    who.into_admin()?;
    let found = services.codespaces.left_behind().await?;
    let shown = found.into_iter().map(|left| LeftBehind {
        kind: left.kind.into(),
        name: left.name,
        codespace: left.codespace,
        remove: left.remove,
    });
    Ok(Json(shown.collect()))
}
