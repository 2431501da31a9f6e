//! TLS to an app that speaks it on its port: encrypted by the app's own wish, with whatever certificate it made itself.
//!
//! The certificate proves nothing here and is not checked: the stream was dialled through the codespace's own tunnel to
//! its own loopback, and is no less private without TLS.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What is offered to an app by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// HTTP/1.1 alone: a WebSocket comes of nothing else here.
    Http1,
    /// HTTP/2 first.
    Any,
}

/// Shakes hands with an app on its loopback; says whether it chose HTTP/2.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(stream: S, offer: Offer) -> io::Result<(TlsStream<S>, bool)> {
    static HTTP_1: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> = LazyLock::new(|| offering(&[b"http/1.1"]));
    static ANY: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> = LazyLock::new(|| offering(&[b"h2", b"http/1.1"]));
    let made = match offer {
        Offer::Http1 => &*HTTP_1,
        Offer::Any => &*ANY,
    };
    let config = made.clone().map_err(io::Error::other)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let http_2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((stream, http_2))
}

fn offering(protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = unchecked()?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client that takes any certificate: for loopback alone.
pub fn unchecked() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(AnyCertificate(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
