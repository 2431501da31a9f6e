//! The API as its clients meet it: over a socket, with a store and agents in memory.

mod accounts;
mod audit;
mod belongings;
mod browsers;
mod ceilings;
mod certificates;
mod connect;
mod document;
mod events;
mod explain;
mod outside;
mod spaces;
mod sockets;

use std::{net::SocketAddr, sync::Arc};

use axum::extract::Extension;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::upgrade::Upgraded;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    audit::{Actor, Audit},
    auth::{NewUser, Options},
    clock::{Clock, ManualClock},
    codespace::{Deps, SocketLimits},
    domain::{Generation, Phase, Role, Scope, UserId},
    protocol::tunnel::Endpoint,
    route::Sites,
    runtime::fake::FakeRuntime,
    store::{CodespaceRecord, SharedStore, memory::MemoryStore},
    tunnel::{AgentStream, DialError, Dialer, Tunnels},
};

pub const ORIGIN: &str = "http://portico.localhost:8080";
pub const PASSWORD: &str = "correct horse battery";

/// A gateway's API with three doors, and people: `ada` an admin, `bob` and `eve` members.
pub struct TestApi {
    pub services: Services,
    pub agents: Arc<FakeAgents>,
    pub clock: ManualClock,
    gateway: SocketAddr,
    editor: SocketAddr,
    operator: SocketAddr,
}

/// What an answer was.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The problem's slug; none if it is no problem.
    pub fn slug(&self) -> Option<String> {
        assert!(self.headers.get("access-control-allow-origin").is_none());
        assert_eq!(self.headers["cache-control"], "no-store");
        let problem = self
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "application/problem+json");
        let json = self.json();
        problem.then(|| {
            json["type"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("urn:portico:")
                .to_owned()
        })
    }

    /// `200`, or `404 no-such-codespace`.
    pub fn short(&self) -> String {
        match self.slug() {
            Some(slug) => format!("{} {slug}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// Dials agents that a test plays.
#[derive(Default)]
pub struct FakeAgents {
    waiting: Mutex<Vec<DuplexStream>>,
}

impl FakeAgents {
    /// The agent's end of the next stream that is dialled.
    pub fn expect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.waiting.lock().push(theirs);
        ours
    }
}

#[async_trait::async_trait]
impl Dialer for FakeAgents {
    async fn dial(&self, _: &CodespaceName, endpoint: Endpoint) -> Result<AgentStream, DialError> {
        assert_eq!(endpoint, Endpoint::Agent);
        self.waiting.lock().pop().map(AgentStream::from).ok_or(DialError::NotConnected)
    }
}

impl TestApi {
    /// Starts it with codespaces `amber-x` of ada, `bob-x` of bob and `eve-x` of eve.
    pub async fn start() -> Self {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time"));
        let sites = Sites::new(ORIGIN.parse().expect("an origin"), "codespaces.localhost");
        let options = Options {
            sites: sites.clone(),
            session_idle: std::time::Duration::from_secs(12 * 3600),
            session_absolute: std::time::Duration::from_secs(7 * 24 * 3600),
            tokens_per_user: 100,
            attempts: Default::default(),
            outside: outside_options(),
        };
        let now = clock.now();
        let auth = Auth::load(store.clone(), options, now).await.expect("loaded");
        for (name, role) in [("ada", Role::Admin), ("bob", Role::Member), ("eve", Role::Member)] {
            let new = NewUser {
                name: name.parse().expect("a name"),
                role,
                password: Some(PASSWORD.to_owned().into()),
                email: None,
            };
            let user = auth.create_user(new, &Actor::gateway(), now).await.expect("made");
            let space = if name == "ada" { "amber-x".to_owned() } else { format!("{name}-x") };
            store.add_codespace(&record(&space, &user.id, now)).await.expect("added");
        }
        let shared_clock: SharedClock = Arc::new(clock.clone());
        let audit = Audit::new(store.clone(), shared_clock.clone());
        let belongings = Belongings::none(&store, &shared_clock).expect("a key");
        let codespaces = Codespaces::load(Deps {
            belongings: belongings.clone(),
            store: store.clone(),
            auth: auth.clone(),
            runtimes: vec![Arc::new(FakeRuntime::default())],
            tunnels: Tunnels::new(),
            sites: sites.clone(),
            audit: audit.clone(),
            clock: shared_clock.clone(),
            default_idle_minutes: 30,
            codespaces_per_user: 50,
            sockets: SocketLimits {
                per_user: 10,
                per_codespace: 3,
                per_address: 10,
            },
            ceiling: Default::default(),
            rules: Default::default(),
            agents_log: None,
            strangers: Default::default(),
        })
        .await
        .expect("loaded");
        let agents = Arc::new(FakeAgents::default());
        let services = Services {
            belongings,
            auth,
            audit,
            codespaces,
            dialer: agents.clone(),
            doctor: Doctor::new(agents.clone()),
            replays: crate::inspect::desk().0,
            sites,
            certificates: Ledger::default(),
            clock: shared_clock,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
        };
        Self {
            gateway: listen(&services, Door::Gateway).await,
            editor: listen(&services, Door::Editor("bob-x".parse().expect("a name"))).await,
            operator: listen(&services, Door::Operator).await,
            services,
            agents,
            clock,
        }
    }

    /// Makes a token of a user.
    pub async fn token(&self, user: &str, scope: &str) -> String {
        let user = self.services.auth.user_by_name(&user.parse().expect("a name")).expect("a user");
        let scope: Scope = scope.parse().expect("a scope");
        let now = self.services.clock.now();
        let made = self
            .services
            .auth
            .create_token(&user.id, "test", scope, None, &Actor::gateway(), now)
            .await
            .expect("made");
        secrecy::ExposeSecret::expose_secret(&made.plain).to_owned()
    }

    /// Signs a user in; gives the cookie as a browser sends it back.
    pub async fn cookie(&self, user: &str) -> String {
        let body = serde_json::json!({ "name": user, "password": PASSWORD });
        let answer = self.send(Call::post("/api/v1/sign-in").json(&body)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        cookie_of(&answer)
    }

    pub async fn send(&self, call: Call) -> Answer {
        self.open(call).await.0
    }

    /// Sends a call and gives the answer whose body is still to come.
    pub async fn begin(&self, call: Call) -> http::Response<hyper::body::Incoming> {
        let address = match call.door {
            Via::Gateway => self.gateway,
            Via::Editor => self.editor,
            Via::Operator => self.operator,
        };
        let stream = TcpStream::connect(address).await.expect("connected");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection.with_upgrades());
        sender.send_request(call.request()).await.expect("an answer")
    }

    /// Sends a call; after a 101 also gives the bytes behind it.
    pub async fn open(&self, call: Call) -> (Answer, Option<TokioIo<Upgraded>>) {
        let answer = self.begin(call).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(answer).await.expect("upgraded");
            let answer = Answer {
                status: 101,
                headers,
                bytes: Bytes::new(),
            };
            return (answer, Some(TokioIo::new(upgraded)));
        }
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        let answer = Answer {
            status: status.as_u16(),
            headers,
            bytes,
        };
        (answer, None)
    }
}

/// Passwords, and GitHub, which needs no question to be begun.
fn outside_options() -> crate::auth::OutsideOptions {
    let mut github = crate::auth::ProviderOptions::named("github");
    github.kind = crate::auth::ProviderKind::GitHub;
    github.label = "GitHub".into();
    github.issuer = "https://github.com".into();
    github.client_id = "portico".into();
    crate::auth::OutsideOptions {
        outbound: crate::outbound::Outbound::default(),
        providers: vec![github],
        ..crate::auth::OutsideOptions::default()
    }
}

/// The value of the first cookie that an answer sets, as `NAME=VALUE`.
pub fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
    cookie.split(';').next().expect("a pair").to_owned()
}

/// Through which door a test calls.
#[derive(Clone, Copy, Debug)]
pub enum Via {
    Gateway,
    Editor,
    Operator,
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    door: Via,
}

impl Call {
    pub fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: String::new(),
            door: Via::Gateway,
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As a page of the gateway host sends it.
    pub fn page(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
            .header("origin", ORIGIN)
            .header("content-type", "application/json")
    }

    pub fn json(self, body: &Value) -> Self {
        self.text(&body.to_string()).header("content-type", "application/json")
    }

    pub fn text(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    pub fn through(mut self, door: Via) -> Self {
        self.door = door;
        self
    }

    fn request(self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(self.path).header("host", "test");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(self.body))).expect("a request")
    }
}

fn record(name: &str, owner: &UserId, now: OffsetDateTime) -> CodespaceRecord {
    CodespaceRecord {
        name: name.parse().expect("a name"),
        owner: owner.clone(),
        display_name: name.to_owned(),
        repository: "https://example.com/project.git".to_owned(),
        reference: None,
        default_branch: None,
        pull_request: None,
        devcontainer_path: None,
        runtime: "fake".to_owned(),
        phase: Phase::Running,
        reason: None,
        generation: Generation(1),
        agent_hash: None,
        agent_next_hash: None,
        prepared: true,
        work: None,
        idle_timeout_minutes: 30,
        woken_by: Default::default(),
        personal: true,
        started_at: None,
        traffic_counts: false,
        announced_at: None,
        created_at: now,
        last_used_at: now,
    }
}

async fn listen(services: &Services, door: Door) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let router = router(services.clone()).layer(Extension(door));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(router.clone());
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}
