//! Machines of people's own: a token for one, and joining with it.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    account::own_account,
    body::{MaybeSent, Sent},
    codespaces::Nothing,
    identify::{By, Params, Who},
    model::{JoinMachine, JoinedMachine, MachineRegistration, WaitingMachine},
    problem::{Problem, ProblemBody},
};

/// Makes a token with which one machine, wherever it is, becomes a codespace of yours. It is good once, for an hour, and
/// for as long as the login session or the token lasts that asked for it.
#[utoipa::path(post, path = "/api/v1/machines/registrations", tag = "machines", responses(
    (status = 201, body = MachineRegistration),
    (status = 409, body = ProblemBody, description = "There are as many as there may be"),
))]
pub async fn register(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    MaybeSent(Nothing {}): MaybeSent<Nothing>,
) -> Result<(StatusCode, Json<MachineRegistration>), Problem> {
    let who = who.in_full()?;
    let owner = own_account(&services, &who)?;
    let made = services.codespaces.register_machine(&owner.id, &who.credential, &by)?;
    let token = secrecy::ExposeSecret::expose_secret(&made.token).to_owned();
    let shown = MachineRegistration {
        id: made.id,
        command: format!(
            "PORTICO_JOIN_TOKEN={token} portico agent join --gateway {}",
            services.sites.gateway()
        ),
        token,
        expires_at: made.expires_at,
    };
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Lists the tokens that wait for their machine. What they are is shown when they are made, and never again.
#[utoipa::path(get, path = "/api/v1/machines/registrations", tag = "machines", responses((status = 200, body = [WaitingMachine])))]
pub async fn waiting(State(services): State<Services>, who: Who) -> Result<Json<Vec<WaitingMachine>>, Problem> {
    let who = who.in_full()?;
    let owner = own_account(&services, &who)?;
    let all = services.codespaces.machine_registrations(&owner.id).into_iter();
    let shown = all.map(|one| WaitingMachine {
        id: one.id,
        made_at: one.made_at,
        expires_at: one.expires_at,
    });
    Ok(Json(shown.collect()))
}

/// Revokes a token that waits for its machine. A machine that has joined is a codespace: delete that.
#[utoipa::path(delete, path = "/api/v1/machines/registrations/{id}", tag = "machines", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody),
))]
pub async fn revoke(State(services): State<Services>, who: Who, By(by): By, Params(id): Params<String>) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let owner = own_account(&services, &who)?;
    if services.codespaces.revoke_machine_registration(&owner.id, &id, &by) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(
            "There is no such token, or a machine has joined with it. Such a machine is among your codespaces.",
        ))
    }
}

/// Makes the machine that asks a codespace of whoever made the token, and tells it its credential; nothing of what its owner
/// keeps (secrets, passwords for git, dotfiles, settings) until the owner changes `personal`. Machines ask, not people.
#[utoipa::path(post, path = "/api/v1/machines/join", tag = "machines", security(()), request_body = JoinMachine, responses(
    (status = 201, body = JoinedMachine),
    (status = 403, body = ProblemBody, description = "The token is used up, too old, never was, or its maker signed out"),
    (status = 409, body = ProblemBody, description = "Its owner has as many codespaces as they may"), (status = 422, body = ProblemBody),
))]
pub async fn join(
    State(services): State<Services>,
    By(by): By,
    Sent(sent): Sent<JoinMachine>,
) -> Result<(StatusCode, Json<JoinedMachine>), Problem> {
    let joined = services.codespaces.join_machine(&sent.token.into(), &sent.name, &by).await?;
    let orders = serde_json::to_value(&joined.orders).map_err(|error| Problem::internal(&error))?;
    let shown = JoinedMachine {
        editor_url: format!("{}/", services.sites.editor(&joined.name)),
        name: joined.name.to_string(),
        personal: joined.personal,
        orders,
    };
    Ok((StatusCode::CREATED, Json(shown)))
}
