//! The agent as it runs, against the gateway's own end of the tunnel: both in this process, over real sockets.

use std::{
    convert::Infallible,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portico::{
    agent,
    domain::{CodespaceName, Generation, Port},
    protocol::{
        bootstrap::{Bootstrap, Secret},
        tunnel::{Endpoint, FromAgent, Refusal},
    },
    tunnel::{AgentCredentials, AgentEvent, DialError, Dialer, Tunnels, Verdict},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::mpsc,
    time::timeout,
};

const NAME: &str = "amber-quiet-otter-x7k2";
const PATIENCE: Duration = Duration::from_secs(60);

/// Knows the one agent.
struct Known {
    events: mpsc::Sender<AgentEvent>,
    direct: Option<PathBuf>,
}

impl AgentCredentials for Known {
    fn verify(&self, credential: &str) -> Verdict {
        match credential {
            "secret" => Verdict::Current(name(), Generation(1)),
            _ => Verdict::Unknown,
        }
    }

    fn events(&self, _: &CodespaceName) -> Option<mpsc::Sender<AgentEvent>> {
        Some(self.events.clone())
    }

    fn direct_address(&self, _: &CodespaceName) -> Option<PathBuf> {
        self.direct.clone()
    }
}

fn name() -> CodespaceName {
    NAME.parse().expect("a name")
}

/// The gateway's end, at a Unix socket.
fn gateway(path: &Path, direct: Option<PathBuf>) -> (Tunnels, mpsc::Receiver<AgentEvent>) {
    let (events, receiver) = mpsc::channel(64);
    let tunnels = Tunnels::new();
    tunnels.trust(Arc::new(Known { events, direct }));
    let listener = UnixListener::bind(path).expect("the directory is ours");
    let serving = tunnels.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tunnels = serving.clone();
            let service = service_fn(move |request| {
                let tunnels = tunnels.clone();
                async move { Ok::<_, Infallible>(tunnels.serve(request).await) }
            });
            tokio::spawn(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades(),
            );
        }
    });
    (tunnels, receiver)
}

fn bootstrap(directory: &Path, listen: Option<PathBuf>) -> PathBuf {
    let orders = Bootstrap {
        codespace: NAME.into(),
        generation: 1,
        credential: Secret("secret".into()),
        gateway: format!("unix:{}", directory.join("gateway.sock").display()),
        state_dir: directory.join("state"),
        workspace: directory.join("workspace"),
        home: directory.join("home"),
        listen,
        git_name: "Ada".into(),
        git_email: "ada@example.org".into(),
        ..Bootstrap::default()
    };
    for made in [&orders.state_dir, &orders.workspace, &orders.home] {
        fs::create_dir(made).expect("the directory is ours");
    }
    let path = directory.join("bootstrap.json");
    fs::write(&path, serde_json::to_vec(&orders).expect("JSON")).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
}

/// A server inside: this program again.
fn app() -> (Child, Port) {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args(["--exact", "app_inside", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on ")?.1.parse().ok());
    (child, port.expect("it says its port"))
}

#[test]
#[ignore = "a program for the other test"]
fn app_inside() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it can be bound");
    println!("listening on {}", listener.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"hello");
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Waits for an event; others before it are of no interest.
async fn event<T>(events: &mut mpsc::Receiver<AgentEvent>, wanted: impl Fn(AgentEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(events.recv().await.expect("the tunnel holds the other end")) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("it comes in time")
}

/// Asks the agent's API; gives the whole answer.
async fn ask(tunnels: &Tunnels, what: &str, body: &str) -> String {
    let mut stream = tunnels.dial(&name(), Endpoint::Agent).await.expect("it has an API");
    let length = body.len();
    let request = format!("{what} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

async fn both_ends(direct: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let listen = direct.then(|| directory.path().join("agent.sock"));
    let (tunnels, mut events) = gateway(&directory.path().join("gateway.sock"), listen.clone());
    let running = tokio::spawn(agent::run(bootstrap(directory.path(), listen)));
    event(&mut events, |event| matches!(event, AgentEvent::Connected { .. }).then_some(())).await;

    let (mut child, port) = app();
    let listed = |event| match event {
        AgentEvent::Said {
            message: FromAgent::Ports { ports },
            ..
        } => ports.into_iter().find(|listed| listed.port == port.number()),
        _ => None,
    };
    let first = event(&mut events, listed).await;
    assert_eq!((first.pid, first.addresses), (Some(child.id()), vec!["127.0.0.1".to_owned()]));

    let mut said = String::new();
    let mut stream = tunnels.dial(&name(), Endpoint::Port(port)).await.expect("it listens");
    stream.read_to_string(&mut said).await.expect("it greets and ends");
    assert_eq!(said, "hello");
    // What a program prints to a terminal tells the scheme and the path.
    let printing = format!(r#"{{"command": ["sh", "-c", "echo https://localhost:{port}/app; cat"]}}"#);
    assert!(ask(&tunnels, "POST /terminals", &printing).await.starts_with("HTTP/1.1 201 "));
    let listed = event(&mut events, |event| listed(event)?.path).await;
    assert_eq!(listed, "/app");
    assert!(ask(&tunnels, "GET /terminals", "").await.contains(r#""running":true"#));

    let nothing = tunnels.dial(&name(), Endpoint::Editor).await;
    assert!(matches!(nothing, Err(DialError::Refused(Refusal::EditorAbsent))));

    if direct {
        tunnels.end(&name());
    } else {
        assert!(ask(&tunnels, "POST /shutdown", "").await.starts_with("HTTP/1.1 204 "));
    }
    timeout(PATIENCE, running)
        .await
        .expect("it ends in time")
        .expect("no panic")
        .expect("it ends well");
    // An agent ends all that runs below it, before its own end.
    assert!(child.try_wait().expect("it is ours").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_and_its_gateway() {
    both_ends(true).await;
    both_ends(false).await;
}
