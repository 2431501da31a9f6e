//! What a codespace's container is to be: pure, from the operator's options.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use bollard::models::{
    ContainerCreateBody, ContainerState, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountPoint, MountType, MountVolumeOptions,
    ResourcesUlimits, VolumeCreateRequest,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Options,
    group::{self, Group},
    instance::Instance,
};
use crate::{
    devcontainer::{Configuration, DEEPEST, Inherited, Notices, RunOptions, Volume},
    domain::{CodespaceName, RepositorySource},
    protocol::bootstrap::{Bootstrap, EditorProgram},
    runtime::{Known, RuntimeError},
};

/// The label that says which gateway made it.
pub const INSTANCE_LABEL: &str = "portico.instance";
/// The label that says for which codespace.
pub const NAME_LABEL: &str = "portico.codespace";
/// The label that says which gateway had a layer built. Not the one above: who looks for that finds what belongs to a codespace.
pub const LAYER_LABEL: &str = "portico.layer";
/// The label that says to which plan a container was made.
pub const PLAN_LABEL: &str = "portico.plan";

/// The label that says what a repository's own container is made of.
const MADE_LABEL: &str = "portico.made";
/// Longest label in bytes.
const MAX_LABEL: usize = 256 * 1024;

/// The agent's program inside.
pub const PROGRAM: &str = "/portico/bin/portico";
/// The same program, by which a container begins that may be of a repository's image. That image's links could lead a volume to where
/// [`PROGRAM`] is, and the volume's own program would run in its place, before the fence stands. This one is deeper than volumes are,
/// so that it is mounted after all of them, and nothing hides it.
const FIRST: &str = "/portico/mounted/after/all/of/the/volumes/of/it/portico";
/// The directory inside in which the gateway's socket is; a directory, so that a gateway that starts anew is seen.
pub const GATEWAY_DIRECTORY: &str = "/portico/gateway";
/// Where editors are inside: the paths at which they are installed may be shut to the image's user.
pub const EDITORS_DIRECTORY: &str = "/portico/editors";
pub const GATEWAY_SOCKET: &str = "agent.sock";
/// Where the agent keeps its own files, its orders among them.
pub const STATE_DIRECTORY: &str = "/portico/state";
/// Where the volume is: what survives a container that is made anew.
pub const WORKSPACES: &str = "/workspaces";

/// Descriptors of one process inside.
const DESCRIPTORS: i64 = 20_000;
/// Variables that put libraries of an image's choice into an agent that is linked dynamically, before the fence stands.
const LOADER: [&str; 3] = ["LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD"];
/// In nanoseconds, as engines count.
const YEAR: i64 = 365 * 24 * 3600 * 1_000_000_000;
/// Rights of root inside that nobody needs to write software.
const DROPPED: [&str; 2] = ["MKNOD", "NET_RAW"];

/// What is mounted from the gateway's machine, by its path for the engine.
#[derive(Clone, Debug)]
pub struct Mounts {
    pub program: PathBuf,
    pub gateway: PathBuf,
    /// Where editors are installed.
    pub editors: Option<PathBuf>,
}

impl Mounts {
    /// Looks at what there is on this machine.
    pub fn of(options: &Options, data: &Path, program: &Path) -> Result<Self, RuntimeError> {
        let seen = |path: &Path| match (&options.data_for_engine, path.strip_prefix(data)) {
            (Some(base), Ok(rest)) => base.join(rest),
            _ => path.to_owned(),
        };
        // Made here, so that a later `portico editor install` is seen by the containers that there are.
        std::fs::create_dir_all(data.join("editors"))?;
        let editors = std::fs::canonicalize(data.join("editors")).ok();
        Ok(Self {
            program: seen(program),
            gateway: seen(&data.join("reach")),
            editors: editors.map(|editors| seen(&editors)),
        })
    }

    /// The agent's program and nothing else.
    pub fn program_alone(&self) -> Mount {
        bind(&self.program, PROGRAM.as_ref())
    }

    fn all(&self) -> Vec<Mount> {
        let mut mounts = vec![
            bind(&self.program, PROGRAM.as_ref()),
            bind(&self.gateway, GATEWAY_DIRECTORY.as_ref()),
        ];
        mounts.extend(self.editors.as_ref().map(|editors| bind(editors, EDITORS_DIRECTORY.as_ref())));
        mounts
    }
}

fn bind(outside: &Path, inside: &Path) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(outside.to_string_lossy().into_owned()),
        target: Some(inside.to_string_lossy().into_owned()),
        read_only: Some(true),
        ..Mount::default()
    }
}

/// What a container is made of where its repository says so; kept as a label of the container, which it outlives never.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Made {
    pub image: String,
    /// The user, where it is not the image's own.
    pub user: Option<String>,
    /// Without its hooks and notices, which the agent reads for itself.
    pub configuration: Configuration,
    pub fingerprint: Option<String>,
    /// Why it is the default container all the same.
    pub recovery: Option<String>,
    /// What of it a codespace does not get here.
    pub notices: Notices,
    /// What its image brings for what runs inside.
    pub inherited: Inherited,
    /// The services that it runs with, where Compose files say so.
    pub group: Option<Group>,
}

impl Made {
    /// The label's text, if engines take so long a one.
    pub fn label(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= MAX_LABEL)
    }

    /// The images that it and what is beside it are made of.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let siblings = self.group.iter().flat_map(Group::images);
        std::iter::once(self.image.as_str()).chain(siblings)
    }

    /// Reads it from a container's labels; none for one that is as the operator says.
    pub fn of(labels: &HashMap<String, String>) -> Option<Self> {
        serde_json::from_str(labels.get(MADE_LABEL)?).ok()
    }
}

/// The container, without the label of its plan.
pub fn container(options: &Options, instance: &Instance, name: &CodespaceName, mounts: &Mounts, made: &Made) -> ContainerCreateBody {
    let id = instance.resource(name);
    let wanted = &made.configuration;
    let mut all = mounts.all();
    all.push(bind(&mounts.program, FIRST.as_ref()));
    all.extend(wanted.mounts.iter().map(|volume| volume_mount(instance, name, volume)));
    all.push(Mount {
        typ: Some(MountType::VOLUME),
        source: Some(id.clone()),
        target: Some(WORKSPACES.into()),
        ..Mount::default()
    });
    // Where it joins the network of a service, that has the names and the name servers.
    let joined = made.group.as_ref().map(|group| group::network_of(&id, &group.joined));
    let is_alone = joined.is_none();
    let servers = || options.name_servers.iter().map(ToString::to_string).collect();
    let host = HostConfig {
        network_mode: Some(joined.map_or(id, |network| format!("container:{network}"))),
        mounts: Some(all),
        init: wanted.run.init.then_some(true),
        shm_size: wanted.run.shm_size.and_then(|size| i64::try_from(size).ok()),
        extra_hosts: Some(wanted.run.hosts.clone()).filter(|hosts| is_alone && !hosts.is_empty()),
        dns: is_alone.then(servers),
        ..confined(options, &wanted.run)
    };
    ContainerCreateBody {
        hostname: is_alone.then(|| hostname(name)),
        image: Some(if made.image.is_empty() {
            options.image.clone()
        } else {
            made.image.clone()
        }),
        user: made.user.clone(),
        env: Some(environment(&wanted.container_env)),
        // The image's own would run before the fence stands.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".into()]),
            ..HealthConfig::default()
        }),
        entrypoint: Some(vec![FIRST.into()]),
        cmd: Some(vec![
            "agent".into(),
            "--bootstrap".into(),
            format!("{STATE_DIRECTORY}/bootstrap.json"),
        ]),
        working_dir: Some("/".into()),
        labels: Some(
            instance
                .labels(name)
                .into_iter()
                .chain(made.label().map(|text| (MADE_LABEL.to_owned(), text)))
                .collect(),
        ),
        stop_signal: Some("SIGTERM".into()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// What of a container's volumes, its image's own among them, could be mounted after the program by which it begins.
pub fn hiding(mounted: &[MountPoint]) -> Option<&str> {
    let mut targets = mounted.iter().filter_map(|mount| mount.destination.as_deref());
    let begins_so = targets.clone().any(|target| target == FIRST);
    targets.find(|target| begins_so && *target != FIRST && target.matches('/').count() > DEEPEST)
}

/// A volume of the codespace's own.
pub fn volume_mount(instance: &Instance, name: &CodespaceName, volume: &Volume) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        // A name of the codespace's own: no repository gets at another's.
        source: Some(format!("{}-{}", instance.resource(name), volume.name)),
        target: Some(volume.target.clone()),
        read_only: Some(volume.read_only),
        // The engine makes it, and by its labels it is found when it is to go.
        volume_options: Some(MountVolumeOptions {
            labels: Some(instance.labels(name)),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

/// The rights and the bounds of a container in which something of a repository runs.
pub fn confined(options: &Options, run: &RunOptions) -> HostConfig {
    HostConfig {
        cap_drop: Some(DROPPED.map(str::to_owned).into()),
        cap_add: run.trace.then(|| vec!["SYS_PTRACE".to_owned()]),
        // What is printed is kept by the engine, and anybody inside can write there too.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(
                [("max-size", "8m"), ("max-file", "2")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
        }),
        storage_opt: options.disk.map(|bytes| [("size".to_owned(), bytes.to_string())].into()),
        ..bounded(options)
    }
}

fn environment(wanted: &BTreeMap<String, String>) -> Vec<String> {
    let emptied = LOADER.iter().map(|name| format!("{name}="));
    let others = wanted.iter().filter(|(name, _)| !LOADER.contains(&name.as_str()));
    emptied.chain(others.map(|(name, value)| format!("{name}={value}"))).collect()
}

/// The editor's program by its path inside.
pub fn editor(mut program: EditorProgram, editors: &Path) -> EditorProgram {
    for word in &mut program.command {
        if let Ok(rest) = Path::new(word).strip_prefix(editors) {
            *word = Path::new(EDITORS_DIRECTORY).join(rest).to_string_lossy().into_owned();
        }
    }
    program
}

/// The small container that gives a codespace's files to another user and ends: `owners` are `FROM:USER:GROUP`, as the agent
/// reads them.
pub fn give(options: &Options, instance: &Instance, name: &CodespaceName, mounts: &Mounts, owners: &str) -> ContainerCreateBody {
    let volume = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(instance.resource(name)),
        target: Some(WORKSPACES.into()),
        ..Mount::default()
    };
    let host = HostConfig {
        network_mode: Some("none".into()),
        mounts: Some(vec![mounts.program_alone(), volume]),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(vec!["CHOWN".into(), "DAC_READ_SEARCH".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        memory: Some(128 << 20),
        pids_limit: Some(16),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(options.image.clone()),
        user: Some("0:0".into()),
        entrypoint: Some(vec![PROGRAM.into()]),
        cmd: Some(["agent", "--give", owners, WORKSPACES].map(str::to_owned).into()),
        working_dir: Some("/".into()),
        labels: Some(instance.labels(name)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// The small container that puts up the fence in a codespace's network and ends.
pub fn fence(options: &Options, instance: &Instance, name: &CodespaceName, mounts: &Mounts, networks: &[String]) -> ContainerCreateBody {
    fence_in(&instance.resource(name), options, instance, name, mounts, networks)
}

/// As [`fence`], in the network namespace of a container.
pub fn fence_in(
    container: &str,
    options: &Options,
    instance: &Instance,
    name: &CodespaceName,
    mounts: &Mounts,
    networks: &[String],
) -> ContainerCreateBody {
    let host = HostConfig {
        network_mode: Some(format!("container:{container}")),
        mounts: Some(vec![mounts.program_alone()]),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(vec!["NET_ADMIN".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        memory: Some(64 << 20),
        pids_limit: Some(16),
        ..HostConfig::default()
    };
    let command = ["agent".to_owned(), "--fence".to_owned()]
        .into_iter()
        .chain(networks.iter().cloned())
        .chain(options.fence_without_filter.then(|| "--without-filter".to_owned()));
    ContainerCreateBody {
        image: Some(options.image.clone()),
        user: Some("0:0".into()),
        entrypoint: Some(vec![PROGRAM.into()]),
        cmd: Some(command.collect()),
        working_dir: Some("/".into()),
        labels: Some(instance.labels(name)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn bounded(options: &Options) -> HostConfig {
    let memory = options.memory.and_then(|bytes| i64::try_from(bytes).ok());
    HostConfig {
        nano_cpus: options.milli_cpus.map(|thousandths| i64::from(thousandths) * 1_000_000),
        memory,
        // The sum of both: no swap besides.
        memory_swap: memory,
        pids_limit: Some(options.processes.into()),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".into()),
            soft: Some(DESCRIPTORS),
            hard: Some(DESCRIPTORS),
        }]),
        ..HostConfig::default()
    }
}

/// What Podman makes of it otherwise than Docker.
pub fn for_podman(body: &mut ContainerCreateBody) {
    if let Some(host) = body.host_config.as_mut() {
        // Where one is named it sets others, higher than some machines allow. Its operator has them in containers.conf.
        host.ulimits = None;
    }
    let is_none = |health: &&mut HealthConfig| {
        health
            .test
            .as_ref()
            .is_some_and(|test| test.first().is_some_and(|word| word == "NONE"))
    };
    if let Some(health) = body.healthcheck.as_mut().filter(is_none) {
        // It would look every half minute that there is nothing to do.
        health.interval = Some(YEAR);
    }
}

/// The volumes to which a plan gives labels: Podman makes them without.
pub fn labelled_volumes(body: &ContainerCreateBody) -> Vec<VolumeCreateRequest> {
    let mounts = body.host_config.iter().flat_map(|host| host.mounts.iter().flatten());
    let labelled = mounts.filter_map(|mount| {
        let labels = mount.volume_options.as_ref()?.labels.clone()?;
        Some(VolumeCreateRequest {
            name: mount.source.clone(),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        })
    });
    labelled.collect()
}

/// Where the repository is checked out.
pub fn workspace(bootstrap: &Bootstrap) -> String {
    let repository = bootstrap.repository.as_ref();
    let source = repository.and_then(|repository| repository.url.parse::<RepositorySource>().ok());
    let directory = source.map_or_else(|| "workspace".into(), |source| source.directory_name());
    format!("{WORKSPACES}/{directory}")
}

/// The volume that holds the work.
pub fn volume(instance: &Instance, name: &CodespaceName) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(instance.resource(name)),
        labels: Some(instance.labels(name)),
        ..VolumeCreateRequest::default()
    }
}

/// Tells plans apart: those for which a container must be made anew, with what was installed in it lost. New bounds hold
/// for new containers.
pub fn digest(body: &ContainerCreateBody) -> String {
    let mounts = body.host_config.as_ref().and_then(|host| host.mounts.clone());
    // Labels are in no order, and change nothing inside.
    let plain = |mount| Mount {
        volume_options: None,
        ..mount
    };
    let mounts: Option<Vec<Mount>> = mounts.map(|mounts| mounts.into_iter().map(plain).collect());
    let text = serde_json::to_vec(&(&body.image, &body.entrypoint, mounts)).unwrap_or_default();
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The plan with its own label.
pub fn labelled(mut body: ContainerCreateBody, digest: String) -> ContainerCreateBody {
    body.labels.get_or_insert_default().insert(PLAN_LABEL.into(), digest);
    body
}

/// Whether something with these labels belongs to a codespace that there is.
pub fn is_known(labels: &HashMap<String, String>, is_known: &Known<'_>) -> bool {
    let name = labels.get(NAME_LABEL).and_then(|label| label.parse().ok());
    name.is_some_and(|name| is_known(&name))
}

/// Whether a container was made and never started.
pub fn never_ran(state: Option<&ContainerState>) -> bool {
    let started = state.and_then(|state| state.started_at.as_deref());
    started.is_none_or(|at| at.starts_with("0001-"))
}

/// Why a container ended, where there is something to say.
pub fn why_ended(state: &ContainerState, memory: Option<u64>) -> Option<String> {
    if state.running.unwrap_or_default() {
        return None;
    }
    let bound = memory.map_or_else(String::new, |bytes| format!(" ({} MiB are allowed)", bytes >> 20));
    if state.oom_killed.unwrap_or_default() {
        return Some(format!(
            "it ran out of memory{bound} and was ended: run less at once, or ask the operator for more"
        ));
    }
    let error = state.error.as_deref().filter(|error| !error.is_empty());
    error.map(|error| format!("its container could not run: {error}"))
}

/// At most 63 characters, as a host name has.
pub fn hostname(name: &CodespaceName) -> String {
    name.as_str().chars().take(63).collect()
}

#[cfg(test)]
mod tests;
