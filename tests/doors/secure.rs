//! Clients of the gateway that speaks TLS, over HTTP/1.1 and HTTP/2.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{gateway::Gateway, wire::Way};

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One connection; all its streams if it is one of HTTP/2.
pub enum Client {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Client {
    /// Connects by the name of a host.
    pub async fn connect(gateway: &Gateway, host: &str, protocol: &str) -> Self {
        let way = gateway.way();
        let socket = TcpStream::connect(way.address).await.expect("connected");
        socket.set_nodelay(true).expect("set");
        let config: Arc<_> = way.tls.expect("it speaks TLS").speaking(protocol);
        let stream = TlsConnector::from(config).connect(Way::name(host), socket).await.expect("TLS");
        let stream = TokioIo::new(stream);
        if protocol == "h2" {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            return Self::Two(sender);
        }
        let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1");
        tokio::spawn(connection.with_upgrades());
        Self::One(sender)
    }

    /// A request for a host, in the form of its protocol.
    pub fn request(&self, host: &str, target: &str) -> http::request::Builder {
        match self {
            Self::One(_) => Request::builder().uri(target).header("host", host),
            Self::Two(_) => Request::builder().uri(format!("https://{host}{target}")),
        }
    }

    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => sender.send_request(request).await,
            Self::Two(sender) => sender.send_request(request).await,
        }
    }

    /// Another holder of a connection that can have many streams.
    pub fn share(&self) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Two(sender) => Some(Self::Two(sender.clone())),
        }
    }

    /// Whether it can take a request now.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_ready(),
            Self::Two(sender) => sender.is_ready(),
        }
    }
}

pub fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
