//! Signing in from outside: the browser's way to a provider and back, and who somebody is there.
//!
//! The way there and back are pages of the gateway host, not calls: navigations that carry no credential of ours but
//! the flow's own cookie, which the provider's answer must match.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, OriginalUri, Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::{
    Services,
    account::own_account,
    body::{MAX_STRANGERS_BYTES, MaybeSent},
    identify::{By, From, Params, Who},
    model::{Departure, Identities, Identity, Provider, SignInWays, StartLink},
    problem::{Problem, ProblemBody},
    sign_in::{end_session_before, with_cookie},
};
use crate::{
    auth::{self, Callback, LinkedIdentity, OutsideError, OutsideReason, Presented, Vouched},
    domain::{Credential, ReturnTo},
    web::{pages, shell},
};

/// The pages of the gateway host on the way to a provider and back.
pub fn pages(services: Services) -> Router {
    Router::new()
        .route("/sign-in/with/{provider}", get(depart))
        .route("/sign-in/callback/{provider}", get(arrive))
        .route("/sign-in/back-channel/{provider}", post(back_channel))
        .layer(DefaultBodyLimit::max(MAX_STRANGERS_BYTES))
        .with_state(services)
}

/// Sends the browser to a provider. Changes nothing here: the state goes along, and its secret into a cookie.
async fn depart(
    State(services): State<Services>,
    Path(provider): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let next = parameter(&uri, "next")
        .and_then(|next| ReturnTo::parse(&next))
        .unwrap_or_else(ReturnTo::root);
    match services.auth.depart(&provider, next, None, services.clock.now()).await {
        Ok(departure) => {
            let mut cookies = auth::clear_crowded_flows(&headers);
            cookies.push(departure.set_cookie);
            see_other(&departure.location, &cookies)
        }
        Err(error) => failed(&services, error),
    }
}

/// Takes the browser back from a provider.
async fn arrive(
    State(services): State<Services>,
    Path(provider): Path<String>,
    OriginalUri(uri): OriginalUri,
    By(mut by): By,
    From(client): From,
    headers: HeaderMap,
) -> Response {
    let now = services.clock.now();
    let callback = Callback {
        state: parameter(&uri, "state").unwrap_or_default(),
        code: parameter(&uri, "code"),
        error: parameter(&uri, "error"),
        issuer: parameter(&uri, "iss"),
    };
    let arrived = match services.auth.arrive(&provider, &callback, &headers, client.clone(), now).await {
        Ok(arrived) => arrived,
        Err(error) => {
            if matches!(error.reason, OutsideReason::TooMany { .. }) {
                let call = format!("GET {}", uri.path());
                services.auth.note_refused_call(&Presented::Nothing, &call, true, &client, now);
            }
            return failed(&services, error);
        }
    };
    let mut cookies = vec![arrived.clear_cookie];
    if let Some(fresh) = arrived.fresh {
        let before = services.auth.by_gateway_cookie(&headers, now);
        if let Presented::Valid(identity) = &before {
            by.name = identity.name.to_string();
        }
        if let Err(problem) = end_session_before(&services, &before, &by).await {
            return problem.into_response();
        }
        cookies.push(fresh.set_cookie);
    }
    see_other(arrived.next.as_str(), &cookies)
}

/// Takes a provider's word that somebody signed out there (OpenID Connect Back-Channel Logout 1.0 §2.5 to 2.8). The token
/// is its only credential, so that no cookie and no `Origin` counts.
async fn back_channel(State(services): State<Services>, Path(provider): Path<String>, From(client): From, body: Bytes) -> Response {
    use auth::BackChannelError::{Down, NoSuchProvider, Store, TooMany, Untrustworthy};
    let now = services.clock.now();
    let token = only(&body, "logout_token").unwrap_or_default();
    let (status, error) = match services.auth.back_channel_logout(&provider, &token, &client, now).await {
        Ok(_) => (StatusCode::OK, None),
        Err(NoSuchProvider) => (StatusCode::NOT_FOUND, Some("invalid_request")),
        Err(Untrustworthy) => (StatusCode::BAD_REQUEST, Some("invalid_request")),
        Err(TooMany { .. }) => {
            let call = format!("POST /sign-in/back-channel/{provider}");
            services.auth.note_refused_call(&Presented::Nothing, &call, true, &client, now);
            (StatusCode::TOO_MANY_REQUESTS, Some("temporarily_unavailable"))
        }
        Err(Down) => (StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable")),
        Err(Store(error)) => {
            tracing::error!(provider, %error, "a back-channel logout was not kept in the store");
            (StatusCode::INTERNAL_SERVER_ERROR, Some("server_error"))
        }
    };
    let mut response = match error {
        None => status.into_response(),
        Some(error) => (status, Json(serde_json::json!({ "error": error }))).into_response(),
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells how people sign in here.
#[utoipa::path(get, path = "/api/v1/sign-in", tag = "sign-in", security(()), responses((status = 200, body = SignInWays)))]
pub async fn ways(State(services): State<Services>) -> Json<SignInWays> {
    Json(show_ways(&services))
}

/// Signs in whom the trusted proxy in front names.
#[utoipa::path(post, path = "/api/v1/sign-in/header", tag = "sign-in", security(()), responses(
    (status = 204, headers(("Set-Cookie" = String))),
    (status = 401, body = ProblemBody, description = "No trusted proxy says who this is"),
    (status = 403, body = ProblemBody, description = "They may not sign in"),
))]
pub async fn by_header(
    State(services): State<Services>,
    By(by): By,
    From(client): From,
    headers: HeaderMap,
    vouched: Option<Extension<Vouched>>,
    MaybeSent(StartLink {}): MaybeSent<StartLink>,
) -> Result<Response, Problem> {
    let Some(Extension(vouched)) = vouched else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "no-trusted-header",
            "Nobody says who you are",
            "Open this gateway through the proxy that signs you in.",
        ));
    };
    let signed_in = services.auth.sign_in_vouched(&vouched, &client, services.clock.now()).await;
    let fresh = signed_in.map_err(|error| refused(&error))?;
    // By the cookie itself: whoever the proxy names now, the session before was perhaps somebody else's.
    let before = services.auth.by_gateway_cookie(&headers, services.clock.now());
    end_session_before(&services, &before, &by).await?;
    with_cookie(StatusCode::NO_CONTENT, &fresh.set_cookie)
}

/// Lists who the account is at providers of identities, and the providers there are.
#[utoipa::path(get, path = "/api/v1/user/identities", tag = "account", responses(
    (status = 200, body = Identities),
))]
pub async fn identities(State(services): State<Services>, who: Who) -> Result<Json<Identities>, Problem> {
    let who = who.may_see_account()?;
    let linked = services.auth.identities_of(&who.user);
    let organisations = services.auth.organisations(&who.user);
    Ok(Json(Identities {
        identities: linked.iter().map(|identity| show(&services, identity)).collect(),
        organisations: organisations
            .iter()
            .map(|organisation| organisation.as_str().trim().to_owned())
            .collect(),
        ways: show_ways(&services),
    }))
}

/// Begins to link the account to an identity at a provider: the browser goes to `url` next, and comes back to the settings.
#[utoipa::path(post, path = "/api/v1/user/identities/{id}", tag = "account", params(("id" = String, Path, description = "The provider's id")),
    request_body(content = StartLink, description = "May be left out"), responses(
    (status = 200, body = Departure, headers(("Set-Cookie" = String))),
    (status = 403, body = ProblemBody, description = "Only a browser that is signed in can link"),
    (status = 404, body = ProblemBody), (status = 502, body = ProblemBody, description = "The provider does not answer"),
))]
pub async fn start_link(
    State(services): State<Services>,
    who: Who,
    Params(provider): Params<String>,
    MaybeSent(StartLink {}): MaybeSent<StartLink>,
) -> Result<Response, Problem> {
    let who = who.in_full()?;
    let Credential::Cookie(session) = &who.credential else {
        return Err(Problem::forbidden(
            "Only a browser that is signed in can link an identity: its owner must be there.",
        ));
    };
    own_account(&services, &who)?;
    let next = ReturnTo::parse("/settings").unwrap_or_else(ReturnTo::root);
    let departure = services
        .auth
        .depart(&provider, next, Some(session.clone()), services.clock.now())
        .await;
    let departure = departure.map_err(|error| refused(&error))?;
    with_cookie(Json(Departure { url: departure.location }), &departure.set_cookie)
}

/// Takes an identity off the account; not the last way into it.
#[utoipa::path(delete, path = "/api/v1/user/identities/{id}", tag = "account", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "It is the only way into the account, made it, or brings an organisation with a ceiling"),
))]
pub async fn unlink(State(services): State<Services>, who: Who, Params(id): Params<String>) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let linked = services.auth.identities_of(&who.user);
    let found = linked.iter().find(|identity| id_of(identity) == id);
    let identity = found.ok_or_else(|| Problem::not_found("There is no such identity."))?;
    let now = services.clock.now();
    let (issuer, subject) = (&identity.issuer, &identity.subject);
    if who.credential == Credential::Operator {
        services.auth.unlink(&who.user, issuer, subject, now).await?;
    } else {
        let codespaces = services.codespaces.clone();
        let may_go = move |from: &_, to: &_| !codespaces.escapes_ceiling(from, to);
        services.auth.unlink_if(&who.user, issuer, subject, may_go, now).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn show_ways(services: &Services) -> SignInWays {
    let ways = services.auth.ways();
    let gateway = services.sites.gateway();
    SignInWays {
        passwords: ways.passwords,
        trusted_header: ways.header,
        providers: ways
            .providers
            .into_iter()
            .map(|way| Provider {
                url: format!("{gateway}/sign-in/with/{}", way.id),
                id: way.id,
                label: way.label,
            })
            .collect(),
    }
}

fn show(services: &Services, identity: &LinkedIdentity) -> Identity {
    let ways = services.auth.ways().providers;
    let way = ways.into_iter().find(|way| way.id == identity.provider);
    Identity {
        id: id_of(identity),
        label: way.map_or_else(|| identity.provider.clone(), |way| way.label),
        provider: identity.provider.clone(),
        shown: identity.shown.clone(),
        linked_at: identity.linked_at,
        used_at: identity.used_at,
    }
}

/// Names an identity in an address without its subject, which may be an e-mail address.
fn id_of(identity: &LinkedIdentity) -> String {
    let hash = auth::hash_secret(&format!("{}\0{}", identity.issuer, identity.subject));
    URL_SAFE_NO_PAD.encode(&hash[..16])
}

/// A refusal for a program: what the page would say.
fn refused(error: &OutsideError) -> Problem {
    let page = pages::sign_in_failed(error, false);
    let text = |name: &str| page.problem[name].as_str().unwrap_or_default().to_owned();
    Problem::new(
        page.status,
        "sign-in-failed",
        "The sign-in did not work",
        format!("{}. {}", text("title"), text("detail")),
    )
}

fn failed(services: &Services, error: OutsideError) -> Response {
    let mut response = shell::respond(pages::sign_in_failed(&error, services.auth.ways().passwords));
    guard(response.headers_mut());
    add_cookies(response.headers_mut(), error.clear_cookie.as_slice());
    response
}

fn see_other(location: &str, cookies: &[String]) -> Response {
    let mut response = shell::see_other(location);
    guard(response.headers_mut());
    add_cookies(response.headers_mut(), cookies);
    response
}

/// What came in the address stays between the provider and us (AUTH-3).
fn guard(headers: &mut HeaderMap) {
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::VARY, HeaderValue::from_static("*"));
}

fn add_cookies(headers: &mut HeaderMap, cookies: &[String]) {
    for cookie in cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// The one parameter of a name; of two, none (RFC 6749 §3.1).
fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    only(uri.query()?.as_bytes(), wanted)
}

fn only(form: &[u8], wanted: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(form).filter(|(name, _)| name == wanted);
    let value = found.next()?.1.into_owned();
    found.next().is_none().then_some(value)
}
