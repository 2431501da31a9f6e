//! `portico up`: a gateway, one codespace in it, and a link that opens its editor, in one go.

use std::{
    convert::Infallible,
    io::{self, BufRead as _, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
};

use anyhow::{Context, bail};
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;

use super::{
    editor_install,
    output::{Output, line, words},
    place,
    progress::Progress,
};
use crate::{
    api::{model, views},
    app::{self, Gateway},
    audit::Actor,
    auth::{Link, NewUser, User},
    codespace::{Codespace, Created, NewCodespace, Snapshot},
    config::Config,
    domain::{Phase, Role, UserName},
    protocol::tunnel::EditorState,
};

/// What to open.
pub struct Wanted {
    pub repository: Option<String>,
    pub reference: Option<String>,
    pub install: bool,
}

/// Says how to have the gateway's own certificate authority trusted, if it was made just now.
pub fn tell_of_authority(gateway: &Gateway) {
    if let Some(advice) = &gateway.advice {
        words(&format!(
            "A certificate authority of your own was made. Have it trusted once:\n{advice}\n"
        ));
    }
}

/// Runs the gateway with a codespace until it is told to end.
pub async fn run(config: Config, wanted: Wanted, output: Output) -> anyhow::Result<ExitCode> {
    let repository = repository(wanted.repository.as_deref())?;
    let gateway = Gateway::start(config).await?;
    tell_of_authority(&gateway);
    let told = app::until_told();
    tokio::pin!(told);
    let result = attended(&gateway, repository, &wanted, output, &mut told).await;
    gateway.stop().await;
    result
}

async fn attended(
    gateway: &Gateway,
    repository: String,
    wanted: &Wanted,
    output: Output,
    told: &mut (impl Future<Output = io::Result<bool>> + Unpin),
) -> anyhow::Result<ExitCode> {
    let opened = tokio::select! {
        opened = open(gateway, repository, wanted) => opened?,
        _ = &mut *told => bail!("interrupted before there was a codespace"),
    };
    let codespace = &opened.codespace;
    let mut progress = Progress::new();
    let ready = tokio::select! {
        ready = ready(codespace, &mut progress) => ready,
        _ = &mut *told => Err(anyhow::anyhow!("interrupted while the codespace was made")),
    };
    progress.finish();
    if let Err(error) = ready {
        if opened.created == Created::New && !codespace.snapshot().record.prepared {
            // Nothing half-made stays behind.
            drop(gateway.codespaces.delete(codespace.name(), true, &Actor::operator()).await);
        }
        return Err(error);
    }
    tell(gateway, codespace, &opened.owner, output);
    let by_person = tokio::select! {
        ended = attend(gateway, codespace, &opened.owner, output, told) => ended?,
        never = follow(codespace, &mut progress) => match never {},
    };
    if by_person {
        stop(gateway, codespace).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// A codespace that was asked for.
struct Opened {
    codespace: Arc<Codespace>,
    created: Created,
    owner: Arc<User>,
}

async fn open(gateway: &Gateway, repository: String, wanted: &Wanted) -> anyhow::Result<Opened> {
    if wanted.install {
        install_editor(gateway).await;
    }
    let owner = owner(gateway).await?;
    let new = NewCodespace {
        owner: owner.id.clone(),
        allow_local: true,
        repository,
        reference: wanted.reference.clone(),
        pull_request: None,
        devcontainer_path: None,
        idle_timeout_minutes: None,
        display_name: None,
        personal: None,
    };
    let (codespace, created) = gateway.codespaces.create(new, &Actor::operator()).await?;
    if created == Created::Existing {
        words(&format!("{} is there already, with your work in it.", codespace.name()));
        if matches!(codespace.snapshot().phase(), Phase::Stopped | Phase::Failed) {
            gateway.codespaces.start(codespace.name(), &Actor::operator()).await?;
        }
    }
    Ok(Opened { codespace, created, owner })
}

async fn ready(codespace: &Codespace, progress: &mut Progress) -> anyhow::Result<()> {
    let snapshot = watch(codespace, progress)
        .await
        .context("the codespace was removed while it started")?;
    if snapshot.phase() == Phase::Failed {
        let reason = snapshot.record.reason.clone().unwrap_or_else(|| "it did not say why".into());
        bail!("the codespace could not be made: {reason}");
    }
    Ok(())
}

async fn stop(gateway: &Gateway, codespace: &Codespace) {
    words(&format!(
        "\nStopping {} and the gateway. Your files stay; `portico up` brings them back.",
        codespace.name()
    ));
    // It may be gone or stopped already; then there is nothing to do.
    if gateway.codespaces.stop(codespace.name(), &Actor::operator()).await.is_ok() {
        let settled = codespace.until(|now| matches!(now.phase(), Phase::Stopped | Phase::Failed));
        drop(tokio::time::timeout(std::time::Duration::from_secs(15), settled).await);
    }
}

/// Shows the steps until the editor can be opened, or never will.
async fn watch(codespace: &Codespace, progress: &mut Progress) -> Option<Arc<Snapshot>> {
    let mut changes = codespace.changes();
    loop {
        changes.borrow_and_update();
        let snapshot = codespace.snapshot();
        progress.show(&steps(&snapshot));
        let editor_settled = matches!(
            snapshot.editor,
            Some(EditorState::Ready | EditorState::Absent | EditorState::Failed)
        );
        if snapshot.phase() == Phase::Failed || (snapshot.phase() == Phase::Running && editor_settled) {
            return Some(snapshot);
        }
        if changes.changed().await.is_err() {
            return None;
        }
    }
}

/// Goes on showing steps: some end after the editor can be opened.
async fn follow(codespace: &Codespace, progress: &mut Progress) -> Infallible {
    let mut changes = codespace.changes();
    loop {
        changes.borrow_and_update();
        progress.show(&steps(&codespace.snapshot()));
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn steps(snapshot: &Snapshot) -> Vec<model::Step> {
    snapshot.steps.iter().map(views::step).collect()
}

/// Installs an editor where there is none and npm is; going on without one is no failure.
async fn install_editor(gateway: &Gateway) {
    if gateway.config.editor.is_some() || editor_install::find(&gateway.config.data).is_some() {
        return;
    }
    words("There is no editor on this machine yet. Fetching VS Code for the browser (code-server), which takes a minute …");
    if let Err(error) = editor_install::install(&gateway.config.data, |progress| words(&format!("  {progress}"))).await {
        words(&format!(
            "{error}\nGoing on without an editor: the page will show terminals and ports."
        ));
    }
}

/// Finds whose codespace it will be: the first admin, made with the name of whoever types if there is nobody yet.
async fn owner(gateway: &Gateway) -> anyhow::Result<Arc<User>> {
    let mut admins: Vec<Arc<User>> = gateway
        .auth
        .users()
        .into_iter()
        .filter(|user| user.role == Role::Admin && !user.suspended)
        .collect();
    admins.sort_by_key(|user| user.created_at);
    if let Some(admin) = admins.into_iter().next() {
        return Ok(admin);
    }
    let login = variable("USER").map(|name| name.to_ascii_lowercase());
    let name: UserName = login.and_then(|name| name.parse().ok()).map_or_else(|| "admin".parse(), Ok)?;
    let new = NewUser {
        name,
        role: Role::Admin,
        password: None,
        email: None,
    };
    Ok(gateway.auth.create_user(new, &Actor::operator(), gateway.clock.now()).await?)
}

fn tell(gateway: &Gateway, codespace: &Codespace, owner: &User, output: Output) {
    let link = link(gateway, codespace, owner);
    let editor = gateway.config.sites().editor(codespace.name()).to_string();
    let shown = serde_json::json!({ "codespace": codespace.name().as_str(), "link": link, "editor_url": editor, "url": gateway.config.url.to_string() });
    words("\nOpen this link; it signs you in once and opens the editor:\n");
    output.show(&shown, || format!("  {link}"));
    words(&format!("\nDashboard: {}", gateway.config.url));
    if let Some(ssh) = ssh_line(gateway) {
        words(&format!("From another machine, first run there:  {ssh}"));
    }
    let enter = if io::stdin().is_terminal() {
        "Enter makes a new link. "
    } else {
        ""
    };
    words(&format!("{enter}Ctrl-C stops the gateway and this codespace; your files stay."));
}

fn link(gateway: &Gateway, codespace: &Codespace, owner: &User) -> String {
    let next = gateway.config.sites().editor(codespace.name()).to_string();
    let secret = gateway.auth.make_link(
        Link::SignIn {
            user: owner.id.clone(),
            next,
        },
        gateway.clock.now(),
    );
    format!("{}/setup#{}", gateway.config.url, secret.expose_secret())
}

/// The line that makes the link work from a machine with a display, where this one has none.
fn ssh_line(gateway: &Gateway) -> Option<String> {
    let local = gateway.address.ip().is_loopback();
    let headless = variable("DISPLAY").is_none() && variable("WAYLAND_DISPLAY").is_none();
    let port = gateway.address.port();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = variable("USER").map_or_else(String::new, |user| format!("{user}@"));
    (local && headless).then(|| format!("ssh -L {port}:{} {user}{host}", gateway.address))
}

/// Waits for the end, making a new link whenever Enter is pressed; tells whether a person ended it.
async fn attend(
    gateway: &Gateway,
    codespace: &Codespace,
    owner: &User,
    output: Output,
    told: &mut (impl Future<Output = io::Result<bool>> + Unpin),
) -> anyhow::Result<bool> {
    let mut enters = enters();
    loop {
        tokio::select! {
            by_person = &mut *told => return Ok(by_person?),
            Some(()) = enters.recv() => {
                let link = link(gateway, codespace, owner);
                if output.json { line(&serde_json::json!({ "link": link }).to_string()) } else { line(&format!("  {link}")) }
            }
        }
    }
}

/// Lines typed at a terminal. A thread of its own, because reading standard input cannot be cancelled.
fn enters() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    if io::stdin().is_terminal() {
        std::thread::spawn(move || {
            for typed in io::stdin().lock().lines() {
                if typed.is_err() || sender.blocking_send(()).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// What to clone: a URL as it is, a local path as the top of its repository.
fn repository(given: Option<&str>) -> anyhow::Result<String> {
    let given = given.unwrap_or(".");
    let path = PathBuf::from(given);
    if !path.is_dir() {
        let looks_local = given.starts_with(['.', '/', '~']);
        if looks_local {
            bail!("there is no directory {given}. Give a directory that holds a git repository, or a git URL");
        }
        return Ok(given.to_owned());
    }
    let path = path.canonicalize().with_context(|| format!("cannot read {given}"))?;
    let Some(top) = git(&path, &["rev-parse", "--show-toplevel"]).or_else(|| git(&path, &["rev-parse", "--absolute-git-dir"])) else {
        bail!(
            "{} is no git repository. Run `git init` and commit something there first, or give a repository's URL: portico up https://…",
            path.display()
        );
    };
    let changed = git(&path, &["status", "--porcelain"]).map_or(0, |status| status.lines().count());
    if changed > 0 {
        words(&format!(
            "Note: the codespace is a clone of what is committed in {top}; uncommitted changes ({changed} files) will not be in it."
        ));
    }
    Ok(top)
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn variable(name: &str) -> Option<String> {
    place::environment()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value)
}
