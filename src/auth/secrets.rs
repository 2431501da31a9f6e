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
