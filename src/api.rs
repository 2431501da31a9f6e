//! The JSON API under `/api/v1`: what a caller may ask of codespaces, accounts and tokens, and its OpenAPI document.
//!
//! Owns the mapping from HTTP to the services and back, and asks `policy` before each step. Refuses to know: listeners,
//! hosts and cookies' values (the edge says through which [`Door`] a request came), how a codespace runs.
//!
//! An agent is hostile: what it answers is bounded, parsed and written anew; its headers never pass.

mod account;
mod agent_calls;
mod audit;
mod belongings;
mod body;
mod ceilings;
mod certificates;
mod codespaces;
mod connect;
mod device;
mod events;
mod explain;
mod identify;
mod left_behind;
mod life;
mod links;
mod log;
mod machines;
pub mod model;
mod noticed;
mod openapi;
pub mod outside;
pub mod parse;
mod ports;
pub mod problem;
mod refusals;
mod sharing;
mod sign_in;
mod terminals;
mod tokens;
mod users;
pub mod views;
mod websocket;

use std::{any::Any, net::IpAddr};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post, put},
};
use http::{HeaderValue, StatusCode, header};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

use crate::{
    audit::Audit, auth::Auth, belongings::Belongings, clock::SharedClock, codespace::Codespaces, doctor::Doctor, domain::CodespaceName,
    inspect::Replays, issuance::Ledger, route::Sites, tunnel::SharedDialer,
};
use problem::Problem;

pub use openapi::document;

/// Through which door a request came; the edge puts it into the request's extensions, and a request without it is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Door {
    /// The gateway host.
    Gateway,
    /// A codespace's editor host, whose pages are not trusted.
    Editor(CodespaceName),
    /// The administration socket on the gateway's own machine.
    Operator,
}

/// The address of whoever asks, as the edge knows it; a request extension.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientAddress(pub Option<IpAddr>);

/// The request's id in the access log; a request extension.
#[derive(Clone, Debug, Default)]
pub struct RequestId(pub String);

/// What the API works with.
#[derive(Clone)]
pub struct Services {
    pub auth: Auth,
    pub audit: Audit,
    pub codespaces: Codespaces,
    pub belongings: Belongings,
    pub dialer: SharedDialer,
    /// Shared with the edge, which notes what went wrong.
    pub doctor: Doctor,
    /// Where the edge takes requests that are to be made again.
    pub replays: Replays,
    pub sites: Sites,
    /// What is known of the gateway's certificates.
    pub certificates: Ledger,
    pub clock: SharedClock,
    /// Where live connections are counted, so that a drain can wait for them.
    pub tasks: TaskTracker,
    /// Cancelled when the gateway drains: what resumes by itself elsewhere (events, terminals) ends then.
    pub drain: CancellationToken,
}

/// All routes of the API, ready to be called.
pub fn router(services: Services) -> Router {
    let routes = table()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routes
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(services.clone(), identify::identify))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::overriding(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .with_state(services)
}

/// Every route with its methods; the test holds the OpenAPI document against it.
fn table() -> Vec<(&'static str, MethodRouter<Services>)> {
    vec![
        ("/api/v1/openapi.json", get(openapi::answer)),
        ("/api/v1/setup", get(sign_in::setup_state).post(sign_in::setup)),
        ("/api/v1/sign-in", get(outside::ways).post(sign_in::sign_in)),
        ("/api/v1/sign-in/header", post(outside::by_header)),
        ("/api/v1/sign-out", post(sign_in::sign_out)),
        ("/api/v1/user", get(account::user)),
        ("/api/v1/user/password", put(account::password)),
        ("/api/v1/user/secrets", get(belongings::secrets)),
        (
            "/api/v1/user/secrets/{name}",
            put(belongings::set_secret).delete(belongings::delete_secret),
        ),
        (
            "/api/v1/user/git-credentials",
            get(belongings::git_credentials)
                .put(belongings::set_git_credential)
                .delete(belongings::delete_git_credential),
        ),
        (
            "/api/v1/user/settings",
            get(belongings::settings).patch(belongings::change_settings),
        ),
        ("/api/v1/user/identities", get(outside::identities)),
        ("/api/v1/user/identities/{id}", post(outside::start_link).delete(outside::unlink)),
        ("/api/v1/sessions", get(account::sessions)),
        ("/api/v1/sessions/{id}", delete(account::end_session)),
        ("/api/v1/tokens", get(tokens::list).post(tokens::create)),
        ("/api/v1/tokens/{id}", delete(tokens::revoke)),
        ("/api/v1/token", get(tokens::own).delete(tokens::revoke_own)),
        ("/api/v1/device/code", post(device::begin)),
        ("/api/v1/device/token", post(device::token)),
        ("/api/v1/device/request", post(device::request)),
        ("/api/v1/device/decision", post(device::decide)),
        ("/api/v1/users", get(users::list).post(users::create)),
        ("/api/v1/users/{name}", patch(users::change)),
        ("/api/v1/users/{name}/suspend", post(users::suspend)),
        ("/api/v1/users/{name}/resume", post(users::resume)),
        ("/api/v1/users/{name}/link", post(users::link)),
        ("/api/v1/sharing/closed", get(sharing::list)),
        ("/api/v1/sharing/closed/{what}", put(sharing::close).delete(sharing::open_again)),
        ("/api/v1/audit", get(audit::list)),
        ("/api/v1/ceilings", get(ceilings::list).put(ceilings::set)),
        ("/api/v1/certificates", get(certificates::list)),
        ("/api/v1/certificates/try", post(certificates::try_now)),
        ("/api/v1/left-behind", get(left_behind::list)),
        ("/api/v1/events", get(events::events)),
        ("/api/v1/explain", get(explain::explain)),
        ("/api/v1/machines/registrations", get(machines::waiting).post(machines::register)),
        ("/api/v1/machines/registrations/{id}", delete(machines::revoke)),
        ("/api/v1/machines/join", post(machines::join)),
        ("/api/v1/codespaces", get(codespaces::list).post(codespaces::create)),
        (
            "/api/v1/codespaces/{name}",
            get(codespaces::view).patch(codespaces::change).delete(codespaces::delete),
        ),
        ("/api/v1/codespaces/{name}/start", post(codespaces::start)),
        ("/api/v1/codespaces/{name}/rebuild", post(codespaces::rebuild)),
        ("/api/v1/codespaces/{name}/stop", post(codespaces::stop)),
        ("/api/v1/codespaces/{name}/activity", get(life::activity).post(life::keep)),
        ("/api/v1/codespaces/{name}/leases", post(life::take_lease)),
        ("/api/v1/codespaces/{name}/leases/{id}", delete(life::end_lease)),
        ("/api/v1/codespaces/{name}/work", get(codespaces::work)),
        ("/api/v1/codespaces/{name}/logs", get(codespaces::logs)),
        ("/api/v1/codespaces/{name}/ports", get(ports::list)),
        ("/api/v1/codespaces/{name}/ports/{port}", patch(ports::change)),
        ("/api/v1/codespaces/{name}/ports/{port}/connect", get(connect::connect)),
        ("/api/v1/codespaces/{name}/offer", post(ports::decide_offer)),
        (
            "/api/v1/codespaces/{name}/ports/{port}/links",
            get(links::of_port).post(links::create),
        ),
        ("/api/v1/codespaces/{name}/ports/{port}/links/{id}", delete(links::revoke)),
        ("/api/v1/codespaces/{name}/ports/{port}/log", get(log::list).delete(log::clear)),
        ("/api/v1/codespaces/{name}/ports/{port}/log/{id}", get(log::view)),
        ("/api/v1/codespaces/{name}/ports/{port}/log/{id}/replay", post(log::replay)),
        ("/api/v1/codespaces/{name}/ports/{port}/visits", get(log::visits)),
        ("/api/v1/codespaces/{name}/links", get(links::of_codespace)),
        ("/api/v1/codespaces/{name}/links/{id}", delete(links::revoke_by_id)),
        ("/api/v1/codespaces/{name}/terminals", get(terminals::list).post(terminals::create)),
        ("/api/v1/codespaces/{name}/terminals/{id}", delete(terminals::remove)),
        ("/api/v1/codespaces/{name}/terminals/{id}/attach", get(terminals::attach)),
        ("/api/v1/codespaces/{name}/exec", get(terminals::exec)),
    ]
}

async fn no_such_path() -> Problem {
    Problem::not_found("There is nothing at this path. GET /api/v1/openapi.json describes the API.")
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This path does not take that method",
        "The Allow header lists the methods that it takes.",
    )
}

/// A panic is a fault of ours; its text may hold anything, so it stays out of the answer.
fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    Problem::internal(&"a handler panicked").into_response()
}

#[cfg(test)]
mod tests;
