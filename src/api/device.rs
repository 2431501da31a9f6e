//! Signing a command line in from a browser (RFC 8628): two calls for the program, two for the person who decides.

use axum::{Json, extract::State};
use http::StatusCode;
use secrecy::ExposeSecret;

use super::{
    Services,
    account::own_account,
    body::Sent,
    identify::{From, Who},
    model::{AskDevice, BeginDevice, DecideDevice, DeviceCodes, DeviceSeen, DeviceToken, TypedCode},
    parse,
    problem::{Problem, ProblemBody},
    views,
};
use crate::auth::DeviceRequest;

/// Begins: gives the codes, one for the program and a short one for the person to type.
#[utoipa::path(post, path = "/api/v1/device/code", tag = "device", security(()), request_body = BeginDevice, responses(
    (status = 200, body = DeviceCodes), (status = 422, body = ProblemBody),
    (status = 429, body = ProblemBody, description = "Too many wait already; `Retry-After` says how long to wait"),
))]
pub async fn begin(
    State(services): State<Services>,
    From(client): From,
    Sent(sent): Sent<BeginDevice>,
) -> Result<Json<DeviceCodes>, Problem> {
    let now = services.clock.now();
    let scope =
        parse::personal_scope(&sent.scope).map_err(|error| Problem::unprocessable("bad-scope", "That is no scope", error.to_string()))?;
    let until = sent.expires_in.as_deref().map(|text| parse::expiry(text, now)).transpose();
    let until = until.map_err(|said| Problem::unprocessable("bad-expiry", "That is no time to expire in", said))?;
    let asked = DeviceRequest {
        machine: sent.machine,
        scope,
        lasting: until.map(|at| (at - now).unsigned_abs()),
    };
    let codes = services.auth.begin_device(asked, &client, now)?;
    Ok(Json(DeviceCodes {
        device_code: codes.device_code.expose_secret().to_owned(),
        user_code: codes.user_code.expose_secret().to_owned(),
        verification_uri: format!("{}/device", services.sites.gateway()),
        expires_in: codes.expires_in.as_secs(),
        interval: codes.interval.as_secs(),
    }))
}

/// Asks for the token. Until somebody decides, the problem's `error` is `authorization_pending`; `slow_down`,
/// `access_denied` and `expired_token` are as RFC 8628 §3.5 has them.
#[utoipa::path(post, path = "/api/v1/device/token", tag = "device", security(()), request_body = AskDevice, responses(
    (status = 200, body = DeviceToken), (status = 400, body = ProblemBody),
))]
pub async fn token(
    State(services): State<Services>,
    From(client): From,
    Sent(sent): Sent<AskDevice>,
) -> Result<Json<DeviceToken>, Problem> {
    let made = services.auth.ask_device(&sent.device_code, &client, services.clock.now()).await?;
    let user = services
        .auth
        .user(&made.record.user)
        .ok_or_else(|| Problem::internal(&"a token without its user"))?;
    let new = views::new_token(&made);
    Ok(Json(DeviceToken {
        access_token: new.token,
        token_type: "bearer".to_owned(),
        id: new.id,
        scope: new.scope,
        user: user.name.to_string(),
        expires_at: new.expires_at,
    }))
}

/// Shows what the program of a code asks for. It is a POST because a code must not stand in an address.
#[utoipa::path(post, path = "/api/v1/device/request", tag = "device", request_body = TypedCode, responses(
    (status = 200, body = DeviceSeen),
    (status = 404, body = ProblemBody), (status = 429, body = ProblemBody),
))]
pub async fn request(
    State(services): State<Services>,
    who: Who,
    From(client): From,
    Sent(sent): Sent<TypedCode>,
) -> Result<Json<DeviceSeen>, Problem> {
    let who = who.in_full()?;
    let now = services.clock.now();
    let seen = services.auth.device_request(&who.user, &sent.user_code, &client, now)?;
    let lasting = seen.asked.lasting.and_then(|lasting| time::Duration::try_from(lasting).ok());
    Ok(Json(DeviceSeen {
        machine: seen.asked.machine,
        address: seen.address.map(|address| address.to_canonical().to_string()),
        scope: seen.asked.scope.to_string(),
        token_expires_at: lasting.and_then(|lasting| now.checked_add(lasting)),
        asked_at: seen.asked_at,
    }))
}

/// Grants or declines what the program of a code asks for, once.
#[utoipa::path(post, path = "/api/v1/device/decision", tag = "device", request_body = DecideDevice, responses(
    (status = 204), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody, description = "The account has as many tokens as it may have"), (status = 429, body = ProblemBody),
))]
pub async fn decide(
    State(services): State<Services>,
    who: Who,
    From(client): From,
    Sent(sent): Sent<DecideDevice>,
) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let user = own_account(&services, &who)?;
    let now = services.clock.now();
    services
        .auth
        .decide_device(&user.id, &sent.user_code, sent.grant, &client, now)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
