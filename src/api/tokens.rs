//! Personal access tokens of whoever asks.

use axum::{Json, extract::State};
use http::StatusCode;
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use super::{
    Services,
    account::own_account,
    body::Sent,
    identify::{Params, Who},
    model::{CreateToken, NewToken, Token},
    problem::{Problem, ProblemBody},
    views,
};
use crate::domain::{Scope, ScopeError, TokenId};

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
    let scope = personal_scope(&sent.scope).map_err(|error| Problem::unprocessable("bad-scope", "That is no scope", error.to_string()))?;
    let expires_at = sent.expires_in.as_deref().map(|text| expiry(text, now)).transpose();
    let expires_at = expires_at.map_err(|said| Problem::unprocessable("bad-expiry", "That is no time to expire in", said))?;
    let made = services.auth.create_token(&user.id, &sent.name, scope, expires_at, now).await?;
    Ok((StatusCode::CREATED, Json(show_new(&made))))
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

/// Shows a token that was just made.
pub fn show_new(made: &crate::auth::NewToken) -> NewToken {
    NewToken {
        id: made.record.id.to_string(),
        name: made.record.name.clone(),
        scope: made.record.scope.to_string(),
        token: made.plain.expose_secret().to_owned(),
        created_at: made.record.created_at,
        expires_at: made.record.expires_at,
    }
}

/// Parses a scope that a person may give to a token; `inside:NAME` is the gateway's alone to give.
pub fn personal_scope(text: &str) -> Result<Scope, ScopeError> {
    match text.parse()? {
        Scope::Inside(_) | Scope::Workbench(_) => Err(ScopeError),
        scope => Ok(scope),
    }
}

/// Parses `30d` and the like; the text of the error is public.
pub fn expiry(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let lasting = humantime::parse_duration(text).map_err(|_| "Write a duration such as 30d or 12h.".to_owned())?;
    let lasting = time::Duration::try_from(lasting).map_err(|_| "That is too long.".to_owned())?;
    let at = now.checked_add(lasting).filter(|at| at.year() < 10_000);
    at.filter(|at| *at > now)
        .ok_or_else(|| "It must end in the future, and before the year 10000.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(expiry("30d", now), Ok(now + time::Duration::days(30)));
        for bad in ["", "30", "-1d", "0s", "9999999y", "99999999999999999999s", "tomorrow"] {
            assert!(expiry(bad, now).is_err(), "{bad}");
        }
    }
}
