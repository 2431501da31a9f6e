//! Codespaces of the `process` runtime with the real agent, as the gateway runs them, without the gateway's edge.

use std::{convert::Infallible, path::PathBuf, process::Command, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portico::{
    audit::{Actor, Audit},
    auth::{Auth, NewUser, Options},
    belongings::Belongings,
    clock::{SharedClock, SystemClock},
    codespace::{Codespace, Codespaces, Deps, NewCodespace, Snapshot, SocketLimits},
    domain::{Generation, Phase, Role, UserId},
    route::Sites,
    runtime::process::ProcessRuntime,
    store::{SharedStore, memory::MemoryStore},
    tunnel::Tunnels,
    unix_socket,
};
use tokio::{task::JoinSet, time::timeout};

/// What a gateway keeps between its processes, and one process of it.
struct Bench {
    data: PathBuf,
    store: SharedStore,
    auth: Auth,
    owner: UserId,
    clock: SharedClock,
}

/// A gateway as agents see it; dropped as if it were killed.
struct Gateway {
    spaces: Codespaces,
    tunnels: Tunnels,
    _serving: JoinSet<()>,
}

fn sites() -> Sites {
    Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost")
}

async fn bench(data: PathBuf) -> Bench {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let clock: SharedClock = Arc::new(SystemClock);
    let options = Options {
        sites: sites(),
        session_idle: Duration::from_secs(60),
        session_absolute: Duration::from_secs(60),
        tokens_per_user: 100,
        attempts: Default::default(),
        outside: portico::auth::OutsideOptions::default(),
    };
    let auth = Auth::load(Arc::clone(&store), options, clock.now()).await.expect("an empty store");
    let admin = NewUser {
        name: "mara".parse().expect("a name"),
        role: Role::Admin,
        password: None,
        email: None,
    };
    let owner = auth
        .create_user(admin, &Actor::gateway(), clock.now())
        .await
        .expect("the name is free")
        .id
        .clone();
    std::fs::create_dir_all(&data).expect("a directory");
    Bench {
        data,
        store,
        auth,
        owner,
        clock,
    }
}

impl Bench {
    async fn gateway(&self) -> Gateway {
        let tunnels = Tunnels::new();
        let runtime = ProcessRuntime::new(self.data.clone(), None).with_agent(env!("CARGO_BIN_EXE_portico").into());
        let deps = Deps {
            belongings: Belongings::none(&self.store, &self.clock).expect("a key"),
            store: Arc::clone(&self.store),
            runtimes: vec![Arc::new(runtime)],
            auth: self.auth.clone(),
            tunnels: tunnels.clone(),
            sites: sites(),
            audit: Audit::new(Arc::clone(&self.store), Arc::clone(&self.clock)),
            clock: Arc::clone(&self.clock),
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
        };
        let spaces = Codespaces::load(deps).await.expect("the store is well");
        let listener = unix_socket::bind(&self.data.join("agent.sock")).expect("a socket");
        let mut serving = JoinSet::new();
        let served = tunnels.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |request| {
                    let served = served.clone();
                    async move { Ok::<_, Infallible>(served.serve(request).await) }
                });
                connections.spawn(async move {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = connection.with_upgrades().await;
                });
            }
        });
        Gateway {
            spaces,
            tunnels,
            _serving: serving,
        }
    }

    fn agent(&self, codespace: &Codespace) -> u32 {
        let path = self.data.join("codespaces").join(codespace.name().as_str()).join("state/agent.pid");
        let text = std::fs::read(path).expect("an agent was started");
        let instance: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        instance["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid")
    }
}

async fn reaches(codespace: &Codespace, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let reached = timeout(Duration::from_secs(180), codespace.until(wanted)).await;
    reached
        .unwrap_or_else(|_| panic!("{:?}", codespace.snapshot()))
        .expect("it is not removed")
}

fn git(arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(arguments)
        .output()
        .expect("git is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_survives_its_gateway_and_is_replaced_when_it_dies() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("project");
    let path = source.display().to_string();
    git(&["init", "-q", "-b", "main", &path]);
    git(&["-C", &path, "commit", "-q", "--allow-empty", "-m", "one"]);
    // So long a path is more than a socket's address holds.
    let bench = bench(directory.path().join("d".repeat(100))).await;
    let first = bench.gateway().await;
    let wanted = NewCodespace {
        owner: bench.owner.clone(),
        allow_local: true,
        repository: path,
        reference: None,
        pull_request: None,
        devcontainer_path: None,
        idle_timeout_minutes: None,
        display_name: None,
        personal: None,
    };
    let (codespace, _) = first.spaces.create(wanted, &Actor::operator()).await.expect("it is created");
    reaches(&codespace, |now| now.connected).await;
    let agent = bench.agent(&codespace);

    let name = codespace.name().clone();
    first.spaces.shutdown().await;
    first.tunnels.shutdown().await;
    drop(first);
    let second = bench.gateway().await;
    let codespace = second.spaces.find(&name).expect("it is in the store");
    reaches(&codespace, |now| now.connected && now.generation() == Generation(1)).await;
    assert_eq!(bench.agent(&codespace), agent, "the same agent came back");

    let killed = Command::new("kill")
        .args(["-9", &agent.to_string()])
        .status()
        .expect("kill is there");
    assert!(killed.success());
    reaches(&codespace, |now| !now.connected).await;
    reaches(&codespace, |now| now.connected && now.generation() == Generation(2)).await;
    assert_ne!(bench.agent(&codespace), agent);

    second.spaces.stop(&name, &Actor::operator()).await.expect("it stops");
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    second.spaces.start(&name, &Actor::operator()).await.expect("it starts");
    reaches(&codespace, |now| now.connected && now.generation() == Generation(3)).await;
    let last = bench.agent(&codespace);
    second.spaces.delete(&name, true, &Actor::operator()).await.expect("it is deleted");
    let command = std::fs::read(format!("/proc/{last}/cmdline")).unwrap_or_default();
    assert!(command.is_empty(), "the agent is gone, or waits to be buried");
    assert!(!bench.data.join("codespaces").join(name.as_str()).exists());
}
