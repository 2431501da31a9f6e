//! The context of one exchange; its drop writes the one access-log record.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{Method, Request, Response, Uri};

use super::{
    Body,
    access_log::{Page, Record},
    addressee::Addressee,
    addresses::{Place, TooMany},
    caller::Caller,
    lease::Leases,
    recall::Recall,
    streams::Untaken,
    tls::Named,
    upload::TooLarge,
};
use crate::{
    auth,
    codespace::{Counted, Room},
    domain::UserName,
    ops::{Purpose, Tally},
    route::Route,
};

/// Longest path that is logged, in bytes (LOG-2).
const MAX_LOGGED_PATH: usize = 1024;

/// Longest method that is logged, in bytes.
const MAX_LOGGED_METHOD: usize = 32;

/// The connection that requests come from; with HTTP/2, the stream.
#[derive(Debug)]
pub struct Peer {
    pub(super) caller: Caller,
    /// Whom the server name of its TLS handshake means; none without TLS (HOST-7).
    pub(super) named: Option<Named>,
    /// The leases whose end must end it.
    pub(super) leases: Leases,
    pub(super) patience: Patience,
    pub(super) recall: Arc<Recall>,
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
    pub(super) fn new(caller: Caller, named: Option<Named>, patience: Patience, recall: Arc<Recall>) -> Self {
        Self {
            caller,
            named,
            patience,
            recall,
            leases: Leases::default(),
            untaken: Untaken::default(),
        }
    }
}

/// Where one thread writes down what its exchanges were.
#[derive(Debug)]
pub(super) struct Books {
    pub tally: Tally,
    /// None if the log's level leaves the access log out.
    pub log: Option<Page>,
}

/// Why a request's body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveUp {
    TooLarge(TooLarge),
    /// It broke off, stood still or was not lawful.
    Broken,
}

/// One request and its response, or one upgraded connection.
#[derive(Debug)]
pub struct Exchange {
    id: RequestId,
    started: Instant,
    client: IpAddr,
    /// The place of a client behind a proxy.
    place: OnceLock<Option<Place>>,
    method: Method,
    path: Box<str>,
    asked: OnceLock<Arc<Addressee>>,
    account: OnceLock<UserName>,
    /// Why the gateway itself answered, if it did; for operators.
    note: OnceLock<Cow<'static, str>>,
    status: AtomicU16,
    sent: AtomicU64,
    received: AtomicU64,
    cut_short: AtomicBool,
    gave_up: OnceLock<GaveUp>,
    /// Its place among those of its port, where its owner limits them.
    room: OnceLock<Room>,
    /// What it is counted by, if it is a stranger's and strangers are capped.
    counted: OnceLock<Counted>,
    books: Arc<Books>,
}

/// An id of letters, digits and hyphens.
#[derive(Debug)]
struct RequestId {
    text: [u8; Self::LONGEST],
    length: usize,
}

impl Exchange {
    /// Opens the context of a request from a client's address.
    pub(super) fn begin<B>(request: &Request<B>, client: IpAddr, books: &Arc<Books>) -> Arc<Self> {
        let logged = books.log.is_some();
        Arc::new(Self {
            id: RequestId::of(request),
            started: Instant::now(),
            client,
            place: OnceLock::new(),
            method: request.method().clone(),
            path: if logged { logged_path(request.uri()) } else { Box::default() },
            asked: OnceLock::new(),
            account: OnceLock::new(),
            note: OnceLock::new(),
            status: AtomicU16::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            cut_short: AtomicBool::new(false),
            gave_up: OnceLock::new(),
            room: OnceLock::new(),
            counted: OnceLock::new(),
            books: Arc::clone(books),
        })
    }

    /// Counts cookies of its answer that an app meant for other hosts too.
    pub(super) fn narrowed(&self, cookies: u64) {
        if cookies > 0 {
            self.books.tally.narrowed(cookies);
        }
    }

    /// Where it comes from, for the audit log.
    pub fn client_in_audit(&self) -> auth::Client {
        auth::Client {
            address: Some(self.client()),
            request_id: Some(self.id().to_owned()),
            ..auth::Client::default()
        }
    }

    /// The id under which logs and pages speak of this exchange.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
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

    /// Keeps a place until the exchange ends.
    pub(super) fn keep(&self, room: Room) {
        let _ = self.room.set(room);
    }

    /// Has its bytes counted from now on.
    pub(super) fn count_by(&self, counted: Counted) {
        let _ = self.counted.set(counted);
    }

    pub(super) fn counted(&self) -> Option<&Counted> {
        self.counted.get()
    }

    fn passed(&self, bytes: usize) {
        if let Some(counted) = self.counted.get() {
            counted.bytes(bytes, Instant::now());
        }
    }

    pub(super) fn route(&self, asked: &Arc<Addressee>) {
        drop(self.asked.set(Arc::clone(asked)));
    }

    pub(super) fn account(&self, name: &UserName) {
        drop(self.account.set(name.clone()));
    }

    pub(super) fn note(&self, note: impl Into<Cow<'static, str>>) {
        drop(self.note.set(note.into()));
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
        self.passed(bytes);
    }

    /// What passed over an upgraded connection, which counted it itself.
    pub(super) fn relayed(&self, received: u64, sent: u64) {
        self.received.fetch_add(received, Relaxed);
        self.sent.fetch_add(sent, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
        self.passed(bytes);
    }

    /// The request's body failed on its way to an app. Over HTTP/2 nothing else says so.
    pub(super) fn give_up(&self, why: GaveUp) {
        let _ = self.gave_up.set(why);
    }

    pub(super) fn gave_up(&self) -> Option<GaveUp> {
        self.gave_up.get().copied()
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
        let asked = self.asked.get();
        self.books.tally.exchange(purpose(asked.map(|asked| &asked.route)), status);
        let Some(log) = &self.books.log else { return };
        let now = Instant::now();
        let record = Record {
            id: self.id.as_str(),
            client: self.client,
            // A name that is longer than any method is refused, and must not fill the log either (LOG-2).
            method: beginning(self.method.as_str(), MAX_LOGGED_METHOD),
            host: asked.map_or("", |asked| asked.authority.as_str()),
            path: &self.path,
            to: asked.map(|asked| &asked.route),
            account: self.account.get().map_or("", UserName::as_str),
            status,
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            cut_short: self.cut_short.load(Relaxed),
            note: self.note.get().map_or("", Cow::as_ref),
            took: now.saturating_duration_since(self.started),
        };
        log.write(&record, now);
    }
}

fn purpose(route: Option<&Route>) -> Purpose {
    match route {
        Some(Route::Gateway) => Purpose::Gateway,
        Some(Route::Editor(_)) => Purpose::Editor,
        Some(Route::Port(..)) => Purpose::Port,
        Some(Route::NoSuchCodespace | Route::Foreign) | None => Purpose::None,
    }
}

/// Never the query: it may hold secrets (LOG-1). The path behind a share link's prefix is one.
fn logged_path(uri: &Uri) -> Box<str> {
    let path = uri.path();
    if path.starts_with("/.portico/s/") || path.starts_with("/.portico/in/") {
        return "/.portico/…".into();
    }
    if path.len() <= MAX_LOGGED_PATH && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return path.into();
    }
    let plain = |char: char| {
        if char.is_ascii_graphic() {
            char
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    path.chars().take(MAX_LOGGED_PATH).map(plain).collect()
}

fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl RequestId {
    const LONGEST: usize = 64;

    /// Keeps a client's request id if it is harmless, else makes one (HDR-8).
    fn of<B>(request: &Request<B>) -> Self {
        let harmless =
            |id: &&[u8]| (1..=Self::LONGEST).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        let given = request.headers().get("x-request-id").map(http::HeaderValue::as_bytes);
        given.filter(harmless).map_or_else(Self::fresh, Self::new)
    }

    fn fresh() -> Self {
        let random: [u8; 8] = rand::random();
        let digits: [u8; 16] = std::array::from_fn(|index| b"0123456789abcdef"[usize::from(random[index / 2] >> (4 * (index % 2)) & 0xf)]);
        Self::new(&digits)
    }

    fn new(id: &[u8]) -> Self {
        let mut text = [0; Self::LONGEST];
        text[..id.len()].copy_from_slice(id);
        Self { text, length: id.len() }
    }

    fn as_str(&self) -> &str {
        // Nothing but ASCII is in it.
        str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}
