//! The gateway's own signing key: HMAC-SHA256 over what browsers carry for us.
//!
//! One key, kept in the store, with a purpose mixed into each signature, so that a signed hop is never a signed cookie.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secrets::hash_secret;
use crate::store::{Store, StoreError};

const STORE_KEY: &str = "signing-key";

pub(super) struct Key {
    bytes: [u8; 32],
    /// Names the key in what it signed, so that a later change of keys is told from a forgery.
    id: String,
}

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Hop,
    HostCookie,
    Flow,
    Grant,
    Warned,
}

impl Key {
    /// Reads the key, or makes one at the first start.
    pub(super) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let kept = store.keep_secret(STORE_KEY, &rand::random::<[u8; 32]>()).await?;
        let bytes: [u8; 32] = kept
            .try_into()
            .map_err(|_| StoreError::Failed("the signing key in the store is damaged".into()))?;
        let id = hash_secret(&format!("key id {bytes:?}"));
        Ok(Self {
            bytes,
            id: format!("{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]),
        })
    }

    /// Names the key without telling it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, purpose: Purpose, parts: &[&str]) -> [u8; 32] {
        self.mac(purpose, parts).finalize().into_bytes().into()
    }

    /// Tells whether the signature is ours, in constant time.
    pub(super) fn verify(&self, purpose: Purpose, parts: &[&str], signature: &[u8]) -> bool {
        self.mac(purpose, parts).verify_slice(signature).is_ok()
    }

    fn mac(&self, purpose: Purpose, parts: &[&str]) -> Hmac<Sha256> {
        // A key shorter than the hash's block is padded with zeros by HMAC's definition (RFC 2104).
        let mut block = [0; 64];
        block[..self.bytes.len()].copy_from_slice(&self.bytes);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(match purpose {
            Purpose::Hop => b"hop",
            Purpose::HostCookie => b"host-cookie",
            Purpose::Flow => b"flow",
            Purpose::Grant => b"grant",
            Purpose::Warned => b"warned",
        });
        for part in parts {
            // The length in front keeps ("ab", "c") apart from ("a", "bc").
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }
}
