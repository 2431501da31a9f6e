//! The edge over real sockets: TLS, HTTP/2, times; with a codespace whose agent and app the tests play.

mod challenge;
mod fronts;
mod http_1;
mod http_2;
mod lease;
mod limits;
mod model;
mod reload;
mod replaying;
mod strangers;
mod suspension;
mod upstreams;
mod visitors;

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{listener::Options, *};
use crate::{
    api,
    audit::{Actor, Audit},
    auth::{self, NewUser},
    belongings::Belongings,
    clock::SystemClock,
    codespace::{Codespace, Deps, NewCodespace, SocketLimits, StrangerCaps},
    domain::{Generation, Role, Scope},
    policy::Presented,
    protocol::tunnel::{Endpoint, FromAgent},
    runtime::fake::FakeRuntime,
    store::{SharedStore, memory::MemoryStore},
    tunnel::{AgentEvent, AgentStream, Client, DialError, Dialer},
};

const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);
pub(super) const LIMITS: Options = Options {
    connections: 100,
    connections_per_address: 100,
    handshake_timeout: LONG,
    header_timeout: LONG,
    idle_timeout: LONG,
    body_timeout: LONG,
    write_timeout: LONG,
    drain_timeout: Duration::from_secs(1),
};

/// A gateway with one codespace and one user, whose token opens everything.
struct Bench {
    edge: Edge,
    address: SocketAddr,
    auth: Auth,
    codespaces: Codespaces,
    codespace: Arc<Codespace>,
    app: App,
    metrics: Metrics,
    speech: Option<Tls>,
    challenges: crate::issuance::Challenges,
    token: String,
    drain: CancellationToken,
    files: tempfile::TempDir,
}

/// An app, which says what it got.
#[derive(Clone)]
struct App {
    address: SocketAddr,
    ended: mpsc::UnboundedSender<()>,
    /// What listens on some ports instead.
    others: Arc<Mutex<HashMap<Endpoint, SocketAddr>>>,
}

#[async_trait::async_trait]
impl Dialer for App {
    async fn dial(&self, _: &crate::domain::CodespaceName, endpoint: Endpoint) -> Result<AgentStream, DialError> {
        let other = self.others.lock().get(&endpoint).copied();
        let refused = |_| DialError::Refused(crate::protocol::tunnel::Refusal::NothingListens);
        let stream = TcpStream::connect(other.unwrap_or(self.address)).await.map_err(refused)?;
        Ok(AgentStream::from(stream))
    }
}

/// Tells when it goes.
struct Tell(mpsc::UnboundedSender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl App {
    /// Starts it; the receiver gets a word whenever an endless answer or a read of a request's body has ended.
    async fn start() -> (Self, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let (ended, endings) = mpsc::unbounded_channel();
        let app = Self {
            address: listener.local_addr().expect("it is bound"),
            ended,
            others: Arc::default(),
        };
        let serving = app.clone();
        tokio::spawn(async move {
            for number in 1u32.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let app = serving.clone();
                let service = service_fn(move |request| {
                    let app = app.clone();
                    async move {
                        let mut response = app.answer(request).await;
                        response.headers_mut().insert("x-connection", number.into());
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades(),
                );
            }
        });
        (app, endings)
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let field = |name: &str| {
            let values: Vec<_> = request
                .headers()
                .get_all(name)
                .iter()
                .map(|value| value.to_str().expect("text"))
                .collect();
            values.join("|")
        };
        match request.uri().path() {
            "/endless" => {
                let tell = Tell(self.ended.clone());
                let pieces = futures_util::stream::repeat_with(move || {
                    let _ = &tell;
                    Ok(Frame::data(Bytes::from_static(&[b'x'; 64 * 1024])))
                });
                Response::new(StreamBody::new(pieces).boxed())
            }
            "/upload" => {
                let _tell = Tell(self.ended.clone());
                let read = request.body_mut().collect().await;
                let said = read.map_or("broken off".into(), |body| body.to_bytes());
                Response::new(Full::new(said).boxed())
            }
            "/socket" => {
                let accept = derive_accept_key(field("sec-websocket-key").as_bytes());
                assert_eq!((field("upgrade"), request.method().as_str()), ("websocket".into(), "GET"));
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.expect("upgraded")));
                    tokio::io::copy(&mut read, &mut write).await
                });
                let switching = Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "upgrade")
                    .header("upgrade", "websocket")
                    .header("sec-websocket-accept", accept)
                    .header("sec-websocket-protocol", "mine");
                switching.body(Full::default().boxed()).expect("a response")
            }
            "/who" => {
                let names = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded"];
                let seen: Vec<_> = names
                    .iter()
                    .filter(|name| !field(name).is_empty())
                    .map(|name| format!("{name}={}", field(name)))
                    .collect();
                Response::new(Full::from(seen.join(" ")).boxed())
            }
            _ => {
                let seen = format!("host={} cookie={} uri={}", field("host"), field("cookie"), request.uri());
                Response::new(Full::from(seen).boxed())
            }
        }
    }
}

/// The gateway's certificate for the gateway host, and another for what is under DOMAIN.
fn certificates(directory: &std::path::Path) -> Vec<Pair> {
    let of = |name: &str, host: &str| {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
        let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        std::fs::write(&certificate, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        Pair {
            certificate,
            key,
            source: crate::issuance::Source::Files,
        }
    };
    vec![of("gateway", "portico.test"), of("codespaces", "*.codespaces.example")]
}

async fn bench(options: Options, tls: bool) -> (Bench, mpsc::UnboundedReceiver<()>) {
    bench_behind(Fronts::default(), options, tls).await
}

async fn bench_behind(fronts: Fronts, options: Options, tls: bool) -> (Bench, mpsc::UnboundedReceiver<()>) {
    bench_of(fronts, StrangerCaps::default(), options, tls).await
}

async fn authority(store: &SharedStore, sites: &Sites, clock: &SharedClock) -> Auth {
    let options = auth::Options {
        sites: sites.clone(),
        session_idle: LONG,
        session_absolute: LONG,
        tokens_per_user: 100,
        attempts: Default::default(),
        outside: auth::OutsideOptions::default(),
    };
    Auth::load(Arc::clone(store), options, clock.now()).await.expect("an empty store")
}

const FEW_SOCKETS: SocketLimits = SocketLimits {
    per_user: 10,
    per_codespace: 3,
    per_address: 10,
};

async fn bench_of(fronts: Fronts, strangers: StrangerCaps, options: Options, tls: bool) -> (Bench, mpsc::UnboundedReceiver<()>) {
    let files = tempfile::tempdir().expect("a directory");
    let store: SharedStore = Arc::new(MemoryStore::new());
    let clock: SharedClock = Arc::new(SystemClock);
    let sites = Sites::new("https://portico.test".parse().expect("an origin"), "codespaces.example");
    let auth = authority(&store, &sites, &clock).await;
    let runtime = Arc::new(FakeRuntime::default());
    let tunnels = Tunnels::new();
    let belongings = Belongings::none(&store, &clock).expect("a key");
    let deps = Deps {
        belongings: belongings.clone(),
        store: Arc::clone(&store),
        runtimes: vec![Arc::clone(&runtime) as crate::runtime::SharedRuntime],
        auth: auth.clone(),
        tunnels: tunnels.clone(),
        sites: sites.clone(),
        audit: Audit::new(Arc::clone(&store), Arc::clone(&clock)),
        clock: Arc::clone(&clock),
        default_idle_minutes: 30,
        codespaces_per_user: 50,
        sockets: FEW_SOCKETS,
        ceiling: Default::default(),
        rules: Default::default(),
        agents_log: None,
        strangers,
    };
    let codespaces = Codespaces::load(deps).await.expect("the store is well");
    let (app, endings) = App::start().await;
    let dialer: SharedDialer = Arc::new(app.clone());
    let doctor = Doctor::new(Arc::clone(&dialer));
    let metrics = Metrics::new();
    let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (replays, orders) = crate::inspect::desk();
    let api = api::router(api::Services {
        belongings,
        auth: auth.clone(),
        audit: Audit::new(Arc::clone(&store), Arc::clone(&clock)),
        codespaces: codespaces.clone(),
        dialer: Arc::clone(&dialer),
        doctor: doctor.clone(),
        replays,
        sites: sites.clone(),
        certificates: crate::issuance::Ledger::default(),
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
        drain: drain.clone(),
    });
    let edge = Edge::new(Services {
        control: Handle::current(),
        sites: sites.clone(),
        fronts: Arc::new(fronts),
        abuse: None,
        hsts: Some(Duration::from_secs(7)),
        auth: auth.clone(),
        codespaces: codespaces.clone(),
        tunnels,
        dialer,
        doctor,
        api,
        pages: Router::new(),
        clock: Arc::clone(&clock),
        tasks,
        drain: drain.clone(),
        metrics: metrics.clone(),
        access_log: None,
    });
    tokio::spawn(replays::serve(edge.clone(), orders, drain.clone()));
    let pairs = certificates(files.path());
    let challenges = crate::issuance::Challenges::default();
    let tls = tls.then(|| Tls::load(pairs, &sites, [1; 32], challenges.clone(), clock).expect("good certificates"));
    let speech = tls.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(listener::serve(
        edge.clone(),
        listener,
        tls,
        listener::Gate::new(options),
        drain.clone(),
    ));
    let codespace = running(&auth, &codespaces, &runtime).await;
    let mut bench = Bench {
        edge,
        address,
        auth,
        codespaces,
        codespace,
        app,
        metrics,
        token: String::new(),
        drain,
        speech,
        challenges,
        files,
    };
    bench.token = bench.new_token().await;
    (bench, endings)
}

/// Makes a user with a codespace whose agent is there.
async fn running(auth: &Auth, codespaces: &Codespaces, runtime: &FakeRuntime) -> Arc<Codespace> {
    let user = NewUser {
        name: "mara".parse().expect("a name"),
        role: Role::Member,
        password: None,
        email: None,
    };
    let owner = auth
        .create_user(user, &Actor::gateway(), crate::clock::Clock::now(&SystemClock))
        .await
        .expect("it is free");
    let wanted = NewCodespace {
        owner: owner.id.clone(),
        allow_local: false,
        repository: "https://git.example/team/project.git".into(),
        reference: None,
        pull_request: None,
        devcontainer_path: None,
        idle_timeout_minutes: None,
        display_name: None,
        personal: None,
    };
    let (codespace, _) = codespaces.create(wanted, &Actor::default()).await.expect("it is created");
    let start = format!("start {} 1", codespace.name());
    let started = async {
        while !runtime.calls().contains(&start) {
            tokio::task::yield_now().await;
        }
    };
    soon(started).await;
    let generation = Generation(1);
    let connected = AgentEvent::Connected {
        generation,
        link: 1,
        client: Client::default(),
    };
    let prepared = AgentEvent::Said {
        generation,
        message: FromAgent::Prepared,
    };
    for event in [connected, prepared] {
        codespace
            .agent_events()
            .expect("it is there")
            .send(event)
            .await
            .expect("its task runs");
    }
    soon(codespace.until(crate::codespace::Snapshot::is_reachable))
        .await
        .expect("it runs");
    codespace
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

impl Bench {
    async fn new_token(&self) -> String {
        let user = self.auth.user_by_name(&"mara".parse().expect("a name")).expect("the user");
        let now = crate::clock::Clock::now(&SystemClock);
        let made = self
            .auth
            .create_token(&user.id, "test", Scope::All, None, &Actor::gateway(), now)
            .await
            .expect("made");
        secrecy::ExposeSecret::expose_secret(&made.plain).to_owned()
    }

    async fn revoke(&self, token: &str) {
        let now = crate::clock::Clock::now(&SystemClock);
        let Presented::Valid(identity) = self.auth.by_token(token, now) else {
            panic!("it is no token")
        };
        let crate::domain::Credential::Token(id) = &identity.credential else {
            panic!("it is no token")
        };
        self.auth
            .revoke_token(&identity.user, id, &Actor::gateway(), now)
            .await
            .expect("revoked");
    }

    /// The host of a port.
    fn host(&self, port: u16) -> String {
        format!("{}-{port}.codespaces.example", self.codespace.name())
    }

    async fn plain(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.expect("connected")
    }

    async fn tls(&self, name: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut config = unchecked_tls_client().expect("a provider");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        soon(connector.connect(name, self.plain().await)).await.expect("a handshake")
    }
}
