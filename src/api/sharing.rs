//! What administrators close of what people share: everything, of an account, a codespace or a port.

use axum::{Json, extract::State};
use http::StatusCode;

use super::{
    Services,
    body::Sent,
    identify::{By, Params, Who},
    model::{CloseSharing, ClosedSharing},
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::{Extent, ExtentError, UserName},
    store::ClosureRecord,
};

/// Lists what is closed, the widest first.
#[utoipa::path(get, path = "/api/v1/sharing/closed", tag = "sharing", responses(
    (status = 200, body = [ClosedSharing]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<ClosedSharing>>, Problem> {
    who.into_admin()?;
    let closures = services.codespaces.closures();
    Ok(Json(closures.iter().map(|closure| services.show_closure(closure)).collect()))
}

/// Closes what is shared to everybody but its owners: `all`, `user:NAME`, `codespace:NAME` or `port:NAME:PORT`. At once, for
/// open connections too, until it is opened again; owners are told the reason. Closing it again changes the reason.
#[utoipa::path(put, path = "/api/v1/sharing/closed/{what}", tag = "sharing", params(("what" = String, Path, example = "port:amber-otter-x7k2:3000")),
    request_body = CloseSharing, responses(
    (status = 200, body = ClosedSharing), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody, description = "There is no such account or codespace"), (status = 422, body = ProblemBody),
))]
pub async fn close(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(what): Params<String>,
    Sent(sent): Sent<CloseSharing>,
) -> Result<Json<ClosedSharing>, Problem> {
    who.into_admin()?;
    let extent = services.extent(&what)?;
    let closure = services.codespaces.close(extent, &sent.reason, &by).await?;
    Ok(Json(services.show_closure(&closure)))
}

/// Opens again what was closed; what owners had shared is shared again.
#[utoipa::path(delete, path = "/api/v1/sharing/closed/{what}", tag = "sharing", params(("what" = String, Path)), responses(
    (status = 204, description = "It is open again"), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody, description = "It is not closed"), (status = 422, body = ProblemBody),
))]
pub async fn open_again(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(what): Params<String>,
) -> Result<StatusCode, Problem> {
    who.into_admin()?;
    let extent = services.extent(&what)?;
    if services.codespaces.open_again(&extent, &by).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("That is not closed."))
    }
}

impl Services {
    /// What an administrator names; accounts have names there, and ids here.
    fn extent(&self, what: &str) -> Result<Extent, Problem> {
        if let Some(name) = what.strip_prefix("user:") {
            let user = name.parse().ok().and_then(|name: UserName| self.auth.user_by_name(&name));
            let user = user.ok_or_else(|| Problem::not_found("There is no account of that name."))?;
            return Ok(Extent::User(user.id.clone()));
        }
        what.parse()
            .map_err(|error: ExtentError| Problem::unprocessable("bad-extent", "That cannot be closed", format!("Write it so: {error}.")))
    }

    /// Shows what is closed, with accounts by their names.
    pub(super) fn show_closure(&self, closure: &ClosureRecord) -> ClosedSharing {
        let what = match &closure.extent {
            Extent::User(id) => format!("user:{}", self.account_name(id)),
            other => other.to_string(),
        };
        ClosedSharing {
            what,
            reason: closure.reason.clone(),
            by: closure.by.clone(),
            at: closure.at,
        }
    }
}
