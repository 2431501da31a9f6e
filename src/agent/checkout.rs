//! Brings the repository into the workspace: shallow at first, whole later.
//!
//! Owns the order of git commands and that a failure leaves nothing behind. Refuses to overwrite what is there.

pub mod refs;
pub mod source;
mod trouble;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::trouble::Trouble;
use self::{
    refs::{Refs, Target},
    source::Source,
};
use super::{environment::Environment, git::Git, log::Log, report::Reporter};
use crate::{
    domain::{Reference, StepName, StepState},
    protocol::bootstrap::{Bootstrap, Repository},
};

/// How long a remote may take to list its refs.
const LIST_PATIENCE: Duration = Duration::from_secs(90);
/// A file in `.git` while the first checkout is not done.
const UNFINISHED: &str = ".git/portico-unfinished";
/// Settings of every fetch: a stalled connection ends, hooks of templates do not run, submodules are left alone.
const SETTINGS: [&str; 10] = [
    "-c",
    "http.lowSpeedLimit=1",
    "-c",
    "http.lowSpeedTime=60",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "submodule.recurse=false",
    "-c",
    "advice.detachedHead=false",
];

/// The checkout of one codespace.
pub struct Checkout {
    workspace: PathBuf,
    repository: Option<Repository>,
    prepared: bool,
    git: Git,
    name: String,
    email: String,
    log: Log,
    reporter: Reporter,
    /// Whether HOME is the user's own.
    own_machine: bool,
}

/// How a checkout ended well.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Done {
    /// What is checked out, in words.
    Fetched(String),
    /// It was there before, or nothing was asked for.
    Nothing(&'static str),
}

impl Checkout {
    pub fn new(bootstrap: &Bootstrap, environment: &Environment, log: Log, reporter: Reporter) -> Self {
        Self {
            workspace: bootstrap.workspace.clone(),
            repository: bootstrap.repository.clone(),
            prepared: bootstrap.prepared,
            git: Git::new(environment, bootstrap.workspace.clone(), log.clone()),
            name: bootstrap.git_name.clone(),
            email: bootstrap.git_email.clone(),
            log,
            reporter,
            own_machine: bootstrap.own_machine,
        }
    }

    /// Checks out and reports the step; false if it failed.
    pub async fn run(&self) -> bool {
        self.reporter.step(StepName::Clone, StepState::Running, "");
        match self.prepare().await {
            Ok(done) => {
                let (state, detail) = match done {
                    Done::Fetched(what) => (StepState::Done, what),
                    Done::Nothing(why) => (StepState::Skipped, why.into()),
                };
                self.reporter.step(StepName::Clone, state, detail);
                true
            }
            Err(trouble) => {
                self.log.line(&trouble);
                self.reporter.step(StepName::Clone, StepState::Failed, trouble.to_string());
                false
            }
        }
    }

    /// Fetches the history that the shallow checkout left out; a failure is only a warning.
    pub async fn history(&self) {
        let Some(source) = self.repository.as_ref().and_then(|r| Source::parse(&r.url, r.allow_local).ok()) else {
            return self.reporter.step(StepName::History, StepState::Skipped, "");
        };
        let shallow = self.workspace.join(".git/shallow").exists();
        if !shallow {
            return self.reporter.step(StepName::History, StepState::Skipped, "the history is whole");
        }
        self.reporter.step(StepName::History, StepState::Running, "");
        let git = self.git.clone().with("GIT_ALLOW_PROTOCOL", source.protocols());
        match git
            .run(&with_settings(&["fetch", "--quiet", "--unshallow", "--tags", "--", "origin"]), None)
            .await
        {
            Ok(_) => self.reporter.step(StepName::History, StepState::Done, ""),
            Err(error) => {
                let trouble = Trouble::tell(&error, &source);
                self.log.line(format_args!("the full history could not be fetched: {trouble}"));
                let detail = format!("the full history could not be fetched: {trouble}; 'git fetch --unshallow' tries again");
                self.reporter.step(StepName::History, StepState::Failed, detail);
            }
        }
    }

    async fn prepare(&self) -> Result<Done, Trouble> {
        fs::create_dir_all(&self.workspace).map_err(|error| storage(&error))?;
        let Some(repository) = &self.repository else {
            self.identity(None).await;
            return Ok(Done::Nothing("no repository was asked for"));
        };
        if self.prepared {
            self.identity(None).await;
            return Ok(Done::Nothing("it was checked out before"));
        }
        if self.workspace.join(UNFINISHED).exists() {
            self.log.line("an unfinished checkout is thrown away");
            empty(&self.workspace).map_err(|error| storage(&error))?;
        }
        if fs::read_dir(&self.workspace).map_err(|error| storage(&error))?.next().is_some() {
            self.identity(None).await;
            return Ok(Done::Nothing("the workspace was there already"));
        }
        let source = Source::parse(&repository.url, repository.allow_local)?;
        self.identity(source.local_path()).await;
        let fetched = self.fetch(&source, repository).await;
        if fetched.is_err()
            && let Err(error) = empty(&self.workspace)
        {
            tracing::warn!(%error, "a failed checkout could not be cleared away");
        }
        fetched.map(Done::Fetched)
    }

    async fn fetch(&self, source: &Source, repository: &Repository) -> Result<String, Trouble> {
        let git = self.git.clone().with("GIT_ALLOW_PROTOCOL", source.protocols());
        let tell = |error| Trouble::tell(&error, source);
        self.log.line(format_args!("fetching {}", source.url()));
        let listed = git
            .run(&with_settings(&["ls-remote", "--symref", "--", source.url()]), Some(LIST_PATIENCE))
            .await
            .map_err(tell)?;
        let refs = Refs::read(&listed);
        let target = refs.choose(repository.reference.as_deref(), repository.pull_request)?;
        let first = refs.default.as_deref().unwrap_or("main");
        git.run(&["init", "--quiet", "--initial-branch", first], None).await.map_err(tell)?;
        fs::write(self.workspace.join(UNFINISHED), "").map_err(|error| storage(&error))?;
        git.run(&["remote", "add", "--", "origin", source.url()], None)
            .await
            .map_err(tell)?;
        let told = Target::check_out(&target, &git, &refs).await.map_err(|error| match error {
            Failure::Git(error) => tell(error),
            Failure::Missing(missing) => missing.into(),
        })?;
        if self.workspace.join(".gitmodules").exists() {
            self.log
                .line("the repository has submodules; 'git submodule update --init' fetches them");
        }
        fs::remove_file(self.workspace.join(UNFINISHED)).map_err(|error| storage(&error))?;
        // A name that nobody could ask for is of no use to the gateway.
        if let Ok(Target::Branch(name)) = refs.choose(None, None)
            && name.parse::<Reference>().is_ok()
        {
            self.reporter.default_branch(&name);
        }
        Ok(told)
    }

    /// Puts the user's name and email where git finds them, unless they are there.
    async fn identity(&self, local: Option<&str>) {
        if self.own_machine {
            return;
        }
        let settings = [
            ("user.name", self.name.as_str()),
            ("user.email", self.email.as_str()),
            ("init.defaultBranch", "main"),
            ("push.autoSetupRemote", "true"),
        ];
        let git = Git {
            directory: "/".into(),
            ..self.git.clone()
        };
        for (name, value) in settings.into_iter().filter(|(_, value)| !value.is_empty()) {
            // What Portico wrote may change with the user's settings; what somebody else wrote stays.
            let ours = format!("portico.{}", name.replace('.', "-"));
            let there = git.run(&["config", "--global", "--get", name], None).await.ok();
            let written = git.run(&["config", "--global", "--get", &ours], None).await.ok();
            if (there.is_none() || there == written) && there.as_deref().map(str::trim) != Some(value) {
                for name in [name, &ours] {
                    let _ = git.run(&["config", "--global", name, value], None).await;
                }
            }
        }
        if let Some(path) = local {
            let known = git
                .run(&["config", "--global", "--get-all", "safe.directory"], None)
                .await
                .unwrap_or_default();
            for path in [path.to_owned(), format!("{path}/.git")] {
                if !known.lines().any(|line| line == path) {
                    let _ = git.run(&["config", "--global", "--add", "safe.directory", &path], None).await;
                }
            }
        }
    }
}

/// What stops a checkout.
enum Failure {
    Git(super::git::GitError),
    Missing(refs::Missing),
}

impl From<super::git::GitError> for Failure {
    fn from(error: super::git::GitError) -> Self {
        Self::Git(error)
    }
}

impl Target {
    /// Fetches and checks out; gives what it was, in words.
    async fn check_out(&self, git: &Git, refs: &Refs) -> Result<String, Failure> {
        let run = async |arguments: &[&str]| git.run(&with_settings(arguments), None).await;
        let shallow = ["fetch", "--quiet", "--depth", "1", "--no-tags", "--", "origin"];
        let fetch = async |what: &str| run(&[&shallow[..], &[what]].concat()).await;
        match self {
            Self::Empty => Ok("the repository is empty".into()),
            Self::Branch(name) => {
                fetch(&format!("+refs/heads/{name}:refs/remotes/origin/{name}")).await?;
                run(&["checkout", "--quiet", "-B", name, "--track", &format!("origin/{name}")]).await?;
                Ok(format!("branch {name}"))
            }
            Self::Tag(name) => {
                fetch(&format!("+refs/tags/{name}:refs/tags/{name}")).await?;
                run(&["checkout", "--quiet", "--detach", &format!("refs/tags/{name}^{{commit}}")]).await?;
                Ok(format!("tag {name}"))
            }
            Self::Commit(id) => {
                if fetch(id).await.is_err() {
                    // Old servers give out no commit that no ref names: fetch all and look.
                    run(&["fetch", "--quiet", "--tags", "--", "origin"]).await?;
                }
                run(&["checkout", "--quiet", "--detach", &format!("{id}^{{commit}}")])
                    .await
                    .map_err(|_| Failure::Missing(refs.missing(id)))?;
                Ok(format!("commit {}", &id[..12]))
            }
            Self::Abbreviated(start) => {
                run(&["fetch", "--quiet", "--tags", "--", "origin"]).await?;
                run(&["checkout", "--quiet", "--detach", &format!("{start}^{{commit}}")])
                    .await
                    .map_err(|_| Failure::Missing(refs.missing(start)))?;
                Ok(format!("commit {start}"))
            }
            Self::PullRequest(number, name) => {
                let branch = format!("pull-{number}");
                fetch(&format!("+{name}:refs/remotes/origin/{branch}")).await?;
                run(&[
                    "checkout",
                    "--quiet",
                    "--no-track",
                    "-B",
                    &branch,
                    &format!("refs/remotes/origin/{branch}"),
                ])
                .await?;
                run(&["config", &format!("branch.{branch}.remote"), "origin"]).await?;
                run(&["config", &format!("branch.{branch}.merge"), name]).await?;
                Ok(format!("pull request {number}"))
            }
        }
    }
}

fn with_settings<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SETTINGS[..], arguments].concat()
}

/// Removes everything in a directory, but not the directory.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

fn storage(error: &io::Error) -> Trouble {
    Trouble::Told(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full; make room and create the codespace again".into(),
        _ => format!("the workspace cannot be written: {error}"),
    })
}

#[cfg(test)]
mod tests;
