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
use crate::{
    issuance::{Hosts, Source, Validity},
    route::Sites,
};

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
    #[error("{} holds fewer than 32 bytes: make it with head -c 32 /dev/urandom, and give each gateway the same", .0.display())]
    TicketKey(PathBuf),
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
    pub source: Source,
}

/// The certificates of a gateway, chosen for each group of its hosts.
#[derive(Debug)]
pub struct Certificates {
    sites: Sites,
    /// None before the gateway got its first.
    first: Option<Arc<CertifiedKey>>,
    /// None where no certificate covers the gateway host.
    gateway: Option<Found>,
    /// None where no certificate covers what is under DOMAIN.
    codespaces: Option<Found>,
}

/// A certificate, and where it comes from.
#[derive(Clone, Debug)]
struct Found {
    certified: Arc<CertifiedKey>,
    source: Source,
}

impl Certificates {
    /// Reads pairs of certificate chain and key.
    pub fn read(pairs: &[Pair], sites: &Sites, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        if pairs.is_empty() {
            return Err(CertificateError::None);
        }
        let there = pairs.iter().filter(|pair| !pair.source.is_own() || pair.certificate.exists());
        let found = |pair: &Pair| {
            let certified = read_pair(&pair.certificate, &pair.key, provider)?;
            Ok(Found {
                certified,
                source: pair.source,
            })
        };
        let read: Result<Vec<Found>, CertificateError> = there.map(found).collect();
        let read = read?;
        let covering = |host: &str| read.iter().find(|found| covers(&found.certified, host)).cloned();
        Ok(Self {
            first: read.first().map(|found| Arc::clone(&found.certified)),
            gateway: covering(&sites.gateway().host),
            codespaces: codespace_host(sites).and_then(|host| covering(&host)),
            sites: sites.clone(),
        })
    }

    /// Reads pairs as the gateway would.
    pub fn check(pairs: &[Pair], sites: &Sites) -> Result<Self, CertificateError> {
        Self::read(pairs, sites, &provider())
    }

    /// The names for which there is no certificate, the gateway's and `*.DOMAIN`.
    pub fn uncovered(&self) -> Vec<String> {
        let missing = self.by_name().into_iter().filter(|(_, certificate)| certificate.is_none());
        missing.map(|(name, _)| name).collect()
    }

    /// For how long the certificates are good.
    pub fn validities(&self) -> impl Iterator<Item = (Hosts, Validity)> {
        let found = self.by_name().into_iter();
        found.filter_map(|(name, certificate)| Some((Hosts::of(&name), certificate?.1)))
    }

    /// Where the certificates for the gateway's name and for `*.DOMAIN` come from, and for how long they are good.
    pub(super) fn by_name(&self) -> Vec<(String, Option<(Source, Validity)>)> {
        let codespaces = codespace_host(&self.sites).map(|host| (host.replacen(ANY_CODESPACE, "*", 1), &self.codespaces));
        let both = [Some((self.sites.gateway().host.clone(), &self.gateway)), codespaces];
        let found = both.into_iter().flatten();
        found.map(|(name, found)| (name, found.as_ref().and_then(Found::known))).collect()
    }

    /// The certificate for a server name.
    pub(super) fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let chosen = match name.and_then(|name| side(&self.sites, name)) {
            Some(Side::Gateway) => self.gateway.as_ref(),
            Some(Side::Codespaces) => self.codespaces.as_ref(),
            None => None,
        };
        chosen.map(|found| &found.certified).or(self.first.as_ref()).map(Arc::clone)
    }
}

impl Found {
    fn known(&self) -> Option<(Source, Validity)> {
        let certificate = self.certified.cert.first()?;
        Some((self.source, Validity::of(certificate)?))
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

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
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
