//! `portico codespace …`, but for `exec`.

use std::{process::ExitCode, time::Duration};

use http::Method;

use super::{
    args::{Codespace as Verb, Create, Delete, Edit, Named, Where},
    client::{Client, ClientError},
    copy, exec, login,
    output::{Output, line, plain, table, words},
    place,
    progress::Progress,
    prompt, shell,
};
use crate::api::model::{ChangeCodespace, Codespace, CreateCodespace};

/// How often a codespace that becomes ready is looked at.
const POLL: Duration = Duration::from_millis(300);
/// How long a codespace may take to become ready; a large clone on a slow line takes minutes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Runs a verb.
pub async fn run(verb: Verb, output: Output) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List(place) => list(&place, output).await?,
        Verb::View(named) => view(&named, output).await?,
        Verb::Create(create) => return self::create(create, output).await,
        Verb::Stop(named) => stop(&named, output).await?,
        Verb::Start(named) => return start(&named, "start", output).await,
        Verb::Rebuild(named) => return start(&named, "rebuild", output).await,
        Verb::Edit(edit) => self::edit(edit, output).await?,
        Verb::Delete(delete) => return self::delete(&delete, output).await,
        Verb::Exec(exec) => return exec::run(exec, exec::Way::Exec).await,
        Verb::Logs(named) => logs(&named).await?,
        Verb::Ssh(ssh) => return shell::run(ssh).await,
        Verb::Cp(copy) => return copy::run(copy).await,
        Verb::Code(named) => code(&named, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The path of a codespace in the API.
pub fn path(name: &str) -> String {
    format!("/api/v1/codespaces/{name}")
}

async fn find(named: &Named) -> anyhow::Result<(Client, String)> {
    let client = place::gateway(&named.place).await?;
    let name = place::codespace(&client, named.given()).await?;
    Ok((client, name))
}

async fn list(place: &Where, output: Output) -> anyhow::Result<()> {
    let all: Vec<Codespace> = place::gateway(place).await?.get("/api/v1/codespaces").await?;
    if all.is_empty() && !output.json {
        words("There is no codespace yet. Make one with: portico codespace create REPOSITORY");
    }
    output.show(&all, || {
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["name", "state", "repository", "ref", "owner"], &rows)
        }
    });
    for (name, at) in all
        .iter()
        .filter_map(|one| Some((&one.name, one.deletes_at?)))
        .filter(|_| !output.json)
    {
        words(&format!(
            "{name} will be deleted on {}: nobody used it for long. To keep it: portico codespace start {name}",
            at.date()
        ));
    }
    Ok(())
}

fn row(codespace: &Codespace) -> Vec<String> {
    vec![
        codespace.name.clone(),
        state(codespace).to_owned(),
        repository(codespace),
        codespace.reference.clone().unwrap_or_default(),
        codespace.owner.clone(),
    ]
}

/// The state in a word; a machine of one's own is connected or away.
fn state(codespace: &Codespace) -> &str {
    match (codespace.runtime.as_str(), codespace.state.as_str(), codespace.connected) {
        ("external", "running", true) => "connected",
        ("external", "running", false) => "away",
        (_, state, _) => state,
    }
}

/// What it was made of.
fn repository(codespace: &Codespace) -> String {
    match codespace.repository.as_str() {
        "" => format!("own machine {}", plain(&codespace.display_name)),
        repository => plain(repository),
    }
}

async fn view(named: &Named, output: Output) -> anyhow::Result<()> {
    let (client, name) = find(named).await?;
    let codespace: Codespace = client.get(&path(&name)).await?;
    output.show(&codespace, || described(&codespace));
    Ok(())
}

fn described(codespace: &Codespace) -> String {
    let mut lines = vec![
        format!("name        {}", codespace.name),
        format!("state       {}", state(codespace)),
        format!("repository  {}", repository(codespace)),
        format!("owner       {}", codespace.owner),
        format!("editor      {} ({})", codespace.editor_url, codespace.editor),
    ];
    if !codespace.repository.is_empty() {
        lines.push(format!("stops after {} idle minutes", codespace.idle_timeout_minutes));
        lines.push(format!("woken by    {}", codespace.woken_by));
    }
    if let Some(reference) = &codespace.reference {
        lines.insert(3, format!("ref         {}", plain(reference)));
    }
    if !codespace.personal {
        lines.push("personal    without its owner's secrets, passwords for git, dotfiles and settings".into());
    }
    for reason in codespace.reason.iter().chain(&codespace.stopped_because) {
        lines.push(format!("because     {}", plain(reason)));
    }
    if let Some(why) = &codespace.restarted_because {
        lines.push(format!("restarted   by itself: {}", plain(why)));
    }
    if let Some(why) = &codespace.away_because {
        lines.push(format!("away        {}", plain(why)));
    }
    if let Some(why) = &codespace.out_of_memory {
        lines.push(format!("memory      {}", plain(why)));
    }
    if !codespace.awake_because.is_empty() {
        lines.push(format!("awake       {}", plain(&codespace.awake_because.join(", "))));
    }
    if let Some(why) = &codespace.recovery {
        lines.push(format!("recovery    {}", plain(why)));
    }
    if codespace.rebuild_offered {
        lines.push("rebuild     devcontainer.json asks for another container: portico codespace rebuild".to_owned());
    }
    for notice in &codespace.notices {
        lines.push(format!("not heeded  {}: {}", plain(&notice.key), plain(&notice.reason)));
    }
    if let Some(at) = codespace.stops_at {
        let when = if codespace.stops_anyway {
            "whatever happens: it ran for as long as one may"
        } else {
            "if nothing happens"
        };
        lines.push(format!("stops at    {}, {when}", clock(at)));
    }
    if let Some(at) = codespace.deletes_at {
        lines.push(format!("deleted on  {}, unless somebody uses it", at.date()));
    }
    for lease in &codespace.leases {
        lines.push(format!(
            "kept by     {} (process {}) until {} at most",
            plain(&lease.what),
            lease.pid,
            clock(lease.until)
        ));
    }
    for port in &codespace.ports {
        lines.push(format!("port        {} {} {}", port.port, port.visibility, port.url));
    }
    lines.join("\n")
}

/// A time to the minute, in UTC.
fn clock(at: time::OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

async fn create(create: Create, output: Output) -> anyhow::Result<ExitCode> {
    let client = place::gateway(&create.place).await?;
    let body = CreateCodespace {
        repository: local_path(create.repository),
        reference: create.reference,
        pull_request: create.pull_request,
        devcontainer_path: create.devcontainer_path,
        idle_timeout_minutes: create.idle_timeout,
        display_name: create.display_name,
        personal: create.no_personal.then_some(false),
    };
    let before: Vec<Codespace> = client.get("/api/v1/codespaces").await?;
    let made: Codespace = client.json(Method::POST, "/api/v1/codespaces", Some(&body)).await?;
    let was_there = before.iter().any(|one| one.name == made.name);
    if was_there {
        words(&format!("{} is there already.", made.name));
    }
    let made = ready(&client, made).await?;
    if made.state != "running" {
        words(&format!(
            "portico: {}",
            plain(made.reason.as_deref().unwrap_or("the codespace did not start"))
        ));
        if !was_there {
            // Nothing half-created stays behind.
            client
                .call(Method::DELETE, &format!("{}?force=true", path(&made.name)), None::<&()>)
                .await?;
        }
        return Ok(ExitCode::FAILURE);
    }
    warn(&made);
    words(&format!("Open it: {}", made.editor_url));
    output.show(&made, || made.name.clone());
    Ok(ExitCode::SUCCESS)
}

/// Says what is not as the repository asks.
fn warn(codespace: &Codespace) {
    if let Some(why) = &codespace.recovery {
        words(&format!("It is a container of the default image: {}", plain(why)));
        words("Mend devcontainer.json or the Dockerfile in it, then: portico codespace rebuild");
    }
    for notice in &codespace.notices {
        words(&format!("devcontainer.json: {}: {}", plain(&notice.key), plain(&notice.reason)));
    }
}

/// Makes a path that is meant relative to here absolute; the gateway runs elsewhere.
fn local_path(repository: String) -> String {
    let looks_local = repository.starts_with(['.', '/', '~']) || std::path::Path::new(&repository).is_dir();
    if !looks_local || repository.contains("://") {
        return repository;
    }
    match std::fs::canonicalize(&repository) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => repository,
    }
}

/// Opens the editor, and prints where it is.
async fn code(named: &Named, output: Output) -> anyhow::Result<()> {
    let (client, name) = find(named).await?;
    let codespace: Codespace = client.get(&path(&name)).await?;
    login::open_browser(&codespace.editor_url);
    output.show(&codespace, || codespace.editor_url.clone());
    Ok(())
}

async fn start(named: &Named, verb: &str, output: Output) -> anyhow::Result<ExitCode> {
    let (client, name) = find(named).await?;
    let started: Codespace = client.json(Method::POST, &format!("{}/{verb}", path(&name)), None::<&()>).await?;
    let started = ready(&client, started).await?;
    if started.state != "running" {
        words(&format!(
            "portico: {}",
            plain(started.reason.as_deref().unwrap_or("the codespace did not start"))
        ));
        return Ok(ExitCode::FAILURE);
    }
    warn(&started);
    words(&format!("Open it: {}", started.editor_url));
    output.show(&started, || started.name.clone());
    Ok(ExitCode::SUCCESS)
}

/// Waits until a codespace can be used or has failed, and shows its steps.
///
/// Usable is sooner than finished: the full history arrives later.
pub async fn ready(client: &Client, mut codespace: Codespace) -> anyhow::Result<Codespace> {
    let mut progress = Progress::new();
    let waiting = async {
        loop {
            progress.show(&codespace.steps);
            let settled = match codespace.state.as_str() {
                "creating" | "starting" => false,
                "running" => is_usable(&codespace),
                _ => true,
            };
            if settled {
                return Ok(codespace);
            }
            tokio::time::sleep(POLL).await;
            codespace = client.get(&path(&codespace.name)).await?;
        }
    };
    let outcome: Result<Result<Codespace, ClientError>, _> = tokio::time::timeout(PATIENCE, waiting).await;
    progress.finish();
    if let (Ok(Ok(ready)), Some(rest)) = (&outcome, progress.unfinished())
        && ready.state == "running"
    {
        words(&format!("Still under way, and done without you: {rest}"));
    }
    Ok(outcome.map_err(|_| anyhow::anyhow!("it is still not ready; look again with: portico codespace view"))??)
}

fn is_usable(codespace: &Codespace) -> bool {
    let needed = ["storage", "agent", "clone", "image", "editor"];
    let steps = codespace.steps.iter().filter(|step| needed.contains(&step.name.as_str()));
    steps
        .into_iter()
        .all(|step| matches!(step.state.as_str(), "done" | "skipped" | "failed"))
}

async fn stop(named: &Named, output: Output) -> anyhow::Result<()> {
    let (client, name) = find(named).await?;
    let mut codespace: Codespace = client.json(Method::POST, &format!("{}/stop", path(&name)), None::<&()>).await?;
    while codespace.state == "stopping" {
        tokio::time::sleep(POLL).await;
        codespace = client.get(&path(&name)).await?;
    }
    output.show(&codespace, String::new);
    words(&format!("{name} is {}.", codespace.state));
    Ok(())
}

async fn edit(edit: Edit, output: Output) -> anyhow::Result<()> {
    let change = ChangeCodespace {
        display_name: edit.display_name,
        idle_timeout_minutes: edit.idle_timeout,
        woken_by: edit.woken_by,
        personal: edit.personal,
        traffic_counts: edit.traffic_counts,
    };
    anyhow::ensure!(
        change != ChangeCodespace::default(),
        "nothing to change: say --display-name, --idle-timeout, --woken-by, --traffic-counts or --personal"
    );
    let (client, name) = find(&edit.named).await?;
    let changed: Codespace = client.json(Method::PATCH, &path(&name), Some(&change)).await?;
    output.show(&changed, || described(&changed));
    Ok(())
}

async fn delete(delete: &Delete, output: Output) -> anyhow::Result<ExitCode> {
    let (client, name) = find(&delete.named).await?;
    if !delete.force && prompt::can_ask() && !output.json && !prompt::confirm(&format!("Delete {name} and its files?")) {
        words("Nothing was deleted.");
        return Ok(ExitCode::FAILURE);
    }
    let query = if delete.force { "?force=true" } else { "" };
    let deleted = client.call(Method::DELETE, &format!("{}{query}", path(&name)), None::<&()>).await;
    match deleted {
        Err(error) if error.slug() == Some("unpushed-work") => {
            words(&error.to_string());
            if !prompt::can_ask() || !prompt::confirm("Delete it all the same?") {
                words("Nothing was deleted. To delete it all the same, add --force.");
                return Ok(ExitCode::FAILURE);
            }
            client
                .call(Method::DELETE, &format!("{}?force=true", path(&name)), None::<&()>)
                .await?;
        }
        other => drop(other?),
    }
    words(&format!("{name} is deleted."));
    Ok(ExitCode::SUCCESS)
}

async fn logs(named: &Named) -> anyhow::Result<()> {
    let (client, name) = find(named).await?;
    let text = client.call(Method::GET, &format!("{}/logs", path(&name)), None::<&()>).await?;
    let text = String::from_utf8_lossy(&text);
    for said in text.lines() {
        line(&plain(said));
    }
    Ok(())
}
