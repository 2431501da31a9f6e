//! What operators have closed to everybody but owners: everything, what an account shares, a codespace, a port (SHARE-5).
//!
//! Asked with each request, so that it holds at once, for what is open too; what owners have set opens again afterwards.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{BadChange, Codespace, CodespaceError, CodespaceEvent, Codespaces};
use crate::{
    audit::Actor,
    domain::{CodespaceName, Extent, Port, UserId},
    store::{ClosureRecord, SharedStore, StoreError},
};

/// Longest reason, in characters.
const MAX_REASON: usize = 200;

/// All that is closed; shared by every codespace's snapshots.
#[derive(Debug, Default)]
pub struct Closures {
    closed: ArcSwap<BTreeMap<Extent, Arc<ClosureRecord>>>,
    /// One change at a time, so that none is lost.
    changing: tokio::sync::Mutex<()>,
}

impl PartialEq for Closures {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Closures {
    pub(super) async fn load(store: &SharedStore) -> Result<Self, StoreError> {
        let closed = store.closures().await?;
        let closed = closed.into_iter().map(|closure| (closure.extent.clone(), Arc::new(closure)));
        Ok(Self {
            closed: ArcSwap::from_pointee(closed.collect()),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// What closes a port, the widest first. On the path of every request: one look, unless something is closed somewhere.
    pub fn over(&self, owner: &UserId, codespace: &CodespaceName, port: Port) -> Option<Arc<ClosureRecord>> {
        let closed = self.closed.load();
        if closed.is_empty() {
            return None;
        }
        let extents = extents(owner, codespace, port);
        extents.iter().find_map(|extent| closed.get(extent)).map(Arc::clone)
    }

    /// All that closes a port, the widest first.
    pub fn all_over(&self, owner: &UserId, codespace: &CodespaceName, port: Port) -> Vec<Arc<ClosureRecord>> {
        let closed = self.closed.load();
        let extents = extents(owner, codespace, port);
        extents.iter().filter_map(|extent| closed.get(extent)).map(Arc::clone).collect()
    }

    fn set(&self, change: impl FnOnce(&mut BTreeMap<Extent, Arc<ClosureRecord>>)) {
        let mut closed = BTreeMap::clone(&self.closed.load());
        change(&mut closed);
        self.closed.store(Arc::new(closed));
    }
}

/// What a port belongs to, the widest first.
fn extents(owner: &UserId, codespace: &CodespaceName, port: Port) -> [Extent; 4] {
    [
        Extent::All,
        Extent::User(owner.clone()),
        Extent::Codespace(codespace.clone()),
        Extent::Port(codespace.clone(), port),
    ]
}

impl Codespaces {
    /// Everything that is closed, the widest first.
    pub fn closures(&self) -> Vec<Arc<ClosureRecord>> {
        self.inner.closures.closed.load().values().cloned().collect()
    }

    /// Closes what is shared to everybody but its owners, at once and for open connections too, until it is opened again.
    pub async fn close(&self, extent: Extent, reason: &str, actor: &Actor) -> Result<Arc<ClosureRecord>, CodespaceError> {
        let reason = reason.trim();
        let length = reason.chars().count();
        if length == 0 || length > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(BadChange::Reason.into());
        }
        if extent.codespace().is_some_and(|name| self.find(name).is_none()) {
            return Err(CodespaceError::Missing);
        }
        let closures = &self.inner.closures;
        let _one = closures.changing.lock().await;
        let record = Arc::new(ClosureRecord {
            extent: extent.clone(),
            reason: reason.to_owned(),
            by: actor.name.clone(),
            at: self.inner.deps.clock.now(),
        });
        self.inner.deps.store.put_closure(&record).await?;
        closures.set(|closed| drop(closed.insert(extent.clone(), Arc::clone(&record))));
        self.say_closed("sharing.closed", &extent, reason, actor);
        Ok(record)
    }

    /// Opens again what was closed; false if it was not.
    pub async fn open_again(&self, extent: &Extent, actor: &Actor) -> Result<bool, CodespaceError> {
        let closures = &self.inner.closures;
        let _one = closures.changing.lock().await;
        if !closures.closed.load().contains_key(extent) {
            return Ok(false);
        }
        self.inner.deps.store.remove_closure(extent).await?;
        closures.set(|closed| drop(closed.remove(extent)));
        self.say_closed("sharing.opened", extent, "", actor);
        Ok(true)
    }

    /// Tells the audit log, and whoever watches what is concerned: permits are asked for again.
    fn say_closed(&self, action: &str, extent: &Extent, reason: &str, actor: &Actor) {
        let target = match extent {
            Extent::All => "all".to_owned(),
            Extent::User(id) => self
                .inner
                .deps
                .auth
                .user(id)
                .map_or_else(|| id.to_string(), |user| user.name.to_string()),
            Extent::Codespace(name) => name.to_string(),
            Extent::Port(name, port) => format!("{name}:{port}"),
        };
        self.inner.deps.audit.record(action, actor, target, reason);
        for codespace in self.list(|codespace| concerns(extent, codespace)) {
            codespace.shared.tell();
            // Nobody may be listening.
            drop(self.inner.events.send(CodespaceEvent::Changed(codespace)));
        }
    }
}

fn concerns(extent: &Extent, codespace: &Codespace) -> bool {
    match extent {
        Extent::All => true,
        Extent::User(id) => codespace.owner() == id,
        Extent::Codespace(name) | Extent::Port(name, _) => codespace.name() == name,
    }
}
