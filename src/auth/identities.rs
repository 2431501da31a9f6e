//! Who users are elsewhere, and the organisations that follow from it.
//!
//! An identity is an issuer and a subject, and nothing else finds a user by it: no e-mail address, no name (OIDC-1).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{Auth, Client, UserError};
use crate::{
    domain::{Organisation, UserId},
    store::{IdentityRecord, StoreError},
};

/// An identity of a user at a provider.
pub type LinkedIdentity = IdentityRecord;

/// The identities of all users, by issuer and subject; what follows from them is derived at each change.
pub(super) struct Table {
    state: RwLock<State>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    identities: HashMap<(String, String), Arc<LinkedIdentity>>,
    /// Of the users of whom a provider was asked.
    memberships: HashMap<UserId, Membership>,
}

/// What providers say of one user's organisations.
#[derive(Debug, Default, Eq, PartialEq)]
struct Membership {
    /// Those that open what is shared with them: the issuer that said it, and the name. What two issuers call by one name is
    /// two organisations: anybody may found one of any name elsewhere.
    shares: BTreeSet<(String, Organisation)>,
    /// Those whose ceilings hold: also what a provider that says nothing now named before. None if nobody ever said.
    binds: Option<BTreeSet<Organisation>>,
}

impl Membership {
    /// Puts together what the identities of one user say; none if no provider was asked.
    fn of<'a>(identities: impl Iterator<Item = &'a Arc<LinkedIdentity>>) -> Option<Self> {
        let (mut membership, mut asked) = (Self::default(), false);
        for identity in identities {
            asked |= identity.withheld || identity.organisations.is_some();
            let Some(names) = &identity.organisations else { continue };
            membership.binds.get_or_insert_default().extend(names.iter().cloned());
            if !identity.withheld {
                let named = names.iter().map(|name| (identity.issuer.clone(), name.clone()));
                membership.shares.extend(named);
            }
        }
        asked.then_some(membership)
    }

    fn binding(membership: Option<&Self>) -> BTreeSet<Organisation> {
        let said = membership.and_then(|membership| membership.binds.clone());
        said.unwrap_or_else(|| BTreeSet::from([Organisation::of_everybody()]))
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            changes: watch::Sender::new(()),
        }
    }
}

impl Table {
    fn keep(&self, identity: LinkedIdentity) {
        let user = identity.user.clone();
        let key = (identity.issuer.clone(), identity.subject.clone());
        self.state.write().identities.insert(key, Arc::new(identity));
        self.derive(&user);
    }

    fn forget(&self, identity: &LinkedIdentity) {
        let key = (identity.issuer.clone(), identity.subject.clone());
        self.state.write().identities.remove(&key);
        self.derive(&identity.user);
    }

    fn find(&self, issuer: &str, subject: &str) -> Option<Arc<LinkedIdentity>> {
        let key = (issuer.to_owned(), subject.to_owned());
        self.state.read().identities.get(&key).cloned()
    }

    fn of(&self, user: &UserId) -> Vec<Arc<LinkedIdentity>> {
        let state = self.state.read();
        let mut found: Vec<_> = state
            .identities
            .values()
            .filter(|identity| identity.user == *user)
            .cloned()
            .collect();
        found.sort_by(|a, b| (a.linked_at, &a.subject).cmp(&(b.linked_at, &b.subject)));
        found
    }

    /// The organisations whose ceilings hold for a user once an identity is taken off.
    fn binding_without(&self, identity: &LinkedIdentity) -> BTreeSet<Organisation> {
        let all = self.of(&identity.user);
        let others = all
            .iter()
            .filter(|other| (&other.issuer, &other.subject) != (&identity.issuer, &identity.subject));
        Membership::binding(Membership::of(others).as_ref())
    }

    /// Has what was allowed by accounts and organisations asked again.
    pub fn ask_again(&self) {
        self.changes.send_replace(());
    }

    /// Puts together what all identities of a user say of organisations, and tells who watches if that is new.
    fn derive(&self, user: &UserId) {
        let mut state = self.state.write();
        let membership = Membership::of(state.identities.values().filter(|identity| identity.user == *user));
        if state.memberships.get(user) == membership.as_ref() {
            return;
        }
        match membership {
            Some(membership) => state.memberships.insert(user.clone(), membership),
            None => state.memberships.remove(user),
        };
        drop(state);
        self.changes.send_replace(());
    }
}

impl Auth {
    /// The organisations whose ceilings hold for a user: what the providers of the user's identities said last, and where no
    /// provider ever said anything, the one of everybody. Who of them opens what is another question.
    pub fn organisations(&self, user: &UserId) -> BTreeSet<Organisation> {
        Membership::binding(self.inner.identities.state.read().memberships.get(user))
    }

    /// Whether two users share an organisation now (SHARE-7). A provider that was asked and said nothing makes nobody a
    /// member.
    pub fn share_organisation(&self, one: &UserId, other: &UserId) -> bool {
        let state = self.inner.identities.state.read();
        match (state.memberships.get(one), state.memberships.get(other)) {
            (Some(one), Some(other)) => !one.shares.is_disjoint(&other.shares),
            (None, None) => true,
            _ => false,
        }
    }

    /// The organisations of a user by name; none where no directory says any.
    pub fn organisations_of(&self, user: &UserId) -> Vec<String> {
        let state = self.inner.identities.state.read();
        let mut names: Vec<String> = state
            .memberships
            .get(user)
            .into_iter()
            .flat_map(|membership| &membership.shares)
            .map(|(_, organisation)| organisation.to_string())
            .collect();
        names.sort();
        names
    }

    /// Tells when anybody's organisations change, so that what was allowed by them is asked again (SESS-3).
    pub fn organisation_changes(&self) -> watch::Receiver<()> {
        self.inner.identities.changes.subscribe()
    }

    /// The identities of a user, the one linked first first.
    pub fn identities_of(&self, user: &UserId) -> Vec<Arc<LinkedIdentity>> {
        self.inner.identities.of(user)
    }

    /// Finds an identity.
    pub(super) fn identity(&self, issuer: &str, subject: &str) -> Option<Arc<LinkedIdentity>> {
        self.inner.identities.find(issuer, subject)
    }

    /// Links an identity to its user, or notes what its provider says now. [`UserError::IdentityTaken`] if it is
    /// somebody else's.
    pub async fn keep_identity(&self, identity: LinkedIdentity) -> Result<(), UserError> {
        self.change(move |auth| async move {
            auth.inner.store.put_identity(&identity).await.map_err(|error| match error {
                StoreError::Conflict => UserError::IdentityTaken,
                error => error.into(),
            })?;
            auth.inner.identities.keep(identity);
            Ok(())
        })
        .await
    }

    /// Notes an identity whose user was just made with it in the store.
    pub(super) fn note_identity(&self, identity: LinkedIdentity) {
        self.inner.identities.keep(identity);
    }

    /// Takes an identity from its user. [`UserError::LastWayIn`] if nothing else signs that user in,
    /// [`UserError::Belongs`] if it is the identity by which the account was made. An account that somebody here made is
    /// afterwards of the organisations that it was of before it was linked.
    pub async fn unlink(&self, user: &UserId, issuer: &str, subject: &str, now: OffsetDateTime) -> Result<(), UserError> {
        self.unlink_if(user, issuer, subject, |_, _| true, now).await
    }

    /// The same for a user alone: [`UserError::UnderCeiling`] if `may_go` says so of the organisations that the account is
    /// of with the identity, and without it.
    pub async fn unlink_if(
        &self,
        user: &UserId,
        issuer: &str,
        subject: &str,
        may_go: impl FnOnce(&BTreeSet<Organisation>, &BTreeSet<Organisation>) -> bool + Send + 'static,
        now: OffsetDateTime,
    ) -> Result<(), UserError> {
        let owned = self.identity(issuer, subject).filter(|identity| identity.user == *user);
        let identity = owned.ok_or(UserError::Missing)?;
        let account = self.user(user).ok_or(UserError::Missing)?;
        let detail = format!("{} {}", identity.provider, identity.shown);
        self.change(move |auth| async move {
            // Asked in here: of two at once, one is the last.
            let user = auth.user(&identity.user).ok_or(UserError::Missing)?;
            let password = user.has_password() && auth.inner.outside.passwords;
            let others = auth.identities_of(&user.id);
            let mut others = others
                .iter()
                .filter(|other| (&other.issuer, &other.subject) != (&identity.issuer, &identity.subject));
            if !password && !others.clone().any(|other| auth.inner.outside.admits(&other.issuer)) {
                return Err(UserError::LastWayIn);
            }
            // Without it nobody would say any more of which organisations the account is, nor end it.
            if user.made_by.as_ref() == Some(&identity.issuer) && !others.any(|other| other.issuer == identity.issuer) {
                return Err(UserError::Belongs);
            }
            let (from, to) = (auth.organisations(&user.id), auth.inner.identities.binding_without(&identity));
            if !may_go(&from, &to) {
                return Err(UserError::UnderCeiling);
            }
            auth.inner.store.remove_identity(&identity.issuer, &identity.subject).await?;
            auth.inner.identities.forget(&identity);
            Ok(())
        })
        .await?;
        let name = account.name.as_str();
        let by = Client::default().actor(name);
        self.audit("identity.unlinked", &by, name, &detail, now).await;
        Ok(())
    }

    pub(super) async fn load_identities(&self) -> Result<(), StoreError> {
        for record in self.inner.store.identities().await? {
            self.inner.identities.keep(record);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{
        OutsideOptions, ProviderOptions,
        fixture::{auth, auth_with, now, user},
    };

    fn options() -> OutsideOptions {
        let mut provider = ProviderOptions::named("id");
        provider.issuer = "https://id.example".into();
        OutsideOptions {
            providers: vec![provider],
            ..OutsideOptions::default()
        }
    }

    fn identity(user: &UserId, subject: &str, organisations: Option<&[&str]>) -> LinkedIdentity {
        LinkedIdentity {
            issuer: "https://id.example".into(),
            subject: subject.into(),
            user: user.clone(),
            provider: "id".into(),
            shown: subject.into(),
            organisations: organisations.map(|names| names.iter().filter_map(|name| Organisation::parse(name)).collect()),
            withheld: false,
            linked_at: now(),
            used_at: now(),
        }
    }

    #[tokio::test]
    async fn share_7_organisations_are_what_providers_said_last() {
        let (auth, store) = auth().await;
        let (ada, bob) = (user(&auth, "ada").await.id.clone(), user(&auth, "bob").await.id.clone());
        assert!(auth.share_organisation(&ada, &bob), "nobody says otherwise: everybody is of one");
        let mut changes = auth.organisation_changes();
        let says = async |identity| auth.keep_identity(identity).await.expect("kept");
        says(identity(&ada, "a", Some(&["eng", "ops"]))).await;
        assert!(changes.has_changed().expect("a change"));
        assert!(!auth.share_organisation(&ada, &bob));
        says(identity(&bob, "b", Some(&["ops"]))).await;
        assert!(auth.share_organisation(&ada, &bob));
        changes.mark_unchanged();
        says(identity(&bob, "b", Some(&["ops"]))).await;
        assert!(!changes.has_changed().expect("the same"), "nothing new was said");
        says(identity(&bob, "b", Some(&[]))).await;
        assert!(!auth.share_organisation(&ada, &bob), "a member of nothing shares nothing");
        says(identity(&bob, "b2", Some(&["eng"]))).await;
        assert!(auth.share_organisation(&ada, &bob), "another provider counts too");
        let again = auth_with(store, options(), now()).await;
        assert!(again.share_organisation(&ada, &bob));
        again.unlink(&bob, "https://id.example", "b2", now()).await.expect("unlinked");
        assert!(!again.share_organisation(&ada, &bob));
    }

    #[tokio::test]
    async fn share_3_and_7_what_a_provider_withholds_binds_still_and_opens_nothing() {
        let (auth, store) = auth().await;
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|name| user(&auth, name));
        let (ada, bob, eve) = (ada.await.id.clone(), bob.await.id.clone(), eve.await.id.clone());
        let of = |names: &[&str]| names.iter().filter_map(|name| Organisation::parse(name)).collect::<BTreeSet<_>>();
        let says = async |identity| auth.keep_identity(identity).await.expect("kept");
        let withholds = async |identity| {
            let identity = LinkedIdentity {
                withheld: true,
                ..identity
            };
            auth.keep_identity(identity).await.expect("kept");
        };
        for (who, subject) in [(&ada, "a"), (&bob, "b")] {
            says(identity(who, subject, Some(&["eng"]))).await;
        }
        let mut changes = auth.organisation_changes();
        withholds(identity(&ada, "a", Some(&["eng"]))).await;
        assert!(changes.has_changed().expect("a change"));
        changes.mark_unchanged();
        assert!(!auth.share_organisation(&ada, &bob) && auth.organisations_of(&ada).is_empty());
        assert_eq!(auth.organisations(&ada), of(&["eng"]));
        let again = auth_with(store, options(), now()).await;
        assert!(!again.share_organisation(&ada, &bob), "after a restart too");
        assert_eq!(again.organisations(&ada), of(&["eng"]));
        // Of whom nothing was ever said is under everybody's ceiling, and a colleague of nobody.
        withholds(identity(&eve, "e", None)).await;
        assert_eq!(auth.organisations(&eve), BTreeSet::from([Organisation::of_everybody()]));
        assert!(!auth.share_organisation(&eve, &bob) && !auth.share_organisation(&eve, &ada));
        says(identity(&ada, "a", Some(&[]))).await;
        assert!(auth.organisations(&ada).is_empty(), "an empty list is an answer");
    }

    #[tokio::test]
    async fn share_3_whoever_would_leave_a_ceiling_behind_keeps_the_identity() {
        let (_, store) = auth().await;
        let auth = auth_with(store, options(), now()).await;
        let ada = user(&auth, "ada").await.id.clone();
        let of = |names: &[&str]| names.iter().filter_map(|name| Organisation::parse(name)).collect::<BTreeSet<_>>();
        for (subject, names) in [("a", ["eng", "ops"]), ("b", ["eng", "art"])] {
            auth.keep_identity(identity(&ada, subject, Some(&names))).await.expect("linked");
        }
        let unlink = async |subject, expected: BTreeSet<Organisation>, may| {
            let may_go = move |from: &BTreeSet<_>, to: &BTreeSet<_>| {
                assert_eq!((from, to), (&of(&["art", "eng", "ops"]), &expected));
                may
            };
            auth.unlink_if(&ada, "https://id.example", subject, may_go, now()).await
        };
        let refused = unlink("a", of(&["art", "eng"]), false).await;
        assert!(matches!(refused, Err(UserError::UnderCeiling)), "{refused:?}");
        assert_eq!(auth.organisations(&ada), of(&["art", "eng", "ops"]));
        unlink("b", of(&["eng", "ops"]), true).await.expect("unlinked");
        assert_eq!(auth.organisations(&ada), of(&["eng", "ops"]));
    }

    #[tokio::test]
    async fn share_7_one_name_at_two_issuers_is_two_organisations() {
        let (auth, _) = auth().await;
        let (ada, eve) = (user(&auth, "ada").await.id.clone(), user(&auth, "eve").await.id.clone());
        auth.keep_identity(identity(&ada, "a", Some(&["eng"]))).await.expect("kept");
        let founded_elsewhere = LinkedIdentity {
            issuer: "https://github.example".into(),
            ..identity(&eve, "e", Some(&["eng"]))
        };
        auth.keep_identity(founded_elsewhere).await.expect("kept");
        assert!(
            !auth.share_organisation(&ada, &eve),
            "anybody may found an organisation of any name elsewhere"
        );
        auth.keep_identity(identity(&eve, "e2", Some(&["eng"]))).await.expect("kept");
        assert!(auth.share_organisation(&ada, &eve));
    }

    #[tokio::test]
    async fn oidc_1_an_identity_is_one_users_and_the_last_way_in_stays() {
        let (without, store) = auth().await;
        let (ada, bob) = (user(&without, "ada").await.id.clone(), user(&without, "bob").await.id.clone());
        let auth = auth_with(store, options(), now()).await;
        auth.keep_identity(identity(&ada, "a", None)).await.expect("linked");
        let taken = auth.keep_identity(identity(&bob, "a", None)).await;
        assert!(matches!(taken, Err(UserError::IdentityTaken)), "{taken:?}");
        let unlink = async |user, subject| auth.unlink(user, "https://id.example", subject, now()).await;
        assert!(matches!(unlink(&bob, "a").await, Err(UserError::Missing)), "another's");
        assert!(matches!(unlink(&ada, "a").await, Err(UserError::LastWayIn)));
        auth.keep_identity(identity(&ada, "a2", None)).await.expect("linked");
        let both = tokio::join!(unlink(&ada, "a"), unlink(&ada, "a2"));
        assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
        assert_eq!(auth.identities_of(&ada).len(), 1);
        let unconfigured = LinkedIdentity {
            issuer: "https://gone.example".into(),
            ..identity(&ada, "a", None)
        };
        auth.keep_identity(unconfigured).await.expect("linked");
        let subject = auth
            .identities_of(&ada)
            .iter()
            .find(|one| one.provider == "id" && one.issuer.contains("id."))
            .expect("one")
            .subject
            .clone();
        let refused = unlink(&ada, &subject).await;
        assert!(
            matches!(refused, Err(UserError::LastWayIn)),
            "a provider that is gone lets nobody in"
        );
    }
}
