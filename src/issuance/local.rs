//! An authority of this machine's own, for development: made once, allowed to sign for our names alone.

mod keeper;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

pub use self::keeper::Keeper;
use super::{Validity, files};

/// How long the authority lives: made again, everybody would have to trust it again.
const AUTHORITY_LIFE: Duration = Duration::days(10 * 365);
/// How long a certificate lives: programs refuse more than about a year.
const LIFE: Duration = Duration::days(365);
/// Clocks are not all alike.
const BACKDATED: Duration = Duration::hours(1);

/// Where the authority and its certificate are.
#[derive(Clone, Debug)]
pub struct Files {
    pub authority: PathBuf,
    authority_key: PathBuf,
    /// The names that the authority may sign for, and those of the certificate.
    names: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why there is no certificate of our own.
#[derive(Debug, Error)]
pub enum LocalError {
    #[error("{} cannot be read or written: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("a certificate of our own cannot be made: {0}")]
    Made(#[from] rcgen::Error),
}

impl Files {
    /// In a data directory.
    pub fn of(data: &Path) -> Self {
        let file = |name: &str| data.join("tls/local").join(name);
        Self {
            authority: file("ca.pem"),
            authority_key: file("ca.key"),
            names: file("names"),
            certificate: file("portico.pem"),
            key: file("portico.key"),
        }
    }

    /// How a person has it trusted, one line for each kind of program.
    pub fn advice(&self) -> String {
        let authority = self.authority.display();
        format!(
            "Debian: sudo cp {authority} /usr/local/share/ca-certificates/portico.crt && sudo update-ca-certificates\n\
             Chromium: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n portico -i {authority}\n\
             macOS: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {authority}\n\
             Firefox: Settings, Certificates, Authorities, Import {authority}\n\
             curl: curl --cacert {authority} …"
        )
    }
}

/// What was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Made {
    /// The authority: it must be trusted anew.
    pub authority: bool,
    /// Its certificate.
    pub certificate: bool,
}

/// Makes what is missing, is for other names or grows old.
pub fn ensure(data: &Path, host: &str, domain: &str, now: OffsetDateTime) -> Result<Made, LocalError> {
    let files = Files::of(data);
    let names = format!("{host}\n{domain}\n");
    let kept = authority_key(&files, &names, now)?;
    let authority = kept.is_none();
    let key = match kept {
        Some(key) => key,
        None => found_authority(&files, &names, now)?,
    };
    let young = validity(&files.certificate).is_some_and(|validity| now >= validity.from && now < validity.renewal());
    let certificate = authority || !young || !files.key.exists();
    if certificate {
        sign(&files, host, domain, key, now)?;
    }
    Ok(Made { authority, certificate })
}

fn validity(path: &Path) -> Option<Validity> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    Validity::of(&der)
}

/// The authority's key, if there is an authority for these names and for long enough.
fn authority_key(files: &Files, names: &str, now: OffsetDateTime) -> Result<Option<KeyPair>, LocalError> {
    let lives = validity(&files.authority).is_some_and(|validity| now + LIFE < validity.until);
    if !lives || read(&files.names)?.as_deref() != Some(names) {
        return Ok(None);
    }
    let Some(pem) = read(&files.authority_key)? else { return Ok(None) };
    Ok(Some(KeyPair::from_pem(&pem)?))
}

fn found_authority(files: &Files, names: &str, now: OffsetDateTime) -> Result<KeyPair, LocalError> {
    let key = KeyPair::generate()?;
    let certificate = authority(names, &key, now)?.self_signed(&key)?;
    write(&files.authority_key, &key.serialize_pem())?;
    write(&files.authority, &certificate.pem())?;
    // Last: it says that the other two belong together.
    write(&files.names, names)?;
    Ok(key)
}

/// The authority's own fields; what is signed needs the same name and key, and no more of it.
fn authority(names: &str, key: &KeyPair, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let number = params
        .key_identifier(key)
        .iter()
        .take(4)
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Portico local authority {number:08x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let permitted: Vec<GeneralSubtree> = names.lines().map(subtree).collect();
    let addresses = permitted.iter().any(|subtree| matches!(subtree, GeneralSubtree::IpAddress(_)));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        // Where only names are permitted, addresses are a kind of their own, and unlimited (RFC 5280 §4.2.1.10).
        excluded_subtrees: if addresses { Vec::new() } else { every_address() },
    });
    (params.not_before, params.not_after) = (now - BACKDATED, now + AUTHORITY_LIFE);
    Ok(params)
}

fn every_address() -> Vec<GeneralSubtree> {
    [IpAddr::from([0; 4]), IpAddr::from([0; 16])]
        .map(|address| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0)))
        .into()
}

fn subtree(name: &str) -> GeneralSubtree {
    match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, if address.is_ipv4() { 32 } else { 128 })),
        Err(_) => GeneralSubtree::DnsName(name.to_owned()),
    }
}

fn sign(files: &Files, host: &str, domain: &str, authority_key: KeyPair, now: OffsetDateTime) -> Result<(), LocalError> {
    let issuer = Issuer::new(authority("", &authority_key, now)?, authority_key);
    let mut params = CertificateParams::new([host.trim_matches(['[', ']']).to_owned(), format!("*.{domain}")])?;
    params.distinguished_name.push(DnType::CommonName, "Portico");
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (now - BACKDATED, now - BACKDATED + LIFE);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    write(&files.key, &key.serialize_pem())?;
    write(&files.certificate, &certificate.pem())
}

fn read(path: &Path) -> Result<Option<String>, LocalError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LocalError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(path: &Path, content: &str) -> Result<(), LocalError> {
    files::write(path, content.as_bytes()).map_err(|source| LocalError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        crypto::aws_lc_rs,
        pki_types::{ServerName, UnixTime},
    };
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 00:00:00 UTC);

    /// Whether a program that trusts the authority takes the certificate for a host.
    fn is_trusted(files: &Files, host: &str, now: OffsetDateTime) -> bool {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&files.authority).expect("an authority");
        roots.add(authority).expect("it can be trusted");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("roots");
        let certificate = CertificateDer::from_pem_file(&files.certificate).expect("a certificate");
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unix_timestamp().unsigned_abs()));
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        verifier.verify_server_cert(&certificate, &[], &name, &[], at).is_ok()
    }

    #[test]
    fn it_is_made_once_and_its_certificate_when_that_grows_old() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::of(directory.path());
        let ensure = |host: &str, now| ensure(directory.path(), host, "codespaces.localhost", now).expect("made").authority;
        let contents = || {
            (
                fs::read(&files.authority).expect("read"),
                fs::read(&files.certificate).expect("read"),
            )
        };
        assert!(ensure("portico.localhost", NOW), "new");
        let first = contents();
        for host in [
            "portico.localhost",
            "amber-x.codespaces.localhost",
            "amber-x-3000.codespaces.localhost",
        ] {
            assert!(is_trusted(&files, host, NOW), "{host}");
        }
        for host in ["localhost", "codespaces.localhost", "evil.test", "a.b.codespaces.localhost"] {
            assert!(!is_trusted(&files, host, NOW), "{host}");
        }
        // Whoever has the authority's key gets no address with it either, which its names say nothing of.
        let other = Files::of(&directory.path().join("other"));
        fs::create_dir_all(other.key.parent().expect("a directory")).expect("made");
        fs::copy(&files.authority, &other.authority).expect("copied");
        for host in ["10.0.0.1", "127.0.0.1", "[2001:db8::1]"] {
            let key = KeyPair::from_pem(&fs::read_to_string(&files.authority_key).expect("read")).expect("a key");
            sign(&other, host, "codespaces.localhost", key, NOW).expect("signed");
            assert!(!is_trusted(&other, host.trim_matches(['[', ']']), NOW), "{host}");
        }
        for file in [&files.authority_key, &files.key] {
            let mode = fs::metadata(file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(!ensure("portico.localhost", NOW + Duration::days(200)));
        assert_eq!(contents(), first);
        let later = NOW + Duration::days(300);
        assert!(!ensure("portico.localhost", later), "the same authority");
        assert_ne!(contents().1, first.1);
        assert!(is_trusted(&files, "portico.localhost", NOW + Duration::days(600)));
        assert!(ensure("127.0.0.1", later), "other names need another authority");
        assert!(is_trusted(&files, "127.0.0.1", later) && !is_trusted(&files, "portico.localhost", later));
        assert!(
            ensure("127.0.0.1", NOW + Duration::days(10 * 365)),
            "an authority that ends before its certificate would is made anew"
        );
        assert!(is_trusted(&files, "127.0.0.1", NOW + Duration::days(10 * 365 + 200)));
        fs::write(&files.authority_key, "no key").expect("written");
        assert!(super::ensure(directory.path(), "127.0.0.1", "codespaces.localhost", later).is_err());
    }
}
