//! The warning before a stranger's public port: once in a browser, before pages alone, and never for who belongs there.

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};

use super::{
    Body, Edge,
    client::Kind,
    failure::{Failure, html},
    hop::{parameter, read_form, redirect},
    upload::Upload,
    visit::Visit,
};
use crate::{
    codespace::Snapshot,
    domain::ReturnTo,
    route::Route,
    web::{
        assets::CODESPACE_PREFIX,
        pages::{self, CSP},
    },
};

/// The header by which programs that look like browsers skip it, with any value.
const SKIP: &str = "x-portico-skip-warning";

/// Whether a stranger who asks so has to be warned first.
pub(super) fn is_due(edge: &Edge, method: &Method, headers: &HeaderMap, kind: Kind, host: &Route) -> bool {
    *method == Method::GET
        && kind == Kind::Navigation { framed: false }
        && matches!(host, Route::Port(..))
        && !headers.contains_key(SKIP)
        && !edge.auth.was_warned(headers, host, edge.clock.now())
}

/// Shows it.
pub(super) fn show(edge: &Edge, visit: &Visit, snapshot: &Snapshot) -> Response<Body> {
    let owner = edge.auth.user(&snapshot.record.owner);
    let who = owner.as_ref().map_or("Somebody", |user| user.name.as_str());
    let organisations = edge.auth.organisations_of(&snapshot.record.owner);
    let organisation = organisations.first().map(String::as_str);
    let page = pages::warning(who, organisation, &visit.origin.host, visit.target.as_str(), edge.abuse.as_deref());
    html(page, CSP)
}

/// `POST P/.portico/warning`: this browser has read it.
pub(super) async fn read(edge: &Edge, visit: &Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        return Ok(html(pages::forbidden_origin(CODESPACE_PREFIX), CSP));
    }
    let form = read_form(visit, request).await?;
    let next = parameter(Some(&form), "next").and_then(|next| ReturnTo::parse(&next));
    let next = next.unwrap_or_else(ReturnTo::root);
    let mut response = redirect(&format!("{}{}", visit.origin, next.as_str()));
    if let Ok(cookie) = HeaderValue::from_str(&edge.auth.warned_cookie(&visit.route, edge.clock.now())) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
