//! Share links of a port: made, listed, revoked. A link's secret is in the answer that makes it and nowhere else.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use super::{
    Services,
    body::Sent,
    identify::{By, Params, Who, ownership},
    model::{CreateLink, Lasting, Link, NewLink},
    parse,
    problem::{Problem, ProblemBody},
};
use crate::{
    codespace::{Codespace, MadeShare, NewShare, Share},
    domain::{Access, Identity, Port, PortError, ShareEnd, ShareId, ShareKind, ShareMethods, SharePath, ShareTerms},
    policy::grants,
    web::qr,
};

/// Lists the share links of a port, those that are over among them, without their secrets.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/ports/{port}/links", tag = "links",
    params(("name" = String, Path), ("port" = u16, Path)), responses(
    (status = 200, body = [Link]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
))]
pub async fn of_port(
    State(services): State<Services>,
    Who(who): Who,
    Params((name, port)): Params<(String, String)>,
) -> Result<Json<Vec<Link>>, Problem> {
    let codespace = services.codespace_to_look_after(&who, &name)?;
    let port = read_port(&port)?;
    Ok(Json(services.links(&codespace, |share| share.terms.port == port)))
}

/// Lists the share links of a codespace.
#[utoipa::path(get, path = "/api/v1/codespaces/{name}/links", tag = "links", params(("name" = String, Path)), responses(
    (status = 200, body = [Link]), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
))]
pub async fn of_codespace(
    State(services): State<Services>,
    Who(who): Who,
    Params(name): Params<String>,
) -> Result<Json<Vec<Link>>, Problem> {
    let codespace = services.codespace_to_look_after(&who, &name)?;
    Ok(Json(services.links(&codespace, |_| true)))
}

/// Makes a share link; its URL is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/codespaces/{name}/ports/{port}/links", tag = "links",
    params(("name" = String, Path), ("port" = u16, Path)), request_body = CreateLink, responses(
    (status = 201, body = NewLink), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 409, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody, description = "Too many passwords of links are being hashed, or one of yours is"),
))]
pub async fn create(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params((name, port)): Params<(String, String)>,
    Sent(sent): Sent<CreateLink>,
) -> Result<(StatusCode, Json<NewLink>), Problem> {
    let codespace = services.codespace(&who, &name, Access::Share)?;
    let (mut new, password) = read(&services, read_port(&port)?, sent)?;
    if let Some(password) = password {
        // Nobody has one hashed for a link that there is no room for.
        codespace.room_for_share(&new, services.clock.now())?;
        new.password = Some(services.auth.hash_share_password(password.into(), &who.user).await?);
    }
    let made = services.codespaces.add_share(codespace.name(), new, &actor).await?;
    Ok((StatusCode::CREATED, Json(services.new_link(&made))))
}

/// Revokes a share link at once; what was opened by it alone is closed.
#[utoipa::path(delete, path = "/api/v1/codespaces/{name}/ports/{port}/links/{id}", tag = "links",
    params(("name" = String, Path), ("port" = u16, Path), ("id" = String, Path)), responses(
    (status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody),
))]
pub async fn revoke(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params((name, port, id)): Params<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let codespace = services.codespace_to_look_after(&who, &name)?;
    let (port, id) = (read_port(&port)?, ShareId(id.into()));
    let is_here = codespace.snapshot().shares.get(&id).is_some_and(|share| share.terms.port == port);
    if !is_here {
        return Err(Problem::not_found("There is no such link."));
    }
    services.codespaces.revoke_share(codespace.name(), &id, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a share link of any port of a codespace.
#[utoipa::path(delete, path = "/api/v1/codespaces/{name}/links/{id}", tag = "links",
    params(("name" = String, Path), ("id" = String, Path)), responses(
    (status = 204), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
))]
pub async fn revoke_by_id(
    State(services): State<Services>,
    Who(who): Who,
    By(actor): By,
    Params((name, id)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    let codespace = services.codespace_to_look_after(&who, &name)?;
    services
        .codespaces
        .revoke_share(codespace.name(), &ShareId(id.into()), &actor)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads what a link is to be, and apart from that its password.
fn read(services: &Services, port: Port, sent: CreateLink) -> Result<(NewShare, Option<String>), Problem> {
    let now = services.clock.now();
    let invalid = |detail: String| Problem::unprocessable("invalid-field", "A field is not right", detail);
    let kind = sent.kind.as_deref().map_or(Ok(ShareKind::People), str::parse);
    let kind = kind.map_err(|_| invalid("A link's kind is people or webhook.".into()))?;
    let path = sent.path.as_deref().filter(|path| !path.is_empty());
    let path = path.map_or(Ok(SharePath::everything()), str::parse);
    let path = path.map_err(|error| invalid(format!("{error}.")))?;
    let methods = ShareMethods::parse(sent.methods.iter().flatten().map(String::as_str));
    let mut methods = methods.map_err(|error| invalid(format!("{error}.")))?;
    if kind == ShareKind::Webhook && methods.is_empty() {
        methods = ShareMethods::parse(["POST"]).map_err(|error| Problem::internal(&error))?;
    }
    if kind == ShareKind::Webhook && sent.password.is_some() {
        return Err(invalid("A webhook's link takes no password: nobody is there to type it.".into()));
    }
    let expires_at = sent.expires_in.map(|lasting| ends(&lasting, now)).transpose().map_err(invalid)?;
    let new = NewShare {
        name: sent.name.unwrap_or_default(),
        terms: ShareTerms {
            port,
            kind,
            path,
            methods,
            expires_at,
            revoked_at: None,
        },
        password: None,
        max_uses: sent.max_uses,
    };
    Ok((new, sent.password))
}

fn ends(lasting: &Lasting, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    match lasting {
        Lasting::Words(text) => parse::expiry(text, now),
        Lasting::Seconds(seconds) => parse::expiry(&format!("{seconds}s"), now),
    }
}

fn read_port(text: &str) -> Result<Port, Problem> {
    text.parse()
        .map_err(|error: PortError| Problem::unprocessable("bad-port", "That is no port", error.to_string()))
}

fn state(share: &Share, now: OffsetDateTime) -> &'static str {
    match share.end(now) {
        None => "open",
        Some(ShareEnd::Expired) => "expired",
        Some(ShareEnd::Revoked) => "revoked",
        Some(ShareEnd::UsedUp) => "used-up",
        Some(ShareEnd::Closed) => "closed",
    }
}

impl Services {
    /// Finds a codespace for someone who may end what is shared of it: its owner, or an admin.
    fn codespace_to_look_after(&self, who: &Identity, name: &str) -> Result<Arc<Codespace>, Problem> {
        let codespace = self.codespace(who, name, Access::View)?;
        let granted = grants(who, &ownership(&codespace));
        if granted.allow(Access::Share) || granted.allow(Access::Own) {
            return Ok(codespace);
        }
        Err(Problem::forbidden(
            "Only its owner and admins may see and revoke its links, and neither its editor nor its own token may.",
        ))
    }

    /// The links of a codespace that are wanted, the newest first.
    fn links(&self, codespace: &Codespace, wanted: impl Fn(&Share) -> bool) -> Vec<Link> {
        let (snapshot, now) = (codespace.snapshot(), self.clock.now());
        let shares = snapshot.shares.values().rev().filter(|share| wanted(share));
        let shown = shares.map(|share| match link(share, now) {
            open if open.state == "open" && !(snapshot.allows_links(share.terms.port) && snapshot.is_for(share)) => Link {
                state: "closed".into(),
                ..open
            },
            shown => shown,
        });
        shown.collect()
    }

    fn new_link(&self, made: &MadeShare) -> NewLink {
        let record = &made.record;
        let host = self.sites.port(&record.codespace, record.terms.port);
        let secret = made.secret.expose_secret();
        let url = match record.terms.kind {
            ShareKind::People => format!("{host}/.portico/s/{secret}"),
            ShareKind::Webhook => format!("{host}/.portico/in/{secret}{}", record.terms.path.as_str().trim_end_matches('/')),
        };
        NewLink {
            id: record.id.to_string(),
            qr: qr::svg(&url).filter(|_| record.terms.kind == ShareKind::People),
            link: link(record, self.clock.now()),
            url,
        }
    }
}

/// Shows a link, without its secret.
pub(super) fn link(share: &Share, now: OffsetDateTime) -> Link {
    Link {
        id: share.id.to_string(),
        name: share.name.clone(),
        kind: share.terms.kind.as_str().to_owned(),
        port: share.terms.port.number(),
        path: share.terms.path.to_string(),
        methods: share.terms.methods.iter().map(str::to_owned).collect(),
        has_password: share.password.is_some(),
        uses: share.uses,
        max_uses: share.max_uses,
        state: state(share, now).to_owned(),
        created_by: share.created_by.clone(),
        created_at: share.created_at,
        expires_at: share.terms.expires_at,
        last_used_at: share.last_used_at,
    }
}
