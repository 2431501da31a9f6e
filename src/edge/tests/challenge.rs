//! The handshakes by which an authority sees that a name is ours (RFC 8737).

use std::io;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, UnixTime},
};
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::issuance::acme::handshake;

/// `acmeIdentifier` as a critical extension, up to the digest (RFC 8737 §3).
const EXTENSION: &[u8] = &[
    0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20,
];
const DIGEST: [u8; 32] = [0xa7; 32];

/// Takes whatever it is shown: others refuse a certificate for its critical extension.
#[derive(Debug)]
struct Curious;

impl ServerCertVerifier for Curious {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// What a handshake settled: the certificate, and what is spoken from now on.
#[derive(Debug, Eq, PartialEq)]
struct Seen {
    certificate: Vec<u8>,
    protocol: Option<String>,
    stream: Ended,
}

/// Whether the gateway ended the connection by itself, without a word.
#[derive(Debug, Eq, PartialEq)]
enum Ended {
    AtOnce,
    No,
}

impl Bench {
    async fn look(&self, name: &str, protocols: &[&str]) -> io::Result<Seen> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Curious))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = soon(connector.connect(name, self.plain().await)).await?;
        let connection = stream.get_ref().1;
        let certificate = connection.peer_certificates().and_then(<[_]>::first).expect("one").to_vec();
        let protocol = connection
            .alpn_protocol()
            .map(|protocol| String::from_utf8_lossy(protocol).into_owned());
        let ended = if protocol.as_deref() == Some("acme-tls/1") {
            let mut rest = Vec::new();
            soon(stream.read_to_end(&mut rest)).await?;
            assert!(rest.is_empty());
            Ended::AtOnce
        } else {
            Ended::No
        };
        Ok(Seen {
            certificate,
            protocol,
            stream: ended,
        })
    }
}

#[tokio::test]
async fn a_proof_is_shown_to_who_asks_for_it_while_there_is_one() {
    let (bench, _endings) = bench(LIMITS, true).await;
    let only = &["acme-tls/1"];
    let usual = bench.look("portico.test", &["h2", "http/1.1"]).await.expect("a handshake");
    assert_eq!(usual.protocol.as_deref(), Some("h2"));
    assert!(bench.look("portico.test", only).await.is_err(), "nobody waits for it");

    let proof = handshake::certificate("portico.test", &DIGEST).expect("made");
    let kept = bench.challenges.put_certificate("portico.test".into(), proof);
    let seen = bench.look("portico.test", only).await.expect("a handshake");
    assert_eq!((seen.protocol.as_deref(), &seen.stream), (Some("acme-tls/1"), &Ended::AtOnce));
    let wanted = [EXTENSION, &DIGEST].concat();
    assert!(seen.certificate.windows(wanted.len()).any(|part| part == wanted));
    assert!(bench.metrics.text(std::iter::empty()).contains("{reason=\"acme_challenge\"} 1"));
    // Nobody else meets it.
    for protocols in [&["h2", "http/1.1"][..], &["acme-tls/1", "h2"], &["h2", "acme-tls/1"]] {
        assert_eq!(
            bench.look("portico.test", protocols).await.expect("a handshake"),
            usual,
            "{protocols:?}"
        );
    }
    let plain = bench.look("portico.test", &[]).await.expect("a handshake");
    assert_eq!((plain.certificate, plain.protocol), (usual.certificate, None));
    for name in [&bench.host(3000), "evil.test"] {
        assert!(bench.look(name, only).await.is_err(), "{name}");
    }
    assert!(
        bench.look("portico.test", &["acme-tls/1", "spdy/1"]).await.is_err(),
        "RFC 8737 §3 wants it alone"
    );
    drop(kept);
    assert!(bench.look("portico.test", only).await.is_err(), "the proof is taken away");
}
