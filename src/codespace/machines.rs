//! Machines of people's own: registered once by a token, and a codespace from then on that nobody here starts or stops.
//!
//! Owns the tokens, each good once, for an hour, and no longer than what its maker was signed in by; and what a machine is
//! told when it joins, which is nothing that its owner keeps until the owner says so. Tokens live in memory: a gateway that
//! was started again knows none. Refuses a machine more than any agent has.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::{BTreeSet, BadChange, CodespaceError, Codespaces, Ports, Shares, launch, naming, request};
use crate::{
    audit::Actor,
    auth::{Auth, User, hash_secret},
    domain::{CodespaceName, Credential, Generation, Phase, UserId, Wakers},
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
    /// What its maker was signed in by.
    made_by: Credential,
    /// Fires when that ends, or is cut off because its user is suspended; the operator's never does.
    ended: Option<CancellationToken>,
    /// By which its owner names it.
    id: String,
    made_at: OffsetDateTime,
    until: OffsetDateTime,
}

/// A token that waits for its machine, without the token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WaitingRegistration {
    pub id: String,
    pub made_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// A token that makes one machine a codespace.
#[derive(Debug)]
pub struct Registration {
    pub id: String,
    pub token: SecretString,
    pub expires_at: OffsetDateTime,
}

/// What a machine is told when it joins; where things are on it, it knows itself.
#[derive(Debug)]
pub struct Joined {
    pub name: CodespaceName,
    /// Whether it is told what its owner keeps.
    pub personal: bool,
    pub orders: Bootstrap,
}

impl Registrations {
    /// Adds a token; false if the user has as many as may be.
    fn add(&self, hash: [u8; 32], waiting: Waiting, auth: &Auth, now: OffsetDateTime) -> bool {
        let mut all = self.0.lock();
        all.retain(|_, waiting| waiting.is_good(auth, now));
        if all.values().filter(|other| other.owner == waiting.owner).count() >= MAX_WAITING {
            return false;
        }
        all.insert(hash, waiting);
        true
    }

    /// Whose a token is that is good now.
    fn owner(&self, hash: &[u8; 32], auth: &Auth, now: OffsetDateTime) -> Option<Arc<User>> {
        let all = self.0.lock();
        let waiting = all.get(hash).filter(|waiting| waiting.is_good(auth, now))?;
        auth.user(&waiting.owner).filter(|user| !user.suspended)
    }

    /// Those of a user that are good, the latest first.
    fn list(&self, owner: &UserId, auth: &Auth, now: OffsetDateTime) -> Vec<WaitingRegistration> {
        let all = self.0.lock();
        let own = all.values().filter(|waiting| waiting.owner == *owner && waiting.is_good(auth, now));
        let mut listed: Vec<_> = own
            .map(|waiting| WaitingRegistration {
                id: waiting.id.clone(),
                made_at: waiting.made_at,
                expires_at: waiting.until,
            })
            .collect();
        listed.sort_by(|a, b| b.made_at.cmp(&a.made_at).then_with(|| a.id.cmp(&b.id)));
        listed
    }

    /// Forgets one of a user's; whether there was one.
    fn remove(&self, owner: &UserId, id: &str) -> bool {
        let mut all = self.0.lock();
        let before = all.len();
        all.retain(|_, waiting| waiting.owner != *owner || waiting.id != id);
        all.len() < before
    }

    fn take(&self, hash: &[u8; 32]) -> Option<Waiting> {
        self.0.lock().remove(hash)
    }

    fn put_back(&self, hash: [u8; 32], waiting: Waiting) {
        self.0.lock().insert(hash, waiting);
    }
}

impl Waiting {
    fn is_good(&self, auth: &Auth, now: OffsetDateTime) -> bool {
        let cut_off = self.ended.as_ref().is_some_and(CancellationToken::is_cancelled);
        self.until > now && !cut_off && auth.proves_still(&self.made_by, now)
    }
}

impl Codespaces {
    /// Makes a token with which one machine becomes a codespace of this user, for as long as `made_by` proves who asked.
    pub fn register_machine(&self, owner: &UserId, made_by: &Credential, actor: &Actor) -> Result<Registration, CodespaceError> {
        let (now, auth) = (self.inner.deps.clock.now(), &self.inner.deps.auth);
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let id = format!("{:016x}", rand::random::<u64>());
        let waiting = Waiting {
            owner: owner.clone(),
            made_by: made_by.clone(),
            ended: auth.credential_ended(made_by),
            id: id.clone(),
            made_at: now,
            until: now + LASTING,
        };
        if !self.inner.registrations.add(hash_secret(&token), waiting, auth, now) {
            return Err(CodespaceError::TooManyRegistrations { limit: MAX_WAITING });
        }
        let audit = &self.inner.deps.audit;
        audit.record("machine.token-made", actor, actor.name.clone(), id.clone());
        Ok(Registration {
            id,
            token: token.into(),
            expires_at: now + LASTING,
        })
    }

    /// The tokens of a user that wait for their machine.
    pub fn machine_registrations(&self, owner: &UserId) -> Vec<WaitingRegistration> {
        let deps = &self.inner.deps;
        self.inner.registrations.list(owner, &deps.auth, deps.clock.now())
    }

    /// Ends a token that waits for its machine; whether there was one.
    pub fn revoke_machine_registration(&self, owner: &UserId, id: &str, actor: &Actor) -> bool {
        let revoked = self.inner.registrations.remove(owner, id);
        if revoked {
            let audit = &self.inner.deps.audit;
            audit.record("machine.token-revoked", actor, actor.name.clone(), id.to_owned());
        }
        revoked
    }

    /// Makes a machine a codespace of whoever made the token, which is used up if that works. `from` is where it asks from.
    pub async fn join_machine(&self, token: &SecretString, display_name: &str, from: &Actor) -> Result<Joined, CodespaceError> {
        let display_name = request::text(display_name, BadChange::DisplayName)?;
        let hash = hash_secret(token.expose_secret());
        let (deps, registrations) = (&self.inner.deps, &self.inner.registrations);
        let good = || {
            registrations
                .owner(&hash, &deps.auth, deps.clock.now())
                .ok_or(CodespaceError::BadRegistration)
        };
        // Nobody without a token waits for the lock; what one is worth counts once it is held.
        good()?;
        let _one = self.inner.creating.lock().await;
        let owner = good()?;
        let limit = deps.codespaces_per_user;
        if self.owned_by(&owner.id).len() >= limit {
            return Err(CodespaceError::TooMany { limit });
        }
        // Taken before anything is awaited: a request that is given up here must not leave a token that was used.
        let taken = registrations.take(&hash).ok_or(CodespaceError::BadRegistration)?;
        let joined = self.make_machine(&owner, display_name, from).await;
        if joined.is_err() {
            registrations.put_back(hash, taken);
        }
        joined
    }

    async fn make_machine(&self, owner: &User, display_name: String, from: &Actor) -> Result<Joined, CodespaceError> {
        let deps = &self.inner.deps;
        let credential = Secret(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let record = machine(
            owner.id.clone(),
            display_name,
            hash_secret(&credential.0),
            deps.default_idle_minutes,
            deps.clock.now(),
        );
        let record = self.inner.add_record(record).await?;
        let orders = launch::bootstrap(deps, &record, credential).await;
        let (name, personal) = (record.name.clone(), record.personal);
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
        Ok(Joined { name, personal, orders })
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
        default_branch: None,
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
        // Whoever got hold of the token must not get what its owner keeps besides: that is given by the owner alone.
        personal: false,
        started_at: None,
        traffic_counts: false,
        announced_at: None,
        created_at: now,
        last_used_at: now,
    }
}
