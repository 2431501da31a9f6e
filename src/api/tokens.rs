//! Personal access tokens of whoever asks.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    account::own_account,
    body::Sent,
    identify::{By, Params, Who},
    model::{CreateToken, NewToken, Token},
    parse,
    problem::{Problem, ProblemBody},
    views,
};
use crate::{
    auth,
    domain::{Credential, Identity, Scope, TokenId},
};

/// Lists the account's tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses(
    (status = 200, body = [Token]),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<Token>>, Problem> {
    let who = who.may_see_account()?;
    let tokens = services.auth.tokens_of(&who.user);
    Ok(Json(tokens.iter().map(|token| views::token(token)).collect()))
}

/// Makes a token; its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = CreateToken, responses(
    (status = 201, body = NewToken), (status = 422, body = ProblemBody),
))]
pub async fn create(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Sent(sent): Sent<CreateToken>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    let who = who.in_full()?;
    let user = own_account(&services, &who)?;
    let now = services.clock.now();
    let scope =
        parse::personal_scope(&sent.scope).map_err(|error| Problem::unprocessable("bad-scope", "That is no scope", error.to_string()))?;
    let expires_at = sent.expires_in.as_deref().map(|text| parse::expiry(text, now)).transpose();
    let expires_at = expires_at.map_err(|said| Problem::unprocessable("bad-expiry", "That is no time to expire in", said))?;
    let made = services
        .auth
        .create_token(&user.id, &sent.name, scope, expires_at, &by, now)
        .await?;
    Ok((StatusCode::CREATED, Json(views::new_token(&made))))
}

/// Revokes a token at once, live connections too.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody),
))]
pub async fn revoke(State(services): State<Services>, who: Who, By(by): By, Params(id): Params<String>) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let now = services.clock.now();
    match services.auth.revoke_token(&who.user, &TokenId(id.into()), &by, now).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("There is no such token.")),
    }
}

/// Shows the token that asks.
#[utoipa::path(get, path = "/api/v1/token", tag = "tokens", responses(
    (status = 200, body = Token), (status = 404, body = ProblemBody, description = "It is no token that asks"),
))]
pub async fn own(State(services): State<Services>, Who(who): Who) -> Result<Json<Token>, Problem> {
    let token = token_of(&services, &who)?;
    Ok(Json(views::token(&token)))
}

/// Revokes the token that asks, whatever its scope: how a program signs out.
#[utoipa::path(delete, path = "/api/v1/token", tag = "tokens", responses(
    (status = 204), (status = 403, body = ProblemBody, description = "It is a codespace's own token"),
    (status = 404, body = ProblemBody, description = "It is no token that asks"),
))]
pub async fn revoke_own(State(services): State<Services>, Who(who): Who, By(by): By) -> Result<StatusCode, Problem> {
    let token = token_of(&services, &who)?;
    if matches!(token.scope, Scope::Inside(_)) {
        return Err(Problem::forbidden("A codespace's own token ends with its codespace."));
    }
    services.auth.revoke_token(&who.user, &token.id, &by, services.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn token_of(services: &Services, who: &Identity) -> Result<std::sync::Arc<auth::Token>, Problem> {
    let token = match &who.credential {
        Credential::Token(id) => services.auth.token(id),
        Credential::Cookie(_) | Credential::Operator => None,
    };
    token.ok_or_else(|| Problem::not_found("This request carries no token."))
}
