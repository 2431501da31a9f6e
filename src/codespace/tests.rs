//! The service with a store and a runtime in memory; the tests are the agents.

mod life;
mod machines;
mod personal;
mod references;
mod renewal;
mod sharing;
mod tidying;

use std::time::Duration as Wait;

use time::{Duration, OffsetDateTime};
use tokio::time::timeout;

use super::*;
use crate::{
    auth::{self, hash_secret},
    belongings::Belongings,
    clock::{Clock, ManualClock},
    domain::{Role, StepName, StepState},
    protocol::tunnel::{FromAgent, ListeningPort},
    runtime::{Runtime, RuntimeError, external::ExternalRuntime, fake::FakeRuntime},
    store::memory::MemoryStore,
    tunnel::{AgentEvent, Client, Verdict},
};

mod declared;
mod rebuilding;

struct Bench {
    store: SharedStore,
    runtime: Arc<FakeRuntime>,
    clock: ManualClock,
    auth: Auth,
    owner: UserId,
    spaces: Codespaces,
}

async fn bench() -> Bench {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000));
    let options = auth::Options {
        sites: sites(),
        session_idle: Wait::from_secs(3600),
        session_absolute: Wait::from_secs(3600),
        tokens_per_user: 100,
        attempts: Default::default(),
        outside: auth::OutsideOptions::default(),
    };
    let auth = Auth::load(Arc::clone(&store), options, clock.now()).await.expect("an empty store");
    let owner = auth::NewUser {
        name: "mara".parse().expect("a name"),
        role: Role::Member,
        password: None,
        email: None,
    };
    let owner = auth
        .create_user(owner, &Actor::gateway(), clock.now())
        .await
        .expect("it is free")
        .id
        .clone();
    let runtime = Arc::new(FakeRuntime::default());
    let spaces = load(&store, &runtime, &auth, &clock).await;
    Bench {
        store,
        runtime,
        clock,
        auth,
        owner,
        spaces,
    }
}

fn sites() -> Sites {
    Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost")
}

async fn load(store: &SharedStore, runtime: &Arc<FakeRuntime>, auth: &Auth, clock: &ManualClock) -> Codespaces {
    Codespaces::load(deps(store, runtime, auth, clock))
        .await
        .expect("the store is well")
}

fn deps(store: &SharedStore, runtime: &Arc<FakeRuntime>, auth: &Auth, clock: &ManualClock) -> Deps {
    let clock: SharedClock = Arc::new(clock.clone());
    Deps {
        belongings: Belongings::none(store, &clock).expect("a key"),
        store: Arc::clone(store),
        runtimes: vec![Arc::clone(runtime) as SharedRuntime, Arc::new(ExternalRuntime)],
        auth: auth.clone(),
        tunnels: Tunnels::new(),
        sites: sites(),
        audit: Audit::new(Arc::clone(store), Arc::clone(&clock)),
        clock,
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
    }
}

impl Bench {
    fn wanted(&self) -> NewCodespace {
        NewCodespace {
            owner: self.owner.clone(),
            allow_local: false,
            repository: "https://git.example/team/project.git".into(),
            reference: None,
            pull_request: None,
            devcontainer_path: None,
            idle_timeout_minutes: None,
            display_name: None,
            personal: None,
        }
    }

    async fn create(&self) -> Arc<Codespace> {
        let (codespace, created) = self.spaces.create(self.wanted(), &Actor::default()).await.expect("it is created");
        assert_eq!(created, Created::New);
        codespace
    }

    /// A codespace whose agent is connected and has cloned.
    async fn running(&self) -> Arc<Codespace> {
        let codespace = self.create().await;
        self.started(&codespace, 1).await;
        connect(&codespace, 1).await;
        say(&codespace, 1, FromAgent::Prepared).await;
        reaches(&codespace, |now| now.is_reachable()).await;
        codespace
    }

    /// Waits until the runtime runs this generation.
    async fn started(&self, codespace: &Codespace, generation: u64) {
        let call = format!("start {} {generation}", codespace.name());
        let started = async {
            while !self.runtime.calls().contains(&call) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Wait::from_secs(60), started).await.expect(&call);
    }
}

async fn reaches(codespace: &Codespace, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let reached = timeout(Wait::from_secs(60), codespace.until(wanted)).await;
    reached
        .unwrap_or_else(|_| panic!("{:?}", codespace.snapshot()))
        .expect("it is not removed")
}

async fn send(codespace: &Codespace, event: AgentEvent) {
    codespace
        .agent_events()
        .expect("it is there")
        .send(event)
        .await
        .expect("its task runs");
}

async fn connect(codespace: &Codespace, generation: u64) {
    send(
        codespace,
        AgentEvent::Connected {
            generation: Generation(generation),
            link: generation,
            client: Client::default(),
        },
    )
    .await;
}

async fn say(codespace: &Codespace, generation: u64, message: FromAgent) {
    send(
        codespace,
        AgentEvent::Said {
            generation: Generation(generation),
            message,
        },
    )
    .await;
}

fn port(number: u16) -> Port {
    Port::new(number).expect("a port")
}

fn listening(number: u16) -> FromAgent {
    let port = ListeningPort {
        port: number,
        addresses: vec!["127.0.0.1".into()],
        pid: Some(1),
        process: Some("node".into()),
        command: None,
        scheme: None,
        path: None,
        noise: None,
        beside: None,
    };
    FromAgent::Ports { ports: vec![port] }
}

#[tokio::test]
async fn a_codespace_is_made_once_and_runs_when_it_is_prepared() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let orders = bench.runtime.bootstrap(codespace.name()).expect("it was started");
    assert_eq!(orders.environment["CODESPACE_NAME"], codespace.name().as_str());
    assert_eq!(
        orders.repository.expect("something to clone").url,
        "https://git.example/team/project.git"
    );
    let verdict = bench.spaces.inner.verify(&orders.credential.0);
    assert_eq!(verdict, Verdict::Current(codespace.name().clone(), Generation(1)));
    assert_eq!(bench.spaces.inner.verify("another"), Verdict::Unknown);

    connect(&codespace, 1).await;
    let connected = reaches(&codespace, |now| now.connected).await;
    assert_eq!(connected.phase(), Phase::Creating);
    say(&codespace, 1, FromAgent::Prepared).await;
    say(&codespace, 1, listening(3000)).await;
    let running = reaches(&codespace, |now| {
        now.phase() == Phase::Running && now.ports.contains_key(&port(3000))
    })
    .await;
    assert_eq!(running.visibility(port(3000), bench.clock.now()), Visibility::Private);
    assert_eq!(running.record.display_name, "project");

    let (again, created) = bench.spaces.create(bench.wanted(), &Actor::default()).await.expect("it is there");
    assert_eq!((again.name(), created), (codespace.name(), Created::Existing));
    let respelled = NewCodespace {
        repository: "https://GIT.example:443/team/project".into(),
        ..bench.wanted()
    };
    let (again, _) = bench.spaces.create(respelled, &Actor::default()).await.expect("it is the same");
    assert_eq!(again.name(), codespace.name());
    let revealing = NewCodespace {
        repository: "https://ghp_0123@git.example/team/project.git".into(),
        ..bench.wanted()
    };
    let refused = bench
        .spaces
        .create(revealing, &Actor::default())
        .await
        .expect_err("it would be kept and shown");
    assert!(refused.to_string().contains("leave the user out"), "{refused}");
    let other = NewCodespace {
        reference: Some("next".into()),
        ..bench.wanted()
    };
    let (other, created) = bench.spaces.create(other, &Actor::default()).await.expect("it is created");
    assert_eq!(created, Created::New);
    assert_ne!(other.name(), codespace.name());
}

#[tokio::test]
async fn what_cannot_be_cloned_leaves_nothing_and_is_tried_again() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    connect(&codespace, 1).await;
    let (name, state) = (StepName::Clone.to_string(), StepState::Failed.to_string());
    let step = FromAgent::Step {
        name,
        state,
        detail: "there is no such repository".into(),
    };
    say(&codespace, 1, step).await;
    let failed = reaches(&codespace, |now| now.phase() == Phase::Failed).await;
    assert_eq!(failed.record.reason.as_deref(), Some("there is no such repository"));
    let (again, created) = bench.spaces.create(bench.wanted(), &Actor::default()).await.expect("it is there");
    assert_eq!((again.name(), created), (codespace.name(), Created::Existing));
    bench.started(&codespace, 2).await;
    let calls = bench.runtime.calls();
    let deleted = calls.iter().position(|call| call.starts_with("delete"));
    assert!(deleted.is_some_and(|at| at < calls.len() - 1), "{calls:?}");
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let bench = bench().await;
    bench.runtime.fail_starts(Some(|| RuntimeError::DiskFull));
    let codespace = bench.create().await;
    let failed = reaches(&codespace, |now| now.phase() == Phase::Failed).await;
    assert!(
        failed.record.reason.as_deref().is_some_and(|why| why.contains("no space left")),
        "{failed:?}"
    );
    bench
        .spaces
        .delete(codespace.name(), false, &Actor::default())
        .await
        .expect("there is no work in it");
    assert!(bench.spaces.find(codespace.name()).is_none());
    assert!(codespace.is_removed() && codespace.until(|_| false).await.is_none());
}

#[tokio::test]
async fn a_hundred_starts_start_it_once() {
    let bench = bench().await;
    let codespace = bench.running().await;
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it stops");
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    let credential = bench.store.codespaces().await.expect("well").remove(0).agent_hash;
    assert!(credential.is_some());
    let actor = Actor::default();
    let starts = (0..100).map(|_| bench.spaces.start(codespace.name(), &actor));
    for started in futures_util::future::join_all(starts).await {
        assert!(started.is_ok());
    }
    bench.started(&codespace, 2).await;
    connect(&codespace, 1).await;
    connect(&codespace, 2).await;
    reaches(&codespace, |now| now.is_reachable()).await;
    let starts = bench.runtime.calls().iter().filter(|call| call.starts_with("start")).count();
    assert_eq!(starts, 2);
}

#[tokio::test]
async fn whoever_comes_while_it_stops_finds_it_started_again() {
    let bench = bench().await;
    let codespace = bench.running().await;
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it stops");
    bench
        .spaces
        .wake(&codespace, &Actor::default(), "by a visit")
        .await
        .expect("it is told");
    let now = codespace.snapshot();
    assert!(now.starts_again || now.phase() == Phase::Starting, "{:?}", now.phase());
    bench.started(&codespace, 2).await;
    assert!(!reaches(&codespace, |now| now.phase() == Phase::Starting).await.starts_again);
}

#[tokio::test]
async fn an_agent_that_dies_is_started_again() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let old = bench.runtime.bootstrap(codespace.name()).expect("it runs").credential;
    bench.runtime.crash(codespace.name());
    let gone = AgentEvent::Disconnected {
        generation: Generation(1),
        link: 1,
        reason: "gone".into(),
    };
    send(&codespace, gone).await;
    reaches(&codespace, |now| !now.connected).await;
    bench.started(&codespace, 2).await;
    assert_eq!(bench.spaces.inner.verify(&old.0), Verdict::Superseded);
    // What an older agent still says means nothing.
    say(&codespace, 1, listening(22)).await;
    connect(&codespace, 2).await;
    let back = reaches(&codespace, |now| now.is_reachable()).await;
    assert!(back.ports.is_empty() && back.record.prepared);
    assert_eq!(back.restarted_because.as_deref(), Some("its agent ended by itself"));
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it stops");
    reaches(&codespace, |now| now.phase() == Phase::Stopped && now.restarted_because.is_none()).await;
}

#[tokio::test]
async fn it_stops_when_nobody_uses_it() {
    let bench = bench().await;
    let codespace = bench.running().await;
    bench.clock.advance(Duration::minutes(29));
    codespace.touch(Activity::TerminalOutput);
    let awake = async {
        while codespace
            .snapshot()
            .awake_because
            .first()
            .is_none_or(|why| why != "output in a terminal")
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(Wait::from_secs(60), awake).await.expect("output keeps it awake");
    bench.clock.advance(Duration::minutes(31));
    // Silence is no activity, and neither is a report of ports.
    say(&codespace, 1, listening(3000)).await;
    let stopped = reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    assert_eq!(stopped.stopped_because.as_deref(), Some("nobody used it for 30 minutes"));
}

#[tokio::test]
async fn a_user_has_so_many_and_no_more() {
    let bench = bench().await;
    let deps = |limit| {
        let mut deps = deps(&bench.store, &bench.runtime, &bench.auth, &bench.clock);
        deps.codespaces_per_user = limit;
        deps
    };
    let spaces = Codespaces::load(deps(1)).await.expect("the store is well");
    let (first, _) = spaces.create(bench.wanted(), &Actor::default()).await.expect("the first");
    let mut other = bench.wanted();
    other.reference = Some("next".into());
    let refused = spaces.create(other.clone(), &Actor::default()).await;
    assert!(matches!(refused, Err(CodespaceError::TooMany { limit: 1 })), "{refused:?}");
    let (again, _) = spaces.create(bench.wanted(), &Actor::default()).await.expect("it is there");
    assert_eq!(again.name(), first.name());
    spaces.delete(first.name(), true, &Actor::default()).await.expect("it goes");
    spaces.create(other, &Actor::default()).await.expect("there is room again");
}

#[tokio::test]
async fn deleting_asks_for_work_first() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let refused = bench.spaces.delete(codespace.name(), false, &Actor::default()).await;
    assert!(matches!(refused, Err(CodespaceError::WorkUnknown)), "{refused:?}");
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it stops");
    let stopped = reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    let refused = bench.spaces.delete(codespace.name(), false, &Actor::default()).await;
    assert!(
        matches!(refused, Err(CodespaceError::WorkUnknown)),
        "nobody could tell: {refused:?}"
    );
    bench.spaces.shutdown().await;

    // What an agent told when it was stopped outlives the gateway.
    let mut record = stopped.record.clone();
    record.work = Some(Work {
        uncommitted_files: 2,
        unpushed_commits: 1,
    });
    bench.store.update_codespace(&record).await.expect("it is there");
    let spaces = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    let mut events = spaces.subscribe();
    let refused = spaces.delete(codespace.name(), false, &Actor::default()).await;
    assert!(
        matches!(
            refused,
            Err(CodespaceError::UnpushedWork {
                uncommitted_files: 2,
                unpushed_commits: 1
            })
        ),
        "{refused:?}"
    );
    spaces
        .delete(codespace.name(), true, &Actor::default())
        .await
        .expect("force deletes");
    assert!(bench.store.codespaces().await.expect("well").is_empty());
    while !matches!(events.recv().await.expect("events"), CodespaceEvent::Removed { .. }) {}
}

#[tokio::test]
async fn a_codespace_that_rests_has_no_task() {
    let idle = async |spaces: &Codespaces| {
        let ended = async {
            while !spaces.inner.tasks.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Wait::from_secs(60), ended).await.expect("no task is left");
    };
    let (bench, nobody) = (bench().await, Actor::default());
    let codespace = bench.running().await;
    assert_eq!(bench.spaces.inner.tasks.len(), 1);
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it is told");
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    idle(&bench.spaces).await;
    let change = PortChange {
        expires_at: Some(Some(bench.clock.now() + Duration::hours(1))),
        visibility: Some(Visibility::Org),
        ..PortChange::default()
    };
    let change = bench.spaces.change_port(codespace.name(), port(8000), change, &nobody);
    change.await.expect("it is changed");
    assert_eq!(bench.spaces.inner.tasks.len(), 1, "a deadline is waited for");
    bench.spaces.start(codespace.name(), &Actor::default()).await.expect("it is told");
    bench.started(&codespace, 2).await;
    bench.spaces.stop(codespace.name(), &Actor::default()).await.expect("it is told");
    reaches(&codespace, |now| now.phase() == Phase::Stopped).await;
    bench.clock.advance(Duration::hours(2));
    let change = PortChange {
        visibility: Some(Visibility::Private),
        ..PortChange::default()
    };
    let change = bench.spaces.change_port(codespace.name(), port(8000), change, &nobody);
    assert_eq!(change.await.expect("it is changed").settings.expires_at, None);
    idle(&bench.spaces).await;

    let next = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    // What rests has no task at start; the tidying of runtimes ends by itself.
    idle(&next).await;
    let again = next.start(codespace.name(), &Actor::default()).await.expect("it is told");
    bench.started(&again, 3).await;
    next.shutdown().await;
    let gone = next.stop(again.name(), &Actor::default()).await.expect_err("nobody obeys");
    assert!(matches!(gone, CodespaceError::ShuttingDown), "{gone:?}");
}

#[tokio::test]
async fn a_new_gateway_takes_over_what_runs_and_starts_what_died() {
    let bench = bench().await;
    let codespace = bench.running().await;
    let orders = bench.runtime.bootstrap(codespace.name()).expect("it runs");
    let change = PortChange {
        visibility: Some(Visibility::Org),
        ..PortChange::default()
    };
    bench
        .spaces
        .change_port(codespace.name(), port(8000), change, &Actor::default())
        .await
        .expect("it is changed");
    bench.spaces.shutdown().await;

    let next = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    let again = next.find(codespace.name()).expect("it is in the store");
    let verdict = next.inner.verify(&orders.credential.0);
    assert_eq!(verdict, Verdict::Current(codespace.name().clone(), Generation(1)));
    connect(&again, 1).await;
    let back = reaches(&again, |now| now.is_reachable()).await;
    assert_eq!(back.visibility(port(8000), bench.clock.now()), Visibility::Org);
    next.shutdown().await;

    bench.runtime.stop(codespace.name()).await.expect("it ends");
    let last = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    bench.started(&last.find(codespace.name()).expect("it is in the store"), 2).await;
}

#[tokio::test]
async fn bad_requests_are_refused_before_anything_is_made() {
    let bench = bench().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let refused = async |change: fn(&mut NewCodespace), path: Option<&str>| {
        let mut wanted = bench.wanted();
        change(&mut wanted);
        if let Some(path) = path {
            (wanted.repository, wanted.allow_local) = (path.into(), true);
        }
        let refused = bench.spaces.create(wanted, &Actor::default()).await;
        refused.expect_err("it is refused").to_string()
    };
    assert!(
        refused(|new| new.repository = "/srv/git".into(), None)
            .await
            .contains("only admins")
    );
    assert!(
        refused(|new| new.repository = "ext::sh".into(), None)
            .await
            .contains("https, http or ssh")
    );
    assert!(
        refused(|new| new.reference = Some("--upload-pack=x".into()), None)
            .await
            .contains("no branch")
    );
    assert!(refused(|new| new.idle_timeout_minutes = Some(4), None).await.contains("5 to 240"));
    assert!(refused(|new| new.display_name = Some("\n".into()), None).await.contains("1 to 80"));
    assert!(
        refused(|new| new.devcontainer_path = Some("../x".into()), None)
            .await
            .contains("relative")
    );
    assert!(refused(|_| {}, Some("/nowhere/at/all")).await.contains("no directory"));
    assert!(refused(|_| {}, Some(&path)).await.contains("no git repository"));
    assert!(bench.runtime.calls().is_empty() && bench.spaces.all().is_empty());
}
