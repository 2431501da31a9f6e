//! Codespaces: list, create, change, start, stop, delete, and what is going on inside.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, Uri, header};
use serde::Deserialize;

use super::{
    Services,
    account::own_account,
    agent_calls,
    body::{MaybeSent, Sent},
    identify::{By, Params, Who, ownership},
    model::{ChangeCodespace, Codespace, CreateCodespace, Work},
    problem::{Problem, ProblemBody},
};
use crate::{
    codespace::{BadChange, CodespaceChange, CodespaceError, Created, NewCodespace},
    domain::{Access, Phase, Role, Scope},
    policy::grants,
};

/// A body without fields, which may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Lists the codespaces that whoever asks may look at; for an admin, all.
#[utoipa::path(get, path = "/api/v1/codespaces", tag = "codespaces", responses(
    (status = 200, body = [Codespace]),
))]
pub async fn list(State(services): State<Services>, Who(who): Who) -> Json<Vec<Codespace>> {
    let all = match who.role {
        Role::Admin => services.codespaces.all(),
        Role::Member => services.codespaces.owned_by(&who.user),
    };
    let visible = all
        .iter()
        .filter(|codespace| grants(&who, &ownership(codespace)).allow(Access::View));
    Json(visible.map(|codespace| services.show(&codespace.snapshot())).collect())
}

/// Creates a codespace, or returns the one that is there for this repository and ref. Watch it for progress.
#[utoipa::path(post, path = "/api/v1/codespaces", tag = "codespaces", request_body = CreateCodespace, responses(
    (status = 201, body = Codespace), (status = 200, body = Codespace, description = "It is there already"),
    (status = 422, body = ProblemBody), (status = 507, body = ProblemBody),
))]
pub async fn create(
    State(services): State<Services>,
    who: Who,
    By(actor): By,
    Sent(sent): Sent<CreateCodespace>,
) -> Result<(StatusCode, Json<Codespace>), Problem> {
    let who = who.in_full()?;
    let owner = own_account(&services, &who)?;
    let wanted = NewCodespace {
        owner: owner.id.clone(),
        allow_local: owner.role == Role::Admin,
        repository: sent.repository,
        reference: sent.reference.filter(|text| !text.is_empty()),
        pull_request: sent.pull_request,
        devcontainer_path: sent.devcontainer_path,
        idle_timeout_minutes: sent.idle_timeout_minutes,
        display_name: sent.display_name,
        personal: sent.personal,
    };
    let (codespace, created) = services.codespaces.create(wanted, &actor).await?;
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Existing => StatusCode::OK,
    };
    Ok((status, Json(services.show(&codespace.snapshot()))))
}

/// Shows a codespace.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 200, body = Codespace), (status = 404, body = ProblemBody),
))]
pub async fn view(State(services): State<Services>, Who(who): Who, Params(name): Params<String>) -> Result<Json<Codespace>, Problem> {
    let codespace = services.codespace(&who, &name, Access::View)?;
    Ok(Json(services.show(&codespace.snapshot())))
}

/// Changes settings of a codespace.
#[utoipa::path(patch, path = "/api/v1/codespaces/{name}", tag = "codespaces", params(("name" = String, Path)), request_body = ChangeCodespace, responses(
    (status = 200, body = Codespace), (status = 403, body = ProblemBody, description = "`personal` is its owner's to say"),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn change(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    Sent(sent): Sent<ChangeCodespace>,
) -> Result<Json<Codespace>, Problem> {
    let codespace = services.codespace(&who, &name, Access::Own)?;
    // What runs inside has a token that may change its own codespace: with it, it could ask for what it is not to have.
    let owner = &codespace.snapshot().record.owner;
    if sent.personal.is_some() && (who.scope != Scope::All || who.user != *owner) {
        return Err(Problem::forbidden(
            "Only its owner may decide what it is told of theirs, with a token of scope `all`.",
        ));
    }
    let change = CodespaceChange {
        personal: sent.personal,
        display_name: sent.display_name,
        idle_timeout_minutes: sent.idle_timeout_minutes,
        woken_by: sent
            .woken_by
            .map(|word| word.parse().map_err(|_| BadChange::WokenBy))
            .transpose()
            .map_err(CodespaceError::from)?,
        traffic_counts: sent.traffic_counts,
    };
    let changed = services.codespaces.change(codespace.name(), change, &actor).await?;
    if sent.personal.is_some() {
        services.codespaces.tell_belongings(owner);
    }
    Ok(Json(services.show(&changed.snapshot())))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    #[serde(default)]
    force: bool,
}

/// Deletes a codespace with its files; refuses while there is work that is not pushed, unless forced.
#[utoipa::path(delete, path = "/api/v1/codespaces/{name}", tag = "codespaces",
    params(("name" = String, Path), ("force" = Option<bool>, Query, description = "Delete even if work is not pushed")), responses(
    (status = 204), (status = 400, body = ProblemBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "`unpushed-work`, with `uncommitted_files` and `unpushed_commits`"),
))]
pub async fn delete(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    let codespace = services.codespace(&who, &name, Access::Own)?;
    let query = Query::<DeleteQuery>::try_from_uri(&uri);
    let Query(query) = query.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-query",
            "The query is not right",
            "Only `force=true` is known.",
        )
    })?;
    services.codespaces.delete(codespace.name(), query.force, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a codespace. Watch it for progress.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/start", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 202, body = Codespace),
    (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
    (status = 429, body = ProblemBody, description = "`too-many-starts` within a minute; with `Retry-After`"),
))]
pub async fn start(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    MaybeSent(Nothing {}): MaybeSent<Nothing>,
) -> Result<(StatusCode, Json<Codespace>), Problem> {
    let codespace = services.codespace(&who, &name, Access::Operate)?;
    let codespace = services.codespaces.start(codespace.name(), &actor).await?;
    Ok(accepted(&services, &codespace))
}

/// Stops a codespace; uncommitted work stays.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/stop", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 202, body = Codespace),
    (status = 404, body = ProblemBody), (status = 409, body = ProblemBody),
))]
pub async fn stop(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    MaybeSent(Nothing {}): MaybeSent<Nothing>,
) -> Result<(StatusCode, Json<Codespace>), Problem> {
    let codespace = services.codespace(&who, &name, Access::Operate)?;
    let codespace = services.codespaces.stop(codespace.name(), &actor).await?;
    Ok(accepted(&services, &codespace))
}

/// Makes its container anew, as `devcontainer.json` says now; files stay, what was installed beside them goes. Watch it for
/// progress.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/rebuild", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 202, body = Codespace),
    (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "`still-starting`, or `no-container` where it is a directory of a machine"),
))]
pub async fn rebuild(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params(name): Params<String>,
    MaybeSent(Nothing {}): MaybeSent<Nothing>,
) -> Result<(StatusCode, Json<Codespace>), Problem> {
    let codespace = services.codespace(&who, &name, Access::Operate)?;
    let codespace = services.codespaces.rebuild(codespace.name(), &actor).await?;
    Ok(accepted(&services, &codespace))
}

fn accepted(services: &Services, codespace: &Arc<crate::codespace::Codespace>) -> (StatusCode, Json<Codespace>) {
    (StatusCode::ACCEPTED, Json(services.show(&codespace.snapshot())))
}

/// Says what is not committed and not pushed.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/work", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 200, body = Work), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn work(State(services): State<Services>, Who(who): Who, Params(name): Params<String>) -> Result<Json<Work>, Problem> {
    let codespace = services.codespace(&who, &name, Access::View)?;
    let work = agent_calls::json(&services, &codespace, Method::GET, "/work", None).await?;
    Ok(Json(work))
}

/// Prints what the checkout, the hooks and the editor said last; while its container is made, what the engine says.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/logs", tag = "codespaces", params(("name" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/plain"),
    (status = 404, body = ProblemBody), (status = 503, body = ProblemBody),
))]
pub async fn logs(State(services): State<Services>, Who(who): Who, Params(name): Params<String>) -> Result<Response, Problem> {
    let codespace = services.codespace(&who, &name, Access::Work)?;
    let snapshot = codespace.snapshot();
    if !snapshot.connected && matches!(snapshot.phase(), Phase::Creating | Phase::Starting) {
        let text = codespace.creation_log();
        if !text.is_empty() {
            return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
        }
    }
    let text = agent_calls::bytes(&services, &codespace, Method::GET, "/log", None).await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
