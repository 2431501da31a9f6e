//! The audit log: who did what to what.
//!
//! Owns the way there: callers say an event and go on; one task writes. Refuses to know: what the events mean.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::SharedClock,
    store::{AuditEntry, AuditQuestion, AuditRecord, SharedStore, StoreError},
};

/// Events that may wait for the store; more than a busy gateway makes in seconds.
const QUEUE: usize = 4096;
/// Most events that are remembered because they are told seldom.
const MAX_SELDOM: usize = 4096;

/// Writes audit events without making the caller wait. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    events: mpsc::Sender<AuditRecord>,
    store: SharedStore,
    clock: SharedClock,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// When an event was told that is not told each time.
    seldom: Arc<Mutex<HashMap<Seldom, OffsetDateTime>>>,
}

/// Action, actor, address and target.
type Seldom = (&'static str, String, Option<String>, String, String);

/// Who did it, from where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Actor {
    /// The account's name, `operator`, `agent:NAME`, or empty for the gateway itself.
    pub name: String,
    pub address: Option<String>,
    pub request_id: Option<String>,
}

impl Actor {
    /// The gateway itself: timers, restarts.
    pub fn gateway() -> Self {
        Self::default()
    }

    /// The operator on the gateway's own machine.
    pub fn operator() -> Self {
        Self {
            name: "operator".into(),
            ..Self::default()
        }
    }
}

impl Audit {
    /// Starts the writer; must be called within a tokio runtime.
    pub fn new(store: SharedStore, clock: SharedClock) -> Self {
        let (events, queue) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        tasks.spawn(write(Arc::clone(&store), queue, closing.clone()));
        tasks.close();
        Self {
            events,
            store,
            clock,
            tasks,
            closing,
            seldom: Arc::default(),
        }
    }

    /// Appends an event. `action` is a dotted word such as `port.visibility`; `target` and `detail` hold no secrets.
    pub fn record(&self, action: &str, actor: &Actor, target: impl Into<String>, detail: impl Into<String>) {
        self.record_at(self.clock.now(), action, actor, target.into(), detail.into());
    }

    /// As [`Audit::record`], for what may happen very often: within `period` of an event, those that say the same of the
    /// same actor from the same address are not told. Gives whether this one was.
    pub fn record_once_in(
        &self,
        period: time::Duration,
        action: &'static str,
        actor: &Actor,
        target: impl Into<String>,
        detail: impl Into<String>,
    ) -> bool {
        let (now, target, detail) = (self.clock.now(), target.into(), detail.into());
        let key = (action, actor.name.clone(), actor.address.clone(), target.clone(), detail.clone());
        let told = {
            let mut seldom = self.seldom.lock();
            if seldom.len() >= MAX_SELDOM {
                seldom.clear();
            }
            let told = seldom.get(&key).is_some_and(|at| now - *at < period);
            if !told {
                seldom.insert(key, now);
            }
            told
        };
        if !told {
            self.record_at(now, action, actor, target, detail);
        }
        !told
    }

    fn record_at(&self, at: OffsetDateTime, action: &str, actor: &Actor, target: String, detail: String) {
        let event = AuditRecord {
            at,
            action: action.into(),
            actor: actor.name.clone(),
            target,
            detail,
            address: actor.address.clone(),
            request_id: actor.request_id.clone(),
        };
        if self.events.try_send(event).is_err() {
            tracing::error!(action, "audit event lost: the store is too slow or gone");
        }
    }

    /// Reads events, the newest first; those of the last moment may still be on their way.
    pub async fn read(&self, question: &AuditQuestion) -> Result<Vec<AuditEntry>, StoreError> {
        self.store.audit(question).await
    }

    /// Forgets what is older than `retention`, a day at least; to be called now and then.
    pub async fn forget(&self, retention: Duration) {
        let until = self.clock.now() - retention;
        loop {
            match self.store.forget_audit(until).await {
                Ok(0) => return,
                Ok(forgotten) => tracing::info!(forgotten, "old audit events forgotten"),
                Err(error) => {
                    tracing::error!(%error, "old audit events were not forgotten");
                    return;
                }
            }
        }
    }

    /// Waits until everything said so far is written, and takes no more, whoever still holds a clone.
    pub async fn close(self) {
        self.closing.cancel();
        self.tasks.wait().await;
    }
}

async fn write(store: SharedStore, mut queue: mpsc::Receiver<AuditRecord>, closing: CancellationToken) {
    let mut closing = std::pin::pin!(closing.cancelled_owned());
    loop {
        let event = tokio::select! {
            event = queue.recv() => event,
            () = &mut closing, if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        let Some(event) = event else { return };
        if let Err(error) = store.append_audit(&event).await {
            tracing::error!(%error, action = event.action, "audit event not written");
        }
    }
}
