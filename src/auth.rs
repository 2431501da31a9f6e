//! Who someone is: users, login sessions, tokens, one-time links, and the tickets that carry a sign-in to a codespace host.
//!
//! Owns every credential that Portico gives out and what each proves ([`Presented`] has three answers, and an invalid
//! credential never becomes anonymous). All of it is in memory and written through to the store; no request reads the
//! store. Refuses to know: what someone may do (`policy`), responses and redirects (`edge`, `api`).

mod acknowledged;
mod attempts;
mod cookies;
mod denials;
mod device;
mod endings;
mod grants;
mod hop;
mod host_cookie;
mod identities;
mod links;
mod outside;
mod passwords;
mod secrets;
mod sessions;
mod sign_in;
mod signing;
mod tickets;
mod tokens;
mod users;

#[cfg(test)]
mod fixture;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use dashmap::DashMap;
use foldhash::fast::RandomState as Quick;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio_util::task::TaskTracker;

use crate::{
    audit::Actor,
    domain::{SessionId, TokenId, UserId, UserName},
    route::Sites,
    store::{AuditRecord, SharedStore, StoreError},
};

pub use attempts::{AttemptLimit, AttemptLimits};
pub use cookies::{
    ACCESS_COOKIE, GATEWAY_COOKIE_PREFIX, MAX_NONCES, NONCE_COOKIE_PREFIX, NonceCookie, SESSION_COOKIE, clear_access_cookie,
    clear_nonce_cookie, clear_session_cookie, is_gateway_cookie, nonce_cookie, nonce_cookies,
};
pub use device::{DeviceCodes, DeviceError, DeviceRequest, DeviceWaiting};
pub use grants::SharePasswordError;
pub use hop::{Hop, HopError};
pub use host_cookie::KnownCookie;
pub use identities::LinkedIdentity;
pub use links::{Link, LinkError, LinkKind, LinkUsed, SIGN_IN_LINK_FOR};
pub use outside::{
    Arrived, BackChannelError, Callback, Departure, Elsewhere, HeaderOptions, NotAllowed, Options as OutsideOptions, OutsideError,
    ProviderKind, ProviderOptions, Reason as OutsideReason, Rules, Secret, SignOut, SignUp, Vouched, Way, Ways, clear_crowded_flows,
};
pub use passwords::PasswordError;
pub use secrets::hash_secret;
pub use sessions::LoginSession;
pub use sign_in::{Fresh, SignInError};
pub use tickets::{Binding, Proof, Redeemed, Ticket, TicketError};
pub use tokens::{NewToken, Token};
pub use users::{NewUser, User, UserError};

pub use crate::policy::Presented;

/// Most writes that may wait for the store; more than a busy gateway makes in seconds.
const MAX_WRITES: usize = 4096;

/// What the module is configured with.
#[derive(Clone, Debug)]
pub struct Options {
    pub sites: Sites,
    /// A login session that was silent for so long is over; 12 h by default (SESS-2).
    pub session_idle: Duration,
    /// A login session so old is over; 7 d by default (SESS-2).
    pub session_absolute: Duration,
    /// Tokens that one account may have at once, those inside its codespaces not counted.
    pub tokens_per_user: usize,
    /// How often a wrong password, code or answer of a provider may be tried (RATE-1).
    pub attempts: AttemptLimits,
    /// How people may sign in.
    pub outside: OutsideOptions,
}

/// Where an attempt to sign in comes from.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The peer's address, never taken from a header that anyone can send (RATE-1).
    pub address: Option<IpAddr>,
    /// Its `User-Agent`, cut to 200 bytes when kept.
    pub agent: String,
    /// The id of the request in the access log.
    pub request_id: Option<String>,
}

impl Client {
    /// Whom the audit log names for what comes from here.
    fn actor(&self, name: &str) -> Actor {
        Actor {
            name: name.into(),
            address: self.address.map(|address| address.to_string()),
            request_id: self.request_id.clone(),
        }
    }
}

/// The one that knows who someone is; cloning is cheap.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    options: Options,
    users: DashMap<UserId, Arc<User>, Quick>,
    names: DashMap<UserName, UserId>,
    identities: identities::Table,
    sessions: DashMap<SessionId, Arc<LoginSession>, Quick>,
    session_hashes: DashMap<[u8; 32], SessionId, Quick>,
    /// When the next session ends that its provider gave an end, in Unix seconds.
    next_end: AtomicI64,
    tokens: DashMap<TokenId, Arc<Token>, Quick>,
    token_hashes: DashMap<[u8; 32], TokenId, Quick>,
    owed: endings::Owed,
    links: Mutex<HashMap<[u8; 32], links::Kept>>,
    tickets: Mutex<tickets::Table>,
    attempts: Arc<Mutex<attempts::Attempts>>,
    refusals: Mutex<attempts::Refusals>,
    /// Codes of [`device`] that people type, which are short.
    code_attempts: Mutex<attempts::Attempts>,
    /// Passwords of share links.
    share_attempts: Arc<Mutex<attempts::Attempts>>,
    /// Who has a password of a new link being hashed.
    sharing: Arc<Mutex<HashSet<UserId>>>,
    devices: Mutex<device::Table>,
    denials: Mutex<denials::Denials>,
    outside: outside::Outside,
    hasher: passwords::Hasher,
    key: signing::Key,
    /// One change to users, tokens or sessions at a time, so that memory and store never disagree about the order.
    changing: tokio::sync::Mutex<()>,
    /// Writes that nobody waits for: when a session was last seen, audit of replays.
    writes: TaskTracker,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

impl Auth {
    /// Reads users, login sessions and tokens; those that are over are left out and removed.
    pub async fn load(store: SharedStore, options: Options, now: OffsetDateTime) -> Result<Self, StoreError> {
        let key = signing::Key::load(store.as_ref()).await?;
        let attempts = || Mutex::new(attempts::Attempts::within(options.attempts));
        let (of_passwords, of_codes, of_shares) = (attempts(), attempts(), attempts());
        let inner = Inner {
            outside: outside::Outside::new(options.outside.clone()),
            options,
            users: DashMap::default(),
            names: DashMap::new(),
            identities: identities::Table::default(),
            sessions: DashMap::default(),
            session_hashes: DashMap::default(),
            next_end: i64::MAX.into(),
            tokens: DashMap::default(),
            token_hashes: DashMap::default(),
            owed: endings::Owed::default(),
            links: Mutex::default(),
            tickets: Mutex::default(),
            attempts: Arc::new(of_passwords),
            refusals: Mutex::default(),
            code_attempts: of_codes,
            share_attempts: Arc::new(of_shares),
            sharing: Arc::default(),
            devices: Mutex::default(),
            denials: Mutex::default(),
            hasher: passwords::Hasher::new(),
            key,
            changing: tokio::sync::Mutex::new(()),
            writes: TaskTracker::new(),
            store,
        };
        let auth = Self { inner: Arc::new(inner) };
        auth.load_users().await?;
        auth.load_identities().await?;
        auth.load_sessions(now).await?;
        auth.load_tokens(now).await?;
        Ok(auth)
    }

    /// Ends what is over by `now`: login sessions, tokens, links, tickets. To be called about once a minute.
    pub async fn sweep(&self, now: OffsetDateTime) {
        self.sweep_sessions(now);
        self.sweep_tokens(now).await;
        self.sweep_links(now);
        self.sweep_tickets(now);
        self.sweep_devices(now);
        self.sweep_flows(now);
    }

    /// Waits for writes that nobody waited for; the last call before the store is closed.
    pub async fn settle(&self) {
        self.inner.writes.close();
        self.inner.writes.wait().await;
        self.tell_owed().await;
        self.owed_at_the_end();
    }

    /// Appends to the audit log; a failure is logged and stops nothing that already happened.
    async fn audit(&self, action: &str, by: &Actor, target: &str, detail: &str, now: OffsetDateTime) {
        let event = AuditRecord {
            at: now,
            action: action.into(),
            actor: by.name.clone(),
            target: target.into(),
            detail: detail.into(),
            address: by.address.clone(),
            request_id: by.request_id.clone(),
        };
        if let Err(error) = self.inner.store.append_audit(&event).await {
            tracing::error!(action, %error, "an audit event was not written");
        }
    }

    /// Runs a change alone, and to its end even if the request that asked for it is given up: memory and store must
    /// not part.
    async fn change<T, E, F>(&self, change: impl FnOnce(Self) -> F + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        let auth = self.clone();
        let running = self.inner.writes.spawn(async move {
            let inner = auth.inner.clone();
            let _changing = inner.changing.lock().await;
            change(auth).await
        });
        running.await.map_err(|error| StoreError::Failed(Box::new(error)))?
    }

    /// Appends to the audit log without making the caller wait. What somebody makes happen faster than the store can keep
    /// is lost, and the log says so: it must not pile up here.
    fn audit_later(&self, action: &'static str, by: Actor, target: String, detail: String, now: OffsetDateTime) {
        if self.inner.writes.len() >= MAX_WRITES {
            tracing::error!(action, "audit event lost: the store is too slow");
            return;
        }
        let auth = self.clone();
        self.write_later(async move { auth.audit(action, &by, &target, &detail, now).await });
    }

    /// Runs a write that no request waits for; dropped where there is no runtime.
    fn write_later(&self, write: impl Future<Output = ()> + Send + 'static) {
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            self.inner.writes.spawn_on(write, &handle);
        }
    }
}
