//! Ports of services that run beside the codespace: declared by its repository, at addresses that the gateway named.
//!
//! Owns where they lead and whether something answers there. Refuses to look up any name, and to ask again and again what
//! answered: a database notes each caller that says nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::devcontainer;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// The ports by their numbers.
#[derive(Debug, Default)]
pub(super) struct Besides(Mutex<BTreeMap<u16, Neighbour>>);

#[derive(Clone, Debug, PartialEq)]
struct Neighbour {
    service: String,
    address: IpAddr,
    /// When to look again; none for one that answered.
    due: Option<Instant>,
}

/// One that answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answering {
    pub port: u16,
    pub service: String,
    pub address: IpAddr,
}

impl Besides {
    /// Replaces which there are; what is known of one that stays is kept.
    pub fn set(&self, ports: devcontainer::Beside) {
        let mut known = self.0.lock();
        let before = std::mem::take(&mut *known);
        let now = Instant::now();
        let neighbour = |(port, (service, address))| {
            let same = before.get(&port).filter(|before: &&Neighbour| before.address == address);
            let due = same.map_or(Some(now), |before| before.due);
            (port, Neighbour { service, address, due })
        };
        *known = ports.into_iter().map(neighbour).collect();
    }

    /// Where a port leads.
    pub fn address(&self, port: u16) -> Option<IpAddr> {
        self.0.lock().get(&port).map(|known| known.address)
    }

    /// Whose ports there are.
    pub fn services(&self) -> Vec<(u16, String)> {
        let known = self.0.lock();
        known.iter().map(|(port, known)| (*port, known.service.clone())).collect()
    }

    pub fn answering(&self) -> Vec<Answering> {
        let known = self.0.lock();
        let answering = known.iter().filter(|(_, known)| known.due.is_none());
        let shown = |(port, known): (&u16, &Neighbour)| Answering {
            port: *port,
            service: known.service.clone(),
            address: known.address,
        };
        answering.map(shown).collect()
    }

    /// Takes what came of a call of somebody's.
    pub fn called(&self, port: u16, address: IpAddr, answered: bool) {
        self.learn(port, address, (!answered).then(Instant::now));
    }

    /// Looks at those that did not answer before; whether something changed.
    pub async fn look(&self) -> bool {
        let now = Instant::now();
        let due: Vec<SocketAddr> = {
            let known = self.0.lock();
            let due = known.iter().filter(|(_, known)| known.due.is_some_and(|due| due <= now));
            due.map(|(port, known)| (known.address, *port).into()).collect()
        };
        let before = self.answering();
        join_all(due.into_iter().map(async |at| {
            let answered = matches!(timeout(PATIENCE, TcpStream::connect(at)).await, Ok(Ok(_)));
            self.learn(at.port(), at.ip(), (!answered).then(|| Instant::now() + PAUSE));
        }))
        .await;
        self.answering() != before
    }

    fn learn(&self, port: u16, address: IpAddr, due: Option<Instant>) {
        // It may lead elsewhere by now.
        if let Some(known) = self.0.lock().get_mut(&port).filter(|known| known.address == address) {
            known.due = due;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_answers_is_asked_once() {
        let address: IpAddr = Ipv4Addr::LOCALHOST.into();
        let listener = TcpListener::bind((address, 0)).await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        // No kernel gives it to anybody.
        let closed = 1;
        let besides = Besides::default();
        let declared: devcontainer::Beside = [(port, ("db".to_owned(), address)), (closed, ("web".to_owned(), address))].into();
        besides.set(declared.clone());
        assert!(besides.answering().is_empty(), "nobody looked yet");
        assert!(besides.look().await);
        let services: Vec<_> = besides.answering().into_iter().map(|one| (one.port, one.service)).collect();
        assert_eq!(services, [(port, "db".to_owned())]);
        listener.accept().await.expect("it was asked");

        besides.set(declared);
        assert!(!besides.look().await, "one answered, the other is left alone for a while");
        besides.called(port, Ipv4Addr::new(192, 0, 2, 1).into(), false);
        assert_eq!(besides.answering().len(), 1, "what another address says is nothing");
        besides.called(port, address, false);
        assert!(besides.answering().is_empty());
        assert!(besides.look().await, "it is looked at again at once");
        listener.accept().await.expect("it was asked");
        besides.set(devcontainer::Beside::new());
        assert_eq!((besides.address(port), besides.answering().len()), (None, 0));
    }
}
