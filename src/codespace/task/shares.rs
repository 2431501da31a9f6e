//! Share links, as their codespace's task keeps them: stored first, then shown.

use std::sync::Arc;

use time::OffsetDateTime;

use super::Task;
use crate::{
    audit::Actor,
    codespace::{CodespaceError, PortChange, PortView, ShareError, request, shares},
    domain::ShareId,
    store::ShareRecord,
};

/// How old the count of a link without a limit may be in the store.
const COUNT_PRECISION: time::Duration = time::Duration::seconds(60);

/// For so long one event tells of all openings of a link from one address, where their number has no limit.
const AUDIT_EVERY: time::Duration = time::Duration::minutes(1);

impl Task {
    pub(super) async fn add_share(&mut self, mut share: ShareRecord, actor: &Actor) -> Result<Arc<ShareRecord>, CodespaceError> {
        let port = share.terms.port;
        let surplus = shares::room(&self.now, port, self.clock())?;
        if !self.now.ports.contains_key(&port) {
            // What is shared is listed, also before it listens.
            let settings = request::change_port(&self.now, port, PortChange::default(), self.clock())?;
            self.inner.deps.store.put_port(&settings).await?;
            self.now.ports.insert(port, Arc::new(PortView::new(settings)));
        }
        for id in surplus {
            self.inner.deps.store.remove_share(&id).await?;
            self.now.shares.remove(&id);
        }
        share.beside = self.now.beside(port).map(str::to_owned);
        self.inner.deps.store.put_share(&share).await?;
        let terms = &share.terms;
        let until = terms.expires_at.map(|at| format!(" until {at}")).unwrap_or_default();
        self.say_of(
            &share,
            "share.created",
            actor,
            &format!("{} {}{until}", terms.kind.as_str(), terms.path),
        );
        let share = Arc::new(share);
        self.now.shares.insert(share.id.clone(), Arc::clone(&share));
        self.look_after_shares();
        self.publish();
        Ok(share)
    }

    pub(super) async fn use_share(&mut self, id: &ShareId, actor: &Actor) -> Result<Arc<ShareRecord>, CodespaceError> {
        let now = self.clock();
        let mut share = ShareRecord::clone(self.now.shares.get(id).ok_or(ShareError::Missing)?);
        if let Some(end) = share.end(now) {
            return Err(ShareError::Ended(end).into());
        }
        if share.max_uses.is_none() {
            let target = format!("{}:{}", share.codespace, share.terms.port);
            // Whoever has it can press its button as often as they like: neither the store nor the log may grow with it.
            self.count_share(id).await;
            let audit = &self.inner.deps.audit;
            audit.record_once_in(AUDIT_EVERY, "share.opened", actor, target, name_of(&share));
            return Ok(Arc::new(share));
        }
        share.uses += 1;
        share.last_used_at = Some(now);
        self.inner.deps.store.put_share(&share).await?;
        self.say_of(&share, "share.opened", actor, "");
        let share = Arc::new(share);
        self.now.shares.insert(id.clone(), Arc::clone(&share));
        self.publish();
        Ok(share)
    }

    /// Counts, and stores the count now and then.
    pub(super) async fn count_share(&mut self, id: &ShareId) {
        let now = self.clock();
        let Some(share) = self.now.shares.get_mut(id) else { return };
        let stale = share.last_used_at.is_none_or(|at| now - at >= COUNT_PRECISION);
        let share = Arc::make_mut(share);
        share.uses += 1;
        // Only what is stored counts as told, or a busy link's count would never be.
        if stale {
            share.last_used_at = Some(now);
            let share = share.clone();
            if let Err(error) = self.inner.deps.store.put_share(&share).await {
                tracing::warn!(%error, "the use of a link was not stored");
            }
            self.publish();
        }
    }

    pub(super) async fn revoke_share(&mut self, id: &ShareId, actor: &Actor) -> Result<(), CodespaceError> {
        let mut share = ShareRecord::clone(self.now.shares.get(id).ok_or(ShareError::Missing)?);
        if share.terms.revoked_at.is_some() {
            return Ok(());
        }
        share.terms.revoked_at = Some(self.clock());
        self.inner.deps.store.put_share(&share).await?;
        self.say_of(&share, "share.revoked", actor, "");
        self.now.shares.insert(id.clone(), Arc::new(share));
        self.look_after_shares();
        self.publish();
        Ok(())
    }

    /// Notes when the next link ends by itself.
    pub(super) fn look_after_shares(&mut self) {
        let now = self.clock();
        let living = self.now.shares.values().filter(|share| share.terms.end(now).is_none());
        self.next_share_end = living.filter_map(|share| share.terms.expires_at).min();
    }

    fn clock(&self) -> OffsetDateTime {
        self.inner.deps.clock.now()
    }

    fn say_of(&self, share: &ShareRecord, action: &str, actor: &Actor, detail: &str) {
        let target = format!("{}:{}", share.codespace, share.terms.port);
        let detail = format!("{} {detail}", name_of(share));
        self.inner.deps.audit.record(action, actor, target, detail.trim_end());
    }
}

/// A link as the audit log names it.
fn name_of(share: &ShareRecord) -> String {
    if share.name.is_empty() {
        share.id.to_string()
    } else {
        format!("{} {:?}", share.id, share.name)
    }
}
