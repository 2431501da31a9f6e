//! The fence around a codespace's network: what it cannot reach.
//!
//! A container of its own, with the right to change routes in the codespace's network and nothing else, adds them and
//! ends. The codespace itself never has that right, so that what runs inside cannot take the fence down. With an agent
//! that is linked statically nothing of the image runs in it.

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt as _;

use super::{Options, engine::Engine, network};
use crate::runtime::RuntimeError;

/// Link-local addresses, at which clouds tell credentials to whoever asks, and this machine answers on each of its networks.
pub const LINK_LOCAL: [&str; 3] = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"];

/// What a codespace is not to reach.
pub async fn networks(engine: &Engine, options: &Options, id: &str) -> Result<Vec<String>, RuntimeError> {
    let gateway = network::gateway(engine, id).await?;
    let mut networks: Vec<String> = LINK_LOCAL.map(str::to_owned).into();
    // The codespace's own network is narrower than the pool, this machine's side of it narrower still.
    networks.push(options.networks.to_string());
    networks.push(format!("{gateway}/32"));
    networks.extend(options.unreachable.iter().map(ToString::to_string));
    Ok(networks)
}

/// Puts it up with the container that `body` describes, which has the name of `helper` for that moment, and waits until it stands.
pub async fn put_up(engine: &Engine, body: ContainerCreateBody, helper: &str) -> Result<(), RuntimeError> {
    run_once(engine, body, helper).await.map_err(missing)
}

/// What is told where it could not be put up.
pub fn missing(error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::Failed(why) => RuntimeError::Failed(format!(
            "its network could not be closed off, and without that it does not run: {why}. Ask the operator"
        )),
        error => error,
    }
}

/// Runs a small container of ours to its end and removes it.
pub async fn run_once(engine: &Engine, body: ContainerCreateBody, helper: &str) -> Result<(), RuntimeError> {
    remove(engine, helper).await?;
    let ended = run(engine, helper, body).await;
    let removed = remove(engine, helper).await;
    ended.and(removed)
}

async fn run(engine: &Engine, helper: &str, body: ContainerCreateBody) -> Result<(), RuntimeError> {
    let api = engine.api().await?;
    let options = CreateContainerOptionsBuilder::default().name(helper).build();
    api.create_container(Some(options), body)
        .await
        .map_err(|error| engine.trouble(&error))?;
    api.start_container(helper, None).await.map_err(|error| engine.trouble(&error))?;
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let ended = api.wait_container(helper, Some(options)).next().await;
    if matches!(ended, Some(Ok(ref ended)) if ended.status_code == 0) {
        return Ok(());
    }
    let options = LogsOptionsBuilder::default().stderr(true).tail("5").build();
    let lines: Vec<_> = api.logs(helper, Some(options)).collect().await;
    let text: String = lines.into_iter().flatten().map(|line| line.to_string()).collect();
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    Err(RuntimeError::Failed(text.trim().to_owned()))
}

async fn remove(engine: &Engine, helper: &str) -> Result<(), RuntimeError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    engine.unless_missing(engine.api().await?.remove_container(helper, Some(options)).await)
}
