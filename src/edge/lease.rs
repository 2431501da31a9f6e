//! A permit over time: whether what was allowed when an exchange began is allowed still (SESS-3).

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Peer, visit::Question};
use crate::{auth::Auth, clock::SharedClock, codespace::Codespace};

/// Watches over a long exchange.
pub struct Lease {
    codespace: Arc<Codespace>,
    question: Question,
    /// Ends with the login session or the token that the permit was given to.
    ended: Option<CancellationToken>,
    auth: Auth,
    clock: SharedClock,
    peer: Arc<Peer>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.codespace.name())
    }
}

impl Lease {
    pub(super) fn new(
        codespace: Arc<Codespace>,
        question: Question,
        ended: Option<CancellationToken>,
        auth: Auth,
        clock: SharedClock,
        peer: Arc<Peer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            codespace,
            question,
            ended,
            auth,
            clock,
            peer,
        })
    }

    /// Waits until the permit would no longer be given.
    pub async fn fallen(&self) {
        let mut changes = self.codespace.changes();
        let mut organisations = self.auth.organisation_changes();
        let ended = async {
            match &self.ended {
                Some(ended) => ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ended);
        loop {
            if self.question.ask(&self.codespace.snapshot(), &self.auth, self.clock.now()).is_err() {
                return;
            }
            tokio::select! {
                () = &mut ended => return,
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                changed = organisations.changed() => if changed.is_err() {
                    return;
                },
            }
        }
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
            () = self.lease.fallen() => true,
        }
    }
}
