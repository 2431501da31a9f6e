//! What nobody uses any more: announced, then deleted, one codespace after the other.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Codespaces, task::Order};
use crate::{
    domain::Phase,
    lifecycle::{Retention, Rules, Unused, retention},
    runtime::external::EXTERNAL,
    store::CodespaceRecord,
};

/// How often all are looked at.
const LOOK: Duration = Duration::from_secs(600);

impl Codespaces {
    /// The rules that the operator set.
    pub fn rules(&self) -> &Rules {
        &self.inner.deps.rules
    }

    /// When a codespace will be deleted because nobody uses it, if that was announced.
    pub fn deletes_at(&self, record: &CodespaceRecord) -> Option<OffsetDateTime> {
        match retention(unused(record), self.rules(), self.inner.deps.clock.now()) {
            Retention::Announced(at) => Some(at),
            _ => None,
        }
    }

    /// Looks after what nobody uses, until the gateway goes; nothing if the operator keeps all.
    pub(super) fn look_after_unused(&self) {
        if self.rules().retention.is_none() {
            return;
        }
        let (codespaces, going) = (self.clone(), self.inner.going.clone());
        self.inner.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = codespaces.retire() => {}
                    () = going.cancelled() => return,
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = going.cancelled() => return,
                }
            }
        });
    }

    /// Announces and deletes what is due. Each codespace decides by itself: it may be used meanwhile.
    pub(super) async fn retire(&self) {
        let now = self.inner.deps.clock.now();
        for codespace in self.all() {
            let due = retention(unused(&codespace.snapshot().record), self.rules(), now);
            if !matches!(due, Retention::Announce | Retention::Delete) {
                continue;
            }
            if let Err(error) = codespace.order(Order::Retire).await {
                tracing::warn!(codespace = %codespace.name(), %error, "it is unused and could not be announced or deleted");
            }
        }
    }
}

/// What the rule of retention looks at.
pub(super) fn unused(record: &CodespaceRecord) -> Unused {
    // A machine of one's own is nobody's to delete.
    let rests = record.runtime != EXTERNAL;
    Unused {
        phase: if rests { record.phase } else { Phase::Running },
        last_used_at: record.last_used_at,
        prepared: record.prepared,
        work: record.work,
        announced_at: record.announced_at,
    }
}
