//! The account of whoever asks: itself, its password, its login sessions.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    body::Sent,
    identify::{By, From, Params, Who},
    model::{ChangePassword, Session, User},
    problem::{Problem, ProblemBody},
    views,
};
use crate::{
    auth,
    domain::{Credential, Identity, SessionId},
};

/// Shows the account of whoever asks.
#[utoipa::path(get, path = "/api/v1/user", tag = "account", responses(
    (status = 200, body = User),
))]
pub async fn user(State(services): State<Services>, Who(who): Who) -> Result<Json<User>, Problem> {
    if let Some(user) = services.auth.user(&who.user) {
        let mut shown = views::user(&user);
        shown.may_have_own_ways = Some(services.auth.may_have_own_ways(&user));
        return Ok(Json(shown));
    }
    // The operator on a gateway without accounts.
    Ok(Json(User {
        id: who.user.to_string(),
        name: who.name.to_string(),
        role: who.role.as_str().to_owned(),
        has_password: false,
        may_have_own_ways: None,
        email: None,
        suspended: false,
        created_at: None,
    }))
}

/// Sets the password; ends the account's other login sessions.
#[utoipa::path(put, path = "/api/v1/user/password", tag = "account", request_body = ChangePassword, responses(
    (status = 204), (status = 403, body = ProblemBody, description = "The present password is wrong, or the account belongs to the provider that made it"),
    (status = 422, body = ProblemBody), (status = 429, body = ProblemBody),
))]
pub async fn password(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    From(client): From,
    Sent(sent): Sent<ChangePassword>,
) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let now = services.clock.now();
    let user = own_account(&services, &who)?;
    if !services.auth.may_have_own_ways(&user) && who.credential != Credential::Operator {
        return Err(auth::UserError::NoOwnWays.into());
    }
    if user.has_password() && who.credential != Credential::Operator {
        let wrong = || {
            Problem::new(
                StatusCode::FORBIDDEN,
                "wrong-password",
                "The present password is wrong",
                "Send it as `current`.",
            )
        };
        let current = sent.current.ok_or_else(wrong)?;
        let checked = services.auth.check_password(&who.user, current.into(), &client, now).await;
        checked.map_err(|error| match error {
            auth::SignInError::Wrong => wrong(),
            other => other.into(),
        })?;
    }
    services
        .auth
        .set_password(&who.user, sent.new.into(), session_of(&who), &by, now)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the account's login sessions, the one used last first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "account", responses(
    (status = 200, body = [Session]),
))]
pub async fn sessions(State(services): State<Services>, who: Who) -> Result<Json<Vec<Session>>, Problem> {
    let who = who.may_see_account()?;
    let current = session_of(&who);
    let sessions = services.auth.sessions_of(&who.user);
    let shown = sessions.iter().map(|session| Session {
        id: session.id.to_string(),
        agent: session.agent.clone(),
        address: session.address.clone(),
        created_at: session.created_at,
        last_seen_at: session.last_seen_at(),
        current: Some(&session.id) == current,
    });
    Ok(Json(shown.collect()))
}

/// Ends a login session of the account, with its cookies on every host and its live connections.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "account", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody),
))]
pub async fn end_session(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(id): Params<String>,
) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let id = SessionId(id.into());
    let owned = services.auth.login_session(&id).filter(|session| *session.user() == who.user);
    if owned.is_none() {
        return Err(Problem::not_found("There is no such login session."));
    }
    services.auth.sign_out(&id, &by, services.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The account behind an identity; the operator on a gateway without accounts has none.
pub fn own_account(services: &Services, who: &Identity) -> Result<std::sync::Arc<auth::User>, Problem> {
    let none = "There is no account yet. Make one with: portico user create NAME --admin";
    services
        .auth
        .user(&who.user)
        .ok_or_else(|| Problem::unprocessable("no-account", "There is no account", none))
}

fn session_of(who: &Identity) -> Option<&SessionId> {
    match &who.credential {
        Credential::Cookie(session) => Some(session),
        Credential::Token(_) | Credential::Operator => None,
    }
}
