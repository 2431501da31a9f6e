//! `portico keepalive`: keeps a codespace awake for as long as a process inside it runs.
//!
//! Inside a codespace its agent is asked, which is there whether or not the gateway can be reached.

use std::{os::unix::process::ExitStatusExt as _, process::ExitCode};

use anyhow::Context;
use http::Method;

use super::{
    args::Keepalive,
    client::{Client, ClientError, Place},
    codespace::path,
    output::{Output, words},
    place,
};
use crate::{
    agent::leases::Wish,
    api::model::{TakeLease, TakenLease},
    protocol::bootstrap::SOCKET_VARIABLE,
};

/// Who is asked for leases, and of which codespace.
enum Desk {
    /// The agent of the codespace that this runs in.
    Agent(Client, String),
    Gateway(Client, String),
}

/// Runs it.
pub async fn run(keepalive: Keepalive, output: Output) -> anyhow::Result<ExitCode> {
    let desk = Desk::find(&keepalive).await?;
    if let Some(id) = &keepalive.end {
        desk.end(id).await?;
        words(&format!("The lease {id} is ended; its process runs on."));
        return Ok(ExitCode::SUCCESS);
    }
    let command = (!keepalive.command.is_empty()).then_some(&keepalive.command);
    let taken = desk.take(&keepalive).await.context("the codespace is not kept awake")?;
    let Some(command) = command else {
        output.show(&taken, || taken.id.clone());
        words(&format!("{} stays awake while process {} runs.", desk.codespace(), taken.pid));
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

impl Desk {
    async fn find(asked: &Keepalive) -> anyhow::Result<Self> {
        let own = place::variable("CODESPACE_NAME").unwrap_or_default();
        let named = asked.which.codespace.as_deref();
        let elsewhere = asked.place.url.is_some() || asked.place.data.is_some() || named.is_some_and(|name| name != own);
        if let Some(socket) = place::variable(SOCKET_VARIABLE).filter(|_| !elsewhere) {
            return Ok(Self::Agent(Client::new(Place::Agent(socket.into()), None), own));
        }
        let client = place::gateway(&asked.place).await?;
        let name = place::codespace(&client, named).await?;
        Ok(Self::Gateway(client, name))
    }

    fn codespace(&self) -> &str {
        match self {
            Self::Agent(_, name) | Self::Gateway(_, name) => name,
        }
    }

    async fn take(&self, asked: &Keepalive) -> Result<TakenLease, ClientError> {
        let what = (!asked.command.is_empty()).then(|| asked.command.join(" ").chars().take(64).collect());
        match self {
            Self::Agent(client, _) => {
                let wish = Wish {
                    // With a command it is this process that lives exactly as long, as the agent sees for itself.
                    pid: asked.pid,
                    seconds: asked.max.map(|max| max.as_secs()),
                    what,
                };
                client.json(Method::POST, "/leases", Some(&wish)).await
            }
            Self::Gateway(client, name) => {
                let lease = TakeLease {
                    pid: asked.pid.unwrap_or_else(std::process::id),
                    max: asked.max.map(|max| humantime::format_duration(max).to_string()),
                    what,
                };
                client.json(Method::POST, &format!("{}/leases", path(name)), Some(&lease)).await
            }
        }
    }

    async fn end(&self, id: &str) -> Result<(), ClientError> {
        let (client, leases) = match self {
            Self::Agent(client, _) => (client, "/leases".to_owned()),
            Self::Gateway(client, name) => (client, format!("{}/leases", path(name))),
        };
        client.call(Method::DELETE, &format!("{leases}/{id}"), None::<&()>).await.map(drop)
    }
}
