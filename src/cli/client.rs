//! The command line's HTTP client: one connection a call, over TCP, TLS or the administration socket.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, tungstenite};

use crate::{
    api::problem::ProblemBody,
    route::{Origin, Scheme},
    unix_socket,
};

/// Longest answer that is read in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take; deleting waits for the codespace to end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// What the agent of the codespace that this runs in is called.
pub const OWN_AGENT: &str = "this codespace's agent";

/// Bytes to and from a gateway.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A WebSocket to a gateway.
pub type Socket = WebSocketStream<Box<dyn Connection>>;

/// Where a gateway is.
#[derive(Clone, Debug)]
pub enum Place {
    /// Its URL.
    Url(Origin),
    /// The administration socket of the gateway on this machine.
    Socket(PathBuf),
    /// The socket of this codespace's agent, which is no gateway and takes and ends leases.
    Agent(PathBuf),
}

/// Calls a gateway's API.
#[derive(Clone)]
pub struct Client {
    place: Place,
    token: Option<String>,
    /// The account that the operator acts for.
    acting_as: Option<String>,
}

/// Why a call failed; `Display` is for people.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot reach {place}: {cause}")]
    Unreachable { place: String, cause: String },
    #[error("{}", said(.0))]
    Refused(Box<ProblemBody>),
    #[error("{place} answered {status}, and not as a Portico gateway does. Is the URL right?")]
    Strange { place: String, status: StatusCode },
    #[error("the connection to {0} ended before the answer was complete")]
    Broken(String),
}

fn said(problem: &ProblemBody) -> String {
    match problem.detail.is_empty() {
        true => problem.title.clone(),
        false => format!("{}: {}", problem.title, problem.detail),
    }
}

impl ClientError {
    /// The problem's slug, if the gateway refused.
    pub fn slug(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem.kind.strip_prefix("urn:portico:"),
            _ => None,
        }
    }
}

impl Client {
    /// Calls that carry a token, if there is one.
    pub fn new(place: Place, token: Option<String>) -> Self {
        Self {
            place,
            token,
            acting_as: None,
        }
    }

    /// Acts for an account; only the operator may.
    #[must_use]
    pub fn acting_as(mut self, user: Option<&str>) -> Self {
        self.acting_as = user.map(str::to_owned);
        self
    }

    /// Reads a thing.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(Method::GET, path, None::<&()>).await
    }

    /// Sends a call and reads its answer as JSON.
    pub async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<T, ClientError> {
        let bytes = self.call(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Strange {
            place: self.to_string(),
            status: StatusCode::OK,
        })
    }

    /// Sends a call and reads its answer as it is.
    pub async fn call(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Bytes, ClientError> {
        let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default()).unwrap_or_default();
        let request = self
            .request(method, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.unreachable(&error))?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        answer.unwrap_or_else(|_| Err(self.unreachable(&"it does not answer")))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| self.unreachable(&error));
        let read = match answer {
            Ok(answer) => self.read(answer).await,
            Err(error) => Err(error),
        };
        driver.abort();
        read
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|_| ClientError::Broken(self.to_string()))?
            .to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.refusal(status, &body))
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<ProblemBody>(body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => ClientError::Strange {
                place: self.to_string(),
                status,
            },
        }
    }

    /// Opens a WebSocket.
    pub async fn websocket(&self, path: &str) -> Result<Socket, ClientError> {
        // tungstenite wants an absolute target, and sends its path.
        let target = format!("ws://{}{path}", self.host());
        let request = self
            .request(Method::GET, &target)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, tungstenite::handshake::client::generate_key())
            .body(())
            .map_err(|error| self.unreachable(&error))?;
        let config = tungstenite::protocol::WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .max_message_size(Some(1024 * 1024))
            .max_frame_size(Some(1024 * 1024))
            .max_write_buffer_size(2 * 1024 * 1024);
        let stream = self.connect().await?;
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err(self.refusal(answer.status(), body))
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn request(&self, method: Method, target: &str) -> http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.host())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("portico/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(user) = &self.acting_as {
            request = request.header("x-portico-as", user);
        }
        request
    }

    fn host(&self) -> String {
        match &self.place {
            Place::Url(origin) => origin.authority(),
            Place::Socket(_) | Place::Agent(_) => "localhost".to_owned(),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ClientError> {
        let connecting = async {
            match &self.place {
                Place::Socket(path) | Place::Agent(path) => Ok(Box::new(unix_socket::connect(path).await?) as Box<dyn Connection>),
                Place::Url(origin) => connect_to(origin).await,
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&"it does not answer")),
        }
    }

    fn unreachable(&self, cause: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable {
            place: self.to_string(),
            cause: cause.to_string(),
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Url(origin) => origin.fmt(f),
            Place::Socket(path) => path.display().fmt(f),
            Place::Agent(_) => f.write_str(OWN_AGENT),
        }
    }
}

async fn connect_to(origin: &Origin) -> std::io::Result<Box<dyn Connection>> {
    let stream = dial(&origin.host, origin.port).await?;
    stream.set_nodelay(true)?;
    if origin.scheme == Scheme::Http {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(origin.host.clone()).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(tls()?).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// Connects by name; names under `.localhost` are loopback (RFC 6761), which glibc does not know.
async fn dial(host: &str, port: u16) -> std::io::Result<TcpStream> {
    if host == "localhost" || host.ends_with(".localhost") {
        let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        return TcpStream::connect(&addresses[..]).await;
    }
    TcpStream::connect((host.trim_matches(['[', ']']), port)).await
}

/// Trusts the system's certificates, or those of `SSL_CERT_FILE`.
fn tls() -> std::io::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
