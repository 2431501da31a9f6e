//! TLS at the front door: certificates chosen by server name without a lock and read again when their files change, TLS 1.2
//! and 1.3, no 0-RTT (TLS-1 to TLS-3).
//!
//! Refuses to decide anything by the server name: it chooses the certificate, and a request is routed by its authority.

mod certificates;
mod tickets;
mod watch;

use std::{io, sync::Arc};

use arc_swap::ArcSwap;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::tickets::Tickets;
pub use self::{
    certificates::{CertificateError, Certificates, Pair},
    watch::watch,
};
use crate::{
    clock::SharedClock,
    route::{Authority, Route, Sites},
};

/// The bytes from which the keys of session tickets are made.
pub type TicketSecret = [u8; 32];

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// Speaks TLS with whoever connects. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
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
    pub side: Option<Side>,
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

impl Tls {
    /// Reads certificates with their keys; the first is shown to who asks for no name of ours.
    pub fn load(pairs: Vec<Pair>, sites: &Sites, secret: TicketSecret, clock: SharedClock) -> Result<Self, CertificateError> {
        let provider = provider();
        let shown = Arc::new(Shown {
            looks: watch::of(&pairs),
            now: ArcSwap::from_pointee(Certificates::read(&pairs, sites, &provider)?),
            pairs,
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(CertificateError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        config.ticketer = Arc::new(Tickets::new(secret, clock));
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
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

    /// Shakes hands. The caller bounds the time.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<(TlsStream<S>, Settled)> {
        let stream = self.acceptor.accept(stream).await?;
        let (_, connection) = stream.get_ref();
        let settled = Settled {
            http_2: connection.alpn_protocol() == Some(HTTP_2),
            side: connection.server_name().and_then(|name| side(&self.sites, name)),
        };
        Ok((stream, settled))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now.load().choose(hello.server_name())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn side(sites: &Sites, name: &str) -> Option<Side> {
    let authority: Authority = name.parse().ok()?;
    Side::of(&sites.route(&authority))
}
