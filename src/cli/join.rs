//! `portico agent join`: makes this machine a codespace, and is its agent from then on.
//!
//! What it was told stands in a file for its owner alone, so that it comes back after a restart of its own, of the machine
//! or of the gateway, with the same command line.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{BufRead as _, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use http::Method;
use rustix::fs::FlockOperation;

use super::{
    args::Join,
    client::{Client, Place},
    failure::Usage,
    output::words,
    place,
};
use crate::{
    agent::{self, control::Over, orders},
    api::model::{JoinMachine, JoinedMachine},
    protocol::bootstrap::{Bootstrap, JOIN_TOKEN},
    route::Origin,
    runtime::process::editor,
};

/// Most bytes of a token that are read.
const MAX_TOKEN: u64 = 1024;

/// Joins, if this machine has not yet, and runs the agent until it is told to end.
pub async fn run(join: Join) -> anyhow::Result<ExitCode> {
    let home = PathBuf::from(place::variable("HOME").ok_or_else(|| Usage("HOME is not set".into()))?);
    let data = std::path::absolute(join.data.clone().unwrap_or_else(|| home.join(".local/share/portico-machine")))?;
    let unusable = || format!("{} cannot be used", data.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&data).with_context(unusable)?;
    let lock = File::create(data.join("lock")).with_context(unusable)?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        anyhow::bail!(
            "an agent runs with {} already. Stop it first, or choose another directory with --data",
            data.display()
        );
    }
    let file = data.join("orders.json");
    if file.exists() {
        let orders = orders::read(&file).with_context(|| format!("{} cannot be used", file.display()))?;
        words(&format!(
            "This machine is the codespace {} at {}.",
            orders.codespace, orders.gateway
        ));
    } else {
        enrol(&join, &home, &data, &file).await?;
    }
    let over = agent::run(file.clone()).await?;
    if over == Some(Over::Ended) {
        // What is told here is of no use any more, and holds a credential.
        fs::remove_file(&file).with_context(|| format!("{} could not be removed", file.display()))?;
        words("This machine is no codespace any more: it was removed at the gateway.");
    }
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

async fn enrol(join: &Join, home: &Path, data: &Path, file: &Path) -> anyhow::Result<()> {
    let token = token(join)?;
    let (Some(gateway), Some(token)) = (&join.gateway, token) else {
        let why = "this machine has not joined yet. Make a token on the page for a new codespace, then: PORTICO_JOIN_TOKEN=TOKEN portico agent join --gateway URL";
        return Err(Usage(why.into()).into());
    };
    let origin: Origin = gateway.parse().map_err(|_| Usage(format!("{gateway:?} is no gateway's URL")))?;
    let body = JoinMachine {
        token,
        name: join.name.clone().unwrap_or_else(machine_name),
    };
    let client = Client::new(Place::Url(origin.clone()), None);
    let joined: JoinedMachine = client.json(Method::POST, "/api/v1/machines/join", Some(&body)).await?;
    let told: Bootstrap = serde_json::from_value(joined.orders).context("the gateway's orders make no sense; is it of another version?")?;
    let workspace = join.workspace.clone().unwrap_or_else(|| home.to_owned());
    let editors = [data.to_owned(), place::config(None)?.data].map(|data| data.join("editors"));
    let orders = Bootstrap {
        gateway: origin.to_string(),
        state_dir: data.to_owned(),
        workspace: std::path::absolute(workspace)?,
        home: home.to_owned(),
        editor: editors.iter().find_map(|editors| editor::find(None, editors)),
        listen: None,
        mark: None,
        unreachable: Vec::new(),
        whole_environment: true,
        own_machine: true,
        ..told
    };
    write(file, &orders)?;
    words(&format!("This machine is the codespace {} now: {}", joined.name, joined.editor_url));
    if !joined.personal {
        let name = &joined.name;
        words("It has none of the secrets, passwords for git, dotfiles and settings that you keep at the gateway.");
        words(&format!(
            "To give it those, where you are signed in: portico codespace edit {name} --personal true"
        ));
    }
    words("It is one as long as this runs; the same command takes it up again.");
    Ok(())
}

/// The token, from where nobody else on the machine sees it, or from the command line.
fn token(join: &Join) -> anyhow::Result<Option<String>> {
    match join.token.as_deref() {
        None => Ok(place::variable(JOIN_TOKEN)),
        Some("-") => {
            let mut line = String::new();
            let mut input = std::io::stdin().lock().take(MAX_TOKEN);
            input.read_line(&mut line).context("no token could be read from standard input")?;
            Ok(Some(line.trim().to_owned()).filter(|token| !token.is_empty()))
        }
        Some(token) => Ok(Some(token.to_owned())),
    }
}

fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|char| !char.is_control()).take(80).collect();
    if name.is_empty() { "own machine".into() } else { name }
}

/// Writes the orders for their owner alone, whole or not at all.
fn write(file: &Path, orders: &Bootstrap) -> anyhow::Result<()> {
    let early = file.with_extension("new");
    let _ = fs::remove_file(&early);
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&early)?;
    opened.write_all(&serde_json::to_vec_pretty(orders)?)?;
    opened.sync_all()?;
    fs::rename(&early, file).with_context(|| format!("{} could not be written", file.display()))
}
