//! Whether an ID token proves what it says (OpenID Connect Core §3.1.3.7, OIDC-3).
//!
//! Signatures are checked by `jsonwebtoken` over aws-lc; every claim is checked here, with time as an argument.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, jwk::Jwk, jwk::PublicKeyUse};
use serde_json::{Map, Value};
use thiserror::Error;
use time::OffsetDateTime;

/// What signs ID tokens here; never `none`, and never a MAC, whose key would be the client's secret or, by confusion, a
/// public key.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How far clocks may be apart, in seconds.
pub(super) const LEEWAY: i64 = 60;
/// A token older than this was not made for this sign-in, which may take 10 minutes.
const MAX_AGE: i64 = 20 * 60;
/// Longest token in bytes; groups can make it long.
const MAX_BYTES: usize = 128 * 1024;

/// Its claims, by name.
pub(super) type Claims = Map<String, Value>;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
}

/// What a token says of its signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Signed {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    /// What kind of token it calls itself (RFC 8725 §3.11).
    pub kind: Option<String>,
}

/// Why a token proves nothing; for the log.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum TokenError {
    #[error("the token is no signed token")]
    Malformed,
    #[error("the token is signed in a way that is not accepted")]
    Algorithm,
    #[error("no key of the provider fits the token")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for somebody else")]
    Audience,
    #[error("the token has expired, or is from another time")]
    Time,
    #[error("the ID token belongs to another sign-in")]
    Nonce,
    #[error("the ID token names nobody")]
    Subject,
}

/// Reads how a token is signed, before its key is looked for.
pub(super) fn signed(token: &str) -> Result<Signed, TokenError> {
    if token.len() > MAX_BYTES || token.split('.').count() != 3 {
        return Err(TokenError::Malformed);
    }
    // An algorithm that the library does not know, `none` among them, is no header to it.
    let header: Header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // What must be understood is not (RFC 7515 §4.1.11).
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    if !ALGORITHMS.contains(&header.alg) {
        return Err(TokenError::Algorithm);
    }
    Ok(Signed {
        algorithm: header.alg,
        key_id: header.kid,
        kind: header.typ,
    })
}

/// The keys that can have signed it: of its id where it names one, of its kind, and not for encryption.
pub(super) fn fitting<'k>(signed: &Signed, keys: &'k [Jwk]) -> impl Iterator<Item = &'k Jwk> {
    let signed = signed.clone();
    keys.iter().filter(move |key| {
        let named = signed.key_id.is_none() || key.common.key_id == signed.key_id;
        let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let stated = key.common.key_algorithm.and_then(|algorithm| Algorithm::try_from(algorithm).ok());
        named && signs && stated.is_none_or(|algorithm| algorithm == signed.algorithm)
    })
}

/// Checks the signature; gives claims that nobody has looked at yet.
pub(super) fn signed_claims(token: &str, keys: &[Jwk]) -> Result<Claims, TokenError> {
    let signed = signed(token)?;
    let mut outcome = Err(TokenError::UnknownKey);
    for key in fitting(&signed, keys) {
        outcome = verify_signature(token, &signed, key);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn verify_signature(token: &str, signed: &Signed, key: &Jwk) -> Result<Claims, TokenError> {
    let key = DecodingKey::from_jwk(key).map_err(|_| TokenError::UnknownKey)?;
    if key.family() != signed.algorithm.family() {
        return Err(TokenError::UnknownKey);
    }
    let mut validation = Validation::new(signed.algorithm);
    // The claims are checked below, by a clock that is given.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let read = jsonwebtoken::decode::<Claims>(token, &key, &validation);
    read.map(|read| read.claims).map_err(|_| TokenError::Signature)
}

/// Checks what the claims of an ID token say.
pub(super) fn check(claims: &Claims, expected: Expected<'_>, now: OffsetDateTime) -> Result<(), TokenError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(TokenError::Issuer);
    }
    check_audience(claims, expected.client_id)?;
    check_times(claims, now.unix_timestamp())?;
    if text("nonce") != Some(expected.nonce) {
        return Err(TokenError::Nonce);
    }
    // At most 255 characters (Core §2); what is longer is nobody.
    let subject = text("sub").filter(|subject| !subject.is_empty() && subject.len() <= 255);
    subject.map(drop).ok_or(TokenError::Subject)
}

/// The audience must hold us; several of them need an authorized party, which, where it is named, must be us.
pub(super) fn check_audience(claims: &Claims, client_id: &str) -> Result<(), TokenError> {
    let (ours, others) = match claims.get("aud") {
        Some(Value::String(one)) => (one == client_id, false),
        Some(Value::Array(several)) => (several.iter().any(|one| one == client_id), several.len() > 1),
        _ => (false, false),
    };
    let party = claims.get("azp");
    let party_is_us = party.is_some_and(|party| party == client_id);
    if ours && (party_is_us || (party.is_none() && !others)) {
        Ok(())
    } else {
        Err(TokenError::Audience)
    }
}

fn check_times(claims: &Claims, now: i64) -> Result<(), TokenError> {
    let seconds = |name: &str| {
        claims
            .get(name)
            .map(|value| numeric_date(value).ok_or(TokenError::Time))
            .transpose()
    };
    let (expires, issued) = (seconds("exp")?, seconds("iat")?);
    let alive = expires.is_some_and(|at| now < at.saturating_add(LEEWAY));
    let fresh = issued.is_some_and(|at| at <= now + LEEWAY && now < at.saturating_add(MAX_AGE));
    let begun = seconds("nbf")?.is_none_or(|at| at <= now + LEEWAY);
    if alive && fresh && begun { Ok(()) } else { Err(TokenError::Time) }
}

/// A `NumericDate` in whole seconds; it may have a fraction (RFC 7519 §2).
pub(super) fn numeric_date(value: &Value) -> Option<i64> {
    if let Some(seconds) = value.as_i64() {
        return Some(seconds);
    }
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && seconds.abs() < 1e15)?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above, and whole seconds are wanted")]
    Some(seconds as i64)
}
