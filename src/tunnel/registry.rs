//! Which link is a codespace's own at this moment.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use dashmap::{DashMap, mapref::entry::Entry};
use foldhash::fast::RandomState as Quick;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{AgentCredentials, link::Link};
use crate::{domain::CodespaceName, protocol::tunnel::CLOSE_SUPERSEDED};

/// The links, one at most for each codespace.
#[derive(Default)]
pub struct Registry {
    credentials: OnceLock<Arc<dyn AgentCredentials>>,
    links: DashMap<CodespaceName, Arc<Link>, Quick>,
    numbers: AtomicU64,
    /// The tasks of all links, so that nothing of an agent outlives the gateway's drain.
    pub tasks: TaskTracker,
    pub going: CancellationToken,
}

impl Registry {
    pub fn trust(&self, credentials: Arc<dyn AgentCredentials>) {
        if self.credentials.set(credentials).is_err() {
            tracing::error!("agents' credentials were set twice; the first stay");
        }
    }

    pub fn credentials(&self) -> Option<&Arc<dyn AgentCredentials>> {
        self.credentials.get()
    }

    pub fn find(&self, codespace: &CodespaceName) -> Option<Arc<Link>> {
        self.links.get(codespace).map(|link| Arc::clone(&link))
    }

    /// A number for a new link; later links have higher ones.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes a link its codespace's own and closes the one before; false if that one is of a newer generation (AGT-6).
    pub fn install(&self, link: &Arc<Link>) -> bool {
        let before = match self.links.entry(link.codespace.clone()) {
            Entry::Occupied(entry) if entry.get().generation > link.generation => return false,
            Entry::Occupied(mut entry) => Some(entry.insert(Arc::clone(link))),
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(link));
                None
            }
        };
        if let Some(before) = before {
            before.close(CLOSE_SUPERSEDED);
        }
        true
    }

    /// Forgets a link whose connection is over, unless another took its place; nothing new is begun on its streams (AGT-6).
    pub fn remove(&self, link: &Link) {
        link.end_tenure();
        self.links.remove_if(&link.codespace, |_, there| there.number == link.number);
    }

    pub async fn shutdown(&self) {
        self.going.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
