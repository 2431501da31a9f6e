//! The other end of the tunnel: runs inside a codespace, beside code that nobody trusts.
//!
//! Owns the control connection, port dialling and detection, terminals, the checkout and the editor's process.
//! Refuses to know: the store, sign-in, routing, runtimes. It answers the gateway and never asks for more than its own
//! codespace.

pub mod anew;
pub mod checkout;
pub mod configured;
pub mod connector;
pub mod control;
pub mod credential;
pub mod declared;
pub mod dotfiles;
pub mod editor;
pub mod environment;
pub mod exec;
pub mod extensions;
pub mod fence;
pub mod files;
pub mod folder;
pub mod git;
pub mod leases;
pub mod link;
pub mod git_credentials;
pub mod give;
pub mod hooks;
pub mod log;
pub mod memory;
pub mod netlink;
pub mod orders;
pub mod personal;
pub mod ports;
pub mod process_table;
pub mod processes;
pub mod program;
pub mod report;
pub mod serve;
pub mod streams;
pub mod subreaper;
pub mod terminals;
pub mod warning;
pub mod websocket;
pub mod work;
pub mod workshop;

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    connector::{ConnectError, Connector, GatewayError},
    control::{Control, Over, Timing},
    credential::Credential,
    environment::Environment,
    orders::OrdersError,
    ports::Ports,
    report::Reporter,
    streams::{DirectKey, DirectListener, Streams},
    workshop::{Entrance, Workshop},
};
use crate::protocol::bootstrap::Bootstrap;

/// Descriptors that are asked for; programs inside inherit the limit, so it is not the highest possible.
const DESCRIPTORS: u64 = 32_768;

/// How long the answer to a shutdown has to get out.
const LAST_ANSWER: Duration = Duration::from_millis(200);

/// Why the agent could not start.
#[derive(Debug, Error)]
pub enum AgentError {
    #[error("the agent's orders cannot be used")]
    Orders(#[from] OrdersError),
    #[error("the gateway's address cannot be used")]
    Gateway(#[from] GatewayError),
    #[error("the way to the gateway cannot be prepared")]
    Connect(#[from] ConnectError),
    #[error("the agent could not listen on its socket")]
    Listen(#[source] io::Error),
    #[error("the directories of the codespace cannot be made")]
    Room(#[source] io::Error),
    #[error(transparent)]
    Fence(#[from] fence::FenceError),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// Runs an agent until it is told to end, by a signal, by the gateway, or because a newer one took over. Everything
/// inside ends with it. Tells why the gateway ended it, if it was the gateway.
pub async fn run(bootstrap_path: PathBuf) -> Result<Option<Over>, AgentError> {
    let bootstrap = orders::read(&bootstrap_path)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    fence::wait(&bootstrap.unreachable).await?;
    raise_descriptor_limit();
    subreaper::adopt_orphans();
    Workshop::make_room(&bootstrap).map_err(AgentError::Room)?;
    let (control, workshop, direct) = assemble(&bootstrap, &bootstrap_path)?;
    // Dropped after all have ended: it would kill the editor at once.
    let git = git_credentials::bind(&bootstrap.state_dir).map_err(AgentError::Listen)?;
    let inside = serve::inside::bind(&bootstrap.state_dir).map_err(AgentError::Listen)?;
    let personal = workshop.environment.personal().clone();
    let mut prepare = pin!(workshop.prepare());
    tracing::info!(codespace = bootstrap.codespace, generation = bootstrap.generation, "the agent runs");
    let mut ended = None;
    tokio::select! {
        over = control.run() => {
            tracing::info!(?over, "the gateway ended this agent");
            ended = Some(over);
        }
        _ = terminate.recv() => tracing::info!("asked to end"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        () = workshop.ending.cancelled() => {
            tracing::info!("the gateway asked to end");
            tokio::time::sleep(LAST_ANSWER).await;
        }
        () = &mut prepare => {}
        () = workshop.ports.watch() => {}
        () = declared::watch(&bootstrap, &workshop.ports, &workshop.reporter, &workshop.log) => {}
        () = configured::watch(&bootstrap, &workshop.reporter, &workshop.log) => {}
        () = memory::watch(&bootstrap, &workshop.reporter) => {}
        () = files::watch(&bootstrap.workspace, &workshop.reporter) => {}
        () = subreaper::bury_orphans() => {}
        () = git_credentials::name_servers(&bootstrap.state_dir, workshop.environment.git_helper(), workshop.environment.personal()) => {}
        () = git_credentials::serve(git, personal) => {}
        () = serve::inside::serve(inside, workshop.leases.clone(), workshop.warning.clone()) => {}
        () = listen(direct, control.streams.clone()) => {}
    }
    processes::end_all().await;
    Ok(ended)
}

/// Takes as many descriptors as [`streams`] may need, two for each, if the machine lets us.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of descriptors stays low");
        }
    }
}

fn assemble(bootstrap: &Bootstrap, orders: &Path) -> Result<(Control, Arc<Workshop>, Option<DirectListener>), AgentError> {
    let connector = Connector::new(bootstrap.gateway.parse()?)?;
    let reporter = Reporter::new();
    let ports = Ports::new(bootstrap.mark.clone(), reporter.clone());
    let environment = Environment::of_agent(bootstrap);
    let personal = environment.personal().clone();
    let workshop = Workshop::new(bootstrap, environment, ports.clone(), reporter.clone());
    let streams = Streams::new(ports, Arc::new(Entrance(Arc::clone(&workshop))));
    let key = DirectKey::random();
    let direct = bootstrap.listen.as_deref().map(|path| DirectListener::bind(path, key.clone()));
    let direct = direct.transpose().map_err(AgentError::Listen)?;
    let direct_key = direct.is_some().then(|| key.hex());
    let control = Control {
        connector,
        credential: Credential::new(bootstrap.credential.clone(), Some(orders)),
        direct_key,
        personal,
        warning: workshop.warning.clone(),
        reporter,
        streams,
        timing: Timing::default(),
    };
    Ok((control, workshop, direct))
}

async fn listen(direct: Option<DirectListener>, streams: Streams) {
    match direct {
        Some(direct) => direct.run(streams).await,
        None => std::future::pending().await,
    }
}
