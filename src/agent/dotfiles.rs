//! The user's dotfiles: cloned once into HOME, then their install script, or links for want of one.
//!
//! Owns the order of names that is tried, GitHub Codespaces' own, and that it happens once for each HOME. A failure is told
//! and stops nothing. Refuses to replace a file that is there by a link.

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
/// How long a clone may take.
const CLONE_PATIENCE: Duration = Duration::from_secs(300);
/// How long an install script may take.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(1800);

/// The dotfiles of one HOME.
pub struct Dotfiles {
    home: PathBuf,
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
            environment,
            log,
            reporter,
            own_machine: bootstrap.own_machine,
        }
    }

    /// Installs them, if the user has some and this HOME does not have them yet.
    pub async fn run(&self) {
        let told: Arc<personal::Personal> = self.environment.personal().told().await;
        let Some(wanted) = told.dotfiles.as_ref().filter(|_| !self.own_machine) else {
            return;
        };
        let there = self.home.join(".dotfiles");
        if there.exists() {
            return self
                .reporter
                .step(StepName::Dotfiles, StepState::Skipped, "they were installed before");
        }
        self.reporter.step(StepName::Dotfiles, StepState::Running, "");
        match self.install(wanted, &there).await {
            Ok(done) => self.reporter.step(StepName::Dotfiles, StepState::Done, done),
            Err(why) => {
                self.log.line(format_args!("the dotfiles: {why}"));
                self.reporter.step(StepName::Dotfiles, StepState::Failed, why);
            }
        }
    }

    async fn install(&self, wanted: &personal::Dotfiles, there: &Path) -> Result<String, String> {
        let source = Source::parse(&wanted.repository, wanted.allow_local).map_err(|error| error.to_string())?;
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
            return Err(format!("they could not be fetched: {}", Trouble::tell(&error, &source)));
        }
        fs::rename(&early, there).map_err(|error| format!("they could not be put into HOME: {error}"))?;
        match script(there, wanted.script.as_deref())? {
            Some(name) => self.run_script(there, &name).await.map(|()| format!("ran {name}")),
            None => {
                let (linked, left) = link(there, &self.home).map_err(|error| format!("they could not be linked: {error}"))?;
                let kept = if left.is_empty() {
                    String::new()
                } else {
                    format!("; there already and kept: {}", left.join(", "))
                };
                Ok(format!("linked {linked} files{kept}"))
            }
        }
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
            .map_err(|why| format!("{name} {why}. The log says more, and running ~/.dotfiles/{name} tries again"))
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
}
