//! Features, found and ordered by the reference command line for development containers
//! (<https://github.com/devcontainers/cli>), which the operator names; the image is built here.
//!
//! The program reads nothing of the repository but the features' own folders, gets no variable of the gateway's but those
//! that agents get too, and never gets to the engine: what it takes for `docker` is a script that answers for one image and
//! writes down what is to be built. That is looked at, and built as a Dockerfile is: in a fenced network, within bounds.
//! It runs within limits, and what it fetches comes through an outlet of ours, which leads to the world alone.

mod leash;
mod outlet;
mod room;

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::Command,
    task::spawn_blocking,
    time::sleep,
};

use self::{
    leash::Leash,
    outlet::Outlet,
    room::{Recipe, Room},
};
use super::{
    Options, allowed, bases,
    build::{self, Site},
    checkout::{Checkout, Unreadable},
    context::{self, Bridge},
};
use crate::{
    devcontainer::{Configuration, FOLDER, Features},
    outbound::Outbound,
    runtime::{Progress, RuntimeError, process::environment},
};

/// How long the program may take to find and fetch features.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Most bytes of its answer that are read.
const MAX_ANSWER: u64 = 256 * 1024;
/// Most bytes of one line of what it says.
const MAX_LINE: u64 = 4 * 1024;
/// Most bytes of what it says that are shown.
const MAX_SAID: usize = 1 << 20;
/// Longest reason that is told, in characters.
const MAX_REASON: usize = 600;

/// Where features are installed, and with what.
pub struct Workbench<'a> {
    pub site: Site<'a>,
    /// The command line's program.
    pub program: &'a Path,
    /// The gateway's data directory.
    pub data: &'a Path,
    /// How the gateway itself reaches the world.
    pub outbound: &'a Outbound,
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
        check(self.site.options, &configuration.features).map_err(Unreadable::Repository)?;
        progress.tell("Looking for the features");
        let room = Room::make(self.data).map_err(RuntimeError::from)?;
        self.furnish(&room, checkout, configuration, image).await?;
        self.ask(&room, progress).await?;
        let instance = self.site.instance.clone();
        let recipe = spawn_blocking(move || room.recipe(|text| build::labelled(text, &instance))).await;
        let Recipe {
            build,
            dockerfile,
            archive,
            needed,
        } = recipe
            .map_err(|_| std::io::Error::other("the work was given up"))
            .and_then(|recipe| recipe)
            .map_err(|error| Unreadable::Repository(format!("its features cannot be installed: {error}")))?;
        let refused = needed.iter().find(|id| !is_had(self.site.options, id));
        if let Some(id) = refused {
            return Err(Unreadable::Repository(not_allowed(id)));
        }
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
            let unpacked = unpacked.and_then(|()| room.vet(folder, &|id| is_had(self.site.options, id)));
            unpacked.map_err(|error| Unreadable::Repository(format!("the feature in {folder} cannot be used: {error}")))?;
        }
        Ok(())
    }

    /// Runs the program; what it says is shown as it says it.
    async fn ask(&self, room: &Room, progress: &Progress) -> Result<(), Unreadable> {
        let outlet = Outlet::open(self.site.options, self.outbound).await.map_err(RuntimeError::from)?;
        let hide = |text: &str| outlet.hide(&room.hide(text));
        let program = self.program.display();
        let mut child = Command::new(self.program)
            .args(room.arguments())
            .current_dir(room.path())
            .env_clear()
            .envs(environment::passed().filter(|(name, _)| !is_of_proxies(&name.to_string_lossy())))
            .envs(room.environment())
            .envs(outlet.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                RuntimeError::Failed(format!(
                    "{program}, which installs features, could not be started: {error}. Ask the operator"
                ))
            })
            .map_err(of_repository)?;
        let leash = Leash::on(&child).map_err(RuntimeError::from)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let running = async { tokio::join!(answer(stdout), follow(stderr, &hide, progress), child.wait()) };
        let (answer, (), status) = tokio::select! {
            done = running => done,
            why = leash::outgrown(room.path()) => return Err(Unreadable::Repository(format!("its features cannot be installed: {why}"))),
            () = sleep(PATIENCE) => {
                let why = format!("its features were not found within {} minutes", PATIENCE.as_secs() / 60);
                return Err(Unreadable::Repository(why));
            }
        };
        leash.let_go();
        if status.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        let refused = outlet.refused().map(|why| format!(" {why}.")).unwrap_or_default();
        let why = format!("{}{refused}", hide(&reason(&answer)));
        progress.print(&format!("{why}\n"));
        Err(Unreadable::Repository(format!("its features could not be found. {why}")))
    }
}

/// Whether the operator allows all that the file names, and what it puts in order.
fn check(options: &Options, features: &Features) -> Result<(), String> {
    let wanted = features
        .wanted
        .iter()
        .filter(|feature| feature.folder.is_none())
        .map(|feature| &feature.id);
    let mut named = wanted.chain(features.order.iter().filter(|id| !id.starts_with('.')));
    named
        .find(|id| !allowed::is_allowed(options, id))
        .map_or(Ok(()), |id| Err(not_allowed(id)))
}

/// Whether a feature may need another one: of the repository's own, or from where the operator allows.
fn is_had(options: &Options, id: &str) -> bool {
    Features::is_source(id) && (id.starts_with('.') || allowed::is_allowed(options, id))
}

fn not_allowed(id: &str) -> String {
    let id: String = id.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("the feature {id} is not among what this gateway's operator allows. Name another, or ask for it to be added to docker.images")
}

/// Whether a variable says how others are reached: the program has a way of its own.
fn is_of_proxies(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
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

async fn follow(stderr: Option<impl AsyncRead + Unpin>, hide: &impl Fn(&str) -> String, progress: &Progress) {
    let Some(stderr) = stderr else { return };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut left = MAX_SAID;
    loop {
        line.clear();
        match (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            // It is read to the end all the same: a program whose pipe is full stands still.
            Ok(_) if left == 0 => {}
            Ok(count) => {
                left = left.saturating_sub(count);
                progress.print(&format!("{}\n", hide(String::from_utf8_lossy(&line).trim_end())));
            }
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
    use std::sync::Arc;

    use super::*;
    use crate::{
        devcontainer::Feature,
        runtime::{
            Told,
            docker::{engine::Engine, instance::Instance, plan},
        },
    };

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
    fn features_come_from_where_the_operator_allows() {
        let features = |id: &str, order: &str| Features {
            wanted: vec![Feature {
                id: id.into(),
                ..Feature::default()
            }],
            order: vec![order.into()],
        };
        let strict = Options {
            images: vec!["ghcr.io/devcontainers".into()],
            ..Options::default()
        };
        let open = Options::default();
        let good = "ghcr.io/devcontainers/features/node:1";
        assert_eq!(check(&strict, &features(good, "./own")), Ok(()));
        for bad in [
            "ghcr.io/evil/features/node:1",
            "ghcr.io:5000/devcontainers/features/node:1",
            "127.1/a/b",
            "0x7f.1/a/b",
            "2130706433:80/a/b",
        ] {
            assert!(check(&strict, &features(bad, good)).is_err_and(|why| why.contains(bad)), "{bad}");
            assert!(check(&strict, &features(good, bad)).is_err(), "{bad} in order");
            assert!(!is_had(&strict, bad), "{bad}");
        }
        assert!(check(&open, &features("127.1/a/b", good)).is_err());
        assert!(check(&open, &features("ghcr.io/anybody/b", good)).is_ok());
        for (id, expected) in [
            (good, true),
            ("./tool", true),
            ("../../tool", false),
            ("https://ghcr.io/x.tgz", false),
            ("/etc", false),
        ] {
            assert_eq!(is_had(&strict, id), expected, "{id}");
        }
    }

    /// What a program in the place of the command line prints, as its user sees it, and why it failed.
    async fn asked(script: &str) -> (String, String) {
        let data = tempfile::tempdir().expect("a directory");
        let program = data.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("set");
        let (engine, options, outbound) = (Engine::new("/nowhere".into()), Options::default(), Outbound::default());
        let instance = Instance::of(data.path().to_owned()).await.expect("made");
        let name = "amber-otter-x7k2".parse().expect("a name");
        let mounts = plan::Mounts::of(&options, data.path(), &program).expect("there");
        let workbench = Workbench {
            site: Site {
                engine: &engine,
                options: &options,
                instance: &instance,
                name: &name,
                mounts: &mounts,
            },
            program: &program,
            data: data.path(),
            outbound: &outbound,
        };
        let said = Arc::new(parking_lot::Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let progress = Progress::new(move |told| {
            if let Told::Printed(text) = told {
                heard.lock().push_str(text);
            }
        });
        let room = Room::make(data.path()).expect("made");
        let why = match workbench.ask(&room, &progress).await.expect_err("it fails") {
            Unreadable::Repository(why) => why,
            Unreadable::Runtime(error) => error.to_string(),
        };
        let said = said.lock().clone();
        (said, why)
    }

    #[tokio::test]
    async fn the_program_has_one_way_out_and_tells_nobody_how_it_is_opened() {
        let script = r#"set | grep -i proxy >&2; echo "{\"message\":\"by $https_proxy\"}"; exit 1"#;
        let (said, why) = asked(script).await;
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("://")).collect();
        assert!(lines.len() >= 4, "{said}");
        for line in lines.into_iter().chain([why.as_str()]) {
            assert!(line.contains("http://portico:…@127.0.0.1:"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_program_that_talks_without_end_is_not_shown_without_end() {
        let (said, why) = asked("head -c 5000000 /dev/zero | tr '\\0' 'x' >&2; exit 1").await;
        assert!((MAX_SAID..2 * MAX_SAID).contains(&said.len()), "{}", said.len());
        assert!(why.contains("did not say why"), "{why}");
    }

    #[test]
    fn the_operators_proxies_are_not_passed_on() {
        for name in ["http_proxy", "HTTPS_PROXY", "no_proxy", "ALL_PROXY"] {
            assert!(is_of_proxies(name), "{name}");
        }
        assert!(!is_of_proxies("PATH"));
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
