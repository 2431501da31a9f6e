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
    /// Of the users of whom a provider said something: the issuer that said it, and the name. What two issuers call by one
    /// name is two organisations: anybody may found one of any name elsewhere.
    organisations: HashMap<UserId, BTreeSet<(String, Organisation)>>,
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

    /// The organisations that a user is of once an identity is taken off.
    fn organisations_without(&self, identity: &LinkedIdentity) -> BTreeSet<Organisation> {
        let others = self.of(&identity.user).into_iter();
        let others = others.filter(|other| (&other.issuer, &other.subject) != (&identity.issuer, &identity.subject));
        let said: Vec<_> = others.filter_map(|other| other.organisations.clone()).collect();
        if said.is_empty() {
            return BTreeSet::from([Organisation::of_everybody()]);
        }
        said.into_iter().flatten().collect()
    }

    /// Has what was allowed by accounts and organisations asked again.
    pub fn ask_again(&self) {
        self.changes.send_replace(());
    }

    /// Puts together what all identities of a user say of organisations, and tells who watches if that is new.
    fn derive(&self, user: &UserId) {
        let mut state = self.state.write();
        let said = state.identities.values().filter(|identity| identity.user == *user);
        let mut said = said
            .filter_map(|identity| Some((&identity.issuer, identity.organisations.as_ref()?)))
            .peekable();
        let organisations = said.peek().is_some().then(|| {
            said.flat_map(|(issuer, names)| names.iter().map(|name| (issuer.clone(), name.clone())))
                .collect::<BTreeSet<_>>()
        });
        if state.organisations.get(user) == organisations.as_ref() {
            return;
        }
        match organisations {
            Some(organisations) => state.organisations.insert(user.clone(), organisations),
            None => state.organisations.remove(user),
        };
        drop(state);
        self.changes.send_replace(());
    }
}

impl Auth {
    /// The organisations of a user as they are now: what the providers of the user's identities said last, and where no
    /// provider says anything, the one of everybody.
    pub fn organisations(&self, user: &UserId) -> BTreeSet<Organisation> {
        let state = self.inner.identities.state.read();
        match state.organisations.get(user) {
            Some(said) => said.iter().map(|(_, name)| name.clone()).collect(),
            None => BTreeSet::from([Organisation::of_everybody()]),
        }
    }

    /// Whether two users share an organisation now (SHARE-7).
    pub fn share_organisation(&self, one: &UserId, other: &UserId) -> bool {
        let state = self.inner.identities.state.read();
        match (state.organisations.get(one), state.organisations.get(other)) {
            (Some(one), Some(other)) => !one.is_disjoint(other),
            (None, None) => true,
            _ => false,
        }
    }

    /// The organisations of a user by name; none where no directory says any.
    pub fn organisations_of(&self, user: &UserId) -> Vec<String> {
        let state = self.inner.identities.state.read();
        let mut names: Vec<String> = state
            .organisations
            .get(user)
            .into_iter()
            .flatten()
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
            if !may_go(
                &auth.organisations(&user.id),
                &auth.inner.identities.organisations_without(&identity),
            ) {
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
