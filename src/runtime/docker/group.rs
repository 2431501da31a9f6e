//! What runs beside a codespace's own container: pure, from the operator's options and what its Compose files say.
//!
//! Each service that has an address has a container that is nothing but its network, and around that the fence stands before
//! anything of an image runs; the service itself joins it, and so does a codespace's own container. So a service that an engine
//! starts again by itself comes back behind the fence, and one whose network is gone does not come back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerState, EndpointSettings, HealthConfig, HealthStatusEnum, HostConfig, Mount, MountType, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use serde::{Deserialize, Serialize};

use super::{
    Options,
    instance::Instance,
    plan::{self, Mounts},
};
use crate::{
    devcontainer::{After, Bind, Condition, Configuration, Health, Joined, Notices, Project, Restart, Service, Volume},
    domain::CodespaceName,
};

/// The label that says which part of a codespace a container is, besides its own.
pub const PART_LABEL: &str = "portico.part";
/// The part of a service, of a network, and of what puts up the fence in one, which ends at once.
pub const SERVICE: &str = "service";
pub const NETWORK: &str = "network";
pub const FENCE: &str = "fence";
/// Fewest processes of a service, whatever a codespace may have.
const MIN_PROCESSES: u32 = 64;
/// Least memory of one in bytes; less, and hardly anything starts.
const MIN_MEMORY: u64 = 32 << 20;
/// Least disk of one in bytes, likewise.
const MIN_DISK: u64 = 64 << 20;

/// A codespace's services. Kept with its container.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Group {
    /// Its own service.
    pub own: String,
    /// The one whose network it has.
    pub joined: String,
    /// Names of its own service, and entries of its `/etc/hosts`.
    pub aliases: Vec<String>,
    pub hosts: Vec<String>,
    pub after: BTreeMap<String, After>,
    /// Where the repository is besides, and the path that is there.
    pub links: Vec<(String, String)>,
    /// In the order in which they start.
    pub siblings: Vec<Sibling>,
}

/// A service that is not the codespace itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Sibling {
    pub service: Service,
    pub image: String,
    pub links: Vec<(String, String)>,
}

impl Group {
    /// The services of a project whose repository is checked out at `root`, beside a container of that configuration.
    /// `own_places` are where the own image has volumes; `made` are the siblings' images, and where those have some.
    pub fn new(
        project: &mut Project,
        root: &str,
        configuration: &Configuration,
        own_places: &[String],
        made: Vec<(String, Vec<String>)>,
    ) -> Self {
        let Project { own, siblings, notices } = project;
        let mounts = configuration.mounts.iter().map(|volume| &volume.target);
        let places: Vec<String> = mounts
            .chain(own_places)
            .map(|place| place.trim_end_matches('/').to_owned())
            .collect();
        drop_hidden(own, &places, notices);
        let siblings = siblings.iter().zip(made).map(|(service, (image, places))| {
            let mut service = service.clone();
            add_volumes(&mut service, places, notices);
            Sibling {
                links: links(&service.binds, root),
                image,
                service,
            }
        });
        let siblings = siblings.collect();
        Self {
            own: own.name.clone(),
            joined: match &own.joined {
                Joined::Service(other) => other.clone(),
                _ => own.name.clone(),
            },
            aliases: own.aliases.clone(),
            hosts: configuration.run.hosts.clone(),
            after: own.after.clone(),
            links: links(&own.binds, root),
            siblings,
        }
    }

    /// The services that have a network.
    pub fn networks(&self) -> BTreeSet<&str> {
        let each = self.siblings.iter().filter_map(Sibling::network);
        each.chain([self.joined.as_str()]).collect()
    }

    /// The services that are reached at another address than the codespace's own, by each of their names; and the codespace's own
    /// names.
    pub fn neighbours(&self) -> (BTreeMap<String, &str>, Vec<String>) {
        let others = self.networks().into_iter().filter(|network| *network != self.joined);
        let named = others.flat_map(|network| self.names(network).into_iter().map(move |name| (name, network)));
        (named.collect(), self.names(&self.joined))
    }

    /// The images that were made or found for it.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.siblings.iter().map(|sibling| sibling.image.as_str())
    }

    /// Names by which a network is reached: of all that is in it.
    fn names(&self, network: &str) -> Vec<String> {
        let mut names = vec![network.to_owned()];
        if self.joined == network {
            names.push(self.own.clone());
            names.extend(self.aliases.iter().cloned());
        }
        for sibling in self.siblings.iter().filter(|sibling| sibling.network() == Some(network)) {
            names.push(sibling.service.name.clone());
            names.extend(sibling.service.aliases.iter().cloned());
        }
        names.sort();
        names.dedup();
        names
    }

    fn hosts(&self, network: &str) -> Vec<String> {
        let siblings = self.siblings.iter().filter(|sibling| sibling.network() == Some(network));
        let mut hosts: Vec<String> = siblings.flat_map(|sibling| sibling.service.run.hosts.iter().cloned()).collect();
        if self.joined == network {
            hosts.extend(self.hosts.iter().cloned());
        }
        hosts.dedup();
        hosts
    }
}

impl Sibling {
    /// The service whose network it has.
    fn network(&self) -> Option<&str> {
        match &self.service.joined {
            Joined::Own => Some(&self.service.name),
            Joined::Service(other) => Some(other),
            Joined::Nothing => None,
        }
    }
}

fn links(binds: &[Bind], root: &str) -> Vec<(String, String)> {
    let path = |bind: &Bind| match &bind.source {
        Some(source) if source.is_empty() => root.to_owned(),
        Some(source) => format!("{root}/{source}"),
        None => plan::WORKSPACES.to_owned(),
    };
    binds.iter().map(|bind| (bind.target.clone(), path(bind))).collect()
}

/// What an image keeps in volumes is kept in volumes of the codespace's: an engine's own ones go with their container.
fn add_volumes(service: &mut Service, places: Vec<String>, notices: &mut Notices) {
    let is_plain = |place: &String| {
        let straight = place.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
        place.starts_with('/') && straight && place.len() <= 128 && !place.contains(|c: char| c.is_control())
    };
    let places = places.into_iter().map(|place| place.trim_end_matches('/').to_owned());
    let places: Vec<String> = places
        .filter(|place| is_plain(place) && !place.starts_with(plan::WORKSPACES))
        .take(16)
        .collect();
    drop_hidden(service, &places, notices);
    for target in places {
        let there = service.volumes.iter().map(|volume| &volume.target).chain(&service.memory);
        if there.into_iter().any(|other| *other == target) {
            continue;
        }
        let place = target.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-");
        service.volumes.push(Volume {
            name: format!("{}{place}", service.name),
            target,
            read_only: false,
        });
    }
}

/// Leaves out what would be a link in the place of a volume, or of what a volume is below.
fn drop_hidden(service: &mut Service, places: &[String], notices: &mut Notices) {
    let name = &service.name;
    service.binds.retain(|bind| {
        let target = &bind.target;
        let is_hidden = places.iter().any(|place| {
            place
                .strip_prefix(target.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if is_hidden {
            let reason = format!(
                "{target}: a volume is there or below, which stays; the repository is in {}",
                plan::WORKSPACES
            );
            notices.note(format!("services.{name}.volumes"), reason);
        }
        !is_hidden
    });
}

/// The name of the container that is a service's network. No codespace's name has such a line in it.
pub fn network_of(id: &str, service: &str) -> String {
    format!("{id}_net_{service}")
}

/// The name of a service's container.
pub fn container_of(id: &str, service: &str) -> String {
    format!("{id}_service_{service}")
}

/// The name of the container that puts up the fence in a service's network.
pub fn fence_of(id: &str, service: &str) -> String {
    format!("{id}_fence_{service}")
}

/// The container of that name, from a plan for it: found again by its part, if it is left behind.
pub fn fence(mut planned: ContainerCreateBody) -> ContainerCreateBody {
    let labels = planned.labels.get_or_insert_default();
    labels.insert(PART_LABEL.to_owned(), FENCE.to_owned());
    planned
}

/// A container that is nothing but its network.
pub fn network(
    options: &Options,
    instance: &Instance,
    name: &CodespaceName,
    mounts: &Mounts,
    group: &Group,
    service: &str,
) -> ContainerCreateBody {
    let id = instance.resource(name);
    let endpoint = EndpointSettings {
        aliases: Some(group.names(service)),
        ..EndpointSettings::default()
    };
    let hosts = group.hosts(service);
    let host = HostConfig {
        network_mode: Some(id.clone()),
        mounts: Some(vec![mounts.program_alone()]),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        memory: Some(64 << 20),
        pids_limit: Some(16),
        dns: Some(options.name_servers.iter().map(ToString::to_string).collect()),
        extra_hosts: Some(hosts).filter(|hosts| !hosts.is_empty()),
        ..HostConfig::default()
    };
    let is_own = group.joined == service;
    ContainerCreateBody {
        hostname: Some(if is_own { plan::hostname(name) } else { service.to_owned() }),
        image: Some(options.image.clone()),
        user: Some("0:0".into()),
        entrypoint: Some(vec![plan::PROGRAM.into()]),
        cmd: Some(["agent", "--hold"].map(str::to_owned).into()),
        working_dir: Some("/".into()),
        labels: Some(labels(instance, name, NETWORK)),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(id, endpoint)].into()),
        }),
        ..ContainerCreateBody::default()
    }
}

/// A service's container. All siblings together have what a codespace has, each an equal part of it.
pub fn sibling(options: &Options, instance: &Instance, name: &CodespaceName, group: &Group, sibling: &Sibling) -> ContainerCreateBody {
    let (id, service) = (instance.resource(name), &sibling.service);
    let mut mounts: Vec<Mount> = service
        .volumes
        .iter()
        .map(|volume| plan::volume_mount(instance, name, volume))
        .collect();
    if !sibling.links.is_empty() {
        mounts.push(Mount {
            typ: Some(MountType::VOLUME),
            source: Some(id.clone()),
            target: Some(plan::WORKSPACES.into()),
            read_only: Some(service.binds.iter().all(|bind| bind.read_only)),
            ..Mount::default()
        });
    }
    let memory = service.memory.iter().map(|target| (target.clone(), String::new()));
    let host = HostConfig {
        network_mode: Some(
            sibling
                .network()
                .map_or("none".into(), |network| format!("container:{}", network_of(&id, network))),
        ),
        mounts: Some(mounts),
        tmpfs: Some(memory.collect()).filter(|memory: &HashMap<_, _>| !memory.is_empty()),
        init: service.run.init.then_some(true),
        shm_size: service.run.shm_size.and_then(|size| i64::try_from(size).ok()),
        restart_policy: restart(service.restart),
        ..plan::confined(&part(options, group.siblings.len()), &service.run)
    };
    let environment = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(sibling.image.clone()),
        user: service.user.clone(),
        env: Some(environment.collect()),
        entrypoint: service.entrypoint.clone(),
        cmd: service.command.clone(),
        working_dir: service.folder.clone(),
        tty: service.terminal.then_some(true),
        healthcheck: service.health.as_ref().map(health),
        stop_signal: service.stop_signal.clone(),
        labels: Some(labels(instance, name, SERVICE)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn labels(instance: &Instance, name: &CodespaceName, part: &str) -> HashMap<String, String> {
    let mut labels = instance.labels(name);
    labels.insert(PART_LABEL.to_owned(), part.to_owned());
    labels
}

/// The bounds of one of several.
fn part(options: &Options, count: usize) -> Options {
    let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    Options {
        milli_cpus: options.milli_cpus.map(|all| (all / count).max(100)),
        memory: options.memory.map(|all| (all / u64::from(count)).max(MIN_MEMORY)),
        disk: options.disk.map(|all| (all / u64::from(count)).max(MIN_DISK)),
        processes: (options.processes / count).max(MIN_PROCESSES),
        ..options.clone()
    }
}

fn restart(restart: Restart) -> Option<RestartPolicy> {
    let (name, count) = match restart {
        Restart::Never => return None,
        Restart::OnFailure(count) => (RestartPolicyNameEnum::ON_FAILURE, count.map(i64::from)),
        // A codespace that was stopped stays so, whatever becomes of the engine.
        Restart::Always => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    Some(RestartPolicy {
        name: Some(name),
        maximum_retry_count: count,
    })
}

fn health(health: &Health) -> HealthConfig {
    let nanoseconds = |time: Option<std::time::Duration>| time.and_then(|time| i64::try_from(time.as_nanos()).ok());
    HealthConfig {
        test: health.test.clone(),
        interval: nanoseconds(health.interval),
        timeout: nanoseconds(health.timeout),
        start_period: nanoseconds(health.start_period),
        retries: health.retries.map(i64::from),
        start_interval: nanoseconds(health.start_interval),
    }
}

/// Whether what is waited for is so: no answer for not yet, an error for never.
pub fn judge(condition: Condition, state: &ContainerState) -> Option<Result<(), String>> {
    let runs = state.running.unwrap_or_default() || state.restarting.unwrap_or_default();
    let status = state.exit_code.unwrap_or_default();
    let ended = || {
        let memory = if state.oom_killed.unwrap_or_default() {
            ", out of memory"
        } else {
            ""
        };
        format!("it ended with status {status}{memory}")
    };
    let health = state.health.as_ref().and_then(|health| health.status);
    match (condition, health) {
        (Condition::Started, _) if runs || status == 0 => Some(Ok(())),
        (Condition::Completed, _) if runs => None,
        (Condition::Completed, _) if status == 0 => Some(Ok(())),
        (Condition::Healthy, Some(HealthStatusEnum::UNHEALTHY)) => Some(Err("its healthcheck says that it is not well".into())),
        (_, _) if !runs => Some(Err(ended())),
        (_, Some(HealthStatusEnum::HEALTHY)) => Some(Ok(())),
        (_, Some(HealthStatusEnum::STARTING)) => None,
        _ => Some(Err("something waits until it is healthy, and it has no healthcheck".into())),
    }
}

#[cfg(test)]
mod tests;
