//! The certificate that is a proof: made for one look of the authority's, and good for nothing else (RFC 8737 §3).

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{crypto::aws_lc_rs, pki_types::PrivateKeyDer, sign::CertifiedKey};

use super::AcmeError;

/// Bytes of a digest by SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// Signs, with a key of its own, a certificate for a name that carries the digest of a key authorization.
pub fn certificate(name: &str, digest: &[u8; DIGEST_BYTES]) -> Result<CertifiedKey, AcmeError> {
    let made = || {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| AcmeError::Proof(error.to_string()))?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| AcmeError::Proof(error.to_string()))?;
    // Not checked against its key, as others are: the check refuses the critical extension that makes it a proof.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}
