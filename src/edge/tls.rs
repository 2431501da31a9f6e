//! TLS at the front door: certificates chosen by server name without a lock and read again when their files change, TLS 1.2
//! and 1.3, no 0-RTT (TLS-1 to TLS-3), and the handshakes by which an authority sees that a name is ours.
//!
//! Refuses to route by the server name: it chooses the certificate, a request goes where its authority says, and one that
//! does not fit the other is refused (HOST-7).

mod certificates;
mod suites;
mod tickets;
mod watch;

use std::{io, sync::Arc};

use arc_swap::ArcSwap;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

pub use self::{
    certificates::{CertificateError, Certificates, Pair},
    tickets::shared_secret,
    watch::watch,
};
use self::{suites::Preferred, tickets::Tickets};
use crate::{
    clock::SharedClock,
    issuance::Challenges,
    route::{Authority, Route, Sites},
};

/// The bytes from which the keys of session tickets are made.
pub type TicketSecret = [u8; 32];

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// What an authority says when it wants to see a proof, and never HTTP (RFC 8737 §4).
const CHALLENGE: &[u8] = b"acme-tls/1";

/// Speaks TLS with whoever connects. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    /// For everybody, and for whoever would rather have ChaCha20.
    usual: Preferred<Arc<ServerConfig>>,
    /// For an authority that looks for a proof.
    proof: Arc<ServerConfig>,
    challenges: Challenges,
    sites: Sites,
    shown: Arc<Shown>,
}

/// The certificates that are shown now, and where they are from.
#[derive(Debug)]
struct Shown {
    pairs: Vec<Pair>,
    /// What the files looked like before they were read first.
    looks: watch::Looks,
    now: ArcSwap<Certificates>,
}

/// What a handshake settled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settled {
    /// Whether HTTP/2 is spoken, by ALPN alone.
    pub http_2: bool,
    pub named: Named,
}

/// Whom a handshake's server name means (HOST-7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Named {
    Ours(Side),
    /// A host that is not ours.
    Foreign,
    /// No host, as with whoever connects to an address.
    Nobody,
}

/// Which of the two groups of hosts a server name belongs to (HOST-7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Gateway,
    Codespaces,
}

impl Side {
    /// The side of a host; none of a host that is not ours.
    pub fn of(route: &Route) -> Option<Self> {
        match route {
            Route::Gateway => Some(Self::Gateway),
            Route::Foreign => None,
            Route::Editor(_) | Route::Port(..) | Route::NoSuchCodespace => Some(Self::Codespaces),
        }
    }
}

impl Named {
    fn by(sites: &Sites, name: Option<&str>) -> Self {
        match name {
            Some(name) => side(sites, name).map_or(Self::Foreign, Self::Ours),
            None => Self::Nobody,
        }
    }

    /// Whether a request for a host belongs on a connection that began so. No name stands for the gateway's own host where
    /// that is an address, which browsers do not name.
    pub(super) fn reaches(self, route: &Route, sites: &Sites) -> bool {
        match self {
            Self::Ours(side) => Side::of(route) == Some(side),
            Self::Foreign => false,
            Self::Nobody => *route == Route::Gateway && sites.gateway().is_address(),
        }
    }
}

impl Tls {
    /// Reads certificates with their keys; the first is shown to who asks for no name of ours.
    pub fn load(
        pairs: Vec<Pair>,
        sites: &Sites,
        secret: TicketSecret,
        challenges: Challenges,
        clock: SharedClock,
    ) -> Result<Self, CertificateError> {
        let shown = Arc::new(Shown {
            looks: watch::of(&pairs),
            now: ArcSwap::from_pointee(Certificates::read(&pairs, sites, &provider())?),
            pairs,
        });
        let tickets = Arc::new(Tickets::new(secret, clock));
        let usual = Preferred::both(|provider| {
            let mut config = config(provider, Arc::clone(&shown) as Arc<dyn ResolvesServerCert>)?;
            config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
            config.ticketer = Arc::clone(&tickets) as _;
            Ok(Arc::new(config))
        })?;
        let mut proof = config(provider(), Arc::new(Proofs(challenges.clone())))?;
        proof.alpn_protocols = vec![CHALLENGE.to_vec()];
        proof.session_storage = Arc::new(NoServerSessionStorage {});
        proof.send_tls13_tickets = 0;
        Ok(Self {
            usual,
            proof: Arc::new(proof),
            challenges,
            sites: sites.clone(),
            shown,
        })
    }

    /// Reads the files again, for handshakes from now on; if any of them is wrong, all stays as it was (TLS-2).
    pub fn reload(&self) -> Result<(), CertificateError> {
        let certificates = Certificates::read(&self.shown.pairs, &self.sites, &provider())?;
        self.shown.now.store(Arc::new(certificates));
        Ok(())
    }

    /// The certificates that are shown now.
    pub(super) fn certificates(&self) -> Arc<Certificates> {
        self.shown.now.load_full()
    }

    /// Shakes hands; none if that was all that was wanted, by an authority. The caller bounds the time.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Option<(TlsStream<S>, Settled)>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if self.is_wanted_proof(&hello.client_hello()) {
            let mut stream = hello.into_stream(Arc::clone(&self.proof)).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        let config = Arc::clone(self.usual.of(hello.client_hello().cipher_suites()));
        let stream = hello.into_stream(config).await?;
        let (_, connection) = stream.get_ref();
        let settled = Settled {
            http_2: connection.alpn_protocol() == Some(HTTP_2),
            named: Named::by(&self.sites, connection.server_name()),
        };
        Ok(Some((stream, settled)))
    }

    /// Whether somebody looks for a proof alone, of a name for which there is one now.
    fn is_wanted_proof(&self, hello: &ClientHello<'_>) -> bool {
        let asks = hello.alpn().is_some_and(|offered| offered.eq([CHALLENGE]));
        asks && hello.server_name().is_some_and(|name| self.challenges.certificate(name).is_some())
    }
}

/// Shows proofs, and nothing else.
#[derive(Debug)]
struct Proofs(Challenges);

impl ResolvesServerCert for Proofs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.certificate(hello.server_name()?)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now.load().choose(hello.server_name())
    }
}

fn config(provider: Arc<CryptoProvider>, resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, CertificateError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(CertificateError::Provider)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.ignore_client_order = true;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn side(sites: &Sites, name: &str) -> Option<Side> {
    let authority: Authority = name.parse().ok()?;
    Side::of(&sites.route(&authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_7_a_server_name_reaches_its_own_side_alone() {
        let named = Sites::new("https://portico.test:8443".parse().expect("an origin"), "codespaces.example");
        let numbered = |url: &str| Sites::new(url.parse().expect("an origin"), "codespaces.example");
        let (four, six) = (numbered("https://192.0.2.1"), numbered("https://[2001:db8::1]:8443"));
        for (sites, name, reached) in [
            (&named, Some("portico.test"), [true, false]),
            (&named, Some("PORTICO.test"), [true, false]),
            (&named, Some("amber-x.codespaces.example"), [false, true]),
            (&named, Some("amber-x-3000.codespaces.example"), [false, true]),
            (&named, Some("codespaces.example"), [false, true]),
            (&named, Some("somebody.else"), [false, false]),
            (&named, Some("portico.test.somebody.else"), [false, false]),
            (&named, Some(""), [false, false]),
            (&named, None, [false, false]),
            (&four, None, [true, false]),
            (&six, None, [true, false]),
            (&four, Some("somebody.else"), [false, false]),
            (&four, Some("amber-x.codespaces.example"), [false, true]),
        ] {
            let port = sites.route(&"amber-x-3000.codespaces.example".parse().expect("a host"));
            let of = Named::by(sites, name);
            let found = [Route::Gateway, port].map(|route| of.reaches(&route, sites));
            assert_eq!(found, reached, "{name:?} at {}", sites.gateway());
            assert!(!of.reaches(&Route::Foreign, sites), "{name:?}");
        }
    }
}
