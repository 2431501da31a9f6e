//! A permit over time: whether what was allowed when an exchange began is allowed still (SESS-3).

use std::{net::IpAddr, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Edge, Peer};
use crate::{
    codespace::{Codespace, Counted, Question},
    domain::Credential,
};

/// Watches over a long exchange.
pub struct Lease {
    codespace: Arc<Codespace>,
    question: Question,
    /// What the permit was given to; none if it was given to anyone.
    credential: Option<Credential>,
    /// Where its client is, which the port's owner may limit.
    client: IpAddr,
    /// What it is counted by, if it is a stranger's and strangers are capped.
    counted: Option<Counted>,
    edge: Edge,
    peer: Arc<Peer>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.codespace.name())
    }
}

impl Lease {
    pub(super) fn new(
        edge: Edge,
        codespace: Arc<Codespace>,
        question: Question,
        credential: Option<Credential>,
        (client, counted): (IpAddr, Option<Counted>),
        peer: Arc<Peer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            codespace,
            question,
            credential,
            client,
            counted,
            edge,
            peer,
        })
    }

    /// The same as [`Lease::fallen`], which begins to watch a moment later: most bodies are through by then.
    async fn fallen_later(&self) {
        self.edge.inner.beat.next().await;
        self.fallen().await;
    }

    /// Waits until the permit would no longer be given.
    pub async fn fallen(&self) {
        let mut changes = self.codespace.changes();
        let mut organisations = self.edge.auth.organisation_changes();
        let ends = self.ends();
        let ended = async {
            match &ends {
                Some(ended) => ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let spent = async {
            match &self.counted {
                Some(counted) => counted.spent().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ended, spent);
        loop {
            // Asked after the watching began: what ended or changed before that fires no more.
            if !self.stands() || !self.would_be_given() {
                return;
            }
            tokio::select! {
                () = &mut ended => return,
                () = &mut spent => return,
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                changed = organisations.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    fn would_be_given(&self) -> bool {
        let snapshot = self.codespace.snapshot();
        let admitted = self.question.port().is_none_or(|port| snapshot.admits(port, self.client));
        admitted && self.question.ask(&snapshot, &self.edge.auth, self.edge.clock.now()).is_ok()
    }

    /// Whether the account behind the permit is still what it was.
    fn stands(&self) -> bool {
        self.credential.is_none() || self.question.identity().is_none_or(|identity| self.edge.auth.stands(identity))
    }

    /// Fires when the login session or the token ends that the permit was given to.
    fn ends(&self) -> Option<CancellationToken> {
        // Of a session that is gone by now it fired already: that must not leave an exchange that nothing ends.
        self.edge.auth.credential_ended(self.credential.as_ref()?)
    }

    /// Has the connection (of HTTP/2: the stream) end when the permit falls, until the guard is dropped. A body that
    /// nobody reads, because its client stalls, could not notice by itself.
    pub fn watch(self: Arc<Self>) -> DropGuard {
        let done = CancellationToken::new();
        let peer = Arc::clone(&self.peer);
        peer.leases.add(Watch {
            lease: self,
            done: done.clone(),
        });
        done.drop_guard()
    }
}

/// The leases on which an HTTP/1.1 connection or a stream of HTTP/2 depends.
#[derive(Debug, Default)]
pub struct Leases {
    arrived: Mutex<Vec<Watch>>,
    bell: Notify,
}

impl Leases {
    fn add(&self, watch: Watch) {
        self.arrived.lock().push(watch);
        self.bell.notify_one();
    }

    /// Waits until the permit of an exchange falls that is not done.
    pub(super) async fn fallen(&self) {
        // Most exchanges end before their permit needs watching.
        self.bell.notified().await;
        let mut watches = FuturesUnordered::new();
        loop {
            watches.extend(std::mem::take(&mut *self.arrived.lock()).into_iter().map(Watch::fell));
            tokio::select! {
                () = self.bell.notified() => {}
                fell = watches.next(), if !watches.is_empty() => if fell == Some(true) {
                    return;
                },
            }
        }
    }
}

/// A lease that is watched.
#[derive(Debug)]
struct Watch {
    lease: Arc<Lease>,
    done: CancellationToken,
}

impl Watch {
    /// Waits for the exchange to be done, or for its permit to fall: only then true.
    async fn fell(self) -> bool {
        tokio::select! {
            biased;
            () = self.done.cancelled() => false,
            () = self.lease.fallen_later() => true,
        }
    }
}
