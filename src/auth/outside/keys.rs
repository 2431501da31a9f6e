//! The keys of a provider: fetched when needed, and once more for a key that is not among them, so that a provider may
//! change its keys at any time and nobody can make us ask at every forged token.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{
    fetch::{Endpoint, FetchError, Fetcher},
    id_token::{self, Claims, Expected, TokenError},
};

/// After this long a key that was taken back is known to be (FAIL-1: without an answer then, nobody comes in).
const KEEP_FOR: Duration = Duration::hours(1);
/// Between two questions that unknown keys cause.
const ASK_EVERY: Duration = Duration::seconds(10);
/// Most keys of a set that are looked at.
const MAX_KEYS: usize = 100;

/// The keys of one provider.
#[derive(Default)]
pub(super) struct Keys {
    /// Held while the provider is asked: a crowd asks once.
    kept: tokio::sync::Mutex<Option<Kept>>,
}

struct Kept {
    keys: Arc<[Jwk]>,
    at: OffsetDateTime,
}

/// Why a token was not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the provider's keys cannot be had")]
    Fetch(#[from] FetchError),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    /// Checks an ID token with the provider's keys.
    pub(super) async fn verify(
        &self,
        token: &str,
        expected: Expected<'_>,
        from: (&Fetcher, &Endpoint),
        now: OffsetDateTime,
    ) -> Result<Claims, KeysError> {
        let claims = self.signed_claims(token, from, now).await?;
        id_token::check(&claims, expected, now)?;
        Ok(claims)
    }

    /// Checks who signed a token, and nothing that it says.
    pub(super) async fn signed_claims(&self, token: &str, from: (&Fetcher, &Endpoint), now: OffsetDateTime) -> Result<Claims, KeysError> {
        let signed = id_token::signed(token)?;
        let keys = self.fresher_than(KEEP_FOR, from, now).await?;
        let known = id_token::fitting(&signed, &keys).next().is_some();
        let keys = if known {
            keys
        } else {
            self.fresher_than(ASK_EVERY, from, now).await?
        };
        Ok(id_token::signed_claims(token, &keys)?)
    }

    /// The keys, asked for again if those that are kept are as old as `age`.
    async fn fresher_than(&self, age: Duration, from: (&Fetcher, &Endpoint), now: OffsetDateTime) -> Result<Arc<[Jwk]>, FetchError> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| (now - kept.at).abs() < age) {
            return Ok(Arc::clone(&kept.keys));
        }
        let (fetcher, endpoint) = from;
        let set: KeySet = fetcher.get(endpoint, None).await?;
        // A key of a kind that we do not know is none to us, and spoils no other.
        let read = set
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|key| serde_json::from_value(key).ok());
        let keys: Arc<[Jwk]> = read.collect();
        *kept = Some(Kept {
            keys: Arc::clone(&keys),
            at: now,
        });
        Ok(keys)
    }
}
