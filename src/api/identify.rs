//! Who a request is from, before any handler sees it, and whether a browser's cookie counts for it.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use serde::de::DeserializeOwned;

use super::{
    ClientAddress, Door, RequestId, Services,
    body::is_json,
    problem::{Denied, Problem},
};
use crate::{
    audit::Actor,
    auth::{self, Presented},
    domain::{Access, Credential, Identity, Role, Scope, UserId, UserName},
    policy::{
        Ownership,
        browser::{Cause, Verdict, judge_gateway},
        grants,
    },
    route::{Origin, Route},
};

/// The operator names the account to act for in this header; it counts on the administration socket alone.
const ACT_AS: &str = "x-portico-as";

/// What the editor's door leads to. Not to signing in and out: a session of the gateway host is never given to, ended by
/// or asked for through a page that is not trusted (DOM-3).
const BEHIND_EDITORS: &str = "/api/v1/codespaces";

/// Who is there, as the middleware found; also for routes that need nobody.
#[derive(Clone, Debug)]
pub struct Caller(pub Presented);

/// Somebody with a valid credential; a route that takes it answers 401 without one.
#[derive(Clone, Debug)]
pub struct Who(pub Identity);

/// Parameters of the path; what does not parse is what does not exist.
pub struct Params<T>(pub T);

/// Finds out who asks, and refuses what another site's page caused.
pub async fn identify(State(services): State<Services>, mut request: Request, next: Next) -> Response {
    let Some(door) = request.extensions().get::<Door>().cloned() else {
        return Problem::internal(&"a request came through no door").into_response();
    };
    let found = match &door {
        Door::Operator => operator(&services, request.headers()),
        Door::Gateway => gateway(&services, &request),
        Door::Editor(name) => editor(&services, &request, &Route::Editor(name.clone())),
    };
    let (method, uri, client) = (request.method().clone(), request.uri().clone(), client(&request));
    let (caller, response) = match found {
        Ok(presented) => {
            request.extensions_mut().insert(Caller(presented.clone()));
            (presented, next.run(request).await)
        }
        Err(problem) => (Presented::Nothing, problem.into_response()),
    };
    let is_refused = matches!(response.status(), StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    if is_refused || response.extensions().get::<Denied>().is_some() {
        let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
        let call = format!("{method} {}", uri.path());
        services
            .auth
            .note_refused_call(&caller, &call, limited, &client, services.clock.now());
    }
    response
}

/// The operator acts for the account named, else for the first admin; with no account at all, for nobody in particular.
fn operator(services: &Services, headers: &HeaderMap) -> Result<Presented, Problem> {
    // A page cannot reach a Unix socket; a proxy in front of it could bring one here (ADMIN-1).
    if headers.contains_key(header::ORIGIN) {
        return Err(foreign_page());
    }
    let user = match headers.get(ACT_AS).map(|value| value.to_str()) {
        None => services
            .auth
            .users()
            .into_iter()
            .filter(|user| user.role == Role::Admin)
            .min_by_key(|user| user.created_at),
        Some(named) => {
            let named = named.ok().and_then(|name| name.parse::<UserName>().ok());
            let found = named.and_then(|name| services.auth.user_by_name(&name));
            Some(found.ok_or_else(|| Problem::unprocessable("no-such-user", "No such account", "There is no account of that name."))?)
        }
    };
    let identity = match user {
        Some(user) => Identity {
            user: user.id.clone(),
            name: user.name.clone(),
            role: user.role,
            credential: Credential::Operator,
            scope: Scope::All,
        },
        None => Identity {
            user: UserId("operator".into()),
            name: "operator".parse().map_err(|error| Problem::internal(&error))?,
            role: Role::Admin,
            credential: Credential::Operator,
            scope: Scope::All,
        },
    };
    Ok(Presented::Valid(Arc::new(identity)))
}

fn gateway(services: &Services, request: &Request) -> Result<Presented, Problem> {
    let headers = request.headers();
    let now = services.clock.now();
    if headers.contains_key(header::AUTHORIZATION) {
        check_socket_origin(request, services.sites.gateway())?;
        return Ok(
            bearer(headers).map_or(Presented::Invalid, |token| match services.auth.by_token(token, now) {
                Presented::Nothing => Presented::Invalid,
                other => other,
            }),
        );
    }
    let presented = services.auth.by_gateway_request(headers, request.extensions(), now);
    let cause = cause(request);
    let ours = match presented {
        Presented::Valid(_) => judge_gateway(cause, &services.sites) == Verdict::Ours,
        // Signing in needs no cookie; only a page of our own may cause it, or a program (login CSRF).
        Presented::Nothing | Presented::Invalid => cause.safe_method || not_of_another_page(cause, services),
    };
    if !ours {
        return Err(foreign_page());
    }
    if matches!(presented, Presented::Valid(_)) && !cause.safe_method && !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "The request must say that it is JSON",
            "Send `Content-Type: application/json`, even with an empty body.",
        ));
    }
    Ok(presented)
}

/// The editor's pages are not trusted: their cookie counts only for requests of pages of that very origin.
fn editor(services: &Services, request: &Request, route: &Route) -> Result<Presented, Problem> {
    let presented = services.auth.by_host_cookie(request.headers(), route, services.clock.now());
    let cause = cause(request);
    let own = cause
        .origin
        .is_some_and(|origin| services.sites.route_of_origin(origin).as_ref() == Some(route));
    let ours = match cause.origin {
        Some(_) => own,
        None => cause.safe_method && !cause.websocket && matches!(cause.site, None | Some("same-origin" | "none")),
    };
    if !ours || (!cause.safe_method && !is_json(request.headers())) {
        return Err(foreign_page());
    }
    if !request.uri().path().starts_with(BEHIND_EDITORS) {
        return Err(Problem::not_found("An editor's host has no more of the API than its codespace."));
    }
    Ok(presented)
}

/// With a token a socket may come from a program, which sends no `Origin`, or from our own page (WS-1).
fn check_socket_origin(request: &Request, own: &Origin) -> Result<(), Problem> {
    let cause = cause(request);
    match cause.origin {
        Some(origin) if cause.websocket && origin != own.to_string() => Err(foreign_page()),
        _ => Ok(()),
    }
}

fn not_of_another_page(cause: Cause<'_>, services: &Services) -> bool {
    let origin = cause
        .origin
        .is_none_or(|origin| services.sites.route_of_origin(origin) == Some(Route::Gateway));
    origin && matches!(cause.site, None | Some("same-origin"))
}

fn foreign_page() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "foreign-page",
        "Another site's page asked for this",
        "Only Portico's own pages and programs with a token may do this.",
    )
}

fn cause(request: &Request) -> Cause<'_> {
    let headers = request.headers();
    Cause {
        safe_method: matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
        websocket: headers.contains_key(header::UPGRADE),
        // Text that is not ASCII is no origin of ours; nor are two of them.
        origin: only(headers, "origin"),
        referer: only(headers, "referer"),
        site: only(headers, "sec-fetch-site"),
        mode: only(headers, "sec-fetch-mode"),
        dest: only(headers, "sec-fetch-dest"),
        navigates: false,
        speculative: false,
        unattended: false,
    }
}

/// A header's value; where it stands twice or is no text, one that equals nothing of ours.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    match values.next() {
        None => Some(first.to_str().unwrap_or("null")),
        Some(_) => Some("null"),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, "authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(Presented::Nothing)))
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Caller(presented)) = Caller::from_request_parts(parts, state).await;
        match presented {
            Presented::Valid(identity) => Ok(Self(Arc::unwrap_or_clone(identity))),
            Presented::Nothing => Err(Problem::unauthenticated()),
            Presented::Invalid => Err(Problem::invalid_credential()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(inner)| Self(inner)).map_err(|_| Problem::no_such_codespace())
    }
}

/// Whom the audit log names for what a request does.
pub struct By(pub Actor);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let Ok(Caller(presented)) = Caller::from_request_parts(parts, state).await;
        let name = match presented {
            Presented::Valid(identity) if identity.credential == Credential::Operator => "operator".to_owned(),
            Presented::Valid(identity) => identity.name.to_string(),
            Presented::Nothing | Presented::Invalid => String::new(),
        };
        Ok(Self(Actor {
            name,
            address: address(&parts.extensions).map(|address| address.to_string()),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        }))
    }
}

/// Where an attempt to sign in comes from.
pub struct From(pub auth::Client);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(client_of(&parts.headers, &parts.extensions)))
    }
}

fn client(request: &Request) -> auth::Client {
    client_of(request.headers(), request.extensions())
}

fn client_of(headers: &HeaderMap, extensions: &http::Extensions) -> auth::Client {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    auth::Client {
        address: address(extensions),
        agent: agent.unwrap_or_default().to_owned(),
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()),
    }
}

fn address(extensions: &http::Extensions) -> Option<std::net::IpAddr> {
    extensions.get::<ClientAddress>().and_then(|address| address.0)
}

impl Who {
    /// The account itself may be changed only with all of its power; a narrower token is told so.
    pub fn in_full(self) -> Result<Identity, Problem> {
        match self.0.scope {
            Scope::All => Ok(self.0),
            _ => Err(Problem::forbidden(
                "This token's scope does not cover it; a token of scope `all` does.",
            )),
        }
    }

    /// What an account holds may be seen by a token that may see everything.
    pub fn may_see_account(self) -> Result<Identity, Problem> {
        match self.0.scope {
            Scope::All | Scope::Read => Ok(self.0),
            _ => Err(Problem::forbidden(
                "This token's scope does not cover it; a token of scope `read` does.",
            )),
        }
    }

    /// For admins alone.
    pub fn into_admin(self) -> Result<Identity, Problem> {
        let identity = self.in_full()?;
        match identity.role {
            Role::Admin => Ok(identity),
            Role::Member => Err(Problem::forbidden("Only admins may do this.")),
        }
    }
}

impl Services {
    /// Finds a codespace for someone; one that is not theirs to know is not there (decision 10).
    pub(super) fn codespace(&self, who: &Identity, name: &str, access: Access) -> Result<Arc<crate::codespace::Codespace>, Problem> {
        let found = name.parse().ok().and_then(|name| self.codespaces.find(&name));
        let codespace = found.ok_or_else(Problem::no_such_codespace)?;
        let granted = grants(who, &ownership(&codespace));
        if granted.is_none() {
            return Err(Problem::no_such_codespace().denied());
        }
        if !granted.allow(access) {
            return Err(Problem::forbidden(refused(access)));
        }
        Ok(codespace)
    }
}

/// The facts that grants depend on.
pub fn ownership(codespace: &crate::codespace::Codespace) -> Ownership {
    Ownership {
        name: codespace.name().clone(),
        owner: codespace.owner().clone(),
    }
}

fn refused(access: Access) -> &'static str {
    match access {
        Access::View => "You may not look at this codespace.",
        Access::Work => "Only its owner may use its terminals and run commands in it.",
        Access::Operate => "You may look at this codespace, but not start or stop it.",
        Access::Share => "Only its owner may share its ports, and neither its editor nor its own token may.",
        Access::Own => "You may look at this codespace, but not change or delete it.",
    }
}
