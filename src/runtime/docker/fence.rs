//! The fence around a codespace's network: what it cannot reach.
//!
//! A container of its own, with the right to change routes in the codespace's network and nothing else, adds them and
//! ends. The codespace itself never has that right, so that what runs inside cannot take the fence down. With an agent
//! that is linked statically nothing of the image runs in it.

use std::{iter::once, net::IpAddr};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt as _;

use super::{Options, engine::Engine, network};
use crate::{domain::Network, runtime::RuntimeError};

/// Where clouds tell credentials to whoever asks; at link-local ones this machine answers too, on each of its networks.
const METADATA: [&str; 10] = [
    "169.254.0.0/16",
    "fe80::/10",
    // Amazon's EC2 and the identities of EKS; Google; Oracle, then and now; Scaleway; Azure's WireServer; Alibaba.
    "fd00:ec2::254/128",
    "fd00:ec2::23/128",
    "fd20:ce::254/128",
    "192.0.0.192/32",
    "fd00:c1::a9fe:a9fe/128",
    "fd00:42::42/128",
    "168.63.129.16/32",
    "100.100.100.200/32",
];

/// Whether it keeps codespaces from an address; this machine's side of their networks is in `docker.networks`.
pub fn is_fenced(options: &Options, address: IpAddr) -> bool {
    let mut metadata = METADATA.iter().filter_map(|text| text.parse::<Network>().ok());
    let mut named = once(&options.networks).chain(&options.unreachable);
    metadata.any(|network| network.contains(address)) || named.any(|network| network.contains(address))
}

/// What a codespace is not to reach.
pub async fn networks(engine: &Engine, options: &Options, id: &str) -> Result<Vec<String>, RuntimeError> {
    let gateway = network::gateway(engine, id).await?;
    let mut networks: Vec<String> = METADATA.map(str::to_owned).into();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_codespace_is_to_reach() {
        let options = Options {
            unreachable: vec!["192.168.0.0/16".parse().expect("a network")],
            ..Options::default()
        };
        #[track_caller]
        fn check(options: &Options, address: &str, expected: bool) {
            assert_eq!(is_fenced(options, address.parse().expect("an address")), expected, "{address}");
        }
        for network in METADATA {
            let network: Network = network.parse().expect("each is one");
            check(&options, &network.first().to_string(), true);
        }
        for address in [
            "169.254.169.254",
            "fe80::a9fe:a9fe",
            "10.213.7.7",
            "192.168.1.1",
            "::ffff:168.63.129.16",
        ] {
            check(&options, address, true);
        }
        for address in [
            "192.0.2.1",
            "168.63.129.15",
            "100.100.100.100",
            "10.1.1.1",
            "fd00::1",
            "2001:db8::1",
        ] {
            check(&options, address, false);
        }
    }
}
