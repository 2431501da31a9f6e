//! The OpenAPI document, made of the routes themselves.

mod refusals;

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use self::refusals::Refusals;
use super::{
    account, audit, belongings, ceilings, certificates, codespaces, connect, device, events, explain, left_behind, life, links, log,
    machines, model, outside, ports, problem, sharing, sign_in, terminals, tokens, users,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Portico", description = "Codespaces on your own machines: create them, open them, share their ports."),
    paths(
        answer, sign_in::setup_state, sign_in::setup, sign_in::sign_in, sign_in::sign_out, outside::ways, outside::by_header, account::user, account::password, account::sessions,
        account::end_session, outside::identities, outside::start_link, outside::unlink, belongings::secrets, belongings::set_secret, belongings::delete_secret, belongings::git_credentials,
        belongings::set_git_credential, belongings::delete_git_credential, belongings::settings, belongings::change_settings,
        tokens::list, tokens::create, tokens::revoke, tokens::own, tokens::revoke_own, users::list, users::create, users::change, users::suspend, users::resume, users::link, sharing::list, sharing::close, sharing::open_again, audit::list, ceilings::list, ceilings::set, certificates::list, certificates::try_now, left_behind::list,
        device::begin, device::token, device::request, device::decide, events::events, explain::explain, machines::register, machines::waiting, machines::revoke, machines::join, codespaces::list,
        codespaces::create, codespaces::view, codespaces::change, codespaces::delete, codespaces::start, codespaces::stop, codespaces::rebuild,
        life::activity, life::keep, life::take_lease, life::end_lease, codespaces::work, codespaces::logs, ports::list, ports::change, ports::decide_offer, connect::connect, links::of_port, links::create, links::revoke, links::of_codespace, links::revoke_by_id, log::list, log::view, log::clear, log::replay, log::visits, terminals::list, terminals::create,
        terminals::remove, terminals::attach, terminals::exec,
    ),
    components(schemas(problem::ProblemBody, model::Removed, model::PortEvent, model::IdleEvent)),
    security(("token" = []), ("session" = [])),
    modifiers(&Schemes, &Refusals),
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Components::default);
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A personal access token"));
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        let cookie = ApiKeyValue::with_description(
            crate::auth::SESSION_COOKIE,
            "A browser's login session; what changes something also needs `Origin` and a JSON content type",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// The document as it is served.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Describes this API.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "about", security(()), responses((status = 200, body = Object)))]
pub async fn answer() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
