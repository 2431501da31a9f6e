//! Whether a logout token ends somebody's sessions (OpenID Connect Back-Channel Logout 1.0 §2.4 to 2.6).
//!
//! Signed as an ID token is, and told apart from one: it names the event, and holds no nonce. Pure.

use serde_json::Value;
use thiserror::Error;
use time::OffsetDateTime;

use super::id_token::{self, Claims, LEEWAY, TokenError, check_audience, numeric_date};

/// What it must say happened.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Longest token in bytes: it says little.
pub(super) const MAX_BYTES: usize = 8 * 1024;
/// Longest name of a subject, a session or a token.
pub(super) const MAX_NAME: usize = 255;
/// A token is delivered at once, or as often as its provider tries; one older than so many seconds says nothing now.
const MAX_AGE: i64 = 10 * 60;

/// Who is signed out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Logout {
    pub subject: Option<String>,
    pub session: Option<String>,
    /// The token's own name, `jti`: it is good once.
    pub id: String,
    /// Until when it could be offered again, in Unix seconds.
    pub until: i64,
}

/// Why a logout token says nothing; for the log.
#[derive(Debug, Error, PartialEq)]
pub(super) enum LogoutError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the logout token is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the logout token is a token of another kind")]
    Kind,
    #[error("the logout token names no logout")]
    Event,
    #[error("the logout token has a nonce, as ID tokens have")]
    Nonce,
    #[error("the logout token names neither a subject nor a session, or none that can be")]
    Nobody,
    #[error("the logout token has no name of its own")]
    Unnamed,
}

/// Looks at what can be seen before its signature is checked.
pub(super) fn look(token: &str) -> Result<(), LogoutError> {
    if token.len() > MAX_BYTES {
        return Err(LogoutError::TooLong);
    }
    let kind = id_token::signed(token)?.kind.map(|kind| kind.to_ascii_lowercase());
    match kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind)) {
        None | Some("jwt" | "logout+jwt") => Ok(()),
        Some(_) => Err(LogoutError::Kind),
    }
}

/// Reads the claims of a token whose signature is right.
pub(super) fn check(claims: &Claims, issuer: &str, client_id: &str, now: OffsetDateTime) -> Result<Logout, LogoutError> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(TokenError::Issuer.into());
    }
    check_audience(claims, client_id)?;
    let until = check_times(claims, now.unix_timestamp())?;
    if !claims
        .get("events")
        .and_then(|events| events.get(EVENT))
        .is_some_and(Value::is_object)
    {
        return Err(LogoutError::Event);
    }
    if claims.contains_key("nonce") {
        return Err(LogoutError::Nonce);
    }
    let (subject, session) = (name(claims, "sub")?, name(claims, "sid")?);
    if subject.is_none() && session.is_none() {
        return Err(LogoutError::Nobody);
    }
    let id = name(claims, "jti").ok().flatten().ok_or(LogoutError::Unnamed)?;
    Ok(Logout {
        subject,
        session,
        id,
        until,
    })
}

/// A name, if there is one; one of another shape is none, and must not count as left out.
fn name(claims: &Claims, wanted: &str) -> Result<Option<String>, LogoutError> {
    match claims.get(wanted) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=MAX_NAME).contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(LogoutError::Nobody),
    }
}

/// When the token is of no use any more. Not every provider gives it an end of its own.
fn check_times(claims: &Claims, now: i64) -> Result<i64, TokenError> {
    let issued = claims.get("iat").and_then(numeric_date).ok_or(TokenError::Time)?;
    let expires = match claims.get("exp") {
        None => i64::MAX,
        Some(value) => numeric_date(value).ok_or(TokenError::Time)?,
    };
    let until = issued.saturating_add(MAX_AGE).min(expires).saturating_add(LEEWAY);
    if issued <= now + LEEWAY && now < until {
        Ok(until)
    } else {
        Err(TokenError::Time)
    }
}
