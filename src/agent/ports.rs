//! TCP ports inside the codespace: who listens, whose they are, and the way to them.
//!
//! Owns detection and dialling. Refuses to dial anything but loopback (SSRF-1), and anything that is not this
//! codespace's own (product.md §3); but for the declared ports of services beside it, when those are asked for, at the addresses
//! that the gateway named, and where nothing of the codespace itself listens.

mod beside;
pub mod carry;
mod listeners;
mod noise;
mod owners;
pub mod printed;
mod reach;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::{
    net::TcpStream,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::{
    beside::{Answering, Besides},
    listeners::Listener,
    owners::{Owners, Purpose},
};
use super::{process_table as table, report::Reporter};
use crate::{
    devcontainer::{self, Notices},
    domain::Port,
    protocol::tunnel::{ListeningPort, Refusal},
};

/// How often listening sockets are looked at.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// How soon after a look the next one may come, because something was announced in a terminal.
const SCAN_PAUSE: Duration = Duration::from_millis(100);
/// Longest command line that is reported in bytes.
const MAX_COMMAND: usize = 512;
/// How long a connect may take, all addresses together; the gateway gives up earlier, as it is configured (TO-1).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Ports that are never listed or dialled: Docker's API, which is the whole machine (PORT-1).
const DENIED: [u16; 2] = [2375, 2376];

/// The ports of this codespace; cheap to clone.
#[derive(Clone)]
pub struct Ports(Arc<Inner>);

struct Inner {
    reporter: Reporter,
    owners: Mutex<Owners>,
    /// What the last scan saw.
    seen: Mutex<Option<Seen>>,
    /// The editor's process; 0 for none.
    editor: AtomicU32,
    besides: Besides,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    ours: Vec<Listener>,
    editor: Option<u32>,
    besides: Vec<Answering>,
    /// Ports of services that something of the codespace itself has: whose, and what has it.
    taken: Vec<(u16, String, Option<u32>)>,
}

impl Ports {
    /// Makes a view of the ports; with a mark, only those of processes that carry it or descend from this one count.
    pub fn new(mark: Option<String>, reporter: Reporter) -> Self {
        let owners = Mutex::new(Owners::new(mark));
        Self(Arc::new(Inner {
            reporter,
            owners,
            seen: Mutex::new(None),
            editor: AtomicU32::new(0),
            besides: Besides::default(),
        }))
    }

    /// Says which process is the editor, whose helpers' ports are not shown.
    pub fn editor_is(&self, pid: Option<u32>) {
        self.0.editor.store(pid.unwrap_or(0), Ordering::Relaxed);
    }

    /// Says which ports are those of services beside the codespace.
    pub fn declare(&self, besides: devcontainer::Beside) {
        self.0.besides.set(besides);
    }

    /// Connects to a port on which this codespace itself listens.
    pub async fn dial(&self, port: Port) -> Result<TcpStream, Refusal> {
        let inner = self.0.clone();
        let addresses = spawn_blocking(move || inner.own(port.number())).await.map_err(|_| Refusal::Fault)?;
        connect_soon(&addresses.map_err(|error| refusal(&error))?, port).await
    }

    /// Connects to a declared port of a service beside it, unless something of the codespace itself has the number.
    pub async fn dial_beside(&self, port: Port) -> Result<TcpStream, Refusal> {
        let inner = self.0.clone();
        let address = spawn_blocking(move || inner.beside(port.number()))
            .await
            .map_err(|_| Refusal::Fault)?;
        let address = address.map_err(|error| refusal(&error))?.ok_or(Refusal::NothingListens)?;
        let connected = connect_soon(&[address], port).await;
        self.0.besides.called(port.number(), address, connected.is_ok());
        connected
    }

    /// Looks now and reports; gives the list with what was printed about it.
    pub async fn scan(&self) -> Vec<ListeningPort> {
        let inner = self.0.clone();
        if let Ok(Err(error)) = spawn_blocking(move || inner.scan()).await {
            tracing::warn!(%error, "listening sockets could not be read");
        }
        self.0.reporter.listening()
    }

    /// Looks again and again, and reports what changes.
    pub async fn watch(&self) {
        tokio::join!(self.watch_own(), self.watch_besides());
    }

    async fn watch_besides(&self) {
        let mut ticks = interval(SCAN_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.0.besides.look().await {
                self.scan().await;
            }
        }
    }

    async fn watch_own(&self) {
        let mut ticks = interval(SCAN_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.reporter.announced() => {}
            }
            self.scan().await;
            sleep(SCAN_PAUSE).await;
        }
    }
}

impl Inner {
    /// The addresses at which this codespace itself listens on a port.
    fn own(&self, port: u16) -> io::Result<Vec<IpAddr>> {
        if DENIED.contains(&port) {
            return Ok(Vec::new());
        }
        let listeners = listeners::list(Some(port))?;
        let mut owners = self.owners.lock();
        owners.learn(&listeners, Purpose::Dial, Instant::now());
        Ok(reach::reachable(&listeners, |listener| owners.is_ours(listener)))
    }

    /// The address of the service beside it whose port it is. Whatever listens here has the number, reached or not.
    fn beside(&self, port: u16) -> io::Result<Option<IpAddr>> {
        match self.besides.address(port).filter(|_| !DENIED.contains(&port)) {
            Some(address) => Ok(listeners::list(Some(port))?.is_empty().then_some(address)),
            None => Ok(None),
        }
    }

    fn scan(&self) -> io::Result<()> {
        // Held to the end, so that an older scan never overtakes a newer one.
        let mut seen = self.seen.lock();
        let mut listeners = listeners::list(None)?;
        listeners.sort_unstable();
        let editor = Some(self.editor.load(Ordering::Relaxed)).filter(|pid| *pid != 0);
        let mut owners = self.owners.lock();
        owners.keep(&listeners);
        owners.learn(&listeners, Purpose::Scan, Instant::now());
        let taken = self.besides.services().into_iter().filter_map(|(port, service)| {
            let holder = listeners.iter().find(|listener| listener.port == port)?;
            Some((port, service, owners.pid(holder)))
        });
        let look = Seen {
            taken: taken.collect(),
            besides: self.besides.answering(),
            ours: listeners.into_iter().filter(|listener| owners.is_ours(listener)).collect(),
            editor,
        };
        if seen.as_ref() == Some(&look) {
            return Ok(());
        }
        self.reporter.taken(told(&look.taken));
        self.reporter.ports(list(&look, &owners), Instant::now());
        *seen = Some(look);
        Ok(())
    }
}

fn list(look: &Seen, owners: &Owners) -> Vec<ListeningPort> {
    let mut ports: BTreeMap<u16, ListeningPort> = BTreeMap::new();
    for listener in &look.ours {
        if DENIED.contains(&listener.port) {
            continue;
        }
        let port = ports
            .entry(listener.port)
            .or_insert_with(|| describe(listener.port, owners.pid(listener)));
        if port.noise.is_none() && owners.is_editor_helper(listener, look.editor) {
            port.noise = Some("editor".into());
        }
        let address = listener.address.to_string();
        if !port.addresses.contains(&address) {
            port.addresses.push(address);
        }
    }
    for answering in look.besides.iter().filter(|answering| !DENIED.contains(&answering.port)) {
        // What of the codespace itself listens there has the number, shown or not.
        if !look.taken.iter().any(|(port, ..)| *port == answering.port) {
            ports.entry(answering.port).or_insert_with(|| ListeningPort {
                addresses: vec![answering.address.to_string()],
                process: Some(answering.service.clone()),
                beside: Some(answering.service.clone()),
                ..describe(answering.port, None)
            });
        }
    }
    ports.into_values().collect()
}

/// Tells whose ports are not reached, since something of the codespace itself has their numbers.
fn told(taken: &[(u16, String, Option<u32>)]) -> Notices {
    let mut notices = Notices::default();
    for (port, service, holder) in taken {
        let holder = holder.and_then(table::name).unwrap_or_else(|| "something".into());
        notices.note(
            format!("forwardPorts {service}:{port}"),
            format!(
                "{holder} listens on {port} in the codespace itself, and has the number and its URL: {service} is reached from inside \
                 alone. Have one of them listen on another port"
            ),
        );
    }
    notices
}

fn describe(port: u16, pid: Option<u32>) -> ListeningPort {
    let process = pid.and_then(table::name);
    let mut command = pid.and_then(table::command);
    let noise = noise::noise(port, process.as_deref().unwrap_or_default(), command.as_deref().unwrap_or_default());
    if let Some(command) = &mut command {
        command.truncate(command.floor_char_boundary(MAX_COMMAND));
    }
    ListeningPort {
        port,
        addresses: Vec::new(),
        pid,
        process,
        command,
        scheme: None,
        path: None,
        noise: noise.map(str::to_owned),
        beside: None,
    }
}

async fn connect_soon(addresses: &[IpAddr], port: Port) -> Result<TcpStream, Refusal> {
    let connected = timeout(CONNECT_TIMEOUT, connect(addresses, port)).await;
    connected.map_err(|_| Refusal::Fault)?
}

async fn connect(addresses: &[IpAddr], port: Port) -> Result<TcpStream, Refusal> {
    let mut refused = Refusal::NothingListens;
    for address in addresses {
        match TcpStream::connect((*address, port.number())).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => refused = refusal(&error),
        }
    }
    Err(refused)
}

fn refusal(error: &io::Error) -> Refusal {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED | Errno::ADDRNOTAVAIL | Errno::NETUNREACH | Errno::HOSTUNREACH) => Refusal::NothingListens,
        _ => {
            tracing::warn!(%error, "a port could not be dialled");
            Refusal::Fault
        }
    }
}

#[cfg(test)]
mod tests;
