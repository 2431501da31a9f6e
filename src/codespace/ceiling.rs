//! The operator's ceilings as they are at this moment, for each owner.
//!
//! Owns the change of a ceiling: stored first, then in force for every request and open connection at once. What the
//! snapshots hold is shared by all codespaces of an owner, so a change needs no task to wake (SHARE-3). Refuses to know
//! what a ceiling means: `policy` does.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use parking_lot::Mutex;
use time::OffsetDateTime;

use super::{Codespace, CodespaceEvent, Codespaces, Inner, Snapshot};
use crate::{
    audit::Actor,
    auth::Auth,
    domain::{CodespaceName, Organisation, Port, ShareId, UserId, Visibility},
    policy::{Ceiling, Ceilings},
    store::{CeilingRecord, Store, StoreError},
};

/// How far an owner may share; every clone is the same one.
#[derive(Clone, Debug)]
pub struct OwnersCeiling(Arc<AtomicU8>);

/// Something that a lower ceiling closes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closing {
    pub codespace: CodespaceName,
    pub owner: UserId,
    pub port: Port,
    pub what: Closed,
}

/// What of a port is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Closed {
    /// Its visibility falls.
    Visibility { now: Visibility, becomes: Visibility },
    /// A link opens nothing any more.
    Link { id: ShareId, name: String },
}

/// The ceilings of a gateway, and what they come to for each owner.
pub(super) struct OwnersCeilings {
    state: Mutex<State>,
    /// One change at a time: what is in force is what was stored last.
    changing: tokio::sync::Mutex<()>,
}

struct State {
    ceilings: Ceilings,
    owners: HashMap<UserId, OwnersCeiling>,
}

impl Codespaces {
    /// The ceilings as they are.
    pub fn ceilings(&self) -> Ceilings {
        self.inner.ceilings.state.lock().ceilings.clone()
    }

    /// Whether an owner might share further who is of the second organisations in place of the first.
    pub fn escapes_ceiling(&self, from: &BTreeSet<Organisation>, to: &BTreeSet<Organisation>) -> bool {
        let state = self.inner.ceilings.state.lock();
        !state.ceilings.of(to).is_within(state.ceilings.of(from))
    }

    /// What would be closed if a ceiling were set; nothing is changed.
    pub fn would_close(&self, organisation: Option<Organisation>, ceiling: Ceiling) -> Vec<Closing> {
        self.closed_by(&self.ceilings().with(organisation, ceiling))
    }

    /// Sets a ceiling, for the members of an organisation or for everybody, and tells what it closed. It survives restarts
    /// and never allows more than the configuration does; one that closes nothing is taken away.
    pub async fn set_ceiling(
        &self,
        organisation: Option<Organisation>,
        ceiling: Ceiling,
        actor: &Actor,
    ) -> Result<Vec<Closing>, StoreError> {
        let _one = self.inner.ceilings.changing.lock().await;
        let ceilings = self.ceilings().with(organisation.clone(), ceiling);
        let record = CeilingRecord {
            organisation: organisation.clone(),
            most: ceiling.most,
            links: ceiling.links,
        };
        if ceilings.set.contains_key(&organisation) {
            self.inner.deps.store.put_ceiling(&record).await?;
        } else {
            self.inner.deps.store.remove_ceiling(organisation.as_ref()).await?;
        }
        let closed = self.put_in_force(ceilings);
        let target = organisation.as_ref().map_or("", Organisation::as_str);
        self.say_ceiling(actor, target, ceiling, closed.len());
        Ok(closed)
    }

    /// Takes over what the configuration says now, and tells what that closed.
    pub async fn configure_ceiling(&self, configured: Ceiling) -> Vec<Closing> {
        let _one = self.inner.ceilings.changing.lock().await;
        let ceilings = self.ceilings();
        if ceilings.configured == configured {
            return Vec::new();
        }
        let closed = self.put_in_force(Ceilings { configured, ..ceilings });
        self.say_ceiling(&Actor::gateway(), "configuration", configured, closed.len());
        closed
    }

    fn say_ceiling(&self, actor: &Actor, target: &str, ceiling: Ceiling, closed: usize) {
        let links = if ceiling.links { "links" } else { "no links" };
        let detail = format!("{}, {links}; closed {closed}", ceiling.most);
        self.inner.deps.audit.record("ceiling.changed", actor, target, detail);
    }

    fn put_in_force(&self, ceilings: Ceilings) -> Vec<Closing> {
        let closed = self.closed_by(&ceilings);
        self.inner.ceilings.state.lock().ceilings = ceilings;
        self.inner.settle_ceilings();
        closed
    }

    fn closed_by(&self, ceilings: &Ceilings) -> Vec<Closing> {
        let (auth, now) = (&self.inner.deps.auth, self.inner.deps.clock.now());
        let mut closed = Vec::new();
        for codespace in self.all() {
            let becomes = ceilings.of(&auth.organisations(codespace.owner()));
            closed.extend(closings(&codespace.snapshot(), becomes, now));
        }
        closed.sort_by(|a, b| (&a.codespace, a.port).cmp(&(&b.codespace, b.port)));
        closed
    }
}

impl Inner {
    /// Works out every owner's ceiling anew, and has what depends on those that are different asked again.
    pub(super) fn settle_ceilings(&self) {
        let changed = self.ceilings.settle(&self.deps.auth);
        let affected: Vec<Arc<Codespace>> = self
            .spaces
            .iter()
            .filter(|codespace| changed.contains(codespace.owner()))
            .map(|codespace| Arc::clone(&codespace))
            .collect();
        for codespace in affected {
            codespace.shared.tell();
            // Nobody may be listening.
            let _ = self.events.send(CodespaceEvent::Changed(codespace));
        }
    }

    /// Keeps ceilings with what providers say of owners' organisations.
    pub(super) fn follow_organisations(self: &Arc<Self>) {
        let (inner, mut changes) = (Arc::downgrade(self), self.deps.auth.organisation_changes());
        let going = self.going.clone();
        self.keepers.spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = going.cancelled() => return,
                }
                let Some(inner) = inner.upgrade() else { return };
                inner.settle_ceilings();
            }
        });
    }
}

impl OwnersCeilings {
    pub(super) async fn load(configured: Ceiling, store: &dyn Store) -> Result<Self, StoreError> {
        let stored = store.ceilings().await?.into_iter();
        let set = stored.map(|record| {
            let CeilingRecord { organisation, most, links } = record;
            (organisation, Ceiling { most, links })
        });
        Ok(Self {
            state: Mutex::new(State {
                ceilings: Ceilings {
                    configured,
                    set: set.collect(),
                },
                owners: HashMap::new(),
            }),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The ceiling of an owner.
    pub(super) fn of(&self, owner: &UserId, auth: &Auth) -> OwnersCeiling {
        let mut state = self.state.lock();
        let State { ceilings, owners } = &mut *state;
        let made = || OwnersCeiling::new(ceilings.of(&auth.organisations(owner)));
        owners.entry(owner.clone()).or_insert_with(made).clone()
    }

    /// Works out all anew; tells whose are different.
    fn settle(&self, auth: &Auth) -> Vec<UserId> {
        let state = self.state.lock();
        let State { ceilings, owners } = &*state;
        let different = owners
            .iter()
            .filter(|(owner, ceiling)| ceiling.set(ceilings.of(&auth.organisations(owner))));
        different.map(|(owner, _)| owner.clone()).collect()
    }
}

impl OwnersCeiling {
    fn new(ceiling: Ceiling) -> Self {
        Self(Arc::new(AtomicU8::new(packed(ceiling))))
    }

    /// How far it is now.
    pub fn now(&self) -> Ceiling {
        let packed = self.0.load(Ordering::Acquire);
        Ceiling {
            most: match packed & 3 {
                2 => Visibility::Public,
                1 => Visibility::Org,
                _ => Visibility::Private,
            },
            links: packed & 4 != 0,
        }
    }

    /// Sets it; whether it was another.
    fn set(&self, ceiling: Ceiling) -> bool {
        let packed = packed(ceiling);
        self.0.swap(packed, Ordering::AcqRel) != packed
    }
}

impl Default for OwnersCeiling {
    fn default() -> Self {
        Self::new(Ceiling::default())
    }
}

impl PartialEq for OwnersCeiling {
    fn eq(&self, other: &Self) -> bool {
        self.now() == other.now()
    }
}

fn packed(ceiling: Ceiling) -> u8 {
    let most = match ceiling.most {
        Visibility::Private => 0,
        Visibility::Org => 1,
        Visibility::Public => 2,
    };
    most | u8::from(ceiling.links) << 2
}

/// What of a codespace is open now and no longer under another ceiling.
fn closings(snapshot: &Snapshot, becomes: Ceiling, now: OffsetDateTime) -> Vec<Closing> {
    let closing = |port, what| Closing {
        codespace: snapshot.record.name.clone(),
        owner: snapshot.record.owner.clone(),
        port,
        what,
    };
    let ports = snapshot.ports.keys().filter_map(|port| {
        let open = snapshot.visibility(*port, now);
        let becomes = becomes.lower(open);
        (becomes < open).then(|| closing(*port, Closed::Visibility { now: open, becomes }))
    });
    let shares = snapshot.shares.values().filter(|share| {
        let open = snapshot.allows_links(share.terms.port) && snapshot.is_for(share) && share.end(now).is_none();
        open && !becomes.allows_links()
    });
    let shares = shares.map(|share| {
        let (id, name) = (share.id.clone(), share.name.clone());
        closing(share.terms.port, Closed::Link { id, name })
    });
    ports.chain(shares).collect()
}
