//! `portico keepalive`: keeps a codespace awake for as long as a process inside it runs.

use std::{os::unix::process::ExitStatusExt as _, process::ExitCode};

use anyhow::Context;
use http::Method;

use super::{
    args::Keepalive,
    codespace::path,
    output::{Output, words},
    place,
};
use crate::api::model::{TakeLease, TakenLease};

/// Runs it.
pub async fn run(keepalive: Keepalive, output: Output) -> anyhow::Result<ExitCode> {
    let client = place::gateway(&keepalive.place).await?;
    let name = place::codespace(&client, keepalive.which.codespace.as_deref()).await?;
    let command = (!keepalive.command.is_empty()).then_some(&keepalive.command);
    let lease = TakeLease {
        // With a command it is this process that lives exactly as long.
        pid: keepalive.pid.unwrap_or_else(std::process::id),
        max: keepalive.max.map(|max| humantime::format_duration(max).to_string()),
        what: command.map(|command| command.join(" ").chars().take(64).collect()),
    };
    let taken: TakenLease = client
        .json(Method::POST, &format!("{}/leases", path(&name)), Some(&lease))
        .await
        .context("the codespace is not kept awake")?;
    let Some(command) = command else {
        output.show(&taken, || taken.id.clone());
        words(&format!("{name} stays awake while process {} runs.", taken.pid));
        return Ok(ExitCode::SUCCESS);
    };
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .spawn()
        .with_context(|| format!("{} could not be started", command[0]))?;
    let status = child.wait().await?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
