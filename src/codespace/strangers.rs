//! What strangers may cost: requests and bytes a minute, of one port and from one address, if the operator says so (SHARE-5).
//!
//! A stranger is whoever comes by a public port or a link. Nothing is counted, kept or locked unless something is capped.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

use super::Codespaces;
use crate::domain::{CodespaceName, Port, subnet};

/// For how long is counted, from the first that comes.
const WINDOW: Duration = Duration::from_secs(60);
/// Most ports and addresses that are told apart; further ones share one count.
const MAX_PAYERS: usize = 100_000;
/// How often what is over is looked for, once there are so many.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Most that strangers may cost in a minute; none for any number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StrangerCaps {
    pub requests_per_port: Option<u64>,
    pub requests_per_address: Option<u64>,
    /// Of requests and answers, sockets among them.
    pub bytes_per_port: Option<u64>,
    pub bytes_per_address: Option<u64>,
}

/// Strangers had as much as they may have in this minute; `Display` is for people and says which cap it is.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{whose} had as much as it may in a minute ({key})")]
pub struct TooMuch {
    whose: &'static str,
    key: &'static str,
    /// When the next minute begins.
    pub retry_after: Duration,
}

/// What one exchange of a stranger is counted by.
#[derive(Clone, Debug)]
pub struct Counted {
    meters: [Option<Arc<Meter>>; 2],
}

/// What strangers cost now.
pub(super) struct Strangers {
    caps: StrangerCaps,
    meters: DashMap<Payer, Arc<Meter>>,
    swept_at: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Payer {
    Port(CodespaceName, Port),
    Address(IpAddr),
    /// All for whom there was no place.
    Rest,
}

struct Meter {
    requests: Cap,
    bytes: Cap,
    window: Mutex<Window>,
    spent: Notify,
}

#[derive(Clone, Copy)]
struct Cap {
    most: Option<u64>,
    whose: &'static str,
    key: &'static str,
}

struct Window {
    began: Instant,
    requests: u64,
    bytes: u64,
}

impl Codespaces {
    /// What strangers may cost.
    pub fn stranger_caps(&self) -> StrangerCaps {
        self.inner.strangers.caps
    }

    /// Counts a request of a stranger to a port; none where nothing is capped.
    pub fn count_stranger(&self, name: &CodespaceName, port: Port, address: IpAddr, now: Instant) -> Result<Option<Counted>, TooMuch> {
        self.inner.strangers.count(name, port, address, now)
    }
}

impl StrangerCaps {
    fn of_port(self) -> [Cap; 2] {
        let whose = "what strangers ask of this port";
        [
            Cap {
                most: self.requests_per_port,
                whose,
                key: "sharing.stranger_requests_per_port",
            },
            Cap {
                most: self.bytes_per_port,
                whose,
                key: "sharing.stranger_bytes_per_port",
            },
        ]
    }

    fn of_address(self) -> [Cap; 2] {
        let whose = "your address";
        [
            Cap {
                most: self.requests_per_address,
                whose,
                key: "sharing.stranger_requests_per_address",
            },
            Cap {
                most: self.bytes_per_address,
                whose,
                key: "sharing.stranger_bytes_per_address",
            },
        ]
    }
}

impl Strangers {
    pub(super) fn new(caps: StrangerCaps) -> Self {
        Self {
            caps,
            meters: DashMap::new(),
            swept_at: Mutex::default(),
        }
    }

    fn count(&self, name: &CodespaceName, port: Port, address: IpAddr, now: Instant) -> Result<Option<Counted>, TooMuch> {
        if self.caps == StrangerCaps::default() {
            return Ok(None);
        }
        // On loopback a proxy may bring everybody's: not counted.
        let of_address = (!address.to_canonical().is_loopback()).then(|| Payer::Address(subnet(address)));
        let of_port = Payer::Port(name.clone(), port);
        // The address first: what it has no right to is not taken from the port's other visitors.
        let by_address = of_address.and_then(|payer| self.meter(payer, self.caps.of_address(), now));
        if let Some(meter) = &by_address {
            meter.enter(now)?;
        }
        let by_port = self.meter(of_port, self.caps.of_port(), now);
        if let Some(meter) = &by_port {
            meter.enter(now)?;
        }
        Ok(Some(Counted {
            meters: [by_address, by_port],
        }))
    }

    /// The meter of whoever pays, unless nothing of theirs is capped.
    fn meter(&self, payer: Payer, [requests, bytes]: [Cap; 2], now: Instant) -> Option<Arc<Meter>> {
        requests.most.or(bytes.most)?;
        if let Some(meter) = self.meters.get(&payer) {
            return Some(Arc::clone(&meter));
        }
        self.make_room(now);
        let payer = if self.meters.len() < MAX_PAYERS { payer } else { Payer::Rest };
        let meter = self
            .meters
            .entry(payer)
            .or_insert_with(|| Arc::new(Meter::new(requests, bytes, now)));
        Some(Arc::clone(&meter))
    }

    /// Forgets whose minute is over, now and then, once there are many.
    fn make_room(&self, now: Instant) {
        if self.meters.len() < MAX_PAYERS {
            return;
        }
        let mut swept_at = self.swept_at.lock();
        if swept_at.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_EVERY) {
            *swept_at = Some(now);
            self.meters.retain(|_, meter| !meter.window.lock().is_over(now));
        }
    }
}

impl Counted {
    /// Counts bytes in either direction.
    pub fn bytes(&self, bytes: usize, now: Instant) {
        for meter in self.meters.iter().flatten() {
            meter.bytes(bytes as u64, now);
        }
    }

    /// Waits until more bytes have passed than may: what is under way is to be cut.
    pub async fn spent(&self) {
        let [first, second] = &self.meters;
        tokio::select! {
            () = spent(first.as_deref()) => {}
            () = spent(second.as_deref()) => {}
        }
    }
}

async fn spent(meter: Option<&Meter>) {
    let Some(meter) = meter else { return std::future::pending().await };
    loop {
        let mut told = std::pin::pin!(meter.spent.notified());
        // Before it is looked at, or what is told in between would be missed.
        told.as_mut().enable();
        if meter.window.lock().bytes_left(meter.bytes.most, Instant::now()) == Some(0) {
            return;
        }
        told.await;
    }
}

impl Meter {
    fn new(requests: Cap, bytes: Cap, now: Instant) -> Self {
        Self {
            requests,
            bytes,
            window: Mutex::new(Window {
                began: now,
                requests: 0,
                bytes: 0,
            }),
            spent: Notify::new(),
        }
    }

    fn enter(&self, now: Instant) -> Result<(), TooMuch> {
        let mut window = self.window.lock();
        window.roll(now);
        let spent = |used: u64, cap: Cap| cap.most.is_some_and(|most| used >= most);
        let over = [(window.requests, self.requests), (window.bytes, self.bytes)];
        if let Some((_, cap)) = over.into_iter().find(|(used, cap)| spent(*used, *cap)) {
            return Err(TooMuch {
                whose: cap.whose,
                key: cap.key,
                retry_after: window.left(now),
            });
        }
        window.requests += 1;
        Ok(())
    }

    fn bytes(&self, bytes: u64, now: Instant) {
        let mut window = self.window.lock();
        window.roll(now);
        let before = window.bytes;
        window.bytes = before.saturating_add(bytes);
        let reached = self.bytes.most.is_some_and(|most| before < most && window.bytes >= most);
        drop(window);
        if reached {
            self.spent.notify_waiters();
        }
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }

    fn left(&self, now: Instant) -> Duration {
        WINDOW.saturating_sub(now.saturating_duration_since(self.began))
    }

    fn roll(&mut self, now: Instant) {
        if self.is_over(now) {
            (self.began, self.requests, self.bytes) = (now, 0, 0);
        }
    }

    fn bytes_left(&self, most: Option<u64>, now: Instant) -> Option<u64> {
        let used = if self.is_over(now) { 0 } else { self.bytes };
        most.map(|most| most.saturating_sub(used))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({}, {})", self.requests.key, self.bytes.key)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const CAPS: StrangerCaps = StrangerCaps {
        requests_per_port: Some(4),
        requests_per_address: Some(2),
        bytes_per_port: Some(100),
        bytes_per_address: None,
    };

    fn name() -> CodespaceName {
        "amber-x".parse().expect("a name")
    }

    fn ask(strangers: &Strangers, from: &str, now: Instant) -> Result<Counted, &'static str> {
        let port = Port::new(3000).expect("a port");
        let counted = strangers.count(&name(), port, from.parse().expect("an address"), now);
        counted
            .map(|counted| counted.expect("something is capped"))
            .map_err(|refused| refused.key)
    }

    #[test]
    fn share_5_requests_of_strangers_are_counted_by_address_and_by_port() {
        let (strangers, now) = (Strangers::new(CAPS), Instant::now());
        let ask = |from: &str, now| ask(&strangers, from, now).map(drop);
        assert_eq!([ask("192.0.2.1", now), ask("192.0.2.1", now)], [Ok(()), Ok(())]);
        for _ in 0..9 {
            assert_eq!(ask("192.0.2.1", now), Err("sharing.stranger_requests_per_address"));
        }
        assert_eq!(ask("2001:db8::1", now), Ok(()), "what was refused took nothing from the others");
        assert_eq!(ask("127.0.0.1", now), Ok(()), "loopback is counted by port alone");
        assert_eq!(ask("2001:db8::2", now), Err("sharing.stranger_requests_per_port"));
        let later = now + WINDOW;
        assert_eq!([ask("192.0.2.1", later), ask("2001:db8::2", later)], [Ok(()), Ok(())]);
    }

    #[test]
    fn share_5_bytes_of_strangers_end_what_is_under_way() {
        let (strangers, now) = (Strangers::new(CAPS), Instant::now());
        let first = ask(&strangers, "192.0.2.1", now).expect("room");
        let mut waiting = std::pin::pin!(first.spent());
        first.bytes(99, now);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        assert!(ask(&strangers, "192.0.2.2", now).is_ok());
        first.bytes(1, now);
        assert_eq!(waiting.now_or_never(), Some(()));
        assert_eq!(ask(&strangers, "192.0.2.3", now).err(), Some("sharing.stranger_bytes_per_port"));
        assert!(ask(&strangers, "192.0.2.3", now + WINDOW).is_ok());
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_capped() {
        let strangers = Strangers::new(StrangerCaps::default());
        let (port, address) = (Port::new(3000).expect("a port"), [192, 0, 2, 1].into());
        let counted = strangers.count(&name(), port, address, Instant::now());
        assert!(matches!(counted, Ok(None)) && strangers.meters.is_empty());
    }
}
