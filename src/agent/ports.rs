//! TCP ports inside the codespace: who listens, whose they are, and the way to them.
//!
//! Owns detection and dialling. Refuses to dial anything but loopback (SSRF-1), and anything that is not this
//! codespace's own (product.md §3).

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
    listeners::Listener,
    owners::{Owners, Purpose},
};
use super::{process_table as table, report::Reporter};
use crate::{
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
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    ours: Vec<Listener>,
    editor: Option<u32>,
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
        }))
    }

    /// Says which process is the editor, whose helpers' ports are not shown.
    pub fn editor_is(&self, pid: Option<u32>) {
        self.0.editor.store(pid.unwrap_or(0), Ordering::Relaxed);
    }

    /// Connects to a port of this codespace.
    pub async fn dial(&self, port: Port) -> Result<TcpStream, Refusal> {
        let inner = self.0.clone();
        let addresses = spawn_blocking(move || inner.reachable(port.number()))
            .await
            .map_err(|_| Refusal::Fault)?;
        let addresses = addresses.map_err(|error| refusal(&error))?;
        timeout(CONNECT_TIMEOUT, connect(&addresses, port))
            .await
            .map_err(|_| Refusal::Fault)?
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
    fn reachable(&self, port: u16) -> io::Result<Vec<IpAddr>> {
        if DENIED.contains(&port) {
            return Ok(Vec::new());
        }
        let listeners = listeners::list(Some(port))?;
        let mut owners = self.owners.lock();
        owners.learn(&listeners, Purpose::Dial, Instant::now());
        Ok(reach::reachable(&listeners, |listener| owners.is_ours(listener)))
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
        let ours = listeners.into_iter().filter(|listener| owners.is_ours(listener)).collect();
        let look = Seen { ours, editor };
        if seen.as_ref() == Some(&look) {
            return Ok(());
        }
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
    ports.into_values().collect()
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
    }
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
        Some(Errno::CONNREFUSED | Errno::ADDRNOTAVAIL | Errno::NETUNREACH) => Refusal::NothingListens,
        _ => {
            tracing::warn!(%error, "a port could not be dialled");
            Refusal::Fault
        }
    }
}

#[cfg(test)]
mod tests;
