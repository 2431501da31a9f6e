//! The handle of one codespace.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    CodespaceError, Snapshot,
    snapshot::Shared,
    task::{Order, Reply},
};
use crate::{
    domain::{CodespaceName, UserId},
    lifecycle::Activity,
    tunnel::AgentEvent,
};

/// A codespace, to look at and to touch.
pub struct Codespace {
    pub(super) shared: Arc<Shared>,
    pub(super) touches: mpsc::Sender<Activity>,
    pub(super) agent: mpsc::Sender<AgentEvent>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Codespace {
    pub fn name(&self) -> &CodespaceName {
        &self.shared.name
    }

    /// Whose it is; never changes.
    pub fn owner(&self) -> &UserId {
        &self.shared.owner
    }

    /// How it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Counts its changes; a permit for it must be checked again on every one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Says that it was used. Never waits.
    pub fn touch(&self, kind: Activity) {
        // A full queue means that it was touched a moment ago.
        let _ = self.touches.try_send(kind);
    }

    /// Waits until it is as wanted; none if it is removed meanwhile.
    pub async fn until(&self, wanted: impl Fn(&Snapshot) -> bool) -> Option<Arc<Snapshot>> {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let snapshot = self.snapshot();
            if wanted(&snapshot) {
                return Some(snapshot);
            }
            if self.is_removed() {
                return None;
            }
            changes.changed().await.ok()?;
        }
    }

    /// Whether it was deleted since this handle was taken.
    pub fn is_removed(&self) -> bool {
        self.shared.removed.load(Ordering::Acquire)
    }

    /// Orders its task to do something, and waits for the answer.
    pub(super) async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, CodespaceError> {
        let (reply, answer) = oneshot::channel();
        let gone = || {
            if self.is_removed() {
                CodespaceError::Missing
            } else {
                CodespaceError::ShuttingDown
            }
        };
        self.orders.send(order(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub(crate) fn agent_events(&self) -> mpsc::Sender<AgentEvent> {
        self.agent.clone()
    }
}

impl fmt::Debug for Codespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codespace({})", self.shared.name)
    }
}

impl Shared {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            name: snapshot.record.name.clone(),
            owner: snapshot.record.owner.clone(),
            snapshot: ArcSwap::from_pointee(snapshot),
            changes: watch::Sender::new(0),
            removed: AtomicBool::new(false),
        }
    }
}
