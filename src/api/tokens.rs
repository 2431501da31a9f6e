//! Personal access tokens of whoever asks.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    account::own_account,
    body::Sent,
    identify::{Params, Who},
    model::{CreateToken, NewToken, Token},
    parse,
    problem::{Problem, ProblemBody},
    views,
};
use crate::domain::TokenId;

/// Lists the account's tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses(
    (status = 200, body = [Token]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<Token>>, Problem> {
    let who = who.may_see_account()?;
    let tokens = services.auth.tokens_of(&who.user);
    Ok(Json(tokens.iter().map(|token| views::token(token)).collect()))
}

/// Makes a token; its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = CreateToken, responses(
    (status = 201, body = NewToken), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn create(
    State(services): State<Services>,
    who: Who,
    Sent(sent): Sent<CreateToken>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    let who = who.in_full()?;
    let user = own_account(&services, &who)?;
    let now = services.clock.now();
    let scope =
        parse::personal_scope(&sent.scope).map_err(|error| Problem::unprocessable("bad-scope", "That is no scope", error.to_string()))?;
    let expires_at = sent.expires_in.as_deref().map(|text| parse::expiry(text, now)).transpose();
    let expires_at = expires_at.map_err(|said| Problem::unprocessable("bad-expiry", "That is no time to expire in", said))?;
    let made = services.auth.create_token(&user.id, &sent.name, scope, expires_at, now).await?;
    Ok((StatusCode::CREATED, Json(views::new_token(&made))))
}

/// Revokes a token at once, live connections too.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)), responses(
    (status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
))]
pub async fn revoke(State(services): State<Services>, who: Who, Params(id): Params<String>) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    match services
        .auth
        .revoke_token(&who.user, &TokenId(id.into()), services.clock.now())
        .await?
    {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("There is no such token.")),
    }
}
