//! Tests of [`super`] over real sockets.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use http::{HeaderMap, Response, header};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{handshake::derive_accept_key, protocol::Role};

use super::*;
use crate::{
    agent::{ports::Ports, streams::tests::TestInside},
    domain::{StepName, StepState},
    protocol::{
        bootstrap::{Bootstrap, Secret},
        tunnel::{ActivityKind, EditorState, Endpoint, OPENED, Stopping},
    },
};

type Upgrade = TokioIo<Upgraded>;

/// A gateway in this process, at a Unix socket.
struct FakeGateway {
    controls: mpsc::UnboundedReceiver<WebSocketStream<Upgrade>>,
    streams: mpsc::UnboundedReceiver<(String, Upgrade)>,
    /// The status that every request gets; 101 for none.
    status: Arc<AtomicU16>,
    /// What the next request must show.
    credential: Arc<Mutex<&'static str>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Doors {
    controls: mpsc::UnboundedSender<WebSocketStream<Upgrade>>,
    streams: mpsc::UnboundedSender<(String, Upgrade)>,
    status: Arc<AtomicU16>,
    credential: Arc<Mutex<&'static str>>,
}

impl FakeGateway {
    fn at(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("the directory is ours");
        let (controls, streams) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let status = Arc::new(AtomicU16::new(101));
        let credential = Arc::new(Mutex::new("credential"));
        let doors = Doors {
            credential: credential.clone(),
            controls: controls.0,
            streams: streams.0,
            status: status.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let doors = doors.clone();
                let service = service_fn(move |request| answer(request, doors.clone()));
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                connections.spawn(async move {
                    let _ = connection.await;
                });
            }
        });
        Self {
            controls: controls.1,
            streams: streams.1,
            status,
            credential,
            _tasks: tasks,
        }
    }

    /// Takes the next control connection and welcomes it.
    async fn welcome(&mut self) -> WebSocketStream<Upgrade> {
        self.welcome_with(r#"{"type":"welcome","default_branch":true,"of_a_later_version":1}"#)
            .await
    }

    async fn welcome_with(&mut self, welcome: &str) -> WebSocketStream<Upgrade> {
        let mut control = self.controls.recv().await.expect("the gateway runs");
        let hello = hear(&mut control).await;
        assert_eq!(
            hello,
            FromAgent::Hello {
                version: VERSION,
                direct_key: Some("key".into()),
                renews: true,
                personal: true,
                warned: true,
            }
        );
        control.send(Message::text(welcome)).await.expect("it is open");
        control
    }
}

async fn answer(request: Request<Incoming>, doors: Doors) -> Result<Response<Empty<bytes::Bytes>>, http::Error> {
    let status = doors.status.load(Ordering::Relaxed);
    let mut response = Response::builder().status(status);
    if status != 101 {
        return response.body(Empty::new());
    }
    assert_eq!(
        request.headers()[header::AUTHORIZATION].to_str().ok(),
        Some(format!("Bearer {}", doors.credential.lock()).as_str())
    );
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().map(str::to_owned));
    response = response
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, &request.headers()[header::UPGRADE]);
    if let Some(key) = websocket_key(request.headers()) {
        response = response.header(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    tokio::spawn(async move {
        let upgraded = TokioIo::new(hyper::upgrade::on(request).await.expect("it was asked for"));
        match (path.as_str(), query) {
            ("/api/v1/agent/connect", None) => {
                let _ = doors
                    .controls
                    .send(WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await);
            }
            ("/api/v1/agent/stream", Some(query)) => {
                let _ = doors.streams.send((query, upgraded));
            }
            other => panic!("the agent asked for {other:?}"),
        }
    });
    response.body(Empty::new())
}

fn websocket_key(headers: &HeaderMap) -> Option<String> {
    headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()))
}

async fn hear(control: &mut WebSocketStream<Upgrade>) -> FromAgent {
    let message = control.next().await.expect("it is open").expect("it is a WebSocket");
    serde_json::from_str(message.to_text().expect("it is text")).expect("it is a message")
}

async fn say(control: &mut WebSocketStream<Upgrade>, message: &ToAgent) {
    let text = serde_json::to_string(message).expect("it is JSON");
    control.send(Message::text(text)).await.expect("it is open");
}

/// An agent's control connection to the gateway at `path`.
fn agent(path: &Path, reporter: &Reporter, timing: Timing) -> tokio::task::JoinHandle<Over> {
    agent_with(Credential::new(Secret("credential".into()), None), path, reporter, timing)
}

fn agent_with(credential: Credential, path: &Path, reporter: &Reporter, timing: Timing) -> tokio::task::JoinHandle<Over> {
    let directory = path.parent().expect("a directory");
    let gateway = format!("unix:{}", path.display()).parse().expect("a gateway");
    let control = Control {
        personal: Personal::new(true),
        warning: Warning::new(directory, reporter.clone()),
        connector: Connector::new(gateway).expect("no TLS is needed"),
        credential,
        direct_key: Some("key".into()),
        reporter: reporter.clone(),
        timing,
        streams: Streams::new(Ports::new(None, reporter.clone()), Arc::new(TestInside::default())),
    };
    tokio::spawn(async move { control.run().await })
}

#[tokio::test]
async fn all_is_told_again_after_the_gateway_was_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    let reporter = Reporter::new();
    reporter.step(StepName::Clone, StepState::Running, "");
    let agent = agent(&path, &reporter, Timing::default());

    let mut gateway = FakeGateway::at(&path);
    let mut control = gateway.welcome().await;
    let step = |state: &str| FromAgent::Step {
        name: "clone".into(),
        state: state.into(),
        detail: String::new(),
    };
    assert_eq!(hear(&mut control).await, step("running"));
    say(&mut control, &ToAgent::Unknown).await;
    reporter.editor(EditorState::Starting);
    assert_eq!(
        hear(&mut control).await,
        FromAgent::Editor {
            state: EditorState::Starting
        }
    );
    say(&mut control, &ToAgent::Ping).await;
    assert_eq!(hear(&mut control).await, FromAgent::Pong);
    drop((control, gateway));

    reporter.step(StepName::Clone, StepState::Done, "");
    reporter.prepared();
    let mut gateway = FakeGateway::at(&path);
    let mut control = gateway.welcome().await;
    assert_eq!(hear(&mut control).await, step("done"));
    assert_eq!(hear(&mut control).await, FromAgent::Prepared);
    assert_eq!(
        hear(&mut control).await,
        FromAgent::Editor {
            state: EditorState::Starting
        }
    );
    agent.abort();
}

#[tokio::test]
async fn the_default_branch_is_told_to_a_gateway_that_takes_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    let reporter = Reporter::new();
    reporter.default_branch("main");
    reporter.prepared();
    let agent = agent(&path, &reporter, Timing::default());

    let mut gateway = FakeGateway::at(&path);
    let mut control = gateway.welcome_with(r#"{"type":"welcome"}"#).await;
    assert_eq!(hear(&mut control).await, FromAgent::Prepared);
    drop((control, gateway));
    let mut gateway = FakeGateway::at(&path);
    let mut control = gateway.welcome().await;
    let name = "main".to_owned();
    assert_eq!(hear(&mut control).await, FromAgent::DefaultBranch { name });
    agent.abort();
}

#[tokio::test]
async fn the_gateway_can_end_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    for (code, over) in [(CLOSE_SUPERSEDED, Over::Superseded), (CLOSE_ENDED, Over::Ended)] {
        let mut gateway = FakeGateway::at(&path);
        let agent = agent(&path, &Reporter::new(), Timing::default());
        let mut control = gateway.welcome().await;
        control
            .close(Some(CloseFrame {
                code: code.into(),
                reason: "".into(),
            }))
            .await
            .expect("it is open");
        assert_eq!(agent.await.expect("no panic"), over);
    }
    let gateway = FakeGateway::at(&path);
    gateway.status.store(410, Ordering::Relaxed);
    assert_eq!(
        agent(&path, &Reporter::new(), Timing::default()).await.expect("no panic"),
        Over::Ended
    );
}

#[tokio::test]
async fn a_silent_gateway_is_left_and_activity_is_told_seldom() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    let mut gateway = FakeGateway::at(&path);
    let reporter = Reporter::new();
    let patient = Timing {
        activity: Duration::from_millis(200),
        ..Timing::default()
    };
    let began = Instant::now();
    let telling = agent(&path, &reporter, patient);
    let mut control = gateway.welcome().await;
    reporter.activity(ActivityKind::TerminalOutput);
    assert_eq!(
        hear(&mut control).await,
        FromAgent::Activity {
            kinds: vec![ActivityKind::TerminalOutput]
        }
    );
    reporter.activity(ActivityKind::Exec);
    reporter.activity(ActivityKind::TerminalInput);
    assert_eq!(
        hear(&mut control).await,
        FromAgent::Activity {
            kinds: vec![ActivityKind::TerminalInput, ActivityKind::Exec]
        }
    );
    assert!(began.elapsed() >= patient.activity);
    telling.abort();

    let hasty = Timing {
        silence: Duration::from_millis(400),
        ..Timing::default()
    };
    let began = Instant::now();
    let leaving = agent(&path, &Reporter::new(), hasty);
    // Held, so that silence alone makes it come again.
    let _silent = gateway.welcome().await;
    gateway.welcome().await;
    assert!(began.elapsed() >= hasty.silence);
    leaving.abort();
}

#[tokio::test]
async fn a_warning_goes_with_the_gateway_that_gave_it_but_at_an_end_and_who_puts_the_stop_off_is_heard_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    let mut gateway = FakeGateway::at(&path);
    let reporter = Reporter::new();
    let agent = agent(&path, &reporter, Timing::default());
    let mut control = gateway.welcome().await;
    reporter.activity(ActivityKind::Exec);
    let told = |kind| FromAgent::Activity { kinds: vec![kind] };
    assert_eq!(hear(&mut control).await, told(ActivityKind::Exec));
    let stopping = Stopping {
        after: 5_000,
        anyway: false,
    };
    say(&mut control, &ToAgent::Stopping { stopping: Some(stopping) }).await;
    say(&mut control, &ToAgent::Ping).await;
    assert_eq!(hear(&mut control).await, FromAgent::Pong);
    let file = directory.path().join("editor-notice/stopping.json");
    assert!(file.exists());
    let began = Instant::now();
    reporter.kept();
    assert_eq!(hear(&mut control).await, told(ActivityKind::Kept));
    assert!(began.elapsed() < Timing::default().activity, "it would come too late");
    assert!(file.exists(), "it is the gateway that says what holds");
    drop(control);
    let mut control = gateway.controls.recv().await.expect("the gateway runs");
    assert!(matches!(hear(&mut control).await, FromAgent::Hello { .. }));
    assert!(!file.exists(), "nobody says any more that it stops");
    say(&mut control, &ToAgent::Welcome { default_branch: true }).await;
    say(&mut control, &ToAgent::Stopping { stopping: Some(stopping) }).await;
    let ended = CloseFrame {
        code: CLOSE_ENDED.into(),
        reason: "".into(),
    };
    control.close(Some(ended)).await.expect("it is open");
    assert_eq!(agent.await.expect("no panic"), Over::Ended);
    assert!(file.exists(), "it stopped, as was said");
}

#[tokio::test]
async fn streams_are_opened_when_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    let mut gateway = FakeGateway::at(&path);
    let agent = agent(&path, &Reporter::new(), Timing::default());
    let mut control = gateway.welcome().await;
    say(
        &mut control,
        &ToAgent::Open {
            ids: vec!["a/../b".into(), "first".into()],
        },
    )
    .await;
    let (query, mut stream) = gateway.streams.recv().await.expect("the gateway runs");
    assert_eq!(query, "id=first", "what is no id is left out");
    // The open request and what follows it may come at once.
    stream
        .write_all(&[&Endpoint::Agent.encode()[..], b"hello"].concat())
        .await
        .expect("it is open");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.expect("it is answered");
    assert_eq!(answer[0], OPENED);
    assert_eq!(&answer[1..], b"hello");
    agent.abort();
}

#[tokio::test]
async fn agt_4_a_fresh_credential_is_kept_before_it_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gateway.sock");
    let orders = directory.path().join("bootstrap.json");
    let kept = Bootstrap {
        credential: Secret("credential".into()),
        ..Bootstrap::default()
    };
    std::fs::write(&orders, serde_json::to_vec(&kept).expect("JSON")).expect("written");
    std::fs::set_permissions(&orders, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let reporter = Reporter::new();
    let credential = Credential::new(Secret("credential".into()), Some(&orders));
    let agent = agent_with(credential, &path, &reporter, Timing::default());
    let mut gateway = FakeGateway::at(&path);
    let mut control = gateway.welcome().await;
    let fresh = |text: &str| ToAgent::Credential {
        credential: Secret(text.into()),
    };
    say(&mut control, &fresh("second")).await;
    assert_eq!(hear(&mut control).await, FromAgent::Renewed);
    let read = crate::agent::orders::read(&orders).expect("orders").credential;
    assert_eq!(read, Secret("second".into()), "an agent that is started again has it");
    *gateway.credential.lock() = "second";
    say(&mut control, &ToAgent::Open { ids: vec!["a".into()] }).await;
    assert_eq!(gateway.streams.recv().await.expect("a stream").0, "id=a");
    // One that cannot be kept is not used, on this connection or the next.
    std::fs::remove_file(&orders).expect("removed");
    say(&mut control, &fresh("third")).await;
    say(&mut control, &ToAgent::Ping).await;
    assert_eq!(hear(&mut control).await, FromAgent::Pong);
    drop(control);
    gateway.welcome().await;
    assert!(!format!("{:?}", fresh("canary")).contains("canary"), "LOG-3");
    agent.abort();
}
