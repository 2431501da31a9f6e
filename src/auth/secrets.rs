//! Making and hashing secrets: 256 bits from the system's generator, kept only as SHA-256.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// Makes a secret of 256 bits in 43 characters of base64url.
pub(super) fn fresh_secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Makes a secret of 256 bits that never shows in `Debug`.
pub(super) fn fresh_secret_string() -> SecretString {
    SecretString::from(fresh_secret())
}

/// Hashes a secret for keeping. The secrets are random, so a fast hash without salt is enough.
pub fn hash_secret(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Makes an id: a UUID v7 in text.
pub(super) fn fresh_id() -> std::sync::Arc<str> {
    uuid::Uuid::now_v7().to_string().into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use crate::{
        audit::Actor,
        auth::{Callback, Client, NewUser, Presented, ProviderOptions, Secret, fixture::*},
        domain::{Role, Scope},
        protocol::{bootstrap, tunnel::ToAgent},
    };

    #[tokio::test]
    async fn log_3_nothing_that_holds_a_secret_shows_it() {
        let (auth, _) = auth().await;
        let ada = user_with_password(&auth, "ada").await;
        let fresh = auth.open_session(&ada, &Client::default(), now()).await.expect("a session");
        let by = Actor::gateway();
        let token = auth
            .create_token(&ada.id, "laptop", Scope::All, None, &by, now())
            .await
            .expect("a token");
        let cookie = sent_back(&fresh.set_cookie).split_once('=').expect("a pair").1.to_owned();
        let by_cookie = auth.by_gateway_cookie(&cookies(&[sent_back(&fresh.set_cookie)]), now());
        let by_token = auth.by_token(token.plain.expose_secret(), now());
        assert!(matches!((&by_cookie, &by_token), (Presented::Valid(_), Presented::Valid(_))));
        let mut provider = ProviderOptions::named("id");
        provider.client_secret = Some(Secret::new("canary-secret"));
        let shown = [
            format!("{ada:?}"),
            format!("{fresh:?} {:?}", fresh.session),
            format!("{token:?}", token = token.record),
            format!("{by_cookie:?} {by_token:?} {auth:?} {provider:?}"),
            format!(
                "{:?}",
                NewUser {
                    name: "bob".parse().expect("a name"),
                    role: Role::Member,
                    password: Some(secret("canary-password")),
                    email: None,
                }
            ),
            format!(
                "{:?}",
                Callback {
                    state: "canary-state".into(),
                    code: Some("canary-code".into()),
                    ..Callback::default()
                }
            ),
            format!(
                "{:?}",
                bootstrap::Bootstrap {
                    credential: bootstrap::Secret("canary-credential".into()),
                    environment: [("PORTICO_TOKEN".to_owned(), "canary-token".to_owned())].into(),
                    ..bootstrap::Bootstrap::default()
                }
            ),
            format!(
                "{:?}",
                ToAgent::Credential {
                    credential: bootstrap::Secret("canary-credential".into()),
                }
            ),
        ];
        for text in shown {
            for secret in ["canary", "argon2", cookie.as_str(), token.plain.expose_secret()] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}
