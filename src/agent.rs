//! The other end of the tunnel: runs inside a codespace, beside code that nobody trusts.
//!
//! Owns the control connection, port dialling and detection, terminals, the checkout and the editor's process.
//! Refuses to know: the store, sign-in, routing, runtimes. It answers the gateway and never asks for more than its own
//! codespace.

pub mod checkout;
pub mod connector;
pub mod control;
pub mod editor;
pub mod environment;
pub mod exec;
pub mod git;
pub mod log;
pub mod orders;
pub mod ports;
pub mod process_table;
pub mod processes;
pub mod report;
pub mod serve;
pub mod streams;
pub mod subreaper;
pub mod terminals;
pub mod websocket;
pub mod work;
pub mod workshop;

use std::{io, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    connector::{ConnectError, Connection, Connector, GatewayError},
    control::{Control, Timing},
    orders::OrdersError,
    ports::Ports,
    report::Reporter,
    streams::{DirectKey, DirectListener, Inside, Streams},
};
use crate::protocol::{bootstrap::Bootstrap, tunnel::Refusal};

/// Descriptors that are asked for; programs inside inherit the limit, so it is not the highest possible.
const DESCRIPTORS: u64 = 32_768;

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
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// Runs an agent until it is told to end, by a signal, by the gateway, or because a newer one took over. Everything
/// inside ends with it.
pub async fn run(bootstrap_path: PathBuf) -> Result<(), AgentError> {
    let bootstrap = orders::read(&bootstrap_path)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    raise_descriptor_limit();
    subreaper::adopt_orphans();
    let (control, ports, direct) = assemble(&bootstrap)?;
    tracing::info!(codespace = bootstrap.codespace, generation = bootstrap.generation, "the agent runs");
    tokio::select! {
        over = control.run() => tracing::info!(?over, "the gateway ended this agent"),
        _ = terminate.recv() => tracing::info!("asked to end"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
        () = ports.watch() => {}
        () = subreaper::bury_orphans() => {}
        () = listen(direct, control.streams.clone()) => {}
    }
    subreaper::end_all().await;
    Ok(())
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

fn assemble(bootstrap: &Bootstrap) -> Result<(Control, Ports, Option<DirectListener>), AgentError> {
    let connector = Connector::new(bootstrap.gateway.parse()?)?;
    let reporter = Reporter::new();
    let ports = Ports::new(bootstrap.mark.clone(), reporter.clone());
    let streams = Streams::new(ports.clone(), Arc::new(Nothing));
    let key = DirectKey::random();
    let direct = bootstrap.listen.as_deref().map(|path| DirectListener::bind(path, key.clone()));
    let direct = direct.transpose().map_err(AgentError::Listen)?;
    let direct_key = direct.is_some().then(|| key.hex());
    let control = Control {
        connector,
        credential: bootstrap.credential.clone(),
        direct_key,
        reporter,
        streams,
        timing: Timing::default(),
    };
    Ok((control, ports, direct))
}

async fn listen(direct: Option<DirectListener>, streams: Streams) {
    match direct {
        Some(direct) => direct.run(streams).await,
        None => std::future::pending().await,
    }
}

/// An inside with neither editor nor API.
struct Nothing;

impl Inside for Nothing {
    fn editor(&self) -> Result<PathBuf, Refusal> {
        Err(Refusal::EditorAbsent)
    }

    fn serve(&self, connection: Connection) -> BoxFuture<'static, ()> {
        drop(connection);
        Box::pin(async {})
    }
}
