use super::*;
use crate::{
    devcontainer::{Configuration, Place},
    protocol::bootstrap::Bootstrap,
};

struct Site {
    directory: tempfile::TempDir,
    hooks: Hooks,
    reporter: Reporter,
    log: Log,
}

fn site(directory: tempfile::TempDir) -> Site {
    let (log, reporter) = (Log::default(), Reporter::new());
    let bootstrap = Bootstrap {
        home: directory.path().into(),
        state_dir: directory.path().into(),
        environment: [("GREETING".into(), "hello".into())].into(),
        ..Bootstrap::default()
    };
    let environment = Environment::of_agent(&bootstrap);
    let folder = Folder::of(directory.path());
    let hooks = Hooks::new(environment, folder, directory.path(), log.clone(), reporter.clone());
    Site {
        directory,
        hooks,
        reporter,
        log,
    }
}

fn read(text: &str) -> Vec<Hook> {
    Configuration::read(text, ".devcontainer.json", &Place::default())
        .expect("well-formed")
        .hooks
}

impl Site {
    fn step(&self, name: StepName) -> (StepState, String) {
        self.reporter.watch().borrow().step(name).expect("it was reported")
    }

    fn file(&self) -> String {
        fs::read_to_string(self.directory.path().join("order")).unwrap_or_default()
    }
}

#[tokio::test]
async fn hooks_run_in_order_in_their_three_forms() {
    let site = site(tempfile::tempdir().expect("a directory"));
    let hooks = read(
        r#"{ "postCreateCommand": { "a": "sleep 0.1; echo ${containerEnv:GREETING} from a", "b": ["sh", "-c", "echo \"$1\"; echo 3 >> order", "x", "a  b"] },
            "onCreateCommand": "echo 1 >> order; echo $GREETING", "updateContentCommand": ["sh", "-c", "echo 2 >> order"],
            "postStartCommand": "echo 4 >> order" }"#,
    );
    site.hooks.announce(&hooks);
    assert!(site.hooks.run(&hooks).await);
    assert_eq!(site.file(), "1\n2\n3\n4\n");
    let text = site.log.text();
    for said in [
        "== onCreateCommand: echo 1",
        "\nhello\n",
        "[a] hello from a\n",
        "[b] a  b\n",
        "== postCreateCommand (a):",
    ] {
        assert!(text.contains(said), "{said:?} is not in {text}");
    }
    assert_eq!(site.step(StepName::PostCreate).0, StepState::Done);
    // At the next start only what belongs to each start runs.
    site.hooks.announce(&hooks);
    assert_eq!(site.step(StepName::OnCreate).0, StepState::Skipped);
    assert!(site.hooks.run(&hooks).await);
    assert_eq!(site.file(), "1\n2\n3\n4\n4\n");
}

#[tokio::test]
async fn a_failure_is_told_and_what_comes_after_does_not_run() {
    let site = site(tempfile::tempdir().expect("a directory"));
    let hooks = read(
        r#"{ "onCreateCommand": "echo the cause >&2; exit 3", "postCreateCommand": "echo late >> order", "postStartCommand": ["no-such-program"] }"#,
    );
    assert!(!site.hooks.run(&hooks).await);
    let (state, detail) = site.step(StepName::OnCreate);
    assert_eq!(state, StepState::Failed);
    for said in ["exit status: 3", "the cause", "can be used all the same", "at the next start"] {
        assert!(detail.contains(said), "{said:?} is not in {detail}");
    }
    assert_eq!(site.step(StepName::PostCreate).0, StepState::Skipped);
    assert_eq!(site.file(), "");
    assert!(!site.hooks.run(&hooks[2..]).await);
    assert!(site.step(StepName::PostStart).1.contains("could not be started"));
    assert!(!site.hooks.run(&hooks).await, "what failed runs again");
}

#[tokio::test]
async fn a_server_that_a_hook_leaves_behind_holds_nothing_up() {
    let site = site(tempfile::tempdir().expect("a directory"));
    assert!(site.hooks.run(&read(r#"{ "postStartCommand": "sleep 30 & echo started" }"#)).await);
    assert!(site.log.text().contains("started"));
}
