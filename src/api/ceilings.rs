//! How far owners may share, for admins: seen, tried without effect, and set at once for all.

use axum::{Json, extract::State};

use super::{
    Services,
    body::Sent,
    identify::{By, Who},
    model::{self, CeilingChanged, ClosedLink, ClosedShare, SetCeiling},
    problem::{Problem, ProblemBody},
};
use crate::{
    codespace::{Closed, Closing},
    domain::Organisation,
    policy::Ceiling,
};

/// Lists the ceilings: that of the configuration first, then those that administrators have set.
#[utoipa::path(get, path = "/api/v1/ceilings", tag = "users", responses(
    (status = 200, body = [model::Ceiling]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
))]
pub async fn list(State(services): State<Services>, who: Who) -> Result<Json<Vec<model::Ceiling>>, Problem> {
    who.into_admin()?;
    let ceilings = services.codespaces.ceilings();
    let shown = |organisation: Option<&Organisation>, ceiling: Ceiling, source: &str| model::Ceiling {
        organisation: organisation.map(Organisation::to_string),
        max_visibility: ceiling.most.to_string(),
        links: ceiling.links,
        source: source.into(),
    };
    let set = ceilings.set.iter().map(|(of, ceiling)| shown(of.as_ref(), *ceiling, "set"));
    let configured = shown(None, ceilings.configured, "configuration");
    Ok(Json(std::iter::once(configured).chain(set).collect()))
}

/// Sets how far owners may share, for an organisation's members or for everybody. What is open above it closes at once,
/// connections too, and opens again when it is raised; it never allows more than the configuration does. With `dry_run`
/// only says what it would close.
#[utoipa::path(put, path = "/api/v1/ceilings", tag = "users", request_body = SetCeiling, responses(
    (status = 200, body = CeilingChanged), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn set(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Sent(sent): Sent<SetCeiling>,
) -> Result<Json<CeilingChanged>, Problem> {
    who.into_admin()?;
    let bad = |title, said: &str| Problem::unprocessable("bad-ceiling", title, said);
    let most = sent
        .max_visibility
        .parse()
        .map_err(|_| bad("That is no visibility", "max_visibility is private, org or public."))?;
    let organisation = sent.organisation.as_deref().map(|name| {
        Organisation::parse(name).ok_or_else(|| bad("That is no organisation", "A name has 1 to 200 bytes and no control characters."))
    });
    let (organisation, links) = (organisation.transpose()?, sent.links.unwrap_or(true));
    let ceiling = Ceiling { most, links };
    let closes = if sent.dry_run {
        services.codespaces.would_close(organisation, ceiling)
    } else {
        services.codespaces.set_ceiling(organisation, ceiling, &by).await?
    };
    Ok(Json(CeilingChanged {
        applied: !sent.dry_run,
        closes: closes.into_iter().map(|closing| services.closed_share(closing)).collect(),
    }))
}

impl Services {
    fn closed_share(&self, closing: Closing) -> ClosedShare {
        let (visibility, becomes, link) = match closing.what {
            Closed::Visibility { now, becomes } => (Some(now.to_string()), Some(becomes.to_string()), None),
            Closed::Link { id, name } => (
                None,
                None,
                Some(ClosedLink {
                    id: id.0.to_string(),
                    name,
                }),
            ),
        };
        ClosedShare {
            url: self.sites.port(&closing.codespace, closing.port).to_string(),
            owner: self.account_name(&closing.owner),
            codespace: closing.codespace.to_string(),
            port: closing.port.number(),
            visibility,
            becomes,
            link,
        }
    }
}
