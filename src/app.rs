//! The whole gateway: built from its configuration, run, drained. The only module that knows all the others.
//!
//! Owns the order of start and stop, the data directory and its lock, and every task that nobody waits for. Refuses to
//! know how any part does its work.

mod certificates;
mod edges;
mod local;
mod logging;
mod metrics;
mod reload;
mod settings;

use std::{
    fs::{DirBuilder, File},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::FlockOperation;
use thiserror::Error;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use logging::{start as start_logging, start_agents as start_agents_logging};
pub use reload::Again;

use self::certificates::{Around, Speech};
use crate::{
    api::{self, Door},
    audit::Audit,
    auth::{self, Auth},
    belongings::{Belongings, Vault, VaultError},
    clock::{SharedClock, SystemClock},
    codespace::{Codespaces, Deps, SocketLimits},
    config::{Config, RuntimeKind},
    doctor::Doctor,
    edge::{
        self, AccessLog, CertificateError, Edge, listener,
        plain::{self, Plain},
    },
    inspect::{self, Orders, Replays},
    issuance::{Challenges, Ledger, local::LocalError},
    ops::{self, Metrics, Readiness},
    policy::Presented,
    runtime::{SharedRuntime, docker::DockerRuntime, external::ExternalRuntime, process::ProcessRuntime},
    store::{SharedStore, StoreError, sqlite::SqliteStore},
    tunnel::Tunnels,
    unix_socket, web,
};

/// The store's file in the data directory.
pub const STORE_FILE: &str = "portico.db";
/// How long the store may take to close: the command line may work on it for a moment.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// The socket of the command line in the data directory: whoever can open it is the operator.
pub const OPERATOR_SOCKET: &str = "portico.sock";
/// The socket of agents on this machine in the data directory.
pub const AGENT_SOCKET: &str = "agent.sock";
/// The file that tells the address that was bound.
pub const ADDRESS_FILE: &str = "listen";

/// Longest TLS handshake (TO-1).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often old audit events are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// How often expired sessions, tickets and attempts are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// What a session holds open closes within a second of its end (SESS-4).
const END_EVERY: Duration = Duration::from_millis(500);

/// A gateway that runs.
pub struct Gateway {
    pub config: Config,
    /// The address that was bound.
    pub address: SocketAddr,
    pub auth: Auth,
    pub codespaces: Codespaces,
    store: SharedStore,
    belongings: Belongings,
    pub clock: SharedClock,
    /// How to have the gateway's own authority trusted, if it was made just now.
    pub advice: Option<String>,
    /// Has certificates read again.
    poke: Arc<Notify>,
    /// What is known of the certificates.
    certificates: Ledger,
    audit: Audit,
    tunnels: Tunnels,
    doctor: Doctor,
    /// Where the API hands in what the edge is to ask for again.
    replays: Replays,
    readiness: Readiness,
    drain: CancellationToken,
    /// Ends what agents and the operator use, after everybody else has gone.
    close: CancellationToken,
    listeners: TaskTracker,
    locals: TaskTracker,
    threads: edges::Threads,
    /// Writes the access log; none if there is none.
    log: Option<logging::Writer>,
    _lock: File,
}

/// Why the gateway does not start; `Display` is for the operator and says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("the data directory {} cannot be used: {source}. Choose another with --data, or mend its permissions", path.display())]
    Data { path: PathBuf, source: io::Error },
    #[error("a gateway uses the data directory {}. Stop it first, wait until it has started, or choose another with --data", .0.display())]
    Locked(PathBuf),
    #[error("the store {} cannot be opened: {source}", path.display())]
    Store { path: PathBuf, source: StoreError },
    #[error(
        "the gateway cannot listen on {address}: {source}. Another program may use the port: choose another with --listen HOST:PORT, and give the same port in --url"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the gateway cannot speak TLS: {0}. Correct tls.certificate and tls.key; portico check says more")]
    Tls(#[from] CertificateError),
    #[error("the gateway's own certificate cannot be made: {0}. Remove tls/local in the data directory to begin anew")]
    Local(#[from] LocalError),
    #[error("the key that encrypts what people keep cannot be used: {0}")]
    Vault(#[from] VaultError),
    #[error("metrics cannot be served on {address}: {source}. Choose another address for metrics_listen, or none")]
    Metrics { address: SocketAddr, source: io::Error },
    #[error("plain HTTP cannot be sent to https from {address}: {source}. Choose another address for redirect_http, or none")]
    Plain { address: SocketAddr, source: io::Error },
    #[error("the access log has no thread to write it: {0}. Raise the number of threads that this user or service may have")]
    Log(#[source] io::Error),
    #[error("the socket {} cannot be made: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
}

impl Gateway {
    /// Starts a gateway; when it returns, connections are accepted.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let data = config.data.clone();
        let lock = take_data(&data)?;
        let sockets = Sockets::bind(&config).await?;
        let clock: SharedClock = Arc::new(SystemClock);
        let store = open_store(&data).await?;
        let store_failed = |source| StartError::Store {
            path: data.join(STORE_FILE),
            source,
        };
        let options = auth::Options {
            sites: config.sites(),
            session_idle: config.sessions.idle,
            session_absolute: config.sessions.absolute,
            tokens_per_user: config.limits.tokens_per_user,
            attempts: config.limits.attempts,
            outside: config.sign_in.meant(config.outbound.clone()),
        };
        let auth = Auth::load(Arc::clone(&store), options, clock.now()).await.map_err(store_failed)?;
        let challenges = Challenges::default();
        let speech = certificates::read(&config, store.as_ref(), &challenges, &clock).await?;
        let audit = Audit::new(Arc::clone(&store), Arc::clone(&clock));
        let tunnels = Tunnels::new().with_connect_timeout(config.limits.connect_timeout);
        let is_needed = !store.belongings().await.map_err(store_failed)?.is_empty();
        let vault = Vault::at(&config.belongings_key(), is_needed)?;
        let loaded = Belongings::load(Arc::clone(&store), vault, audit.clone(), Arc::clone(&clock));
        let belongings = loaded.await.map_err(store_failed)?;
        let services = (&auth, &belongings, &tunnels, &audit, &clock);
        let deps = deps(&config, Arc::clone(&store), services);
        let codespaces = Codespaces::load(deps).await.map_err(store_failed)?;
        let (replays, orders) = inspect::desk();
        let mut gateway = Self {
            address: sockets.address,
            config,
            store,
            auth,
            codespaces,
            belongings,
            clock,
            advice: None,
            poke: Arc::default(),
            certificates: Ledger::default(),
            audit,
            doctor: Doctor::new(Arc::new(tunnels.clone())),
            tunnels,
            replays,
            readiness: Readiness::default(),
            drain: CancellationToken::new(),
            close: CancellationToken::new(),
            listeners: TaskTracker::new(),
            locals: TaskTracker::new(),
            threads: edges::Threads::default(),
            log: None,
            _lock: lock,
        };
        gateway.open(sockets, speech, challenges, orders)?;
        Ok(gateway)
    }

    /// Serves on every socket, and says so.
    fn open(&mut self, sockets: Sockets, speech: Option<Speech>, challenges: Challenges, orders: Orders) -> Result<(), StartError> {
        let metrics = Metrics::new();
        metrics.same_site(self.config.is_same_site());
        self.certificates = Ledger::new(metrics.clone());
        let api = api::router(self.api_services());
        if let Some(listener) = sockets.metrics {
            let served = metrics::serve(
                listener,
                self.config.fronts().codespaces,
                metrics.clone(),
                self.codespaces.clone(),
                self.close.clone(),
            );
            self.locals.spawn(served);
        }
        let agents = local::agents(self.tunnels.clone());
        let operator = local::through(api.clone(), Door::Operator);
        self.locals
            .spawn(local::serve(sockets.agents, local::MOST_UNSAID, agents, self.close.clone()));
        self.locals
            .spawn(local::serve(sockets.operator, usize::MAX, operator, self.close.clone()));
        self.locals
            .spawn(sweep(self.auth.clone(), Arc::clone(&self.clock), self.close.clone()));
        self.locals.spawn(tell_owed(self.auth.clone(), self.close.clone()));
        self.locals
            .spawn(forget(self.audit.clone(), self.config.audit_retention, self.close.clone()));
        let gate = listener::Gate::new(limits(&self.config));
        let tls = speech.as_ref().map(|speech| speech.tls.clone());
        if let Some(listener) = sockets.plain {
            let plain = Plain {
                sites: self.config.sites(),
                fronts: Arc::new(self.config.fronts()),
                challenges: challenges.clone(),
                metrics: metrics.clone(),
            };
            self.locals.spawn(plain::serve(plain, listener, gate.clone(), self.drain.clone()));
        }
        if let Some(speech) = speech {
            self.advice.clone_from(&speech.advice);
            let around = Around {
                challenges,
                clock: Arc::clone(&self.clock),
                metrics: metrics.clone(),
                ledger: self.certificates.clone(),
                poke: Arc::clone(&self.poke),
            };
            for kept in speech.keep(&self.config, around, &self.close) {
                self.locals.spawn(kept);
            }
        }
        let door = edges::Door {
            listener: sockets.edge,
            tls,
            gate,
            close: self.close.clone(),
        };
        let address = self.address;
        let started = logging::start_access(&self.config.log, Arc::clone(&self.clock), metrics.clone());
        let (log, writer) = started.map_err(StartError::Log)?.unzip();
        self.log = writer;
        let services = self.edge(api, metrics, log);
        let replays = edge::replays::serve(Edge::new(services.clone()), orders, self.drain.clone());
        self.listeners.spawn(replays);
        self.threads = edges::start(services, &door).map_err(|source| StartError::Listen { address, source })?;
        settings::tell_changes(&self.config, &self.audit);
        write_address(&self.config.data, address)?;
        self.readiness.set(true);
        Ok(())
    }

    fn api_services(&self) -> api::Services {
        api::Services {
            auth: self.auth.clone(),
            audit: self.audit.clone(),
            codespaces: self.codespaces.clone(),
            belongings: self.belongings.clone(),
            dialer: Arc::new(self.tunnels.clone()),
            doctor: self.doctor.clone(),
            replays: self.replays.clone(),
            sites: self.config.sites(),
            certificates: self.certificates.clone(),
            clock: Arc::clone(&self.clock),
            tasks: self.listeners.clone(),
            drain: self.drain.clone(),
        }
    }

    fn edge(&self, api: axum::Router, metrics: Metrics, access_log: Option<AccessLog>) -> edge::Services {
        edge::Services {
            sites: self.config.sites(),
            fronts: Arc::new(self.config.fronts()),
            hsts: self.config.hsts,
            abuse: self.config.sharing.abuse.as_deref().map(Arc::from),
            auth: self.auth.clone(),
            codespaces: self.codespaces.clone(),
            tunnels: self.tunnels.clone(),
            dialer: Arc::new(self.tunnels.clone()),
            doctor: self.doctor.clone(),
            api,
            pages: pages(&self.auth, &self.clock, &self.readiness).merge(api::outside::pages(self.api_services())),
            clock: Arc::clone(&self.clock),
            tasks: self.listeners.clone(),
            drain: self.drain.clone(),
            metrics,
            access_log,
            control: Handle::current(),
        }
    }

    /// Ends: no more connections, then what is under way, then what agents and the operator use. Agents stay.
    pub async fn stop(self) {
        self.readiness.set(false);
        self.drain.cancel();
        self.listeners.close();
        if tokio::time::timeout(self.config.limits.drain_timeout + Duration::from_secs(1), self.listeners.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.listeners.len(), "some exchanges did not finish in time");
        }
        self.close.cancel();
        self.locals.close();
        self.locals.wait().await;
        self.tunnels.shutdown().await;
        self.codespaces.shutdown().await;
        self.auth.settle().await;
        self.audit.close().await;
        self.threads.join().await;
        if tokio::time::timeout(STORE_PATIENCE, self.store.close()).await.is_err() {
            tracing::warn!("the store is still in use; what was written last is beside it, in {STORE_FILE}-wal");
        }
        // Every record is written by now, and this waits until they are out.
        drop(tokio::task::spawn_blocking(|| drop(self.log)).await);
        drop(std::fs::remove_file(self.config.data.join(ADDRESS_FILE)));
    }
}

/// What a gateway listens on.
struct Sockets {
    edge: std::net::TcpListener,
    /// The address that was bound for the edge.
    address: SocketAddr,
    metrics: Option<TcpListener>,
    /// For plain HTTP beside TLS.
    plain: Option<TcpListener>,
    agents: UnixListener,
    operator: UnixListener,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Self, StartError> {
        let edge = listen(config.listen).await?;
        let local = |name: &str| {
            let path = config.data.join(name);
            unix_socket::bind(&path).map_err(|source| StartError::Socket { path, source })
        };
        Ok(Self {
            address: edge.local_addr().unwrap_or(config.listen),
            edge,
            metrics: metrics::listen(config.metrics_listen).await?,
            plain: listen_plain(config.redirect_http).await?,
            agents: agents_socket(config)?,
            operator: local(OPERATOR_SOCKET)?,
        })
    }
}

/// Listens for agents of this machine. Containers see the socket in a directory of its own, which is all that they see of
/// the data directory; theirs is another user's, so anybody may connect there, and needs a credential to say anything.
fn agents_socket(config: &Config) -> Result<UnixListener, StartError> {
    let path = config.data.join(AGENT_SOCKET);
    let failed = |source| StartError::Socket {
        path: path.clone(),
        source,
    };
    let listener = unix_socket::bind(&path).map_err(failed)?;
    if config.runtime == RuntimeKind::Docker {
        let reach = config.data.join("reach");
        unix_socket::share(&path, &reach.join(AGENT_SOCKET)).map_err(failed)?;
    }
    Ok(listener)
}

fn limits(config: &Config) -> listener::Options {
    let limits = &config.limits;
    listener::Options {
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        body_timeout: limits.body_timeout,
        write_timeout: limits.write_timeout,
        drain_timeout: limits.drain_timeout,
    }
}

/// Waits for SIGTERM or SIGINT; tells whether it was SIGINT, a person at the keyboard.
pub async fn until_told() -> io::Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => true,
    })
}

type Services<'a> = (&'a Auth, &'a Belongings, &'a Tunnels, &'a Audit, &'a SharedClock);

fn deps(config: &Config, store: SharedStore, (auth, belongings, tunnels, audit, clock): Services<'_>) -> Deps {
    let runtime: SharedRuntime = match config.runtime {
        RuntimeKind::Process => Arc::new(ProcessRuntime::new(config.data.clone(), config.editor.clone())),
        RuntimeKind::Docker => Arc::new(DockerRuntime::new(
            config.docker.clone(),
            config.data.clone(),
            config.outbound.clone(),
        )),
    };
    Deps {
        store,
        auth: auth.clone(),
        belongings: belongings.clone(),
        runtimes: vec![runtime, Arc::new(ExternalRuntime)],
        tunnels: tunnels.clone(),
        sites: config.sites(),
        audit: audit.clone(),
        clock: Arc::clone(clock),
        default_idle_minutes: config.limits.idle_minutes,
        codespaces_per_user: config.limits.codespaces_per_user,
        sockets: SocketLimits {
            per_user: config.limits.sockets_per_user,
            per_codespace: config.limits.sockets_per_codespace,
            per_address: config.limits.sockets_per_address,
        },
        ceiling: config.sharing.ceiling,
        rules: config.life,
        agents_log: Some(config.log.level.clone()),
        strangers: config.sharing.strangers,
    }
}

fn pages(auth: &Auth, clock: &SharedClock, readiness: &Readiness) -> axum::Router {
    let (auth, clock) = (auth.clone(), Arc::clone(clock));
    let ways = auth.ways();
    let signed_in = move |headers: &http::HeaderMap, extensions: &http::Extensions| {
        matches!(auth.by_gateway_request(headers, extensions, clock.now()), Presented::Valid(_))
    };
    web::router(ways, signed_in).merge(ops::router(readiness.clone()))
}

/// Makes the data directory, for its owner alone, and locks it.
pub(crate) fn take_data(data: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Data {
        path: data.to_owned(),
        source,
    };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    let lock = File::create(data.join("lock")).map_err(failed)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Locked(data.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

async fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let bound = TcpListener::bind(address).await.and_then(TcpListener::into_std);
    bound.map_err(|source| StartError::Listen { address, source })
}

async fn listen_plain(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| StartError::Plain { address, source })
}

async fn open_store(data: &Path) -> Result<SharedStore, StartError> {
    let path = data.join(STORE_FILE);
    match SqliteStore::open(&path).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(StartError::Store { path, source }),
    }
}

/// Writes the bound address whole or not at all, for scripts that listen on port 0.
fn write_address(data: &Path, address: SocketAddr) -> Result<(), StartError> {
    let early = data.join(format!("{ADDRESS_FILE}.new"));
    std::fs::write(&early, address.to_string())
        .and_then(|()| std::fs::rename(&early, data.join(ADDRESS_FILE)))
        .map_err(|source| StartError::Data {
            path: data.to_owned(),
            source,
        })
}

async fn sweep(auth: Auth, clock: SharedClock, close: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    let mut ends = tokio::time::interval(END_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => auth.sweep(clock.now()).await,
            _ = ends.tick() => auth.end_due_sessions(clock.now()),
            () = close.cancelled() => return,
        }
    }
}

/// By itself: a store that is locked makes each attempt wait.
async fn tell_owed(auth: Auth, close: CancellationToken) {
    let mut ticks = tokio::time::interval(END_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => auth.tell_owed().await,
            () = close.cancelled() => return,
        }
    }
}

async fn forget(audit: Audit, retention: Duration, close: CancellationToken) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => audit.forget(retention).await,
            () = close.cancelled() => return,
        }
    }
}
