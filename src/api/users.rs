//! Accounts, for admins.

use axum::{Json, extract::State};
use http::StatusCode;
use secrecy::ExposeSecret as _;

use super::{
    Services,
    body::Sent,
    identify::{By, Params, Who},
    model::{ChangeUser, CreateUser, SignInLink, User},
    parse,
    problem::{Problem, ProblemBody},
    views,
};
use crate::{
    audit::Actor,
    auth,
    domain::{Credential, UserName},
};

/// Lists all accounts.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", responses(
    (status = 200, body = [User]),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<User>>, Problem> {
    who.into_admin()?;
    Ok(Json(services.auth.users().iter().map(|user| views::user(user)).collect()))
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = CreateUser, responses(
    (status = 201, body = User),
    (status = 409, body = ProblemBody, description = "The name is taken"), (status = 422, body = ProblemBody),
))]
pub async fn create(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Sent(sent): Sent<CreateUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    who.into_admin()?;
    let new = parse::new_user(sent).map_err(|error| Problem::unprocessable("bad-name", "That name will not do", error.to_string()))?;
    let made = services.auth.create_user(new, &by, services.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(views::user(&made))))
}

/// Changes an account's role, and ends its login sessions and open connections. The last administrator stays one.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)), request_body = ChangeUser, responses(
    (status = 200, body = User), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "It is the last administrator"), (status = 422, body = ProblemBody),
))]
pub async fn change(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(name): Params<String>,
    Sent(sent): Sent<ChangeUser>,
) -> Result<Json<User>, Problem> {
    who.into_admin()?;
    let mut user = find(&services, &name)?;
    if let Some(role) = sent.role {
        let role = role
            .parse()
            .map_err(|_| Problem::unprocessable("bad-role", "That is no role", "A role is admin or member."))?;
        user = services.auth.set_role(&user.id, role, &by, services.clock.now()).await?;
    }
    Ok(Json(views::user(&user)))
}

/// Suspends an account: it is signed out everywhere, its connections close, its tokens are refused until it is resumed.
#[utoipa::path(post, path = "/api/v1/users/{name}/suspend", tag = "users", params(("name" = String, Path)), responses(
    (status = 200, body = User), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "It is the last administrator"),
))]
pub async fn suspend(State(services): State<Services>, who: Who, By(by): By, Params(name): Params<String>) -> Result<Json<User>, Problem> {
    set_suspended(&services, who, &by, &name, true).await
}

/// Lifts an account's suspension.
#[utoipa::path(post, path = "/api/v1/users/{name}/resume", tag = "users", params(("name" = String, Path)), responses(
    (status = 200, body = User), (status = 404, body = ProblemBody),
))]
pub async fn resume(State(services): State<Services>, who: Who, By(by): By, Params(name): Params<String>) -> Result<Json<User>, Problem> {
    set_suspended(&services, who, &by, &name, false).await
}

async fn set_suspended(services: &Services, who: Who, by: &Actor, name: &str, suspended: bool) -> Result<Json<User>, Problem> {
    who.into_admin()?;
    let user = find(services, name)?;
    services.auth.suspend(&user.id, suspended, by, services.clock.now()).await?;
    let user = find(services, name)?;
    Ok(Json(views::user(&user)))
}

/// Makes a link that signs an account in once, within 30 minutes. Only on the gateway's own machine: it is a way in for
/// whoever runs the gateway when no other is left.
#[utoipa::path(post, path = "/api/v1/users/{name}/link", tag = "users", params(("name" = String, Path)), responses(
    (status = 200, body = SignInLink),
    (status = 403, body = ProblemBody, description = "Not through the administration socket"), (status = 404, body = ProblemBody),
))]
pub async fn link(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(name): Params<String>,
) -> Result<Json<SignInLink>, Problem> {
    let who = who.into_admin()?;
    if who.credential != Credential::Operator {
        return Err(Problem::forbidden(
            "Only on the gateway's own machine, with: portico user link NAME",
        ));
    }
    let user = find(&services, &name)?;
    if user.suspended {
        return Err(Problem::forbidden("The account is suspended. First: portico user resume NAME"));
    }
    let now = services.clock.now();
    let link = auth::Link::SignIn {
        user: user.id.clone(),
        next: "/".into(),
    };
    let secret = services.auth.make_link(link, now);
    services.audit.record("link.created", &by, user.name.as_str(), "sign_in");
    Ok(Json(SignInLink {
        url: format!("{}/setup#{}", services.sites.gateway(), secret.expose_secret()),
        expires_at: now + auth::SIGN_IN_LINK_FOR,
    }))
}

/// The account of a name, for an administrator, who may know which there are.
fn find(services: &Services, name: &str) -> Result<std::sync::Arc<auth::User>, Problem> {
    let user = name.parse().ok().and_then(|name: UserName| services.auth.user_by_name(&name));
    user.ok_or_else(|| Problem::not_found("There is no account of that name."))
}
