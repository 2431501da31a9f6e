//! The extensions that follow the user: installed by the editor's own command line, each once for a HOME.
//!
//! Owns which are still to be installed. Refuses to know where a gallery is: the editor knows its own. What cannot be
//! installed is told, and tried again at the next start.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use super::{editor, environment::Environment, log::Log, program, report::Reporter};
use crate::{
    domain::{ExtensionId, StepName, StepState},
    protocol::bootstrap::{Bootstrap, EditorProgram},
};

/// How long one extension may take: galleries are far away.
const PATIENCE: Duration = Duration::from_secs(120);

/// The extensions of one HOME.
pub struct Extensions {
    program: Option<EditorProgram>,
    home: PathBuf,
    /// Names those that were installed.
    list: PathBuf,
    environment: Environment,
    log: Log,
    reporter: Reporter,
}

impl Extensions {
    pub fn new(bootstrap: &Bootstrap, environment: Environment, log: Log, reporter: Reporter) -> Self {
        Self {
            program: bootstrap.editor.clone(),
            home: bootstrap.home.clone(),
            list: bootstrap.home.join(".local/share/portico/extensions"),
            environment,
            log,
            reporter,
        }
    }

    /// Installs what the user wants and this HOME does not have.
    pub async fn run(&self) {
        let told = self.environment.personal().surely_told(|| ()).await;
        let listed = fs::read_to_string(&self.list).unwrap_or_default();
        let mut there: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
        // They become arguments of a program.
        let wanted = told
            .extensions
            .iter()
            .filter(|id| id.parse::<ExtensionId>().is_ok() && !there.contains(*id));
        let wanted: Vec<String> = wanted.cloned().collect();
        if wanted.is_empty() {
            return;
        }
        let Some(program) = &self.program else {
            return self
                .reporter
                .step(StepName::Extensions, StepState::Skipped, "no editor is installed");
        };
        let mut failed = Vec::new();
        for (number, id) in wanted.iter().enumerate() {
            let words = format!("{id}, {} of {}", number + 1, wanted.len());
            self.reporter.step(StepName::Extensions, StepState::Running, words);
            match self.install(program, id).await {
                Ok(()) => drop(there.insert(id.clone())),
                Err(why) => {
                    self.log.line(format_args!("the extension {id} {why}"));
                    failed.push(id.as_str());
                }
            }
        }
        if let Err(error) = self.remember(&there) {
            self.log.line(format_args!("the list of extensions could not be written: {error}"));
        }
        if failed.is_empty() {
            return self
                .reporter
                .step(StepName::Extensions, StepState::Done, format!("installed {}", wanted.len()));
        }
        let detail = format!(
            "could not be installed: {}. The log says why; they are tried again at the next start",
            failed.join(", ")
        );
        self.reporter.step(StepName::Extensions, StepState::Failed, detail);
    }

    async fn install(&self, program: &EditorProgram, id: &str) -> Result<(), String> {
        let arguments = editor::install_arguments(&program.kind, &self.home, id).ok_or("is for another editor")?;
        let command: Vec<&str> = program.command.iter().chain(&arguments).map(String::as_str).collect();
        self.log.line(format_args!("installing the extension {id}"));
        program::run(&command, &self.environment, &self.home, &self.log, PATIENCE).await
    }

    fn remember(&self, there: &BTreeSet<String>) -> std::io::Result<()> {
        if let Some(directory) = self.list.parent() {
            fs::create_dir_all(directory)?;
        }
        let lines: Vec<&str> = there.iter().map(String::as_str).collect();
        fs::write(&self.list, lines.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::protocol::personal;

    #[tokio::test]
    async fn each_is_installed_once_and_a_failure_is_told_and_tried_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let (home, fake) = (directory.path().join("home"), directory.path().join("code-server"));
        fs::create_dir(&home).expect("it is ours");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}/calls\ncase \"$*\" in *bad.one*) exit 1;; esac\n",
            directory.path().display()
        );
        fs::write(&fake, script).expect("it is ours");
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let bootstrap = Bootstrap {
            home: home.clone(),
            personal: true,
            editor: Some(EditorProgram {
                kind: "code-server".into(),
                command: vec![fake.to_string_lossy().into_owned()],
            }),
            ..Bootstrap::default()
        };
        let environment = Environment::compose(std::iter::empty(), &bootstrap);
        environment.personal().learn(personal::Personal {
            extensions: vec!["good.one".into(), "bad.one".into(), "--user-data-dir=/etc".into()],
            ..personal::Personal::default()
        });
        let reporter = Reporter::new();
        let extensions = Extensions::new(&bootstrap, environment, Log::default(), reporter.clone());
        extensions.run().await;
        let told = format!("{:?}", *reporter.watch().borrow());
        assert!(
            told.contains("Failed") && told.contains("bad.one") && !told.contains("good.one"),
            "{told}"
        );
        extensions.run().await;
        let calls = fs::read_to_string(directory.path().join("calls")).expect("it was called");
        let installed = |id: &str| calls.matches(&format!("--install-extension {id}")).count();
        assert_eq!(
            (installed("good.one"), installed("bad.one"), installed("--user")),
            (1, 2, 0),
            "{calls}"
        );
    }
}
