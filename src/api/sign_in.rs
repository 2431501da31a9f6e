//! Signing in and out, and the one-time links: the routes that need nobody to be signed in.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

use super::{
    Services,
    body::{MaybeSent, Sent},
    identify::{By, Caller, From},
    model::{Setup, SetupDone, SetupState, SignIn, SignOut, SignedOut},
    problem::{Problem, ProblemBody},
};
use crate::{
    audit::Actor,
    auth::{self, LinkKind, Presented},
    domain::{Credential, Identity, SessionId},
};

/// Tells whether the first account is still to be made.
#[utoipa::path(get, path = "/api/v1/setup", tag = "sign-in", security(()), responses((status = 200, body = SetupState)))]
pub async fn setup_state(State(services): State<Services>) -> Json<SetupState> {
    Json(SetupState {
        needed: !services.auth.any_user(),
    })
}

/// Uses a one-time link: makes the first admin, or signs somebody in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "sign-in", security(()), request_body = Setup, responses(
    (status = 200, body = SetupDone, headers(("Set-Cookie" = String))),
    (status = 400, body = ProblemBody, description = "The link was used already or has expired"),
    (status = 422, body = ProblemBody, description = "A name and a password are needed (`kind` is `first_admin`)"),
))]
pub async fn setup(
    State(services): State<Services>,
    Caller(before): Caller,
    By(by): By,
    From(client): From,
    Sent(sent): Sent<Setup>,
) -> Result<Response, Problem> {
    let form = match (sent.name, sent.password) {
        (Some(name), Some(password)) => {
            let name = name.parse().map_err(|error: crate::domain::UserNameError| {
                Problem::unprocessable("bad-name", "That name will not do", error.to_string()).with("kind", "first_admin")
            })?;
            Some((name, password.into()))
        }
        _ => None,
    };
    let now = services.clock.now();
    let used = services.auth.use_link(&sent.secret, form, client, now).await?;
    end_session_before(&services, &before, &by).await?;
    let kind = match used.kind {
        LinkKind::FirstAdmin => "first_admin",
        LinkKind::SignIn => "sign_in",
    };
    let done = SetupDone {
        kind: kind.to_owned(),
        next: used.next,
    };
    with_cookie(Json(done), &used.fresh.set_cookie)
}

/// Signs in with a name and a password.
#[utoipa::path(post, path = "/api/v1/sign-in", tag = "sign-in", security(()), request_body = SignIn, responses(
    (status = 204, headers(("Set-Cookie" = String))),
    (status = 401, body = ProblemBody, description = "The name or the password is wrong"),
    (status = 429, body = ProblemBody, description = "Too many attempts; `Retry-After` says how long to wait"),
))]
pub async fn sign_in(
    State(services): State<Services>,
    Caller(before): Caller,
    By(by): By,
    From(client): From,
    Sent(sent): Sent<SignIn>,
) -> Result<Response, Problem> {
    let now = services.clock.now();
    let fresh = services.auth.sign_in(&sent.name, sent.password.into(), client, now).await?;
    end_session_before(&services, &before, &by).await?;
    with_cookie(StatusCode::NO_CONTENT, &fresh.set_cookie)
}

/// Ends this login session, or all of the account; also clears a cookie that is no longer good.
#[utoipa::path(post, path = "/api/v1/sign-out", tag = "sign-in", request_body(content = SignOut, description = "May be left out"), responses(
    (status = 200, body = SignedOut, description = "Signed out here; at the provider that vouched for the sign-in not yet", headers(("Set-Cookie" = String))),
    (status = 204, headers(("Set-Cookie" = String))),
))]
pub async fn sign_out(
    State(services): State<Services>,
    Caller(caller): Caller,
    By(by): By,
    MaybeSent(sent): MaybeSent<SignOut>,
) -> Result<Response, Problem> {
    let now = services.clock.now();
    let session = session_of(&caller).and_then(|session| services.auth.login_session(session));
    if let Presented::Valid(identity) = &caller {
        if sent.everywhere {
            let identity = super::identify::Who(Identity::clone(identity)).in_full()?;
            services.auth.sign_out_everywhere(&identity.user, &by, now).await?;
        } else if let Some(session) = session_of(&caller) {
            services.auth.sign_out(session, &by, now).await?;
        }
    }
    let elsewhere = match &session {
        Some(session) => services.auth.elsewhere(session, now).await,
        None => None,
    };
    let cleared = auth::clear_session_cookie();
    match elsewhere {
        Some(auth::Elsewhere { label, url, at_once }) => with_cookie(Json(SignedOut { label, url, at_once }), &cleared),
        None => with_cookie(StatusCode::NO_CONTENT, &cleared),
    }
}

/// The session that the browser had before gives way to the new one (SESS-1).
pub(super) async fn end_session_before(services: &Services, before: &Presented, by: &Actor) -> Result<(), Problem> {
    if let Some(session) = session_of(before) {
        services.auth.sign_out(session, by, services.clock.now()).await?;
    }
    Ok(())
}

fn session_of(presented: &Presented) -> Option<&SessionId> {
    match presented {
        Presented::Valid(identity) => match &identity.credential {
            Credential::Cookie(session) => Some(session),
            Credential::Token(_) | Credential::Operator => None,
        },
        Presented::Nothing | Presented::Invalid => None,
    }
}

pub(super) fn with_cookie(answer: impl IntoResponse, cookie: &str) -> Result<Response, Problem> {
    let mut response = answer.into_response();
    let cookie = HeaderValue::from_str(cookie).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}
