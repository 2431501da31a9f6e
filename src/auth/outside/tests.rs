//! Sign-ins from outside, against providers that do what a test tells them.

mod members;
mod provider;
mod sign_ins;
mod sign_outs;
mod tokens;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::Value;

/// A provider's key: what it signs with, and what it publishes.
#[derive(Clone)]
struct Key {
    id: String,
    algorithm: Algorithm,
    signs: EncodingKey,
}

impl Key {
    fn new(id: &str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let signs = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
                let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
                let bytes: &[u8] = pkcs8.as_ref();
                // PKCS#8 of a key of this size puts 26 bytes before the PKCS#1 structure that the library reads.
                EncodingKey::from_rsa_der(&bytes[26..])
            }
            Algorithm::ES256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
                EncodingKey::from_ec_der(pkcs8.as_ref())
            }
            Algorithm::EdDSA => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&random).expect("a key");
                EncodingKey::from_ed_der(pkcs8.as_ref())
            }
            other => panic!("no key for {other:?}"),
        };
        let id = id.to_owned();
        Self { id, algorithm, signs }
    }

    fn published(&self) -> Jwk {
        let mut key = Jwk::from_encoding_key(&self.signs, self.algorithm).expect("a public key");
        key.common.key_id = Some(self.id.clone());
        key
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.signs).expect("a token")
    }
}
