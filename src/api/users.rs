//! Accounts, for admins.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    body::Sent,
    identify::Who,
    model::{CreateUser, User},
    parse,
    problem::{Problem, ProblemBody},
    views,
};
/// Lists all accounts.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", responses(
    (status = 200, body = [User]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<User>>, Problem> {
    who.into_admin()?;
    Ok(Json(services.auth.users().iter().map(|user| views::user(user)).collect()))
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = CreateUser, responses(
    (status = 201, body = User), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "The name is taken"), (status = 422, body = ProblemBody),
))]
pub async fn create(State(services): State<Services>, who: Who, Sent(sent): Sent<CreateUser>) -> Result<(StatusCode, Json<User>), Problem> {
    who.into_admin()?;
    let new = parse::new_user(sent).map_err(|error| Problem::unprocessable("bad-name", "That name will not do", error.to_string()))?;
    let made = services.auth.create_user(new, services.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(views::user(&made))))
}
