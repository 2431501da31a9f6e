//! Share links of codespaces: made, used, revoked. Their secrets are told once and kept as hashes.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;

use super::{BadChange, Codespace, CodespaceError, Codespaces, Inner, Shares, Snapshot, task::Order};
use crate::{
    audit::Actor,
    auth::hash_secret,
    domain::{CodespaceName, Phase, Port, ShareEnd, ShareId, ShareTerms},
    store::{ShareRecord, StoreError},
};

/// Most links of one codespace, those that are over among them.
const MAX_SHARES: usize = 200;
/// Most uses that a link may be limited to.
pub(super) const MAX_USES: u64 = 1_000_000;
/// Longest name of a link.
const MAX_NAME: usize = 80;

/// What a share link is to be.
#[derive(Clone, Debug)]
pub struct NewShare {
    pub name: String,
    pub terms: ShareTerms,
    /// An argon2id string in PHC form.
    pub password: Option<String>,
    pub max_uses: Option<u64>,
}

/// A share link that was just made, with its secret.
#[derive(Debug)]
pub struct MadeShare {
    pub record: Arc<ShareRecord>,
    pub secret: SecretString,
}

/// Why a share link cannot be made or used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ShareError {
    #[error("a link's name has at most {MAX_NAME} characters, none of them a control character")]
    Name,
    #[error("a link is used 1 to {MAX_USES} times")]
    Uses,
    #[error("the link must end in the future")]
    Deadline,
    #[error("a codespace has at most {MAX_SHARES} links that are open. Revoke some first")]
    TooMany,
    #[error("there is no such link")]
    Missing,
    #[error("{}", ended(*.0))]
    Ended(ShareEnd),
}

fn ended(end: ShareEnd) -> &'static str {
    match end {
        ShareEnd::Expired => "the link has expired",
        ShareEnd::Revoked => "the link was revoked",
        ShareEnd::UsedUp => "the link has been used as often as it may",
        ShareEnd::Closed => "the operator of this gateway allows no links that open ports (sharing.links, sharing.max_visibility)",
    }
}

impl Codespaces {
    /// Makes a share link. Its secret is in the answer and nowhere else.
    pub async fn add_share(&self, name: &CodespaceName, new: NewShare, actor: &Actor) -> Result<MadeShare, CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let record = record(name, new, &secret, &actor.name, self.inner.deps.clock.now())?;
        let record = codespace
            .order(|reply| Order::AddShare(Box::new(record), actor.clone(), reply))
            .await?;
        Ok(MadeShare {
            record,
            secret: secret.into(),
        })
    }

    /// Ends a share link at once, and what was opened by it alone.
    pub async fn revoke_share(&self, name: &CodespaceName, id: &ShareId, actor: &Actor) -> Result<(), CodespaceError> {
        let codespace = self.find(name).ok_or(CodespaceError::Missing)?;
        codespace.order(|reply| Order::RevokeShare(id.clone(), actor.clone(), reply)).await
    }
}

impl Codespace {
    /// Tells whether a share link could be made now, without making it.
    pub fn room_for_share(&self, new: &NewShare, now: OffsetDateTime) -> Result<(), CodespaceError> {
        check(new, now)?;
        room(&self.snapshot(), new.terms.port, now).map(|_| ())
    }

    /// Takes one use of a link; when it returns, that is stored. However many ask at once, no more get through than may.
    pub async fn use_share(&self, id: &ShareId, actor: &Actor) -> Result<Arc<ShareRecord>, CodespaceError> {
        self.order(|reply| Order::UseShare(id.clone(), actor.clone(), reply)).await
    }

    /// Counts a use of a link without a limit. Never waits; in a flood, not every one is counted.
    pub fn count_share(&self, id: &ShareId) {
        if let Some(desk) = self.desk() {
            drop(desk.orders.try_send(Order::CountShare(id.clone())));
        }
    }
}

impl Inner {
    pub(super) async fn stored_shares(&self) -> Result<HashMap<CodespaceName, Shares>, StoreError> {
        let mut shares: HashMap<CodespaceName, Shares> = HashMap::new();
        for share in self.deps.store.shares().await? {
            let of_codespace = shares.entry(share.codespace.clone()).or_default();
            of_codespace.insert(share.id.clone(), Arc::new(share));
        }
        Ok(shares)
    }
}

fn check(new: &NewShare, now: OffsetDateTime) -> Result<(), ShareError> {
    let name = new.name.trim();
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(ShareError::Name);
    }
    if new.max_uses.is_some_and(|uses| uses == 0 || uses > MAX_USES) {
        return Err(ShareError::Uses);
    }
    if new.terms.expires_at.is_some_and(|at| at <= now) {
        return Err(ShareError::Deadline);
    }
    Ok(())
}

fn record(codespace: &CodespaceName, new: NewShare, secret: &str, by: &str, now: OffsetDateTime) -> Result<ShareRecord, ShareError> {
    check(&new, now)?;
    Ok(ShareRecord {
        id: ShareId(uuid::Uuid::now_v7().to_string().into()),
        codespace: codespace.clone(),
        name: new.name.trim().to_owned(),
        terms: new.terms,
        // Its task knows.
        beside: None,
        secret_hash: hash_secret(secret),
        password: new.password,
        uses: 0,
        max_uses: new.max_uses,
        created_by: by.to_owned(),
        created_at: now,
        last_used_at: None,
    })
}

/// Whether a link to a port may be made; if so, the links that must go so that there is room for it.
pub(super) fn room(snapshot: &Snapshot, port: Port, now: OffsetDateTime) -> Result<Vec<ShareId>, CodespaceError> {
    if snapshot.record.phase == Phase::Deleting {
        return Err(CodespaceError::Deleting);
    }
    if !snapshot.ceiling().allows_links() {
        return Err(ShareError::Ended(ShareEnd::Closed).into());
    }
    if let Some(closure) = snapshot.closure(port) {
        return Err(BadChange::Closed(closure.reason.clone()).into());
    }
    Ok(surplus(snapshot, now)?)
}

/// Those that ended first.
fn surplus(snapshot: &Snapshot, now: OffsetDateTime) -> Result<Vec<ShareId>, ShareError> {
    let excess = (snapshot.shares.len() + 1).saturating_sub(MAX_SHARES);
    let over = snapshot.shares.values().filter(|share| share.terms.end(now).is_some());
    let going: Vec<ShareId> = over.take(excess).map(|share| share.id.clone()).collect();
    if going.len() < excess {
        return Err(ShareError::TooMany);
    }
    Ok(going)
}

impl ShareRecord {
    /// Why nobody can come by it any more, if so.
    pub fn end(&self, now: OffsetDateTime) -> Option<ShareEnd> {
        let used_up = self.max_uses.is_some_and(|most| self.uses >= most);
        self.terms.end(now).or(used_up.then_some(ShareEnd::UsedUp))
    }
}
