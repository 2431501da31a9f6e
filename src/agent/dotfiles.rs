//! The user's dotfiles: cloned once into HOME, then their install script, or links for want of one.
//!
//! Owns the order of names that is tried, GitHub Codespaces' own, and that they are installed once for each HOME: what was
//! interrupted or failed is tried again at the next start, with what is in `~/.dotfiles` by then. A failure is told and
//! stops nothing. Refuses to replace a file that is there by a link, and dotfiles that it did not put there.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    checkout::{Trouble, source::Source},
    environment::Environment,
    git::Git,
    log::Log,
    program,
    report::Reporter,
};
use crate::{
    domain::{StepName, StepState},
    protocol::{bootstrap::Bootstrap, personal},
};

/// Scripts that install dotfiles, the first that is there counts:
/// <https://docs.github.com/en/codespaces/setting-your-user-preferences/personalizing-github-codespaces-for-your-account>.
const SCRIPTS: [&str; 8] = [
    "install.sh",
    "install",
    "bootstrap.sh",
    "bootstrap",
    "script/bootstrap",
    "setup.sh",
    "setup",
    "script/setup",
];
/// What is never linked.
const NEVER: [&str; 2] = [".git", ".gitignore"];
/// The mark of an installation that began, and of one that is done; a repository's URL follows.
const BEGUN: &str = "begun ";
const DONE: &str = "done ";
/// How long a clone may take.
const CLONE_PATIENCE: Duration = Duration::from_secs(300);
/// How long an install script may take.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(1800);

/// The dotfiles of one HOME.
pub struct Dotfiles {
    home: PathBuf,
    /// Says how far an installation came, in one word, and of which repository.
    mark: PathBuf,
    environment: Environment,
    log: Log,
    reporter: Reporter,
    /// Whether HOME is the user's own, with dotfiles of its own.
    own_machine: bool,
}

impl Dotfiles {
    pub fn new(bootstrap: &Bootstrap, environment: Environment, log: Log, reporter: Reporter) -> Self {
        Self {
            home: bootstrap.home.clone(),
            mark: bootstrap.home.join(".local/share/portico/dotfiles"),
            environment,
            log,
            reporter,
            own_machine: bootstrap.own_machine,
        }
    }

    /// Installs them, if the user has some and this HOME does not have them yet.
    pub async fn run(&self) {
        let told: Arc<personal::Personal> = self.environment.personal().surely_told(|| ()).await;
        let Some(wanted) = told.dotfiles.as_ref().filter(|_| !self.own_machine) else {
            return;
        };
        let there = self.home.join(".dotfiles");
        let mark = fs::read_to_string(&self.mark).unwrap_or_default();
        let begun = mark.strip_prefix(BEGUN);
        if mark.starts_with(DONE) || (there.exists() && begun.is_none()) {
            return self
                .reporter
                .step(StepName::Dotfiles, StepState::Skipped, "they were installed before");
        }
        self.reporter.step(StepName::Dotfiles, StepState::Running, "");
        match self.install(wanted, begun, &there).await {
            Ok(done) => self.reporter.step(StepName::Dotfiles, StepState::Done, done),
            Err(why) => {
                self.log.line(format_args!("the dotfiles: {why}"));
                self.reporter.step(StepName::Dotfiles, StepState::Failed, why);
            }
        }
    }

    /// Puts them there, or takes up what was begun with the dotfiles of a repository.
    async fn install(&self, wanted: &personal::Dotfiles, begun: Option<&str>, there: &Path) -> Result<String, String> {
        let source = Source::parse(&wanted.repository, wanted.allow_local).map_err(|error| error.to_string())?;
        match begun {
            Some(url) if there.exists() && url == source.url() => self.pull(&source, there).await,
            Some(url) if there.exists() => {
                return Err(format!(
                    "~/.dotfiles is what is left of {url}, which was not installed. Move it away, and restart"
                ));
            }
            _ => self.fetch(&source, there).await?,
        }
        let done = match script(there, wanted.script.as_deref())? {
            Some(name) => self.run_script(there, &name).await.map(|()| format!("ran {name}"))?,
            None => {
                let (linked, left) = link(there, &self.home).map_err(|error| format!("they could not be linked: {error}"))?;
                let kept = if left.is_empty() {
                    String::new()
                } else {
                    format!("; there already and kept: {}", left.join(", "))
                };
                format!("linked {linked} files{kept}")
            }
        };
        self.remember(DONE, &source)?;
        Ok(done)
    }

    /// Notes how far an installation came.
    fn remember(&self, how_far: &str, source: &Source) -> Result<(), String> {
        let written = self.mark.parent().map_or(Ok(()), fs::create_dir_all);
        let written = written.and_then(|()| fs::write(&self.mark, format!("{how_far}{}", source.url())));
        written.map_err(|error| format!("{} could not be written: {error}", self.mark.display()))
    }

    /// Takes what was mended since; where that is not to be had, or does not fit what was changed here, what is here will do.
    async fn pull(&self, source: &Source, there: &Path) {
        self.log.line(format_args!("taking up the dotfiles of {}", source.url()));
        let git = Git::new(&self.environment, there.to_owned(), self.log.clone()).with("GIT_ALLOW_PROTOCOL", source.protocols());
        let arguments = ["-c", "core.hooksPath=/dev/null", "pull", "--quiet", "--ff-only"];
        if let Err(error) = git.run(&arguments, Some(CLONE_PATIENCE)).await {
            let why = Trouble::tell(&error, source);
            self.log.line(format_args!("the dotfiles stay as they are here: {why}"));
        }
    }

    async fn fetch(&self, source: &Source, there: &Path) -> Result<(), String> {
        self.log.line(format_args!("fetching the dotfiles from {}", source.url()));
        let early = self.home.join(".dotfiles.new");
        let _ = fs::remove_dir_all(&early);
        let git = Git::new(&self.environment, self.home.clone(), self.log.clone()).with("GIT_ALLOW_PROTOCOL", source.protocols());
        let target = early.to_string_lossy();
        let arguments = [
            "-c",
            "core.hooksPath=/dev/null",
            "clone",
            "--quiet",
            "--depth",
            "1",
            "--",
            source.url(),
            &target,
        ];
        if let Err(error) = git.run(&arguments, Some(CLONE_PATIENCE)).await {
            let _ = fs::remove_dir_all(&early);
            return Err(format!("they could not be fetched: {}", Trouble::tell(&error, source)));
        }
        self.remember(BEGUN, source)?;
        fs::rename(&early, there).map_err(|error| format!("they could not be put into HOME: {error}"))
    }

    /// Runs the script as the user would, with its output in the log.
    async fn run_script(&self, there: &Path, name: &str) -> Result<(), String> {
        self.log.line(format_args!("running {name} of the dotfiles"));
        let file = there.join(name);
        let executable = fs::metadata(&file).is_ok_and(|about| about.permissions().mode() & 0o111 != 0);
        let file = file.to_string_lossy();
        let command: &[&str] = if executable { &[&file] } else { &["/bin/sh", &file] };
        program::run(command, &self.environment, there, &self.log, SCRIPT_PATIENCE)
            .await
            .map_err(|why| format!("{name} {why}. The log says more; it is run again at the next start"))
    }
}

/// The script to run, below the dotfiles; none if none of the usual names is there.
fn script(there: &Path, wanted: Option<&str>) -> Result<Option<String>, String> {
    match wanted {
        Some(name) if there.join(name).is_file() => Ok(Some(name.into())),
        Some(name) => Err(format!("there is no script {name} in the dotfiles")),
        None => Ok(SCRIPTS.iter().find(|name| there.join(name).is_file()).map(|name| (*name).into())),
    }
}

/// Links each file and folder whose name begins with a dot into HOME; gives how many, and which were there already.
fn link(there: &Path, home: &Path) -> io::Result<(usize, Vec<String>)> {
    let (mut linked, mut left) = (0, Vec::new());
    for entry in fs::read_dir(there)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') || NEVER.contains(&name.as_str()) {
            continue;
        }
        match symlink(there.join(&name), home.join(&name)) {
            Ok(()) => linked += 1,
            // By an installation that was interrupted.
            Err(_) if fs::read_link(home.join(&name)).is_ok_and(|target| target == there.join(&name)) => linked += 1,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => left.push(name),
            Err(error) => return Err(error),
        }
    }
    left.sort();
    Ok((linked, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_usual_script_is_run_or_the_one_that_is_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let there = directory.path();
        assert_eq!(script(there, None), Ok(None));
        fs::create_dir(there.join("script")).expect("it is ours");
        fs::create_dir(there.join("install")).expect("a folder is no script");
        for name in ["script/setup", "setup.sh", "mine"] {
            fs::write(there.join(name), "true").expect("it is ours");
        }
        assert_eq!(script(there, None), Ok(Some("setup.sh".into())));
        assert_eq!(script(there, Some("mine")), Ok(Some("mine".into())));
        assert!(script(there, Some("other")).is_err());
    }

    #[test]
    fn links_replace_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let (there, home) = (directory.path().join("dots"), directory.path().join("home"));
        for path in [there.join(".git"), there.join(".config"), home.clone()] {
            fs::create_dir_all(path).expect("it is ours");
        }
        for name in [".bashrc", ".vimrc", "README.md"] {
            fs::write(there.join(name), "theirs").expect("it is ours");
        }
        fs::write(home.join(".bashrc"), "mine").expect("it is ours");
        assert_eq!(link(&there, &home).expect("linked"), (2, vec![".bashrc".to_owned()]));
        assert_eq!(fs::read_to_string(home.join(".bashrc")).expect("a file"), "mine");
        assert_eq!(fs::read_to_string(home.join(".vimrc")).expect("a link"), "theirs");
        assert!(!home.join(".git").exists() && !home.join("README.md").exists());
    }

    #[tokio::test]
    async fn what_failed_is_tried_again_until_it_is_done() {
        let directory = tempfile::tempdir().expect("a directory");
        let (origin, home) = (directory.path().join("origin"), directory.path().join("home"));
        let commit = |script: &str| {
            fs::write(origin.join("install.sh"), script).expect("it is ours");
            for arguments in [
                &["init", "--quiet"][..],
                &["add", "."],
                &["-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x"],
            ] {
                let git = std::process::Command::new("git").args(arguments).current_dir(&origin).status();
                assert!(git.expect("git is installed").success());
            }
        };
        for made in [&origin, &home] {
            fs::create_dir(made).expect("it is ours");
        }
        commit("echo x >> ~/runs; exit 3");
        let bootstrap = Bootstrap {
            home: home.clone(),
            personal: true,
            ..Bootstrap::default()
        };
        let path = std::env::var_os("PATH").expect("there is one");
        let environment = Environment::compose([("PATH".into(), path)], &bootstrap);
        let wanted = |origin: &Path| personal::Personal {
            dotfiles: Some(personal::Dotfiles {
                repository: format!("file://{}", origin.display()),
                script: None,
                allow_local: true,
            }),
            ..personal::Personal::default()
        };
        environment.personal().learn(wanted(&origin));
        let run = async || {
            let reporter = Reporter::new();
            Dotfiles::new(&bootstrap, environment.clone(), Log::default(), reporter.clone())
                .run()
                .await;
            format!("{:?}", *reporter.watch().borrow())
        };
        let runs = || fs::read_to_string(home.join("runs")).map_or(0, |text| text.lines().count());
        let told = run().await;
        assert!(told.contains("Failed") && runs() == 1, "{told}");
        environment.personal().learn(wanted(&directory.path().join("other")));
        let told = run().await;
        assert!(told.contains("Move it away") && runs() == 1, "{told}");
        environment.personal().learn(wanted(&origin));
        commit("echo x >> ~/runs");
        let told = run().await;
        assert!(told.contains("Done") && runs() == 2, "{told}");
        let told = run().await;
        assert!(told.contains("Skipped") && runs() == 2, "{told}");
    }
}
