//! The context of one exchange; its drop writes the one access-log record.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{Request, Response, request::Parts};

use super::{
    Body,
    addresses::{Place, TooMany},
    caller::Caller,
    lease::Leases,
    streams::Untaken,
    tls::Side,
};
use crate::{
    ops::Metrics,
    route::{Authority, Route},
};

/// The `tracing` target of access-log records.
pub const ACCESS_LOG_TARGET: &str = "portico::access";

/// Longest path that is logged, in bytes (LOG-2).
const MAX_LOGGED_PATH: usize = 1024;

/// Longest method that is logged, in bytes.
const MAX_LOGGED_METHOD: usize = 32;

/// The connection that requests come from; with HTTP/2, the stream.
#[derive(Debug)]
pub struct Peer {
    pub(super) caller: Caller,
    /// The side of the server name in its TLS handshake, if there was one of ours (HOST-7).
    pub(super) side: Option<Side>,
    /// The leases whose end must end it.
    pub(super) leases: Leases,
    pub(super) patience: Patience,
    /// Since when its client has not taken what was answered.
    pub(super) untaken: Untaken,
}

/// How long a client may stand still in the middle of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// With the bytes of a request's body.
    pub body: Duration,
    /// With taking what it is sent.
    pub write: Duration,
}

impl Peer {
    pub(super) fn new(caller: Caller, side: Option<Side>, patience: Patience) -> Self {
        Self {
            caller,
            side,
            patience,
            leases: Leases::default(),
            untaken: Untaken::default(),
        }
    }
}

/// One request and its response, or one upgraded connection.
#[derive(Debug)]
pub struct Exchange {
    id: String,
    started: Instant,
    client: IpAddr,
    /// The place of a client behind a proxy.
    place: OnceLock<Option<Place>>,
    /// Method and path.
    request: OnceLock<(String, String)>,
    host: OnceLock<String>,
    target: OnceLock<String>,
    kind: OnceLock<&'static str>,
    account: OnceLock<String>,
    /// Why the gateway itself answered, if it did; for operators.
    note: OnceLock<String>,
    status: AtomicU16,
    sent: AtomicU64,
    received: AtomicU64,
    cut_short: AtomicBool,
    metrics: Metrics,
}

impl Exchange {
    /// Opens the context of a request from a client's address.
    pub(super) fn begin<B>(request: &Request<B>, client: IpAddr, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            id: request_id(request),
            started: Instant::now(),
            client,
            place: OnceLock::new(),
            request: OnceLock::new(),
            host: OnceLock::new(),
            target: OnceLock::new(),
            kind: OnceLock::new(),
            account: OnceLock::new(),
            note: OnceLock::new(),
            status: AtomicU16::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            cut_short: AtomicBool::new(false),
            metrics,
        })
    }

    /// The id under which logs and pages speak of this exchange.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The client's address, as far as it can be trusted.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Takes a place for a request that came through a named proxy, until the exchange ends.
    pub(super) fn count(&self, caller: &Caller) -> Result<(), TooMany> {
        let place = caller.place_behind(self.client)?;
        let _ = self.place.set(place);
        Ok(())
    }

    pub(super) fn describe(&self, head: &Parts) {
        // Never the query: it may hold secrets (LOG-1). The path behind a share link's prefix is one.
        let plain = |char: char| {
            if char.is_ascii_graphic() {
                char
            } else {
                char::REPLACEMENT_CHARACTER
            }
        };
        let path: String = head.uri.path().chars().take(MAX_LOGGED_PATH).map(plain).collect();
        let path = if path.starts_with("/.portico/s/") || path.starts_with("/.portico/in/") {
            "/.portico/…".to_owned()
        } else {
            path
        };
        // A name that is longer than any method is refused, and must not fill the log either (LOG-2).
        let method: String = head.method.as_str().chars().take(MAX_LOGGED_METHOD).collect();
        drop(self.request.set((method, path)));
    }

    pub(super) fn route(&self, route: &Route, authority: &Authority) {
        let target = match route {
            Route::Gateway => "gateway".to_owned(),
            Route::Editor(name) => format!("editor:{name}"),
            Route::Port(name, port) => format!("port:{name}:{port}"),
            Route::NoSuchCodespace => "none".to_owned(),
            Route::Foreign => "foreign".to_owned(),
        };
        let kind = match route {
            Route::Gateway => "gateway",
            Route::Editor(_) => "editor",
            Route::Port(..) => "port",
            Route::NoSuchCodespace | Route::Foreign => "none",
        };
        let _ = self.kind.set(kind);
        drop(self.target.set(target));
        drop(self.host.set(authority.to_string()));
    }

    pub(super) fn account(&self, name: &str) {
        drop(self.account.set(name.to_owned()));
    }

    pub(super) fn note(&self, note: impl Into<String>) {
        drop(self.note.set(note.into()));
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn relayed(&self, received: u64, sent: u64) {
        self.received.fetch_add(received, Relaxed);
        self.sent.fetch_add(sent, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn cut_short(&self) {
        self.cut_short.store(true, Relaxed);
    }

    /// Notes the status and hands the context to the body.
    pub(super) fn respond(self: Arc<Self>, mut response: Response<Body>) -> Response<Body> {
        self.status.store(response.status().as_u16(), Relaxed);
        response.body_mut().hold(self);
        response
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let status = self.status.load(Relaxed);
        self.metrics.exchange(self.kind.get().copied().unwrap_or("none"), status);
        let text = |cell: &'static str, value: &OnceLock<String>| value.get().cloned().unwrap_or_else(|| cell.to_owned());
        let (method, path) = self
            .request
            .get()
            .map_or(("", ""), |(method, path)| (method.as_str(), path.as_str()));
        tracing::info!(
            target: ACCESS_LOG_TARGET,
            id = self.id,
            client = %self.client,
            method,
            host = text("", &self.host),
            path,
            to = text("", &self.target),
            account = text("", &self.account),
            status,
            sent = self.sent.load(Relaxed),
            received = self.received.load(Relaxed),
            cut_short = self.cut_short.load(Relaxed),
            note = text("", &self.note),
            micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        );
    }
}

/// Keeps a client's request id if it is harmless, else makes one (HDR-8).
fn request_id<B>(request: &Request<B>) -> String {
    let harmless = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let given = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(harmless);
    given.map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}
