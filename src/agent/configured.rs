//! Reads what the checkout's `devcontainer.json` says of the codespace itself, and sees when it would make another container.
//!
//! Owns finding and reading the file and its Dockerfile, bounded. Refuses to make anything of it: hooks are run by
//! [`super::hooks`], containers are made by the gateway's runtime, from the same file.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{declared, log::Log, report::Reporter};
use crate::{
    devcontainer::{Configuration, Inherited, Notices, Place, Reading as Composing, Texts},
    protocol::{
        bootstrap::{Bootstrap, InContainer},
        tunnel::Configured,
    },
};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where it is read from, and for whom.
#[derive(Clone, Debug)]
pub struct Reading {
    workspace: PathBuf,
    chosen: Option<String>,
    place: Place,
    container: Option<InContainer>,
    own_machine: bool,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The file's path below the checkout; none if there is none.
    pub source: Option<String>,
    pub configuration: Configuration,
    /// Files that it names, below the checkout.
    files: Vec<String>,
    /// What a container would be made from.
    fingerprint: Option<String>,
}

/// Which versions of the files there are.
type Versions = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Reading {
    pub fn new(bootstrap: &Bootstrap) -> Self {
        Self {
            workspace: bootstrap.workspace.clone(),
            chosen: bootstrap.devcontainer.clone(),
            place: Place {
                root: bootstrap.workspace.to_string_lossy().into_owned(),
                id: bootstrap.codespace.clone(),
                ..Place::default()
            },
            container: bootstrap.container.clone(),
            own_machine: bootstrap.own_machine,
        }
    }

    /// Whether this agent is only to check out, because the container is made anew from what is there now.
    pub fn awaits(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.awaits) && self.find().is_some()
    }

    /// Whether hooks are not to run, since this is not the container that they are written for.
    pub fn is_recovery(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.recovery.is_some())
    }

    /// Whether the environment of containers is the agent's own.
    pub fn in_container(&self) -> bool {
        self.container.is_some()
    }

    /// Reads the file; one that cannot be read says nothing but why.
    pub fn read(&self) -> Read {
        let Some(path) = self.find() else {
            let mut read = Read::default();
            if let Some(chosen) = &self.chosen {
                read.configuration.notices.note(chosen, "there is no such file in the repository");
            }
            return read;
        };
        let source = path.to_string_lossy().into_owned();
        let text = declared::read(&self.workspace.join(&path)).map_err(|error| format!("it cannot be read: {error}"));
        let read =
            text.and_then(|text| Configuration::read(&text, &source, &self.place).map_err(|error| format!("it is not heeded: {error}")));
        let configuration = read.unwrap_or_else(|why| {
            let mut notices = Notices::default();
            notices.note(source.clone(), why);
            Configuration {
                notices,
                ..Configuration::default()
            }
        });
        let (configuration, files, fingerprint) = self.named(configuration, &source);
        Read {
            source: Some(source),
            fingerprint: Some(fingerprint),
            files,
            configuration: match (self.in_container(), self.own_machine) {
                (true, _) => self.inherited().before(configuration),
                (_, false) => configuration.on_machine(),
                (_, true) => configuration.on_machine().at_rest(),
            },
        }
    }

    /// Reads what the file names; gives the names, and what a container would be made from.
    fn named(&self, configuration: Configuration, source: &str) -> (Configuration, Vec<String>, String) {
        let Some(compose) = configuration.compose() else {
            let files: Vec<String> = configuration.dockerfile().map(str::to_owned).into_iter().collect();
            let dockerfile = files.first().and_then(|path| declared::read(&self.workspace.join(path)).ok());
            let fingerprint = configuration.fingerprint(dockerfile.as_deref());
            return (configuration, files, fingerprint);
        };
        let mut texts = Texts::new();
        let project = loop {
            match compose.read(&texts) {
                Ok(Composing::Wants(paths)) => {
                    let read = |path: String| (path.clone(), declared::read(&self.workspace.join(path)).ok());
                    texts.extend(paths.into_iter().map(read));
                }
                Ok(Composing::Is(project)) => break Some(project),
                // Whoever makes the container of it says why.
                Err(_) => break None,
            }
        };
        let place = Place {
            binds: project.map(|project| project.binds()).unwrap_or_default(),
            ..self.place.clone()
        };
        let text = declared::read(&self.workspace.join(source)).unwrap_or_default();
        let configuration = Configuration::read(&text, source, &place).unwrap_or(configuration);
        let fingerprint = configuration.fingerprint_of(&texts);
        (configuration, texts.into_keys().collect(), fingerprint)
    }

    /// What there is to tell of it.
    fn tell(&self, read: &Read) -> Configured {
        let mut notices = Notices::default();
        let Some(container) = &self.container else {
            notices.extend(read.configuration.notices.clone());
            return Configured {
                notices,
                ..Configured::default()
            };
        };
        notices.extend(container.notices.clone());
        notices.extend(read.configuration.notices.clone());
        let default = Configuration::default().fingerprint(None);
        let now = read.fingerprint.as_ref().unwrap_or(&default);
        Configured {
            changed: now != container.made_from.as_ref().unwrap_or(&default),
            recovery: container.recovery.clone(),
            notices,
        }
    }

    /// What the container's image brings.
    fn inherited(&self) -> Inherited {
        self.container
            .as_ref()
            .map(|container| container.inherited.clone())
            .unwrap_or_default()
    }

    fn find(&self) -> Option<PathBuf> {
        let mut found = declared::candidates(&self.workspace, self.chosen.as_deref()).into_iter();
        found.find(|path| fs::metadata(self.workspace.join(path)).is_ok_and(|metadata| metadata.is_file()))
    }

    /// Of the file, and of those that it named when it was read.
    fn versions(&self, named: &[String]) -> Versions {
        let version = |path: PathBuf| {
            let metadata = fs::metadata(self.workspace.join(path)).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let files = self.find().into_iter().chain(named.iter().map(PathBuf::from));
        files.map(|path| (path.clone(), version(path))).collect()
    }
}

/// Looks again and again, and reports what changes.
pub async fn watch(bootstrap: &Bootstrap, reporter: &Reporter, log: &Log) {
    let reading = Reading::new(bootstrap);
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<(Versions, Vec<String>)> = None;
    let mut told: Option<Configured> = None;
    loop {
        ticks.tick().await;
        let (at, before) = (reading.clone(), seen.clone());
        let looked = spawn_blocking(move || {
            let (versions, files) = before.unzip();
            if versions == Some(at.versions(&files.unwrap_or_default())) {
                return None;
            }
            let read = at.read();
            Some((at.versions(&read.files), at.tell(&read), read.files))
        });
        let Ok(Some((versions, configured, files))) = looked.await else {
            continue;
        };
        seen = Some((versions, files));
        if told.as_ref() == Some(&configured) {
            continue;
        }
        for notice in &configured.notices {
            let known = told.as_ref().is_some_and(|told| told.notices.iter().any(|other| other == notice));
            if !known {
                log.line(format_args!("not heeded: {}: {}", notice.key, notice.reason));
            }
        }
        told = Some(configured.clone());
        reporter.configured(configured);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn reading(workspace: &Path, container: Option<InContainer>) -> Reading {
        Reading::new(&Bootstrap {
            codespace: "amber-otter-x7k2".into(),
            workspace: workspace.into(),
            container,
            ..Bootstrap::default()
        })
    }

    #[test]
    fn a_change_of_what_containers_are_made_from_is_seen() {
        let workspace = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(workspace.path().join(name), text).expect("written");
        let at = |made_from: Option<String>| {
            reading(
                workspace.path(),
                Some(InContainer {
                    made_from,
                    ..InContainer::default()
                }),
            )
        };
        let changed = |reading: &Reading| reading.tell(&reading.read()).changed;
        assert!(!changed(&at(None)), "there is no file, and it is the default container");
        write(".devcontainer.json", r#"{ "forwardPorts": [3000] }"#);
        assert!(!changed(&at(None)), "a file that says nothing of the container");
        write(".devcontainer.json", r#"{ "build": { "dockerfile": "Dockerfile" } }"#);
        write("Dockerfile", "FROM a\n");
        assert!(changed(&at(None)));
        let made = at(at(None).read().fingerprint);
        let dockerfile = ["Dockerfile".to_owned()];
        let before = made.versions(&dockerfile);
        assert!(!changed(&made));
        write("Dockerfile", "FROM a\nRUN b\n");
        assert!(changed(&made) && made.versions(&dockerfile) != before);
    }

    #[test]
    fn whatever_compose_files_name_is_seen() {
        let workspace = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(workspace.path().join(name), text).expect("written");
        write(
            ".devcontainer.json",
            r#"{ "dockerComposeFile": "compose.yml", "service": "app", "workspaceFolder": "/code/web" }"#,
        );
        write(
            "compose.yml",
            "services: {app: {image: a, env_file: some.env, volumes: ['.:/code']}}",
        );
        write("some.env", "A=1");
        let at = |made_from: Option<String>| {
            let container = InContainer {
                made_from,
                ..InContainer::default()
            };
            reading(workspace.path(), Some(container))
        };
        let read = at(None).read();
        assert_eq!(
            read.configuration.folder,
            Some(workspace.path().join("web").to_string_lossy().into_owned())
        );
        assert_eq!(read.files, [".env", "compose.yml", "some.env"]);
        let made = at(read.fingerprint.clone());
        let before = made.versions(&read.files);
        assert!(!made.tell(&made.read()).changed);
        for (name, text) in [("some.env", "A=23"), (".env", "B=1"), ("compose.yml", "services: {")] {
            write(name, text);
            assert!(made.tell(&made.read()).changed && made.versions(&read.files) != before, "{name}");
        }
    }

    #[test]
    fn who_waits_for_another_container() {
        let workspace = tempfile::tempdir().expect("a directory");
        let awaits = Some(InContainer {
            awaits: true,
            ..InContainer::default()
        });
        assert!(!reading(workspace.path(), awaits.clone()).awaits());
        fs::write(workspace.path().join(".devcontainer.json"), "{").expect("written");
        assert!(reading(workspace.path(), awaits).awaits());
        assert!(!reading(workspace.path(), None).awaits());
        let broken = reading(workspace.path(), None).read();
        assert!(
            broken
                .configuration
                .notices
                .iter()
                .any(|notice| notice.reason.contains("not heeded"))
        );
    }

    #[test]
    fn what_a_machine_cannot_do_is_named() {
        let workspace = tempfile::tempdir().expect("a directory");
        fs::write(workspace.path().join(".devcontainer.json"), r#"{ "image": "a" }"#).expect("written");
        let machine = reading(workspace.path(), None);
        let told = machine.tell(&machine.read());
        assert!(!told.changed);
        assert!(told.notices.iter().any(|notice| notice.key == "image"), "{told:?}");
    }
}
