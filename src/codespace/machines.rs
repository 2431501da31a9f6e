//! Machines of people's own: registered once by a token, and a codespace from then on that nobody here starts or stops.
//!
//! Owns the tokens, each good once and for an hour, and what a machine is told when it joins. They live in memory: a
//! gateway that was started again knows none. Refuses a machine more than any agent has.

use std::collections::HashMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use time::{Duration, OffsetDateTime};

use super::{BTreeSet, BadChange, CodespaceError, Codespaces, Ports, Shares, launch, naming, request};
use crate::{
    audit::Actor,
    auth::hash_secret,
    domain::{CodespaceName, Generation, Phase, UserId, Wakers},
    protocol::bootstrap::{Bootstrap, Secret},
    runtime::external::EXTERNAL,
    store::CodespaceRecord,
};

/// How long a token is good.
const LASTING: Duration = Duration::hours(1);
/// Most tokens of one user that wait for their machine.
const MAX_WAITING: usize = 20;
/// What tokens begin with, so that people and scanners know them.
const PREFIX: &str = "ptm_";

/// The tokens that wait for their machine, by hash.
#[derive(Default)]
pub struct Registrations(Mutex<HashMap<[u8; 32], Waiting>>);

struct Waiting {
    owner: UserId,
    until: OffsetDateTime,
}

/// A token that makes one machine a codespace.
#[derive(Debug)]
pub struct Registration {
    pub token: SecretString,
    pub expires_at: OffsetDateTime,
}

/// What a machine is told when it joins; where things are on it, it knows itself.
#[derive(Debug)]
pub struct Joined {
    pub name: CodespaceName,
    pub orders: Bootstrap,
}

impl Registrations {
    /// Adds a token; false if the user has as many as may be.
    fn add(&self, hash: [u8; 32], owner: &UserId, now: OffsetDateTime) -> bool {
        let mut all = self.0.lock();
        all.retain(|_, waiting| waiting.until > now);
        if all.values().filter(|waiting| waiting.owner == *owner).count() >= MAX_WAITING {
            return false;
        }
        let (owner, until) = (owner.clone(), now + LASTING);
        all.insert(hash, Waiting { owner, until });
        true
    }

    /// Takes a token, once; whose it is.
    fn take(&self, hash: &[u8; 32], now: OffsetDateTime) -> Option<UserId> {
        let waiting = self.0.lock().remove(hash)?;
        (waiting.until > now).then_some(waiting.owner)
    }
}

impl Codespaces {
    /// Makes a token with which one machine becomes a codespace of this user.
    pub fn register_machine(&self, owner: &UserId, actor: &Actor) -> Result<Registration, CodespaceError> {
        let now = self.inner.deps.clock.now();
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        if !self.inner.registrations.add(hash_secret(&token), owner, now) {
            return Err(CodespaceError::TooManyRegistrations { limit: MAX_WAITING });
        }
        let audit = &self.inner.deps.audit;
        audit.record("machine.token-made", actor, actor.name.clone(), "");
        Ok(Registration {
            token: token.into(),
            expires_at: now + LASTING,
        })
    }

    /// Makes a machine a codespace of whoever made the token, which is used up. `from` is where it asks from.
    pub async fn join_machine(&self, token: &SecretString, display_name: &str, from: &Actor) -> Result<Joined, CodespaceError> {
        let display_name = request::text(display_name, BadChange::DisplayName)?;
        let deps = &self.inner.deps;
        let now = deps.clock.now();
        let taken = self.inner.registrations.take(&hash_secret(token.expose_secret()), now);
        let owner = taken.and_then(|id| deps.auth.user(&id)).filter(|user| !user.suspended);
        let owner = owner.ok_or(CodespaceError::BadRegistration)?;
        let _one = self.inner.creating.lock().await;
        let limit = deps.codespaces_per_user;
        if self.owned_by(&owner.id).len() >= limit {
            return Err(CodespaceError::TooMany { limit });
        }
        let credential = Secret(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let record = machine(
            owner.id.clone(),
            display_name,
            hash_secret(&credential.0),
            deps.default_idle_minutes,
            now,
        );
        let record = self.inner.add_record(record).await?;
        let orders = launch::bootstrap(deps, &record, credential).await;
        let name = record.name.clone();
        let codespace = self.inner.add_handle(record, Ports::new(), Shares::new(), BTreeSet::new());
        let by = Actor {
            name: owner.name.to_string(),
            ..from.clone()
        };
        let orders = match orders {
            Ok(orders) => orders,
            Err(why) => {
                drop(self.delete(codespace.name(), true, &by).await);
                return Err(CodespaceError::Runtime(crate::runtime::RuntimeError::Failed(why)));
            }
        };
        deps.audit.record(
            "machine.joined",
            &by,
            name.to_string(),
            codespace.snapshot().record.display_name.clone(),
        );
        Ok(Joined { name, orders })
    }
}

/// The record of a machine: it runs from the first moment on, as far as anybody here can say.
fn machine(owner: UserId, display_name: String, agent_hash: [u8; 32], idle_timeout_minutes: u16, now: OffsetDateTime) -> CodespaceRecord {
    CodespaceRecord {
        name: naming::fresh(),
        owner,
        display_name,
        repository: String::new(),
        reference: None,
        pull_request: None,
        devcontainer_path: None,
        runtime: EXTERNAL.into(),
        phase: Phase::Running,
        reason: None,
        generation: Generation::default().next(),
        agent_hash: Some(agent_hash),
        agent_next_hash: None,
        prepared: true,
        work: None,
        idle_timeout_minutes,
        woken_by: Wakers::default(),
        personal: true,
        started_at: None,
        traffic_counts: false,
        announced_at: None,
        created_at: now,
        last_used_at: now,
    }
}
