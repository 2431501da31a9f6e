//! Checkouts of real repositories with real git.

use std::process::Command;

use super::*;
use crate::protocol::tunnel::FromAgent;

struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    /// A bare repository with three commits on `main`, a branch, a tag and a pull request.
    fn new() -> Self {
        let scene = Self {
            root: tempfile::tempdir().expect("a directory"),
        };
        scene.sh(
            "export HOME=$PWD GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
             git init -q --bare -b main origin.git && git init -q -b main made && cd made
             for n in 1 2 3; do echo $n > file; git add file; git commit -qm $n; done
             git tag v2 HEAD~1; git branch side HEAD~1; git push -q ../origin.git main side v2 HEAD~2:refs/pull/5/head",
        );
        scene
    }

    fn sh(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.root.path())
            .output()
            .expect("sh runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn checkout(&self, repository: Repository) -> Checkout {
        self.checkout_again(repository, false)
    }

    fn checkout_again(&self, repository: Repository, prepared: bool) -> Checkout {
        let bootstrap = Bootstrap {
            prepared,
            workspace: self.root.path().join("workspace"),
            home: self.root.path().join("home"),
            state_dir: self.root.path().join("state"),
            repository: Some(repository),
            git_name: "Ada".into(),
            git_email: "ada@example.com".into(),
            ..Bootstrap::default()
        };
        fs::create_dir_all(&bootstrap.home).expect("a home");
        let environment = Environment::compose([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())], &bootstrap);
        Checkout::new(&bootstrap, &environment, Log::default(), Reporter::new())
    }

    fn at(&self, reference: Option<&str>, pull_request: Option<u64>) -> Checkout {
        let url = format!("file://{}", self.root.path().join("origin.git").display());
        self.checkout(Repository {
            url,
            reference: reference.map(str::to_owned),
            pull_request,
            allow_local: true,
        })
    }

    fn in_workspace(&self, script: &str) -> String {
        self.sh(&format!("cd workspace; export HOME=$PWD/../home; {script}"))
    }
}

#[tokio::test]
async fn a_branch_is_shallow_first_and_whole_later() {
    let scene = Scene::new();
    let checkout = scene.at(None, None);
    assert_eq!(
        checkout.prepare().await,
        Ok(Done::Fetched("branch main".into())),
        "{}",
        checkout.log.text()
    );
    let told = checkout.reporter.watch().borrow().since(&Default::default());
    let name = "main".to_owned();
    assert!(told.contains(&FromAgent::DefaultBranch { name }), "{told:?}");
    let seen = scene
        .in_workspace("git log --oneline | wc -l; cat file; git rev-parse --abbrev-ref @{u}; git config user.name; git status --porcelain");
    assert_eq!(seen, "1\n3\norigin/main\nAda");
    // The agent ended before it could fetch the history: the next one goes on, and touches nothing else.
    scene.in_workspace("echo mine > file");
    let checkout = scene.checkout_again(checkout.repository.clone().expect("it was asked for"), true);
    assert_eq!(checkout.prepare().await, Ok(Done::Nothing("it was checked out before")));
    checkout.history().await;
    assert_eq!(scene.in_workspace("cat file; git checkout -q file"), "mine");
    assert_eq!(
        scene.in_workspace("git log --oneline | wc -l; git branch -r | sort | xargs; git tag"),
        "3\norigin/main origin/side\nv2"
    );
    let work = super::super::work::look(&checkout.git).await;
    assert_eq!(
        (
            work.branch.as_deref(),
            work.has_upstream,
            work.uncommitted_files,
            work.unpushed_commits
        ),
        (Some("main"), true, 0, 0)
    );
    scene.in_workspace("echo x > new; echo y > file; git commit -qam mine; echo z > file");
    let work = super::super::work::look(&checkout.git).await;
    assert_eq!((work.uncommitted_files, work.unpushed_commits), (2, 1));
    assert!(
        matches!(scene.at(None, None).prepare().await, Ok(Done::Nothing(_))),
        "what is there is not touched"
    );
}

#[tokio::test]
async fn tags_commits_and_pull_requests_are_told_apart() {
    let scene = Scene::new();
    let first = scene.sh("git -C made rev-parse HEAD~2");
    let cases = [
        (Some("side"), None, "2 side"),
        (Some("v2"), None, "2 HEAD"),
        (Some(first.as_str()), None, "1 HEAD"),
        (Some(&first[..9]), None, "1 HEAD"),
        (None, Some(5), "1 pull-5"),
    ];
    for (reference, pull_request, expected) in cases {
        let checkout = scene.at(reference, pull_request);
        assert!(
            matches!(checkout.prepare().await, Ok(Done::Fetched(_))),
            "{reference:?}: {}",
            checkout.log.text()
        );
        assert_eq!(
            scene.in_workspace("echo $(cat file) $(git rev-parse --abbrev-ref HEAD)"),
            expected,
            "{reference:?}"
        );
        scene.sh("rm -rf workspace");
    }
}

#[tokio::test]
async fn a_failure_leaves_nothing_and_says_why() {
    let scene = Scene::new();
    let local = |url: String| Repository {
        url,
        allow_local: true,
        ..Repository::default()
    };
    let cases = [
        (
            scene.at(Some("nope"), None),
            "no branch, tag or commit nope; there are main, side, v2",
        ),
        (
            scene.at(Some("0123456789012345678901234567890123456789"), None),
            "no branch, tag or commit 0123",
        ),
        (scene.at(None, Some(77)), "no pull request 77"),
        (scene.checkout(local("/nowhere".into())), "does not exist"),
        (scene.checkout(local("ext::sh".into())), "https"),
        (scene.checkout(local("http://127.0.0.1:1/x".into())), "cannot be reached"),
        (
            scene.checkout(Repository {
                url: "/nowhere".into(),
                ..Repository::default()
            }),
            "administrator",
        ),
    ];
    for (checkout, expected) in cases {
        let trouble = checkout.prepare().await.expect_err("fails").to_string();
        assert!(trouble.contains(expected), "{trouble}");
        assert_eq!(fs::read_dir(&checkout.workspace).expect("is there").count(), 0, "{trouble}");
    }
}

#[tokio::test]
async fn an_empty_repository_is_fine_and_an_unfinished_checkout_is_redone() {
    let scene = Scene::new();
    scene.sh("git init -q --bare empty.git; mkdir -p workspace/.git; touch workspace/.git/portico-unfinished workspace/half");
    let url = scene.root.path().join("empty.git").display().to_string();
    let checkout = scene.checkout(Repository {
        url,
        allow_local: true,
        ..Repository::default()
    });
    assert_eq!(
        checkout.prepare().await,
        Ok(Done::Fetched("the repository is empty".into())),
        "{}",
        checkout.log.text()
    );
    assert!(!checkout.workspace.join("half").exists());
    assert_eq!(super::super::work::look(&checkout.git).await.unpushed_commits, 0);
}
