//! The warning before a stranger's public port: once in a browser for a codespace, before pages alone, and never for who
//! belongs there.

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use time::OffsetDateTime;

use super::{
    Body, Edge,
    client::Kind,
    failure::{Failure, guard, html, is_sibling, with_cors},
    hop::{parameter, read_form, redirect},
    upload::Upload,
    visit::Visit,
};
use crate::{
    codespace::Snapshot,
    domain::{Port, ReturnTo, Visibility},
    route::{Origin, Route},
    web::{
        assets::CODESPACE_PREFIX,
        pages::{self, CSP, Warning},
    },
};

/// For so many other ports one warning counts.
const MAX_SIBLINGS: usize = 32;

/// The header by which programs that look like browsers skip it, with any value.
const SKIP: &str = "x-portico-skip-warning";

/// Whether a stranger who asks so has to be warned first.
pub(super) fn is_due(edge: &Edge, head: &Parts, visit: &Visit, now: OffsetDateTime) -> bool {
    head.method == Method::GET
        && visit.kind == Kind::Navigation { framed: false }
        && matches!(visit.route, Route::Port(..))
        && !head.headers.contains_key(SKIP)
        && !edge.auth.was_warned(&head.headers, &visit.route, now)
}

/// Shows it.
pub(super) fn show(edge: &Edge, visit: &Visit, snapshot: &Snapshot) -> Response<Body> {
    let owner = edge.auth.user(&snapshot.record.owner);
    let who = owner.as_ref().map_or("Somebody", |user| user.name.as_str());
    let organisations = edge.auth.organisations_of(&snapshot.record.owner);
    let organisation = organisations.first().map(String::as_str);
    let siblings = public_siblings(edge, visit, snapshot);
    let page = pages::warning(Warning {
        who,
        organisation,
        host: &visit.origin.host,
        next: visit.target.as_str(),
        abuse: edge.abuse.as_deref(),
        siblings: &siblings,
    });
    html(page, &pages::csp_for_calls(&siblings))
}

/// What else of the codespace anybody may open.
fn public_siblings(edge: &Edge, visit: &Visit, snapshot: &Snapshot) -> Vec<Origin> {
    let now = edge.clock.now();
    let here = |port: Port| matches!(visit.route, Route::Port(_, own) if own == port);
    let public = |port: &Port| !here(*port) && snapshot.visibility(*port, now) == Visibility::Public;
    let ports = snapshot.ports.keys().filter(|port| public(port)).take(MAX_SIBLINGS);
    ports.map(|port| edge.sites.port(&visit.name, *port)).collect()
}

/// `POST P/.portico/warning`: this browser has read it, on this port or on another of the codespace, whose page then tells.
pub(super) async fn read(edge: &Edge, visit: &Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
    let said = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    let by_sibling = is_sibling(visit) && visit.from.as_ref() != Some(&visit.route) && said("sec-fetch-mode") == Some(b"cors");
    match said("sec-fetch-site") {
        Some(b"cross-site") => return Ok(html(pages::forbidden_origin(CODESPACE_PREFIX), CSP)),
        Some(b"same-site") if !by_sibling => return Ok(html(pages::forbidden_origin(CODESPACE_PREFIX), CSP)),
        _ => {}
    }
    let form = read_form(visit, request).await?;
    let next = parameter(Some(&form), "next").and_then(|next| ReturnTo::parse(&next));
    let next = next.unwrap_or_else(ReturnTo::root);
    let mut response = if by_sibling {
        let mut told = Response::new(Body::empty());
        *told.status_mut() = StatusCode::NO_CONTENT;
        guard(told.headers_mut());
        with_cors(edge, visit, told)
    } else {
        redirect(&format!("{}{}", visit.origin, next.as_str()))
    };
    if let Ok(cookie) = HeaderValue::from_str(&edge.auth.warned_cookie(&visit.route, edge.clock.now())) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
