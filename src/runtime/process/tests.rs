//! A shell script as the agent.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::{protocol::bootstrap::Repository, runtime::InstanceState};

struct Bench {
    directory: tempfile::TempDir,
    runtime: ProcessRuntime,
    name: CodespaceName,
}

/// Makes a runtime whose agent is a script.
fn bench(script: &str) -> Bench {
    let directory = tempfile::tempdir().expect("a directory");
    let agent = directory.path().join("agent.sh");
    fs::write(&agent, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let runtime = ProcessRuntime::new(directory.path().join("data"), None).with_agent(agent);
    Bench {
        directory,
        runtime,
        name: "amber-x".parse().expect("a name"),
    }
}

impl Bench {
    fn root(&self) -> PathBuf {
        self.directory.path().join("data/codespaces/amber-x")
    }

    async fn start(&self, generation: u64) {
        let bootstrap = Bootstrap {
            generation,
            repository: Some(Repository {
                url: "https://git.example/team/project.git".into(),
                ..Repository::default()
            }),
            ..Bootstrap::default()
        };
        self.runtime.start(&self.name, bootstrap).await.expect("it starts");
    }

    async fn state(&self) -> InstanceState {
        self.runtime.state(&self.name).await.expect("it can be told")
    }

    fn marked(&self) -> usize {
        let mark = Place::new(self.root()).known_mark().expect("it was started");
        processes::marked(&mark).len()
    }

    /// Waits for a line in the agent's log.
    async fn logged(&self, line: &str) {
        while !self
            .runtime
            .agent_log(&self.name)
            .await
            .expect("a log")
            .lines()
            .any(|there| there == line)
        {
            sleep(LOOK).await;
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn an_agent_is_started_found_again_and_ended_with_all_that_it_started() {
    // A child in a session of its own that ignores polite signals, as hostile code would.
    let bench = bench("trap '' TERM; (trap '' TERM HUP; exec setsid sleep 1000) & echo up $HOME; while :; do sleep 0.1; done");
    assert_eq!(bench.state().await, InstanceState::Absent);
    bench.start(1).await;
    bench.logged(&format!("up {}", bench.root().join("home").display())).await;
    assert_eq!(bench.state().await, InstanceState::Running);
    assert_eq!(mode(&bench.root().join("state/bootstrap.json")), 0o600);
    assert_eq!(mode(&bench.root().join("state")), 0o700);

    let after_restart = ProcessRuntime::new(bench.directory.path().join("data"), None);
    assert_eq!(
        after_restart.state(&bench.name).await.expect("it can be told"),
        InstanceState::Running
    );

    let mark = Place::new(bench.root()).known_mark().expect("it was started");
    // The test does not wait for the whole patience with an agent that ignores SIGTERM.
    processes::kill_marked(&mark);
    bench.runtime.stop(&bench.name).await.expect("it stops");
    assert_eq!((bench.state().await, bench.marked()), (InstanceState::Stopped, 0));
    bench.runtime.stop(&bench.name).await.expect("twice is as once");
}

#[tokio::test]
async fn a_newer_generation_ends_the_older() {
    let bench = bench("echo up; exec sleep 1000");
    bench.start(1).await;
    bench.start(2).await;
    let text = fs::read_to_string(bench.root().join("state/bootstrap.json")).expect("it is there");
    let orders: Bootstrap = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(orders.generation, 2);
    assert_eq!(
        orders.gateway,
        format!("unix:{}", bench.directory.path().join("data/agent.sock").display())
    );
    assert_eq!(orders.workspace, bench.root().join("workspaces/project"));
    assert!(orders.workspace.is_dir());
    assert_eq!(bench.marked(), 1);
    bench.runtime.stop(&bench.name).await.expect("it stops");
    assert_eq!(bench.marked(), 0);
}

#[test]
fn the_workspace_has_the_repository_s_name_unless_it_had_another() {
    let bench = bench("");
    let place = Place::new(bench.root());
    let of = |repository| {
        place
            .workspace(repository)
            .strip_prefix(bench.root())
            .map(Path::to_owned)
            .expect("inside")
    };
    assert_eq!(of(Some("git@host:team/my.project")), Path::new("workspaces/my.project"));
    assert_eq!(of(Some("/srv/git/..")), Path::new("workspaces/workspace"));
    assert_eq!(of(None), Path::new("workspaces/workspace"));
    fs::create_dir_all(bench.root().join("workspace")).expect("an older codespace");
    assert_eq!(of(Some("git@host:team/my.project")), Path::new("workspace"));
}

#[tokio::test]
async fn deleting_removes_what_nobody_may_write_to() {
    let bench = bench("exec sleep 1000");
    bench.start(1).await;
    let deep = bench.root().join("workspaces/project/module/cache");
    fs::create_dir_all(&deep).expect("a directory");
    fs::write(deep.join("file"), "x").expect("it can be written");
    for path in [deep.join("file"), deep.clone(), bench.root().join("workspaces/project/module")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o400)).expect("it is ours");
    }
    let outside = bench.directory.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    std::os::unix::fs::symlink(&outside, bench.root().join("workspaces/project/link")).expect("a link");
    bench.runtime.delete(&bench.name).await.expect("it is removed");
    assert_eq!(bench.state().await, InstanceState::Absent);
    assert!(outside.is_dir());
    bench.runtime.delete(&bench.name).await.expect("twice is as once");
}

#[tokio::test]
async fn a_pid_that_is_another_process_by_now_is_not_the_agent() {
    let bench = bench("exec sleep 1000");
    bench.start(1).await;
    let text = format!(r#"{{"pid":{},"started":1}}"#, std::process::id());
    fs::write(bench.root().join("state/agent.pid"), text).expect("it can be written");
    assert_eq!(bench.state().await, InstanceState::Stopped);
    bench.runtime.stop(&bench.name).await.expect("only what is marked is ended");
    assert_eq!(bench.marked(), 0);
}

#[test]
fn a_full_disk_has_its_own_words() {
    assert!(matches!(
        RuntimeError::from(io::Error::from(io::ErrorKind::StorageFull)),
        RuntimeError::DiskFull
    ));
    assert!(matches!(
        RuntimeError::from(io::Error::from(io::ErrorKind::PermissionDenied)),
        RuntimeError::Failed(_)
    ));
}
