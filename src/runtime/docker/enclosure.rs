//! The network of a build, which nothing that runs in it gets past.
//!
//! An engine gives what a Dockerfile runs raw sockets, to which the routes of its own network namespace are no fence. So
//! that namespace has no network of the engine's at all, but a wire to a second one, which forwards, and whose routes are
//! the fence. Owns the two containers that hold them. Refuses to know what is built.

use std::net::Ipv4Addr;

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};

use super::{Options, build::Site, engine::Engine, fence, instance::Instance, network, plan};
use crate::{domain::CodespaceName, runtime::RuntimeError};

/// What makes a namespace a router that lets through only what the build's own address sends.
const FORWARDING: [(&str, &str); 5] = [
    ("net.ipv4.ip_forward", "1"),
    // The other end of the wire has an address of the codespace's network, and this one answers for it.
    ("net.ipv4.conf.all.proxy_arp", "1"),
    ("net.ipv4.conf.all.rp_filter", "1"),
    ("net.ipv4.conf.default.rp_filter", "1"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
];

/// Opens it; gives the container in whose network the build is to be.
pub async fn open(site: &Site<'_>) -> Result<String, RuntimeError> {
    if site.engine.is_podman().await? {
        // Its steps are no containers that could be bounded.
        let why = "the engine is Podman, whose builds this gateway can neither fence in nor bound. Name an image instead";
        return Err(RuntimeError::Failed(why.into()));
    }
    close(site.engine, site.instance, site.name).await?;
    let id = site.instance.resource(site.name);
    let [inner, outer] = holders(site.instance, site.name);
    hold(site, &outer, &id, &FORWARDING).await?;
    hold(site, &inner, "none", &[]).await?;
    let address = network::spare(site.engine, &id).await?;
    let gateway = address_of(site.engine, &outer).await?;
    let wire = format!("{inner}-wire");
    let laid = fence::run_once(site.engine, wiring(site, &inner, &outer, address, gateway), &wire).await;
    laid.map_err(fence::missing)?;
    let unreachable = fence::networks(site.engine, site.options, &id).await?;
    let mut body = plan::fence_in(&outer, site.options, site.instance, site.name, site.mounts, &unreachable);
    // Last, so that nothing passes before the fence stands.
    let command = body.cmd.get_or_insert_default();
    command.extend(["--let-back".to_owned(), address.to_string()]);
    fence::put_up(site.engine, body, &format!("{outer}-fence")).await?;
    Ok(inner)
}

/// Removes what holds it.
pub async fn close(engine: &Engine, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
    for holder in holders(instance, name) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = engine.api().await?.remove_container(&holder, Some(options)).await;
        engine.unless_missing(removed)?;
    }
    Ok(())
}

/// The names of the containers that hold the build's network and the one before it.
fn holders(instance: &Instance, name: &CodespaceName) -> [String; 2] {
    let id = instance.resource(name);
    [format!("{id}-build"), format!("{id}-router")]
}

/// Makes and starts a container that is nothing but its network.
async fn hold(site: &Site<'_>, holder: &str, network: &str, settings: &[(&str, &str)]) -> Result<(), RuntimeError> {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let host = HostConfig {
        network_mode: Some(network.to_owned()),
        sysctls: Some(settings.collect()),
        dns: Some(name_servers(site.options)),
        ..bare(site)
    };
    let body = ContainerCreateBody {
        cmd: Some(["agent", "--hold"].map(str::to_owned).into()),
        ..helper(site, host)
    };
    let api = site.engine.api().await?;
    let options = CreateContainerOptionsBuilder::default().name(holder).build();
    let made = api.create_container(Some(options), body).await;
    made.map_err(|error| site.engine.trouble(&error))?;
    let started = api.start_container(holder, None).await;
    started.map_err(|error| site.engine.trouble(&error))
}

/// The small container that lays the wire: in the network of one and among the processes of the other.
fn wiring(site: &Site<'_>, inner: &str, outer: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> ContainerCreateBody {
    let host = HostConfig {
        network_mode: Some(format!("container:{inner}")),
        pid_mode: Some(format!("container:{outer}")),
        cap_add: Some(vec!["NET_ADMIN".into()]),
        ..bare(site)
    };
    let command = ["agent", "--link"].map(str::to_owned).into_iter();
    ContainerCreateBody {
        cmd: Some(command.chain([address.to_string(), gateway.to_string()]).collect()),
        ..helper(site, host)
    }
}

fn helper(site: &Site<'_>, host: HostConfig) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(site.options.image.clone()),
        user: Some("0:0".into()),
        entrypoint: Some(vec![plan::PROGRAM.into()]),
        working_dir: Some("/".into()),
        labels: Some(site.instance.labels(site.name)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn bare(site: &Site<'_>) -> HostConfig {
    HostConfig {
        mounts: Some(vec![site.mounts.program_alone()]),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        memory: Some(64 << 20),
        pids_limit: Some(16),
        ..HostConfig::default()
    }
}

fn name_servers(options: &Options) -> Vec<String> {
    options.name_servers.iter().map(ToString::to_string).collect()
}

/// The address of a container that is in one network.
async fn address_of(engine: &Engine, container: &str) -> Result<Ipv4Addr, RuntimeError> {
    let found = engine.api().await?.inspect_container(container, None).await;
    let found = found.map_err(|error| engine.trouble(&error))?;
    let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let address = networks.into_values().find_map(|network| network.ip_address?.parse().ok());
    address.ok_or_else(|| RuntimeError::Failed("the container engine gave a build's network no address. Ask the operator".into()))
}
