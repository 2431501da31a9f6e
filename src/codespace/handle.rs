//! The handle of one codespace.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    CodespaceError, Inner, Snapshot,
    creation_log::CreationLog,
    snapshot::Shared,
    task::{Desk, Inbox, Order, Reply, Task},
};
use crate::{
    domain::{CodespaceName, UserId},
    lifecycle::Activity,
    tunnel::AgentEvent,
};

/// A codespace, to look at and to touch.
pub struct Codespace {
    pub(super) shared: Arc<Shared>,
    /// Whose tasks its task is one of.
    pub(super) inner: Weak<Inner>,
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
        self.shared.changes.lock().get_or_insert_default().subscribe()
    }

    /// What was said while its container was made, at the last start.
    pub fn creation_log(&self) -> String {
        self.shared.log.text()
    }

    /// Says that it was used. Never waits.
    pub fn touch(&self, kind: Activity) {
        if let Some(desk) = &mut *self.shared.desk.lock()
            && desk.touched.is_new(kind, Instant::now())
        {
            // A full queue means that it was touched a moment ago.
            let _ = desk.touches.try_send(kind);
        }
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
        let desk = self.desk().ok_or_else(gone)?;
        desk.orders.send(order(reply)).await.map_err(|_| gone())?;
        // Whoever holds the way to it keeps the task.
        drop(desk);
        answer.await.map_err(|_| gone())?
    }

    /// Where its agent's events go; none if it is gone.
    pub(crate) fn agent_events(&self) -> Option<mpsc::Sender<AgentEvent>> {
        self.desk().map(|desk| desk.agent)
    }

    /// The way to its task, which begins here if there is none.
    pub(super) fn desk(&self) -> Option<Desk> {
        let mut desk = self.shared.desk.lock();
        if desk.is_none() {
            let inner = self.inner.upgrade().filter(|inner| !inner.going.is_cancelled())?;
            if self.is_removed() {
                return None;
            }
            let (new, inbox) = Inbox::new();
            let task = Task::new(Arc::clone(&inner), Arc::clone(&self.shared));
            inner.tasks.spawn_on(task.run(inbox), &inner.control);
            *desk = Some(new);
        }
        desk.clone()
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
            log: CreationLog::default(),
            changes: Mutex::default(),
            desk: Mutex::default(),
            removed: AtomicBool::new(false),
            waking: AtomicBool::new(false),
        }
    }

    /// Tells everyone who watches that something is different.
    pub(super) fn tell(&self) {
        if let Some(changes) = &*self.changes.lock() {
            changes.send_modify(|count| *count += 1);
        }
    }

    /// Ends the task of a codespace that rests, unless somebody has something for it or may have.
    pub(super) fn clear_desk(&self, inbox: &Inbox) -> bool {
        let mut desk = self.desk.lock();
        let alone = inbox.is_done();
        if alone {
            *desk = None;
        }
        alone
    }
}
