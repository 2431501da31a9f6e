//! Asking a provider: one connection a question, bounded in time and size, without redirects.
//!
//! Asks no address but those that the configuration names or a configured provider's own document (SSRF-1).

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_rustls::TlsConnector;

use crate::outbound::{Outbound, is_this_machine};

/// From the first byte of a connection to the last of an answer.
const TIME: Duration = Duration::from_secs(10);
/// Longest answer in bytes; a large set of keys has some 20 KiB.
const MAX_BYTES: usize = 512 * 1024;
/// Most questions at once, so that a crowd at the sign-in page is no attack on the provider.
const MAX_AT_ONCE: usize = 32;

/// An address that may be asked: https, or http on this very machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint(Uri);

/// Asks providers.
pub(super) struct Fetcher {
    outbound: Outbound,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
    at_once: Semaphore,
}

/// What is asked for.
pub(super) struct Question<'a> {
    pub method: Method,
    pub endpoint: &'a Endpoint,
    pub authorization: Option<String>,
    /// A form to send, if any.
    pub form: Vec<(&'a str, &'a str)>,
}

/// An answer, of any status.
pub(super) struct Answer {
    pub status: StatusCode,
    body: Bytes,
}

/// Why there is no answer, or none that can be read; for the log.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("cannot reach {host}")]
    Unreachable { host: String, source: io::Error },
    #[error("{0} does not answer")]
    TimedOut(String),
    #[error("{host} broke off its answer")]
    Broken {
        host: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{host} answered {status}")]
    Refused { host: String, status: StatusCode },
    #[error("the answer of {0} is not what was asked for")]
    Strange(String),
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Endpoint {
    /// Reads an address; none for one that must not be asked.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let host = uri.host()?;
        let plain = !text.contains('#') && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let safe = match uri.scheme_str()? {
            "https" => true,
            "http" => is_this_machine(host),
            _ => false,
        };
        (plain && safe).then_some(Self(uri))
    }

    /// Adds a query to the address, after the one that it may have.
    pub(super) fn with_query(&self, pairs: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        let joint = if self.0.query().is_some() { '&' } else { '?' };
        format!("{}{joint}{}", self.0, query.finish())
    }

    fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl Fetcher {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self {
            outbound,
            tls: OnceLock::new(),
            at_once: Semaphore::new(MAX_AT_ONCE),
        }
    }

    /// Reads a JSON document.
    pub(super) async fn get<T: DeserializeOwned>(&self, endpoint: &Endpoint, authorization: Option<String>) -> Result<T, FetchError> {
        let question = Question {
            method: Method::GET,
            endpoint,
            authorization,
            form: Vec::new(),
        };
        let answer = self.ask(question).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Refused {
                host: endpoint.authority().to_owned(),
                status: answer.status,
            });
        }
        answer.json(endpoint)
    }

    /// Asks, and takes the answer whatever its status.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, FetchError> {
        let endpoint = question.endpoint;
        let timed_out = || FetchError::TimedOut(endpoint.authority().to_owned());
        let asking = async {
            let _turn = self.at_once.acquire().await.map_err(|_| timed_out())?;
            let stream = self.connect(endpoint).await.map_err(|source| FetchError::Unreachable {
                host: endpoint.authority().to_owned(),
                source,
            })?;
            exchange(stream, &question).await.map_err(|source| FetchError::Broken {
                host: endpoint.authority().to_owned(),
                source,
            })
        };
        tokio::time::timeout(TIME, asking).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Box<dyn Connection>> {
        let port = endpoint.0.port_u16().unwrap_or(if endpoint.is_tls() { 443 } else { 80 });
        let stream = self.outbound.dial(endpoint.host(), port).await?;
        stream.set_nodelay(true)?;
        if !endpoint.is_tls() {
            return Ok(Box::new(stream));
        }
        let host = endpoint.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(self.tls()?).connect(name, stream).await?))
    }

    /// Trusts the system's certificates, or those of `SSL_CERT_FILE`, as found at the first question.
    fn tls(&self) -> io::Result<Arc<rustls::ClientConfig>> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self, from: &Endpoint) -> Result<T, FetchError> {
        serde_json::from_slice(&self.body).map_err(|_| FetchError::Strange(from.authority().to_owned()))
    }
}

/// Sends the question and reads the whole answer, driving the connection meanwhile.
async fn exchange(stream: Box<dyn Connection>, question: &Question<'_>) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let request = request(question)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let talk = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    tokio::pin!(talk, connection);
    let mut connected = true;
    loop {
        tokio::select! {
            answer = &mut talk => return answer,
            // What it read before it ended is still to be taken.
            _ended = &mut connection, if connected => connected = false,
        }
    }
}

fn request(question: &Question<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let target = question.endpoint.0.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(target)
        .header(header::HOST, question.endpoint.authority())
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("portico/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = &question.authorization {
        let mut value = HeaderValue::from_str(authorization)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if question.form.is_empty() {
        return request.body(Full::default());
    }
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&question.form)
        .finish();
    request
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(form.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssrf_1_what_may_be_asked() {
        for (text, good) in [
            ("https://id.example", true),
            ("https://id.example:8443/a?b=c", true),
            ("http://127.0.0.1:3000", true),
            ("http://[::1]:3000/x", true),
            ("http://id.localhost:3000", true),
            ("http://id.example", false),
            ("http://localhost.example", false),
            ("https://user@id.example", false),
            ("https://id.example/#x", false),
            ("file:///etc/passwd", false),
            ("ftp://127.0.0.1", false),
            ("id.example", false),
            ("/x", false),
            ("", false),
        ] {
            assert_eq!(Endpoint::parse(text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn a_query_joins_the_one_that_is_there() {
        let asked = |text: &str| Endpoint::parse(text).expect("an endpoint").with_query(&[("a", "b c"), ("d", "&")]);
        assert_eq!(asked("https://id.example/x"), "https://id.example/x?a=b+c&d=%26");
        assert_eq!(asked("https://id.example/x?p=1"), "https://id.example/x?p=1&a=b+c&d=%26");
    }
}
