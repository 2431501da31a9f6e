//! Containers of a Docker Engine, or of Podman, which speaks the same API.
//!
//! Owns one container, one volume and one network for each codespace, all labelled with the gateway that made them, the
//! services of Compose files beside it, the image that is built of the repository's Dockerfile, and how the agent gets in:
//! the program and the way to the gateway are mounted read-only, its orders are written as a file.
//! Refuses: privileged containers, the engine's socket inside, published ports. Ports are reached through the agent alone.

mod allowed;
mod archive;
mod bases;
mod bounds;
mod build;
mod checkout;
mod compose;
mod configure;
mod context;
mod enclosure;
mod engine;
mod features;
mod fence;
mod group;
mod ignore;
mod image;
mod instance;
mod leftovers;
mod meter;
mod near;
mod network;
mod origin;
mod plan;
mod siblings;
mod volumes;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveVolumeOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::StreamExt as _;
use tokio::sync::{RwLock, Semaphore};

use self::{
    archive::{Account, Orders},
    engine::{Engine, is_missing},
    instance::Instance,
    plan::Made,
};
use super::{InstanceState, Known, LeftBehind, Making, Progress, Runtime, RuntimeError, process::editor};
use crate::{
    devcontainer::DEEPEST,
    domain::{CodespaceName, Network},
    outbound::Outbound,
    protocol::bootstrap::{Bootstrap, EditorProgram, InContainer},
};

/// How long an agent may take to end what it started, in seconds, before the engine kills it.
const STOP_SECONDS: i32 = 8;
/// Most repositories whose Compose files are read at once.
const READERS: usize = 2;
/// Longest part of an agent's log that is shown, in bytes.
const LOG_BYTES: usize = 64 * 1024;

/// What the operator sets; every field is a key of `[docker]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The Unix socket of the engine.
    pub socket: PathBuf,
    /// The image of codespaces.
    pub image: String,
    /// Whether that image is fetched before anybody waits for it.
    pub fetch_ahead: bool,
    /// Whether images are built of repositories' Dockerfiles.
    pub builds: bool,
    /// Whether services of repositories' Compose files run beside a codespace's own container.
    pub compose: bool,
    /// How long layers of builds that failed are kept: the next one begins where they end.
    pub build_cache: Duration,
    /// Most bytes of disk that one build takes, and that an image has which is pulled; none for no bound.
    pub build_disk: Option<u64>,
    /// Images that repositories may name, and registries; none for all.
    pub images: Vec<String>,
    /// The reference command line for development containers, which finds features; none where they are not installed.
    pub devcontainer_cli: Option<PathBuf>,
    /// The program that is the agent inside; none for this very program.
    pub agent: Option<PathBuf>,
    /// Processors that one codespace may use, in thousandths; none for all.
    pub milli_cpus: Option<u32>,
    /// Memory that one codespace may use, in bytes, swap included; none for all.
    pub memory: Option<u64>,
    /// Size of a container's own layer in bytes, where the engine's storage can bound it; none for no bound.
    pub disk: Option<u64>,
    /// Most processes and threads of one codespace.
    pub processes: u32,
    /// From where each codespace gets a network of sixteen addresses.
    pub networks: Network,
    /// Whether codespaces run on a kernel without nftables, where programs that name an interface get past the fence.
    pub fence_without_filter: bool,
    /// Addresses that codespaces cannot reach, besides clouds' metadata and this machine's side of their network.
    pub unreachable: Vec<Network>,
    /// Name servers of containers; none for the engine's own choice.
    pub name_servers: Vec<IpAddr>,
    /// Where the data directory is for the engine, when the gateway runs in a container itself.
    pub data_for_engine: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: "/var/run/docker.sock".into(),
            image: "mcr.microsoft.com/devcontainers/base:debian".into(),
            fetch_ahead: true,
            builds: false,
            compose: true,
            build_cache: Duration::from_secs(24 * 3600),
            build_disk: Some(32 << 30),
            images: Vec::new(),
            devcontainer_cli: None,
            agent: None,
            milli_cpus: None,
            memory: None,
            disk: None,
            processes: 8_192,
            networks: Network::v4(Ipv4Addr::new(10, 213, 0, 0), 16),
            fence_without_filter: false,
            unreachable: Vec::new(),
            name_servers: Vec::new(),
            data_for_engine: None,
        }
    }
}

impl Options {
    /// Whether codespaces cannot reach an address.
    pub fn is_fenced(&self, address: IpAddr) -> bool {
        fence::is_fenced(self, address)
    }
}

/// Codespaces as containers.
#[derive(Clone, Debug)]
pub struct DockerRuntime {
    options: Arc<Options>,
    data: PathBuf,
    /// Looked up once: this program's file may be replaced while it runs.
    program: PathBuf,
    engine: Arc<Engine>,
    /// Read by builds while they run.
    building: Arc<RwLock<()>>,
    /// Room for those whose Compose files are being read.
    reading: Arc<Semaphore>,
    /// How the gateway reaches the world, by which features are fetched.
    outbound: Outbound,
}

impl DockerRuntime {
    /// Talks to the engine when there is something to say; `data` is the gateway's data directory.
    pub fn new(options: Options, data: PathBuf, outbound: Outbound) -> Self {
        let data = std::fs::canonicalize(&data).unwrap_or(data);
        let own = || std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        Self {
            program: options.agent.clone().unwrap_or_else(own),
            engine: Arc::new(Engine::new(options.socket.clone())),
            options: Arc::new(options),
            data,
            building: Arc::default(),
            reading: Arc::new(Semaphore::new(READERS)),
            outbound,
        }
    }

    async fn instance(&self) -> Result<Instance, RuntimeError> {
        Instance::of(self.data.clone()).await
    }

    /// Makes the container as it is planned; one that was made to another plan is made anew, its volume stays.
    async fn make_container(&self, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
        let found = self.engine.container(&instance.resource(name)).await?;
        let labels = found.and_then(|found| found.config?.labels).unwrap_or_default();
        let made = match Made::of(&labels) {
            Some(made) => made,
            None => self.as_operator_says().await?,
        };
        let body = self.planned(instance, name, &made)?;
        if labels.get(plan::PLAN_LABEL) == body.labels.as_ref().and_then(|labels| labels.get(plan::PLAN_LABEL)) {
            return Ok(());
        }
        self.replace_container(instance, name, &made).await
    }

    /// Makes the container anew as a repository says, or as the operator does.
    async fn replace_container(&self, instance: &Instance, name: &CodespaceName, made: &Made) -> Result<(), RuntimeError> {
        let id = instance.resource(name);
        let body = self.planned(instance, name, made)?;
        self.remove_container(&id).await?;
        // What runs beside it goes with it; volumes stay.
        self.remove_group(instance, name).await?;
        let Some(group) = &made.group else {
            return self.create_container(&id, body).await;
        };
        self.make_networks(instance, name, group).await?;
        self.create_container(&id, body).await?;
        archive::link(self.engine.api().await?, &self.engine, &id, &group.links).await
    }

    fn planned(&self, instance: &Instance, name: &CodespaceName, made: &Made) -> Result<ContainerCreateBody, RuntimeError> {
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        let body = plan::container(&self.options, instance, name, &mounts, made);
        let digest = plan::digest(&body);
        Ok(plan::labelled(body, digest))
    }

    async fn create_container(&self, id: &str, mut body: ContainerCreateBody) -> Result<(), RuntimeError> {
        let api = self.engine.api().await?;
        if self.engine.is_podman().await? {
            for volume in plan::labelled_volumes(&body) {
                api.create_volume(volume).await.map_err(|error| self.engine.trouble(&error))?;
            }
            plan::for_podman(&mut body);
        }
        let options = CreateContainerOptionsBuilder::default().name(id).build();
        let made = api.create_container(Some(options), body).await;
        made.map_err(|error| self.engine.trouble(&error))?;
        let mounted = self.engine.container(id).await?.and_then(|found| found.mounts).unwrap_or_default();
        let Some(volume) = plan::hiding(&mounted) else { return Ok(()) };
        let why = format!("its image has a volume at {volume}, which is too deep: {DEEPEST} directories are the most. Name another image");
        self.remove_container(id).await?;
        Err(RuntimeError::Failed(why))
    }

    async fn stop_container(&self, id: &str) -> Result<(), RuntimeError> {
        let options = StopContainerOptionsBuilder::default().t(STOP_SECONDS).build();
        let stopped = self.engine.api().await?.stop_container(id, Some(options)).await;
        self.engine.unless_missing(stopped)
    }

    /// Ends the codespace's own container and what a build left.
    async fn stop_own(&self, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
        self.remove_container(&checkout::holder(instance, name)).await?;
        // A build that was given up leaves its network behind.
        enclosure::close(&self.engine, instance, name).await?;
        self.stop_container(&instance.resource(name)).await
    }

    /// Starts the container that there is, with these orders.
    async fn launch(&self, instance: &Instance, name: &CodespaceName, bootstrap: Bootstrap) -> Result<(), RuntimeError> {
        let id = instance.resource(name);
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        let api = self.engine.api().await?;
        let account = archive::account(api, &self.engine, &id).await?;
        if bootstrap.prepared {
            self.give_files(instance, name, &mounts, &account).await?;
        }
        let made = self.engine.container(&id).await?.and_then(|found| Made::of(&found.config?.labels?));
        let is_group = made.is_some_and(|made| made.group.is_some());
        let unreachable = self.unreachable(&id, is_group).await?;
        let orders = Orders {
            bootstrap: self.complete(bootstrap, &account, unreachable.clone()),
            account,
        };
        archive::write(api, &self.engine, &id, &orders).await?;
        let started = api.start_container(&id, None).await;
        started.map_err(|error| self.engine.trouble(&error))?;
        // The agent waits for it, and ends without it.
        let fence = plan::fence(&self.options, instance, name, &mounts, &unreachable);
        match fence::put_up(&self.engine, fence, &format!("{id}-fence")).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain(name, error).await),
        }
    }

    /// Gives the codespace's files to the container's user, if they are another's.
    async fn give_files(
        &self,
        instance: &Instance,
        name: &CodespaceName,
        mounts: &plan::Mounts,
        account: &Account,
    ) -> Result<(), RuntimeError> {
        let id = instance.resource(name);
        let from = if self.engine.is_podman().await? {
            // What is read from there is root's, whoever owns it. Another user comes with a new container alone.
            let found = self.engine.container(&id).await?.unwrap_or_default();
            plan::never_ran(found.state.as_ref()).then(String::new)
        } else {
            let owner = archive::owner(self.engine.api().await?, &self.engine, &id, plan::WORKSPACES).await?;
            owner.filter(|owner| *owner != account.uid).map(|owner| owner.to_string())
        };
        let Some(from) = from else { return Ok(()) };
        let owners = format!("{from}:{}:{}", account.uid, account.gid);
        let body = plan::give(&self.options, instance, name, mounts, &owners);
        fence::run_once(&self.engine, body, &format!("{id}-give")).await
    }

    /// Removes the volumes and images that a codespace may have besides its own container and volume.
    async fn remove_besides(&self, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
        let api = self.engine.api().await?;
        let all = volumes::of_gateway(&self.engine, instance).await?.into_iter();
        for volume in all.filter(|volume| instance.is_of(name, &volume.labels)) {
            let options = RemoveVolumeOptionsBuilder::default().force(true).build();
            self.engine.unless_missing(api.remove_volume(&volume.name, Some(options)).await)?;
        }
        build::forget(&self.engine, instance, name, &[]).await
    }

    async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.engine.api().await?.remove_container(id, Some(options)).await;
        self.engine.unless_missing(removed)
    }

    /// Removes layers of builds that failed, the old ones or, once they take too much, all; while others are under way, the old ones.
    async fn prune(&self, instance: &Instance) {
        let alone = self.building.try_write();
        if let Err(error) = build::prune(&self.engine, instance, &self.options, alone.is_err()).await {
            tracing::warn!(%error, "layers of builds that failed stay");
        }
    }

    /// The last lines that a container printed.
    async fn log_of(&self, id: &str, lines: &str) -> Result<String, RuntimeError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(lines).build();
        let mut lines = self.engine.api().await?.logs(id, Some(options));
        let mut text = String::new();
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => text.push_str(&String::from_utf8_lossy(&line.into_bytes())),
                Err(error) if is_missing(&error) => break,
                Err(error) => return Err(self.engine.trouble(&error)),
            }
        }
        let from = text.ceil_char_boundary(text.len().saturating_sub(LOG_BYTES));
        Ok(text.split_off(from))
    }

    fn editor(&self) -> Option<EditorProgram> {
        let editors = std::fs::canonicalize(self.data.join("editors")).ok()?;
        Some(plan::editor(editor::installed(&editors)?, &editors))
    }

    /// Adds why the agent ended, if it did: its last words, which are the image's where its C library cannot run it.
    async fn explain(&self, name: &CodespaceName, error: RuntimeError) -> RuntimeError {
        if !matches!(self.state(name).await, Ok(InstanceState::Stopped)) {
            return error;
        }
        let log = self.agent_log(name).await.unwrap_or_default();
        let last: String = log
            .lines()
            .last()
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(300)
            .collect();
        let image = self.image_of(name).await.unwrap_or_else(|| self.options.image.clone());
        RuntimeError::Failed(format!(
            "the agent does not run in the image {image}: {last}. Ask the operator for another image, or for an agent that is built static"
        ))
    }

    async fn image_of(&self, name: &CodespaceName) -> Option<String> {
        let id = self.instance().await.ok()?.resource(name);
        self.engine.container(&id).await.ok()??.config?.image
    }

    /// Fills in what holds inside.
    fn complete(&self, mut bootstrap: Bootstrap, account: &Account, unreachable: Vec<String>) -> Bootstrap {
        bootstrap.gateway = format!("unix:{}/{}", plan::GATEWAY_DIRECTORY, plan::GATEWAY_SOCKET);
        bootstrap.state_dir = plan::STATE_DIRECTORY.into();
        bootstrap.workspace = plan::workspace(&bootstrap).into();
        bootstrap.home.clone_from(&account.home);
        bootstrap.listen = None;
        bootstrap.mark = None;
        bootstrap.whole_environment = true;
        bootstrap.unreachable = unreachable;
        bootstrap.editor = self.editor();
        bootstrap
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn kind(&self) -> &'static str {
        "docker"
    }

    async fn create(&self, name: &CodespaceName, progress: &Progress) -> Result<(), RuntimeError> {
        let instance = self.instance().await?;
        image::get(&self.engine, &self.options, &self.options.image, progress).await?;
        progress.tell("Making its network and volume");
        network::make(&self.engine, &self.options, &instance, name).await?;
        let volume = self.engine.api().await?.create_volume(plan::volume(&instance, name)).await;
        volume.map_err(|error| self.engine.trouble(&error))?;
        progress.tell("Making its container");
        self.make_container(&instance, name).await
    }

    async fn start(&self, name: &CodespaceName, bootstrap: Bootstrap) -> Result<(), RuntimeError> {
        if bootstrap.repository.as_ref().is_some_and(|repository| is_local(&repository.url)) {
            let why = "a directory of the gateway's machine cannot be reached from inside a container. Give the URL of a git server";
            return Err(RuntimeError::Failed(why.into()));
        }
        let instance = self.instance().await?;
        self.create(name, &Progress::silent()).await?;
        // What is beside it was started just now, and stays.
        self.stop_own(&instance, name).await?;
        let is_made = bootstrap.container.as_ref().is_some_and(|container| container.made_from.is_some());
        let launched = self.launch(&instance, name, bootstrap.clone()).await;
        let Err(RuntimeError::Failed(why)) = launched else {
            return launched;
        };
        if !is_made {
            return Err(RuntimeError::Failed(why));
        }
        // What the repository asked for does not run: its files are opened in a container that does.
        let mut bootstrap = bootstrap;
        let log = bootstrap.container.take().unwrap_or_default().log;
        bootstrap.container = Some(InContainer {
            log: format!("{log}== {why}\n"),
            ..self.recover(&instance, name, &why).await?
        });
        self.launch(&instance, name, bootstrap).await
    }

    fn makes_containers(&self) -> bool {
        true
    }

    async fn configure(
        &self,
        name: &CodespaceName,
        bootstrap: &mut Bootstrap,
        making: Making,
        progress: &Progress,
    ) -> Result<(), RuntimeError> {
        bootstrap.container = Some(Box::pin(self.make_as_configured(name, bootstrap, making, progress)).await?);
        Ok(())
    }

    async fn stop(&self, name: &CodespaceName) -> Result<(), RuntimeError> {
        let instance = self.instance().await?;
        self.stop_own(&instance, name).await?;
        self.stop_group(&instance, name).await
    }

    async fn delete(&self, name: &CodespaceName) -> Result<(), RuntimeError> {
        let instance = self.instance().await?;
        let id = instance.resource(name);
        self.stop(name).await?;
        self.remove_container(&id).await?;
        self.remove_group(&instance, name).await?;
        self.remove_besides(&instance, name).await?;
        let api = self.engine.api().await?;
        self.engine.unless_missing(api.remove_network(&id).await)?;
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        self.engine.unless_missing(api.remove_volume(&id, Some(options)).await)
    }

    async fn state(&self, name: &CodespaceName) -> Result<InstanceState, RuntimeError> {
        let id = self.instance().await?.resource(name);
        let found = self.engine.container(&id).await?;
        let running = found.map(|found| found.state.and_then(|state| state.running).unwrap_or_default());
        Ok(match running {
            Some(true) => InstanceState::Running,
            Some(false) => InstanceState::Stopped,
            None => InstanceState::Absent,
        })
    }

    fn direct_address(&self, _: &CodespaceName) -> Option<PathBuf> {
        // A socket in a directory that the container can write to could be a link to any socket of this machine.
        None
    }

    async fn agent_log(&self, name: &CodespaceName) -> Result<String, RuntimeError> {
        let id = self.instance().await?.resource(name);
        self.log_of(&id, "400").await
    }

    async fn why_ended(&self, name: &CodespaceName) -> Option<String> {
        let id = self.instance().await.ok()?.resource(name);
        let state = self.engine.container(&id).await.ok()??.state?;
        plan::why_ended(&state, self.options.memory)
    }

    async fn tidy(&self, is_known: &Known<'_>) -> Result<(), RuntimeError> {
        let instance = self.instance().await?;
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&instance.filter())
            .build();
        for container in self.engine.containers(&options).await? {
            let labels = container.labels.unwrap_or_default();
            let Some(id) = container
                .id
                .filter(|_| instance.is_maker(&labels) && !plan::is_known(&labels, is_known))
            else {
                continue;
            };
            tracing::warn!(
                codespace = labels.get(plan::NAME_LABEL),
                "a container of no codespace is removed; its volume stays"
            );
            self.remove_container(&id).await?;
        }
        build::tidy(&self.engine, &instance, is_known).await?;
        self.prune(&instance).await;
        network::tidy(&self.engine, &instance, is_known).await
    }

    async fn left_behind(&self, is_known: &Known<'_>) -> Result<Vec<LeftBehind>, RuntimeError> {
        volumes::left_behind(&self.engine, &self.options, &self.instance().await?, is_known).await
    }

    async fn fetch_ahead(&self) -> Result<(), RuntimeError> {
        let image = &self.options.image;
        if !self.options.fetch_ahead || image::is_there(&self.engine, image).await? {
            return Ok(());
        }
        tracing::info!(image, "the image of codespaces is fetched ahead");
        image::get(&self.engine, &self.options, image, &Progress::silent()).await?;
        tracing::info!(image, "the image of codespaces is there");
        Ok(())
    }
}

fn is_local(repository: &str) -> bool {
    repository.starts_with('/') || repository.starts_with("file:")
}
