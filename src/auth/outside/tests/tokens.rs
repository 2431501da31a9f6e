//! What an ID token must be to prove anything, as a table.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, PublicKeyUse};
use serde_json::json;

use super::*;
use crate::auth::{
    fixture::now,
    outside::id_token::{Expected, TokenError, check, signed_claims},
};

fn claims() -> Value {
    let now = now().unix_timestamp();
    json!({"iss": "https://id.example", "aud": "portico", "sub": "ada", "nonce": "n-1", "iat": now, "exp": now + 300})
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(*name)),
            value => drop(members.insert((*name).to_owned(), value.clone())),
        }
    }
    claims
}

fn judged(token: &str, keys: &[Jwk]) -> Result<(), TokenError> {
    let expected = Expected {
        issuer: "https://id.example",
        client_id: "portico",
        nonce: "n-1",
    };
    check(&signed_claims(token, keys)?, expected, now())
}

#[test]
fn oidc_3_claims() {
    let key = Key::new("k1", Algorithm::ES256);
    let keys = [key.published()];
    let at = now().unix_timestamp();
    #[track_caller]
    fn check(key: &Key, keys: &[Jwk], changes: &[(&str, Value)], expected: Result<(), TokenError>) {
        assert_eq!(judged(&key.sign(&with(changes)), keys), expected, "{changes:?}");
    }
    let check = |changes: &[(&str, Value)], expected| check(&key, &keys, changes, expected);
    check(&[], Ok(()));
    check(&[("iss", json!("https://evil.example"))], Err(TokenError::Issuer));
    check(&[("iss", json!("https://id.example/"))], Err(TokenError::Issuer));
    check(&[("iss", Value::Null)], Err(TokenError::Issuer));
    check(&[("aud", json!("other"))], Err(TokenError::Audience));
    check(&[("aud", Value::Null)], Err(TokenError::Audience));
    check(&[("aud", json!(7))], Err(TokenError::Audience));
    check(&[("aud", json!([]))], Err(TokenError::Audience));
    check(&[("aud", json!(["portico"]))], Ok(()));
    check(&[("aud", json!(["portico", "other"]))], Err(TokenError::Audience));
    check(&[("aud", json!(["portico", "other"])), ("azp", json!("portico"))], Ok(()));
    check(
        &[("aud", json!(["portico", "other"])), ("azp", json!("other"))],
        Err(TokenError::Audience),
    );
    check(&[("azp", json!("other"))], Err(TokenError::Audience));
    check(&[("azp", json!("portico"))], Ok(()));
    check(&[("nonce", json!("n-2"))], Err(TokenError::Nonce));
    check(&[("nonce", Value::Null)], Err(TokenError::Nonce));
    check(&[("sub", Value::Null)], Err(TokenError::Subject));
    check(&[("sub", json!(""))], Err(TokenError::Subject));
    check(&[("sub", json!(1))], Err(TokenError::Subject));
    check(&[("sub", json!("x".repeat(256)))], Err(TokenError::Subject));
    check(&[("exp", json!(at - 59))], Ok(()));
    check(&[("exp", json!(at - 60))], Err(TokenError::Time));
    check(&[("exp", json!(i64::MAX))], Ok(()));
    check(&[("exp", Value::Null)], Err(TokenError::Time));
    check(&[("exp", json!("tomorrow"))], Err(TokenError::Time));
    check(&[("exp", json!(1e300))], Err(TokenError::Time));
    check(&[("iat", json!(at + 60))], Ok(()));
    check(&[("iat", json!(at + 61))], Err(TokenError::Time));
    check(&[("iat", json!(at - 1200))], Err(TokenError::Time));
    check(&[("iat", Value::Null)], Err(TokenError::Time));
    check(&[("nbf", json!(at + 61))], Err(TokenError::Time));
    check(&[("nbf", json!(at))], Ok(()));
}

#[test]
fn oidc_3_signatures() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (key, other) = (Key::new("k1", algorithm), Key::new("k1", algorithm));
        let token = key.sign(&claims());
        assert_eq!(judged(&token, &[key.published()]), Ok(()), "{algorithm:?}");
        assert_eq!(judged(&token, &[other.published()]), Err(TokenError::Signature), "{algorithm:?}");
        assert_eq!(judged(&token, &[other.published(), key.published()]), Ok(()), "two keys of one id");
        assert_eq!(judged(&token, &[]), Err(TokenError::UnknownKey), "{algorithm:?}");
        let mut encrypts = key.published();
        encrypts.common.public_key_use = Some(PublicKeyUse::Encryption);
        assert_eq!(judged(&token, &[encrypts]), Err(TokenError::UnknownKey), "a key for encryption");
        let mut renamed = key.published();
        renamed.common.key_id = Some("k2".into());
        assert_eq!(judged(&token, &[renamed]), Err(TokenError::UnknownKey), "an unknown id");
        let mut nameless = key.published();
        nameless.common.key_algorithm = None;
        assert_eq!(judged(&token, &[nameless]), Ok(()), "a key that names no algorithm");
        let (message, _) = token.rsplit_once('.').expect("a signature");
        let (_, signature) = other
            .sign(&claims())
            .rsplit_once('.')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .expect("a signature");
        assert_eq!(
            judged(&format!("{message}.{signature}"), &[key.published()]),
            Err(TokenError::Signature)
        );
        assert_eq!(
            judged(&format!("{message}."), &[key.published()]),
            Err(TokenError::Signature),
            "none at all"
        );
    }
    let (rsa, ec) = (Key::new("k1", Algorithm::RS256), Key::new("k1", Algorithm::ES256));
    assert_eq!(
        judged(&rsa.sign(&claims()), &[ec.published()]),
        Err(TokenError::UnknownKey),
        "a key of another kind"
    );
}

#[test]
fn oidc_3_no_other_algorithm_and_no_other_shape() {
    let key = Key::new("k1", Algorithm::RS256);
    let keys = [key.published()];
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    let unsigned = |header: &Value, signature: &str| format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()));
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None", "kid": "k1"}),
        json!({"alg": "NONE"}),
        json!({"alg": ""}),
        json!({"typ": "JWT"}),
    ] {
        for signature in ["", "AAAA"] {
            assert_eq!(judged(&unsigned(&header, signature), &keys), Err(TokenError::Malformed), "{header}");
        }
    }
    // The public key as the secret of a MAC, in the shapes in which a careless library would take it.
    let AlgorithmParameters::RSA(parameters) = &keys[0].algorithm else {
        panic!("an RSA key");
    };
    let modulus = URL_SAFE_NO_PAD.decode(&parameters.n).expect("base64");
    let published = serde_json::to_vec(&keys[0]).expect("JSON");
    for secret in [parameters.n.as_bytes(), &modulus, &published] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid = Some("k1".into());
            let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).expect("a token");
            assert_eq!(judged(&token, &keys), Err(TokenError::Algorithm), "{algorithm:?}");
        }
    }
    // A MAC's key among the published ones is none.
    let secret = EncodingKey::from_secret(b"published by mistake");
    let shared = Jwk::from_encoding_key(&secret, Algorithm::HS256).expect("a key");
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).expect("a token");
    assert_eq!(judged(&token, &[shared]), Err(TokenError::Algorithm));
    let token = key.sign(&claims());
    for text in [
        String::new(),
        "a.b".into(),
        format!("{token}.x"),
        format!("{token}.x.y"),
        "x".repeat(200_000),
    ] {
        assert_eq!(judged(&text, &keys), Err(TokenError::Malformed), "{text:.40}");
    }
    // Well signed, but with a demand that nobody here understands.
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("k1".into());
    header.crit = Some(vec!["exp".into()]);
    let token = jsonwebtoken::encode(&header, &claims(), &key.signs).expect("a token");
    assert_eq!(judged(&token, &keys), Err(TokenError::Malformed));
    // A key inside the token itself counts for nothing.
    let own = Key::new("own", Algorithm::ES256);
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = Some(own.published());
    let token = jsonwebtoken::encode(&header, &claims(), &own.signs).expect("a token");
    assert_eq!(judged(&token, &keys), Err(TokenError::UnknownKey));
}
