//! A store in memory, for tests: it behaves as the durable one does, and forgets.

use std::collections::{BTreeMap, BTreeSet};
#[cfg(test)]
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::{
    AuditEntry, AuditQuestion, AuditRecord, BelongingKey, BelongingRecord, CeilingRecord, ClosureRecord, CodespaceRecord, IdentityRecord,
    OfferDecisionRecord, PortRecord, SessionRecord, ShareRecord, Store, StoreError, TokenRecord, UserRecord,
};
use crate::domain::{CodespaceName, Extent, Organisation, Port, SessionId, ShareId, TokenId, UserId};

/// Keeps everything until it is dropped.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: BTreeMap<UserId, UserRecord>,
    identities: BTreeMap<(String, String), IdentityRecord>,
    sessions: BTreeMap<SessionId, SessionRecord>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    codespaces: BTreeMap<CodespaceName, CodespaceRecord>,
    used_names: BTreeSet<CodespaceName>,
    ports: BTreeMap<(CodespaceName, Port), PortRecord>,
    decisions: BTreeMap<(CodespaceName, [u8; 32]), OfferDecisionRecord>,
    shares: BTreeMap<ShareId, ShareRecord>,
    belongings: BTreeMap<(UserId, BelongingKey), BelongingRecord>,
    closures: BTreeMap<Extent, ClosureRecord>,
    ceilings: BTreeMap<Option<Organisation>, CeilingRecord>,
    secrets: BTreeMap<String, Vec<u8>>,
    audit: Vec<AuditEntry>,
    last_audit_id: i64,
    #[cfg(test)]
    refused: BTreeSet<Arc<str>>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removing these login sessions and tokens fails from now on, and nothing else.
    #[cfg(test)]
    pub(crate) fn refuse_to_remove<'a>(&self, ids: impl IntoIterator<Item = &'a Arc<str>>) {
        self.state.lock().refused = ids.into_iter().cloned().collect();
    }
}

impl State {
    #[cfg(test)]
    fn check_removal(&self, id: &str) -> Result<(), StoreError> {
        let refused = self.refused.contains(id);
        if refused {
            Err(StoreError::Failed("refused".into()))
        } else {
            Ok(())
        }
    }

    fn name_is_free(&self, user: &UserRecord) -> Result<(), StoreError> {
        let taken = self.users.values().any(|other| other.name == user.name && other.id != user.id);
        if taken { Err(StoreError::Conflict) } else { Ok(()) }
    }

    fn user_exists(&self, id: &UserId) -> Result<(), StoreError> {
        self.users.contains_key(id).then_some(()).ok_or(StoreError::Missing)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        Ok(self.state.lock().users.values().cloned().collect())
    }

    async fn add_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.name_is_free(user)?;
        if state.users.contains_key(&user.id) {
            return Err(StoreError::Conflict);
        }
        state.users.insert(user.id.clone(), user.clone());
        Ok(())
    }

    async fn add_first_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if !state.users.is_empty() {
            return Err(StoreError::Conflict);
        }
        state.users.insert(user.id.clone(), user.clone());
        Ok(())
    }

    async fn update_user(&self, user: &UserRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.user_exists(&user.id)?;
        state.name_is_free(user)?;
        state.users.insert(user.id.clone(), user.clone());
        Ok(())
    }

    async fn identities(&self) -> Result<Vec<IdentityRecord>, StoreError> {
        Ok(self.state.lock().identities.values().cloned().collect())
    }

    async fn add_user_with_identity(&self, user: &UserRecord, identity: &IdentityRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.name_is_free(user)?;
        if state.users.contains_key(&user.id) || state.identities.contains_key(&identity_key(identity)) {
            return Err(StoreError::Conflict);
        }
        state.users.insert(user.id.clone(), user.clone());
        state.identities.insert(identity_key(identity), identity.clone());
        Ok(())
    }

    async fn put_identity(&self, identity: &IdentityRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.user_exists(&identity.user)?;
        let key = identity_key(identity);
        if state.identities.get(&key).is_some_and(|kept| kept.user != identity.user) {
            return Err(StoreError::Conflict);
        }
        state.identities.insert(key, identity.clone());
        Ok(())
    }

    async fn remove_identity(&self, issuer: &str, subject: &str) -> Result<(), StoreError> {
        self.state.lock().identities.remove(&(issuer.to_owned(), subject.to_owned()));
        Ok(())
    }

    async fn sessions(&self) -> Result<Vec<SessionRecord>, StoreError> {
        Ok(self.state.lock().sessions.values().cloned().collect())
    }

    async fn put_session(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.user_exists(&session.user)?;
        state.sessions.insert(session.id.clone(), session.clone());
        Ok(())
    }

    async fn remove_session(&self, id: &SessionId) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        #[cfg(test)]
        state.check_removal(&id.0)?;
        state.sessions.remove(id);
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(self.state.lock().tokens.values().cloned().collect())
    }

    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.user_exists(&token.user)?;
        if state.tokens.contains_key(&token.id) {
            return Err(StoreError::Conflict);
        }
        state.tokens.insert(token.id.clone(), token.clone());
        Ok(())
    }

    async fn token_used(&self, id: &TokenId, at: OffsetDateTime) -> Result<(), StoreError> {
        if let Some(token) = self.state.lock().tokens.get_mut(id) {
            token.last_used_at = Some(at);
        }
        Ok(())
    }

    async fn remove_token(&self, id: &TokenId) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        #[cfg(test)]
        state.check_removal(&id.0)?;
        state.tokens.remove(id);
        Ok(())
    }

    async fn codespaces(&self) -> Result<Vec<CodespaceRecord>, StoreError> {
        Ok(self.state.lock().codespaces.values().cloned().collect())
    }

    async fn add_codespace(&self, codespace: &CodespaceRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if !state.used_names.insert(codespace.name.clone()) {
            return Err(StoreError::Conflict);
        }
        state.codespaces.insert(codespace.name.clone(), codespace.clone());
        Ok(())
    }

    async fn update_codespace(&self, codespace: &CodespaceRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let kept = state.codespaces.get_mut(&codespace.name).ok_or(StoreError::Missing)?;
        kept.clone_from(codespace);
        Ok(())
    }

    async fn remove_codespace(&self, name: &CodespaceName) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.codespaces.remove(name);
        state.ports.retain(|(codespace, _), _| codespace != name);
        state.decisions.retain(|(codespace, _), _| codespace != name);
        state.shares.retain(|_, share| share.codespace != *name);
        Ok(())
    }

    async fn ports(&self) -> Result<Vec<PortRecord>, StoreError> {
        Ok(self.state.lock().ports.values().cloned().collect())
    }

    async fn put_port(&self, port: &PortRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if !state.codespaces.contains_key(&port.codespace) {
            return Err(StoreError::Missing);
        }
        state.ports.insert((port.codespace.clone(), port.port), port.clone());
        Ok(())
    }

    async fn offer_decisions(&self) -> Result<Vec<OfferDecisionRecord>, StoreError> {
        Ok(self.state.lock().decisions.values().cloned().collect())
    }

    async fn put_offer_decision(&self, decision: &OfferDecisionRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if !state.codespaces.contains_key(&decision.codespace) {
            return Err(StoreError::Missing);
        }
        let key = (decision.codespace.clone(), decision.hash);
        state.decisions.insert(key, decision.clone());
        Ok(())
    }

    async fn shares(&self) -> Result<Vec<ShareRecord>, StoreError> {
        Ok(self.state.lock().shares.values().cloned().collect())
    }

    async fn put_share(&self, share: &ShareRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if !state.codespaces.contains_key(&share.codespace) {
            return Err(StoreError::Missing);
        }
        state.shares.insert(share.id.clone(), share.clone());
        Ok(())
    }

    async fn remove_share(&self, id: &ShareId) -> Result<(), StoreError> {
        self.state.lock().shares.remove(id);
        Ok(())
    }

    async fn belongings(&self) -> Result<Vec<BelongingRecord>, StoreError> {
        Ok(self.state.lock().belongings.values().cloned().collect())
    }

    async fn put_belonging(&self, belonging: &BelongingRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.user_exists(&belonging.user)?;
        let key = (belonging.user.clone(), belonging.key.clone());
        state.belongings.insert(key, belonging.clone());
        Ok(())
    }

    async fn remove_belonging(&self, user: &UserId, key: &BelongingKey) -> Result<(), StoreError> {
        self.state.lock().belongings.remove(&(user.clone(), key.clone()));
        Ok(())
    }

    async fn closures(&self) -> Result<Vec<ClosureRecord>, StoreError> {
        Ok(self.state.lock().closures.values().cloned().collect())
    }

    async fn put_closure(&self, closure: &ClosureRecord) -> Result<(), StoreError> {
        self.state.lock().closures.insert(closure.extent.clone(), closure.clone());
        Ok(())
    }

    async fn remove_closure(&self, extent: &Extent) -> Result<(), StoreError> {
        self.state.lock().closures.remove(extent);
        Ok(())
    }

    async fn ceilings(&self) -> Result<Vec<CeilingRecord>, StoreError> {
        Ok(self.state.lock().ceilings.values().cloned().collect())
    }

    async fn put_ceiling(&self, ceiling: &CeilingRecord) -> Result<(), StoreError> {
        self.state.lock().ceilings.insert(ceiling.organisation.clone(), ceiling.clone());
        Ok(())
    }

    async fn remove_ceiling(&self, organisation: Option<&Organisation>) -> Result<(), StoreError> {
        self.state.lock().ceilings.remove(&organisation.cloned());
        Ok(())
    }

    async fn secret(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.lock().secrets.get(key).cloned())
    }

    async fn keep_secret(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut state = self.state.lock();
        Ok(state.secrets.entry(key.into()).or_insert_with(|| value.to_vec()).clone())
    }

    async fn append_audit(&self, event: &AuditRecord) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.last_audit_id += 1;
        let (id, event) = (state.last_audit_id, event.clone());
        state.audit.push(AuditEntry { id, event });
        Ok(())
    }

    async fn audit(&self, question: &AuditQuestion) -> Result<Vec<AuditEntry>, StoreError> {
        let limit = usize::try_from(question.limit).unwrap_or(usize::MAX);
        let state = self.state.lock();
        let asked_for = state.audit.iter().rev().filter(|entry| answers(entry, question));
        Ok(asked_for.take(limit).cloned().collect())
    }

    async fn forget_audit(&self, until: OffsetDateTime) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let before = state.audit.len();
        state.audit.retain(|entry| entry.event.at >= until);
        Ok((before - state.audit.len()) as u64)
    }
}

fn identity_key(identity: &IdentityRecord) -> (String, String) {
    (identity.issuer.clone(), identity.subject.clone())
}

fn answers(AuditEntry { id, event }: &AuditEntry, question: &AuditQuestion) -> bool {
    let is = |wanted: &Option<String>, holds: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(holds);
    let within = |text: &str, whole: &str, separator: char| {
        text.strip_prefix(whole)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
    };
    is(&question.user, &|name| event.actor == name || event.target == name)
        && is(&question.codespace, &|name| within(&event.target, name, ':'))
        && is(&question.action, &|action| within(&event.action, action, '.'))
        && question.since.is_none_or(|since| event.at >= since)
        && question.until.is_none_or(|until| event.at < until)
        && question.before.is_none_or(|before| *id < before)
}
