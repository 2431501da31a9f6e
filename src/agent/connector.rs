//! The way to the gateway: a Unix socket, TCP, or TLS over TCP.
//!
//! Owns where the gateway is and how it is dialled. Refuses to know: what is said afterwards.

mod connection;

use std::{fmt, io, net::IpAddr, net::Ipv4Addr, net::Ipv6Addr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use http::Uri;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

pub use connection::Connection;

use crate::unix_socket;

/// How long a dial may take, TLS included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a TCP connection may be silent before the kernel asks whether the peer is alive.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where the gateway is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Gateway {
    /// On this machine, at a socket that speaks plain HTTP/1.1.
    Unix(PathBuf),
    Tcp {
        tls: bool,
        host: String,
        port: u16,
    },
}

/// A text that names no gateway.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the gateway's address must be unix:PATH, http://HOST[:PORT] or https://HOST[:PORT]")]
pub struct GatewayError;

/// Dials the gateway; cheap to clone.
#[derive(Clone)]
pub struct Connector {
    gateway: Gateway,
    tls: Option<TlsConnector>,
}

/// Why the gateway was not reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("no connection")]
    Io(#[from] io::Error),
    #[error("no answer within {DIAL_TIMEOUT:?}")]
    Timeout,
    #[error("the gateway's name cannot be in a certificate")]
    Name,
    #[error("no TLS")]
    Tls(#[from] rustls::Error),
}

impl FromStr for Gateway {
    type Err = GatewayError;

    fn from_str(text: &str) -> Result<Self, GatewayError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(GatewayError)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let uri: Uri = text.parse().map_err(|_| GatewayError)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(GatewayError),
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or(GatewayError)?;
        if authority.host().is_empty() || uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(GatewayError);
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self::Tcp {
            tls,
            host: authority.host().to_owned(),
            port,
        })
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { tls, .. } => write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.authority()),
        }
    }
}

impl Gateway {
    /// The authority to ask for: the `Host` of every request to the gateway.
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp {
                tls: false,
                host,
                port: 80,
            }
            | Self::Tcp {
                tls: true,
                host,
                port: 443,
            } => host.clone(),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl Connector {
    /// Makes a connector; reads the machine's trusted certificates (or those of `SSL_CERT_FILE`) where TLS is asked for.
    pub fn new(gateway: Gateway) -> Result<Self, ConnectError> {
        let tls = match &gateway {
            Gateway::Tcp { tls: true, .. } => Some(TlsConnector::from(Arc::new(tls_config()?))),
            _ => None,
        };
        Ok(Self { gateway, tls })
    }

    /// Where it dials.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Dials the gateway.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        timeout(DIAL_TIMEOUT, self.dial()).await.map_err(|_| ConnectError::Timeout)?
    }

    async fn dial(&self) -> Result<Connection, ConnectError> {
        let (host, port) = match &self.gateway {
            Gateway::Unix(path) => return Ok(unix_socket::connect(path).await?.into()),
            Gateway::Tcp { host, port, .. } => (host.trim_start_matches('[').trim_end_matches(']'), *port),
        };
        let tcp = dial_tcp(host, port).await?;
        tcp.set_nodelay(true)?;
        SockRef::from(&tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3))?;
        let Some(tls) = &self.tls else { return Ok(tcp.into()) };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Name)?;
        Ok(tls.connect(name, tcp).await?.into())
    }
}

/// Dials a host; every name under `.localhost` is this machine, whatever the resolver says (RFC 6761).
async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return TcpStream::connect(
            &[
                (IpAddr::from(Ipv4Addr::LOCALHOST), port).into(),
                (IpAddr::from(Ipv6Addr::LOCALHOST), port).into(),
            ][..],
        )
        .await;
    }
    TcpStream::connect((host, port)).await
}

fn tls_config() -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "trusted certificates could not be read");
    }
    roots.add_parsable_certificates(found.certs);
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_gateways() {
        for (text, authority) in [
            ("unix:/run/agent.sock", "localhost"),
            ("http://portico.localhost:8080", "portico.localhost:8080"),
            ("https://portico.example/", "portico.example"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            let gateway: Gateway = text.parse().expect(text);
            assert_eq!(gateway.authority(), authority);
            assert_eq!(gateway.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "unix:",
            "portico.example",
            "ftp://portico.example",
            "https://a@b",
            "https://b/path",
            "https:///",
        ] {
            assert_eq!(text.parse::<Gateway>(), Err(GatewayError), "{text:?}");
        }
    }

    #[tokio::test]
    async fn names_under_localhost_are_loopback() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
        let port = listener.local_addr().expect("it is bound").port();
        let gateway = format!("http://nobody-knows-this.localhost:{port}").parse().expect("a gateway");
        let connector = Connector::new(gateway).expect("no TLS is needed");
        connector.connect().await.expect("it is loopback");
    }
}
