//! The sign-in hop: how a sign-in at the gateway host reaches a codespace's hosts (decision 3 of the security rules).
//!
//! Port → editor → gateway by redirects that carry a signed state and no credential; back by pages that post single-use
//! tickets. A ticket travels with the state that it answers, as `TICKET~STATE`, so that the redeeming host knows where
//! the browser was going without believing anybody.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::{
    Body, Edge,
    client::Kind,
    context::Exchange,
    failure::{Failure, Reason, guard, html},
    upload::Upload,
    visit::{Permitted, Visit, may_enter},
};
use crate::{
    auth::{self, Binding, Hop, Proof, Ticket},
    codespace::{Question, Snapshot},
    domain::{Credential, Identity, Port, ReturnTo, Scope, SessionId},
    policy::{Denial, Manner, Presented, Subject},
    route::{Origin, Route},
    web::{
        assets::{CODESPACE_PREFIX, GATEWAY_PREFIX},
        pages,
    },
};

/// Largest form with a ticket in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;
/// Most siblings that one page signs in to.
const MAX_SIBLINGS: usize = 32;

/// Answers somebody who is not signed in at this host.
pub(super) fn sign_in(edge: &Edge, visit: &Visit, framed: bool) -> Response<Body> {
    if framed && matches!(visit.route, Route::Editor(_)) {
        let page = pages::framed_sign_in(CODESPACE_PREFIX, &visit.origin.to_string());
        return html(page, &pages::csp_for_frame([&edge.sites.editor(&visit.name)]));
    }
    begin(edge, visit)
}

/// `P/.portico/sign-in`: signs in somebody who is let in without, to what is the person's own.
pub(super) fn sign_in_on_demand(edge: &Edge, visit: &Visit, query: Option<&str>) -> Result<Response<Body>, Failure> {
    if visit.kind != (Kind::Navigation { framed: false }) {
        return Err(visit.fail(Reason::NotFound));
    }
    let next = parameter(query, "next").and_then(|next| ReturnTo::parse(&next));
    Ok(begin_to(edge, visit, next.unwrap_or_else(ReturnTo::root).as_str()))
}

/// Sends the browser on its way: from a port to the editor, from the editor to the gateway.
pub(super) fn begin(edge: &Edge, visit: &Visit) -> Response<Body> {
    begin_to(edge, visit, visit.target.as_str())
}

fn begin_to(edge: &Edge, visit: &Visit, return_to: &str) -> Response<Body> {
    let nonce = auth::nonce_cookie();
    let hop = Hop {
        host: visit.route.clone(),
        return_to: return_to.to_owned(),
        nonce_hash: nonce.hash,
        own: visit.manner == Manner::Own,
    };
    let state = edge.auth.seal_hop(&hop, edge.clock.now());
    let to = match visit.route {
        Route::Port(..) => format!("{}/.portico/authorize", edge.sites.editor(&visit.name)),
        _ => format!("{}/authorize", edge.sites.gateway()),
    };
    let mut response = redirect(&format!("{to}?state={state}"));
    if let Ok(cookie) = HeaderValue::from_str(&nonce.set_cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// `E/.portico/authorize`: signs in to a port, and to its siblings by the way.
pub(super) fn authorize(edge: &Edge, visit: &Visit, query: Option<&str>) -> Result<Response<Body>, Failure> {
    let state = parameter(query, "state").ok_or_else(|| visit.fail(Reason::BadRequest("the address lacks its state")))?;
    let hop = edge
        .auth
        .open_hop(&state, edge.clock.now())
        .map_err(|_| visit.fail(Reason::BadRequest("this sign-in is too old or was changed. Open the page again")))?;
    let Route::Port(name, port) = &hop.host else {
        return Err(visit.fail(Reason::BadRequest("this sign-in belongs to another host")));
    };
    if *name != visit.name {
        return Err(visit.fail(Reason::BadRequest("this sign-in belongs to another codespace")));
    }
    let (identity, session) = match &visit.who {
        Presented::Valid(identity) => match &identity.credential {
            Credential::Cookie(session) => (identity, session),
            _ => return Err(visit.fail(Reason::BadRequest("tokens need no sign-in"))),
        },
        _ => return Err(visit.fail(Reason::Denied(Denial::SignIn))),
    };
    let not_shared = || visit.fail(Reason::Denied(Denial::NotShared(identity.clone())));
    let codespace = edge.codespaces.find(name).ok_or_else(not_shared)?;
    let snapshot = codespace.snapshot();
    if !may_open(edge, identity, &snapshot, *port) {
        return Err(not_shared());
    }
    let ticket = mint(edge, &visit.exchange, hop.host.clone(), session, Binding::Nonce(hop.nonce_hash));
    let siblings = sibling_tickets(edge, visit, identity, session, &snapshot, *port);
    let origin = edge.sites.port(name, *port);
    let next = format!("{origin}{}", hop.return_to);
    let page = pages::spread((&origin, &format!("{ticket}~{state}")), &next, &siblings);
    let csp = pages::csp_for_spread(std::iter::once(&origin).chain(siblings.iter().map(|(origin, _)| origin)));
    let framed = format!("frame-ancestors {}", family(edge, visit, identity, &snapshot));
    Ok(html(page, &csp.replace("frame-ancestors 'none'", &framed)))
}

fn sibling_tickets(
    edge: &Edge,
    visit: &Visit,
    identity: &Identity,
    session: &SessionId,
    snapshot: &Snapshot,
    but: Port,
) -> Vec<(Origin, String)> {
    let login = edge.auth.login_session(session);
    let unvisited = |port: Port| login.as_ref().is_some_and(|login| !login.visited(&visit.name, port));
    snapshot
        .ports
        .iter()
        .filter(|(port, view)| **port != but && view.listening.is_some() && unvisited(**port) && may_open(edge, identity, snapshot, **port))
        .take(MAX_SIBLINGS)
        .map(|(port, _)| {
            let ticket = mint(
                edge,
                &visit.exchange,
                Route::Port(visit.name.clone(), *port),
                session,
                Binding::Origin(visit.route.clone()),
            );
            (edge.sites.port(&visit.name, *port), ticket)
        })
        .collect()
}

/// `E/.portico/arrive`: takes the ticket that the gateway's page posted, and has the editor's own page redeem it, since
/// a post from another site carries no nonce cookie.
pub(super) async fn arrive(visit: &Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
    let form = read_form(visit, request).await?;
    let ticket = parameter(Some(&form), "ticket").ok_or_else(|| visit.fail(Reason::BadRequest("the form lacks its ticket")))?;
    Ok(html(pages::arrive(&ticket), pages::CSP))
}

/// `/.portico/redeem` on every codespace host: a ticket becomes this host's cookie.
pub(super) async fn redeem(edge: &Edge, visit: &Visit, request: Request<Upload>) -> Result<Response<Body>, Failure> {
    let nonces = auth::nonce_cookies(request.headers());
    let navigation = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    let form = read_form(visit, request).await?;
    let field = parameter(Some(&form), "ticket").unwrap_or_default();
    let (ticket, state) = field.split_once('~').unwrap_or((&field, ""));
    let now = edge.clock.now();
    let hop = edge.auth.open_hop(state, now).ok().filter(|hop| hop.host == visit.route);
    let proof = Proof {
        nonces: nonces.iter().map(|(_, value)| value.clone()).collect(),
        origin: visit.from.clone(),
    };
    let redeemed = edge.auth.redeem_ticket(ticket, &visit.route, &proof, &visit.client(), now);
    let next = hop.as_ref().map_or("/", |hop| &hop.return_to);
    let mut response = match &redeemed {
        Ok(_) => went_through(visit, next, navigation),
        // The ticket was used or is late, and the browser is signed in all the same: tabs and caches replay innocently.
        Err(_) if matches!(visit.who, Presented::Valid(_)) => went_through(visit, next, navigation),
        Err(error) => {
            visit.exchange.note(format!("ticket refused: {error:?}"));
            return Err(visit.fail(Reason::BadRequest(
                "this sign-in was used already, is too old, or was begun in another browser. Open the page again",
            )));
        }
    };
    if let Ok(redeemed) = redeemed {
        signed_in(edge, visit, &redeemed.session, &mut response);
        if let Some(login) = edge.auth.login_session(&redeemed.session).filter(|_| navigation) {
            // Without scripts there are no siblings to sign in to, and a detour for them would be one more button to press.
            login.mark_tried(&visit.route, now);
        }
        let nonce = |hop: &Hop| {
            let mut nonces = nonces.iter();
            nonces.find(|(_, value)| auth::hash_secret(value) == hop.nonce_hash)
        };
        let used = hop.as_ref().and_then(nonce).map(|(name, _)| name.clone());
        if let Some(login) = edge.auth.login_session(&redeemed.session) {
            let own = used.is_some() && hop.is_some_and(|hop| hop.own);
            // From an editor's page the last step to a port is one from another host anyway.
            if own || matches!(visit.route, Route::Editor(_)) {
                login.mark_arrived(&visit.route, own, now);
            }
        }
        if let Some(cookie) = used.and_then(|name| HeaderValue::from_str(&auth::clear_nonce_cookie(&name)).ok()) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(response)
}

fn went_through(visit: &Visit, next: &str, navigation: bool) -> Response<Body> {
    if navigation {
        return redirect(&format!("{}{next}", visit.origin));
    }
    let mut response = Response::new(Body::full(serde_json::json!({ "next": next }).to_string()));
    guard(response.headers_mut());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn signed_in(edge: &Edge, visit: &Visit, session: &SessionId, response: &mut Response<Body>) {
    if let Ok(cookie) = HeaderValue::from_str(&edge.auth.host_cookie(session, &visit.route, edge.clock.now())) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if let (Route::Port(name, port), Some(login)) = (&visit.route, edge.auth.login_session(session)) {
        login.mark_visited(name, *port);
    }
}

/// `C/authorize`: whoever is signed in at the gateway and may open something in the codespace gets a ticket for its
/// editor host.
pub(super) fn authorize_at_gateway(edge: &Edge, request: &Request<Upload>, exchange: &Exchange) -> Response<Body> {
    let now = edge.clock.now();
    let bad = |what| html(pages::bad_request(GATEWAY_PREFIX, what), pages::CSP);
    let Some(state) = parameter(request.uri().query(), "state") else {
        return bad("the address lacks its state");
    };
    let Ok(hop) = edge.auth.open_hop(&state, now) else {
        return bad("this sign-in is too old or was changed. Open the page again");
    };
    let Route::Editor(name) = &hop.host else {
        return bad("this sign-in belongs to another host");
    };
    let Presented::Valid(identity) = edge.auth.by_gateway_request(request.headers(), request.extensions(), now) else {
        let here = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let next: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
        return redirect(&format!("/sign-in?next={next}"));
    };
    let Credential::Cookie(session) = &identity.credential else {
        return bad("tokens need no sign-in");
    };
    let allowed = edge
        .codespaces
        .find(name)
        .is_some_and(|codespace| may_enter(&codespace.snapshot(), &identity.user, &edge.auth, now));
    if !allowed {
        let switch = format!("{}/sign-in?switch=1", edge.sites.gateway());
        return html(
            pages::no_such_codespace(GATEWAY_PREFIX, Some(identity.name.as_str()), Some(&switch)),
            pages::CSP,
        );
    }
    let ticket = mint(edge, exchange, hop.host.clone(), session, Binding::Nonce(hop.nonce_hash));
    let origin = edge.sites.editor(name);
    let page = pages::carry(&format!("{origin}/.portico/arrive"), &format!("{ticket}~{state}"), name.as_str());
    html(page, &pages::csp_for_form(&origin))
}

fn mint(edge: &Edge, exchange: &Exchange, host: Route, session: &SessionId, binding: Binding) -> String {
    edge.auth.mint_ticket(
        Ticket {
            host,
            session: session.clone(),
            binding,
        },
        &exchange.client_in_audit(),
        edge.clock.now(),
    )
}

/// Whether the person behind an editor host's cookie may open a port: asked of policy as if they were there.
fn may_open(edge: &Edge, identity: &Identity, snapshot: &Snapshot, port: Port) -> bool {
    let there = Identity {
        scope: Scope::Port(snapshot.record.name.clone(), port),
        ..identity.clone()
    };
    Question::of_port(Presented::Valid(Arc::new(there)), port)
        .ask(snapshot, &edge.auth, edge.clock.now())
        .is_ok()
}

/// The pages that may frame one of a codespace's hosts: of an editor itself and the gateway, of a port the codespace's
/// hosts that the visitor may open. Strangers are never told: which ports there are is nothing for them (ENUM-1).
pub(super) fn ancestors(edge: &Edge, permitted: &Permitted) -> Option<String> {
    let visit = &permitted.visit;
    let identity = match permitted.permit.subject() {
        Subject::Owner(identity) | Subject::Guest(identity) => identity,
        // Whoever came by a link is nobody's colleague: no other host of the codespace is told.
        Subject::Link(_) => return Some("'self'".to_owned()),
        Subject::Anyone => return None,
    };
    match (&visit.route, visit.kind) {
        (_, Kind::Preflight | Kind::Program | Kind::Grpc | Kind::WebSocket | Kind::WorkerScript) => None,
        (Route::Port(..), _) => Some(family(edge, visit, identity, &permitted.snapshot)),
        _ => Some(format!("'self' {}", edge.sites.gateway())),
    }
}

/// A codespace's hosts that somebody may open, as they stand in a `frame-ancestors`.
fn family(edge: &Edge, visit: &Visit, identity: &Identity, snapshot: &Snapshot) -> String {
    let mut family = format!("'self' {}", edge.sites.editor(&visit.name));
    let ports = snapshot.ports.keys().filter(|port| may_open(edge, identity, snapshot, **port));
    for port in ports.take(MAX_SIBLINGS) {
        family.push(' ');
        family.push_str(&edge.sites.port(&visit.name, *port).to_string());
    }
    family
}

/// Redirects with a GET; never cached, or a service worker's cache would replay it for ever.
pub(super) fn redirect(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    guard(response.headers_mut());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

pub(super) async fn read_form(visit: &Visit, request: Request<Upload>) -> Result<String, Failure> {
    let read = Limited::new(request.into_body(), MAX_FORM_BYTES).collect();
    let bytes = match tokio::time::timeout(std::time::Duration::from_secs(10), read).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return Err(visit.fail(Reason::BadRequest("the form did not arrive whole"))),
    };
    String::from_utf8(bytes.into()).map_err(|_| visit.fail(Reason::BadRequest("the form is no text")))
}

pub(super) fn parameter(query: Option<&str>, wanted: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes())
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}
