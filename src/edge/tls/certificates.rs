//! Certificates from files, and which one is shown to whom.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    client::verify_server_name,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use thiserror::Error;

use super::{Side, provider, side};
use crate::{issuance::Validity, route::Sites};

/// Largest file that is read: a chain is a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// A name that a codespace could have.
const ANY_CODESPACE: &str = "any-codespace";

/// Why a certificate cannot be used; `Display` is for the operator.
#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or one with a passphrase", .0.display())]
    NoKey(PathBuf),
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{} cannot be used with {}: {source}", certificate.display(), key.display())]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("no certificate is named")]
    None,
    #[error("TLS cannot be set up: {0}")]
    Provider(#[source] rustls::Error),
}

/// A certificate's file with its key's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whether the gateway gets it by itself, so that there may be none yet.
    pub own: bool,
}

/// The certificates of a gateway, chosen for each group of its hosts.
#[derive(Debug)]
pub struct Certificates {
    sites: Sites,
    /// None before the gateway got its first.
    first: Option<Arc<CertifiedKey>>,
    /// None where no certificate covers the gateway host.
    gateway: Option<Arc<CertifiedKey>>,
    /// None where no certificate covers what is under DOMAIN.
    codespaces: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads pairs of certificate chain and key.
    pub fn read(pairs: &[Pair], sites: &Sites, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        if pairs.is_empty() {
            return Err(CertificateError::None);
        }
        let there = pairs.iter().filter(|pair| !pair.own || pair.certificate.exists());
        let read: Result<Vec<_>, _> = there.map(|pair| read_pair(&pair.certificate, &pair.key, provider)).collect();
        let read = read?;
        let covering = |host: &str| read.iter().find(|certified| covers(certified, host)).map(Arc::clone);
        Ok(Self {
            first: read.first().map(Arc::clone),
            gateway: covering(&sites.gateway().host),
            codespaces: codespace_host(sites).and_then(|host| covering(&host)),
            sites: sites.clone(),
        })
    }

    /// Reads pairs as the gateway would.
    pub fn check(pairs: &[Pair], sites: &Sites) -> Result<Self, CertificateError> {
        Self::read(pairs, sites, &provider())
    }

    /// The hosts for which there is no certificate, the gateway's and `*.DOMAIN`.
    pub fn uncovered(&self) -> Vec<String> {
        let gateway = self.gateway.is_none().then(|| self.sites.gateway().host.clone());
        let codespaces = codespace_host(&self.sites).filter(|_| self.codespaces.is_none());
        let codespaces = codespaces.map(|host| host.replacen(ANY_CODESPACE, "*", 1));
        gateway.into_iter().chain(codespaces).collect()
    }

    /// For how long the certificates of the `gateway` and of the `codespaces` are good.
    pub fn validities(&self) -> impl Iterator<Item = (&'static str, Validity)> {
        let both = [("gateway", &self.gateway), ("codespaces", &self.codespaces)];
        both.into_iter().filter_map(|(hosts, certified)| {
            let certificate = certified.as_ref()?.cert.first()?;
            Some((hosts, Validity::of(certificate)?))
        })
    }

    /// The certificate for a server name.
    pub(super) fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let chosen = match name.and_then(|name| side(&self.sites, name)) {
            Some(Side::Gateway) => self.gateway.as_ref(),
            Some(Side::Codespaces) => self.codespaces.as_ref(),
            None => None,
        };
        chosen.or(self.first.as_ref()).map(Arc::clone)
    }
}

fn codespace_host(sites: &Sites) -> Option<String> {
    ANY_CODESPACE.parse().ok().map(|name| sites.editor(&name).host)
}

fn covers(certified: &CertifiedKey, host: &str) -> bool {
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    let name = ServerName::try_from(host.trim_matches(['[', ']']));
    match (parsed, name) {
        (Ok(parsed), Ok(name)) => verify_server_name(&parsed, &name).is_ok(),
        _ => false,
    }
}

fn read_pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain: Result<Vec<CertificateDer<'static>>, pem::Error> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| CertificateError::NoCertificate(certificate.to_owned()))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| CertificateError::NoKey(key.to_owned()))?;
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        },
        source => CertificateError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        },
    })?;
    Ok(Arc::new(certified))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(unreadable(std::io::Error::other("it is no file of at most 1 MiB")));
    }
    fs::read(path).map_err(unreadable)
}
