//! The few requests to an authority: HTTP/1.1 over TLS, each on a connection of its own, bounded in time and size.

use std::{io, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::AcmeError;
use crate::outbound::Outbound;

/// Longest exchange.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer: a chain of certificates is some KiB.
const MAX_BYTES: usize = 1024 * 1024;

/// Speaks with one authority.
#[derive(Clone)]
pub(super) struct Transport {
    tls: TlsConnector,
    outbound: Outbound,
}

impl Transport {
    /// Trusts one root, or those of the machine.
    pub(super) fn new(root: Option<&Path>, outbound: Outbound) -> Result<Self, AcmeError> {
        let mut roots = RootCertStore::empty();
        match root {
            Some(path) => {
                let bad = || AcmeError::Root(path.to_owned());
                let certificate = CertificateDer::from_pem_file(path).map_err(|_| bad())?;
                roots.add(certificate).map_err(|_| bad())?;
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| AcmeError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            outbound,
        })
    }

    async fn exchange(self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let uri = std::mem::take(request.uri_mut());
        let wrong = |what: &'static str| other(io::Error::other(what));
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(|| wrong("its addresses must begin with https://"))?.to_owned();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let field = HeaderValue::from_str(authority).map_err(|_| wrong("its address is none"))?;
        request.headers_mut().insert(header::HOST, field);
        *request.uri_mut() = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let stream = self.outbound.dial(&host, uri.port_u16().unwrap_or(443)).await.map_err(other)?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(other)?;
        let stream = self.tls.connect(name, stream).await.map_err(other)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(other)?;
            let (parts, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(Limited::new(body, MAX_BYTES))
                .await
                .map_err(Error::Other)?;
            Ok(http::Response::from_parts(parts, http_body_util::Full::new(body.to_bytes())))
        };
        let mut exchange = std::pin::pin!(exchange);
        let mut connection = std::pin::pin!(connection);
        let response = tokio::select! {
            response = &mut exchange => response,
            // It may end with the answer's last byte, before the answer was looked at.
            _ended = &mut connection => exchange.await,
        };
        response.map(BytesResponse::from)
    }
}

impl HttpClient for Transport {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = self.clone().exchange(request);
        Box::pin(async move {
            timeout(PATIENCE, exchange)
                .await
                .unwrap_or_else(|_| Err(other(io::Error::from(io::ErrorKind::TimedOut))))
        })
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}
