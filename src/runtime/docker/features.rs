//! Features, found and ordered by the reference command line for development containers
//! (<https://github.com/devcontainers/cli>), which the operator names; the image is built here.
//!
//! The program reads nothing of the repository but the features' own folders, gets no variable of the gateway's but those
//! that agents get too, and never gets to the engine: what it takes for `docker` is a script that answers for one image and
//! writes down what is to be built. That is looked at, and built as a Dockerfile is: in a fenced network, within bounds.
//! What the program fetches, it fetches from registries that repositories name, with this machine's network.

mod room;

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::Command,
    task::spawn_blocking,
    time::timeout,
};

use self::room::{Recipe, Room};
use super::{
    bases,
    build::Site,
    checkout::{Checkout, Unreadable},
    context::{self, Bridge},
};
use crate::{
    devcontainer::{Configuration, FOLDER},
    runtime::{Progress, RuntimeError, process::environment},
};

/// How long the program may take to find and fetch features.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Most bytes of its answer that are read.
const MAX_ANSWER: u64 = 256 * 1024;
/// Most bytes of one line of what it says.
const MAX_LINE: u64 = 4 * 1024;
/// Longest reason that is told, in characters.
const MAX_REASON: usize = 600;

/// Where features are installed, and with what.
pub struct Workbench<'a> {
    pub site: Site<'a>,
    /// The command line's program.
    pub program: &'a Path,
    /// The gateway's data directory.
    pub data: &'a Path,
}

impl Workbench<'_> {
    /// Builds an image upon another one with what the file wants installed; gives its tag.
    pub async fn install(
        &self,
        checkout: &Checkout<'_>,
        configuration: &Configuration,
        image: &str,
        progress: &Progress,
    ) -> Result<String, Unreadable> {
        progress.tell("Looking for the features");
        let room = Room::make(self.data).map_err(RuntimeError::from)?;
        self.furnish(&room, checkout, configuration, image).await?;
        self.ask(&room, progress).await?;
        let recipe = spawn_blocking(move || room.recipe()).await;
        let Recipe {
            build,
            dockerfile,
            archive,
        } = recipe
            .map_err(|_| std::io::Error::other("the work was given up"))
            .and_then(|recipe| recipe)
            .map_err(|error| Unreadable::Repository(format!("its features cannot be installed: {error}")))?;
        // Features write part of it, and could write whatever they like.
        let named = bases::check(&dockerfile, &build.args).map_err(Unreadable::Repository)?;
        let others: BTreeSet<&str> = named.all().filter(|name| *name != image).collect();
        if !others.is_empty() {
            let why = format!(
                "its features want to take from other images, which is refused: {}",
                others.into_iter().collect::<Vec<_>>().join(", ")
            );
            return Err(Unreadable::Repository(why));
        }
        progress.tell("Installing the features");
        self.site.build_archive(&build, archive, progress).await
    }

    /// Puts into the room what the program is to see.
    async fn furnish(&self, room: &Room, checkout: &Checkout<'_>, configuration: &Configuration, image: &str) -> Result<(), Unreadable> {
        let api = self.site.engine.api().await?;
        let found = api.inspect_image(image).await.map_err(|error| self.site.engine.trouble(&error))?;
        let about = serde_json::to_vec(&[found])
            .map_err(std::io::Error::from)
            .map_err(RuntimeError::from)?;
        let file = file(configuration, image);
        room.furnish(&about, &file.to_string()).map_err(RuntimeError::from)?;
        for folder in configuration.features.wanted.iter().filter_map(|feature| feature.folder.as_deref()) {
            let mut chunks = Box::pin(checkout.directory(folder).await?);
            let (raw, unpacked) = tokio::sync::mpsc::channel(8);
            let into = room.folder(folder);
            let unpacking = spawn_blocking(move || context::unpack(Bridge::new(unpacked), &into));
            while let Some(chunk) = futures_util::StreamExt::next(&mut chunks).await {
                if raw.send(chunk.map_err(std::io::Error::other)).await.is_err() {
                    break;
                }
            }
            drop(raw);
            let unpacked = unpacking.await.map_err(std::io::Error::other).and_then(|unpacked| unpacked);
            unpacked.map_err(|error| Unreadable::Repository(format!("the feature in {folder} cannot be read: {error}")))?;
        }
        Ok(())
    }

    /// Runs the program; what it says is shown as it says it.
    async fn ask(&self, room: &Room, progress: &Progress) -> Result<(), Unreadable> {
        let program = self.program.display();
        let mut child = Command::new(self.program)
            .args(room.arguments())
            .current_dir(room.path())
            .env_clear()
            .envs(environment::passed())
            .envs(room.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                RuntimeError::Failed(format!(
                    "{program}, which installs features, could not be started: {error}. Ask the operator"
                ))
            })
            .map_err(of_repository)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let running = async { tokio::join!(answer(stdout), follow(stderr, room, progress), child.wait()) };
        let (answer, (), status) = timeout(PATIENCE, running).await.map_err(|_| {
            let why = format!("its features were not found within {} minutes", PATIENCE.as_secs() / 60);
            Unreadable::Repository(why)
        })?;
        if status.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        let why = room.hide(&reason(&answer));
        progress.print(&format!("{why}\n"));
        Err(Unreadable::Repository(format!("its features could not be found. {why}")))
    }
}

/// The file that the program reads: of ours, with nothing in it that runs.
fn file(configuration: &Configuration, image: &str) -> Value {
    let features = &configuration.features;
    let name = |id: &str| {
        let feature = features.wanted.iter().find(|feature| feature.id == id);
        let folder = feature.and_then(|feature| feature.folder.as_deref()?.strip_prefix(FOLDER));
        folder.map_or_else(|| id.to_owned(), |rest| format!(".{rest}"))
    };
    let wanted: Map<String, Value> = features
        .wanted
        .iter()
        .map(|feature| (name(&feature.id), feature.options.clone()))
        .collect();
    let mut file = json!({ "image": image, "features": wanted });
    if !features.order.is_empty() {
        file["overrideFeatureInstallOrder"] = features.order.iter().map(|id| name(id)).collect();
    }
    for (key, user) in [
        ("containerUser", &configuration.container_user),
        ("remoteUser", &configuration.remote_user),
    ] {
        if let Some(user) = user {
            file[key] = user.clone().into();
        }
    }
    file
}

async fn answer(stdout: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(mut stdout) = stdout {
        // What was read before it broke is what there is.
        let _ = (&mut stdout).take(MAX_ANSWER).read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn follow(stderr: Option<impl AsyncRead + Unpin>, room: &Room, progress: &Progress) {
    let Some(stderr) = stderr else { return };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => progress.print(&format!("{}\n", room.hide(String::from_utf8_lossy(&line).trim_end()))),
        }
    }
}

/// Why it failed, from its answer: an object in the last line.
fn reason(answer: &str) -> String {
    let told: Option<Value> = answer.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let text = |key: &str| told.as_ref().and_then(|told| told.get(key)?.as_str()).unwrap_or_default();
    let (message, description) = (text("message"), text("description"));
    let whole = match (message, description) {
        ("", "") => "it did not say why".to_owned(),
        (one, "") | ("", one) => one.to_owned(),
        (message, description) if message == description => message.to_owned(),
        (message, description) => format!("{description} {message}"),
    };
    whole.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

/// Where the operator's set-up is at fault, the codespace opens with its files all the same, and says so.
fn of_repository(error: RuntimeError) -> Unreadable {
    match error {
        RuntimeError::Failed(why) => Unreadable::Repository(why),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devcontainer::{Feature, Features};

    #[test]
    fn the_program_is_told_no_more_than_it_needs() {
        let feature = |id: &str, folder: Option<&str>| Feature {
            id: id.into(),
            folder: folder.map(str::to_owned),
            options: json!({ "flavour": "sour" }),
        };
        let configuration = Configuration {
            features: Features {
                wanted: vec![feature("../tool", Some(".devcontainer/tool")), feature("ghcr.io/a/b:1", None)],
                order: vec!["../tool".into(), "ghcr.io/a/b".into()],
            },
            remote_user: Some("dev".into()),
            ..Configuration::default()
        };
        assert_eq!(
            file(&configuration, "base:1"),
            json!({
                "image": "base:1",
                "features": { "./tool": { "flavour": "sour" }, "ghcr.io/a/b:1": { "flavour": "sour" } },
                "overrideFeatureInstallOrder": ["./tool", "ghcr.io/a/b"],
                "remoteUser": "dev",
            })
        );
    }

    #[test]
    fn reasons_in_what_it_answers() {
        for (answer, expected) in [
            ("", "it did not say why"),
            ("junk\n", "it did not say why"),
            (r#"{"outcome":"error","message":"m","description":"d"}"#, "d m"),
            ("log\n{\"message\":\"only\"}\n", "only"),
            (r#"{"message":"same","description":"same"}"#, "same"),
        ] {
            assert_eq!(reason(answer), expected, "{answer}");
        }
    }
}
