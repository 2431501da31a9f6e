//! Accounts: making them, finding them, their passwords.

use std::sync::Arc;

use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Auth, Client, SignInError,
    passwords::{self, PasswordError},
    secrets::fresh_id,
};
use crate::{
    audit::Actor,
    domain::{Credential, Identity, Role, Scope, SessionId, UserId, UserName},
    store::{StoreError, UserRecord},
};

/// An account.
#[derive(Clone, PartialEq)]
pub struct User {
    pub id: UserId,
    pub name: UserName,
    pub role: Role,
    pub email: Option<String>,
    pub suspended: bool,
    pub created_at: OffsetDateTime,
    /// The issuer whose identity made the account by coming in: it belongs to that provider.
    pub made_by: Option<String>,
    pub(super) password: Option<String>,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub name: UserName,
    pub role: Role,
    /// Without one the account signs in by link or token alone.
    pub password: Option<SecretString>,
    pub email: Option<String>,
}

/// Why an account was not made or changed; `Display` is for people.
#[derive(Debug, Error)]
pub enum UserError {
    #[error("there is an account of that name already")]
    NameTaken,
    #[error("there is no such account")]
    Missing,
    #[error("that identity belongs to another account here")]
    IdentityTaken,
    #[error("it is the only way into the account; set a password or link another identity first")]
    LastWayIn,
    #[error("the account was made by that provider and belongs to it; an administrator can suspend the account")]
    Belongs,
    #[error("the account belongs to the provider that made it, and has no other way in; whoever runs this gateway can allow that")]
    NoOwnWays,
    #[error(
        "it makes you a member of an organisation whose ceiling limits what you share; ask an administrator, who can lift the ceiling or have it taken off on the gateway's own machine"
    )]
    UnderCeiling,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("an account may have {limit} tokens at once; revoke one that is no longer needed, or ask an administrator for more")]
    TooManyTokens { limit: usize },
    #[error("this is the last administrator; make another one first")]
    LastAdmin,
    #[error("too much is going on right now; try again in a moment")]
    Busy,
    #[error("the account could not be kept")]
    Store(#[source] StoreError),
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl User {
    /// Tells whether the account can sign in with a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The identity that a credential of this account proves.
    pub(super) fn identity(&self, credential: Credential, scope: Scope) -> Identity {
        Identity {
            user: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
            credential,
            scope,
        }
    }

    pub(super) fn record(&self) -> UserRecord {
        UserRecord {
            id: self.id.clone(),
            name: self.name.clone(),
            role: self.role,
            password: self.password.clone(),
            email: self.email.clone(),
            suspended: self.suspended,
            created_at: self.created_at,
            made_by: self.made_by.clone(),
        }
    }
}

impl From<UserRecord> for User {
    fn from(record: UserRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            role: record.role,
            email: record.email,
            suspended: record.suspended,
            created_at: record.created_at,
            made_by: record.made_by,
            password: record.password,
        }
    }
}

impl From<StoreError> for UserError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::NameTaken,
            StoreError::Missing => Self::Missing,
            error => Self::Store(error),
        }
    }
}

impl From<passwords::Busy> for UserError {
    fn from(_: passwords::Busy) -> Self {
        Self::Busy
    }
}

impl Auth {
    /// Makes an account.
    pub async fn create_user(&self, new: NewUser, by: &Actor, now: OffsetDateTime) -> Result<Arc<User>, UserError> {
        self.add_user(new, false, by, now).await
    }

    /// Finds an account by its id.
    pub fn user(&self, id: &UserId) -> Option<Arc<User>> {
        self.inner.users.get(id).map(|user| user.clone())
    }

    /// Whether the account behind an identity is still what it was when the identity was proved: there, not suspended, and
    /// of that role. Whoever watches a long exchange asks it once the watching has begun.
    pub fn stands(&self, identity: &Identity) -> bool {
        matches!(identity.credential, Credential::Operator)
            || self
                .user(&identity.user)
                .is_some_and(|user| !user.suspended && user.role == identity.role)
    }

    /// Finds an account by its name.
    pub fn user_by_name(&self, name: &UserName) -> Option<Arc<User>> {
        let id = self.inner.names.get(name).map(|id| id.clone())?;
        self.user(&id)
    }

    /// All accounts, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        let mut users: Vec<_> = self.inner.users.iter().map(|user| user.clone()).collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Tells whether there is an account at all; without one the set-up link makes the first.
    pub fn any_user(&self) -> bool {
        !self.inner.users.is_empty()
    }

    /// Sets a password, and ends the user's login sessions other than `keep` (SESS-1).
    pub async fn set_password(
        &self,
        id: &UserId,
        password: SecretString,
        keep: Option<&SessionId>,
        by: &Actor,
        now: OffsetDateTime,
    ) -> Result<(), UserError> {
        let user = self.user(id).ok_or(UserError::Missing)?;
        passwords::check_new(&password, &user.name)?;
        let hash = self.inner.hasher.hash(password).await?;
        self.change_user(id, move |_, user| {
            user.password = Some(hash);
            Ok(())
        })
        .await?;
        let ended = self.end_sessions(id, keep).await;
        self.audit("user.password", by, user.name.as_str(), "", now).await;
        Ok(ended?)
    }

    /// Checks the present password of an account; counted like an attempt to sign in.
    pub async fn check_password(
        &self,
        id: &UserId,
        password: SecretString,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<(), SignInError> {
        let user = self.user(id).ok_or(SignInError::Wrong)?;
        self.try_password(user.name.as_str(), password, client, now).await.map(|_| ())
    }

    /// Suspends an account or lifts that; suspending ends its login sessions and the connections of its tokens (SESS-3).
    /// The last administrator who can sign in cannot be suspended.
    pub async fn suspend(&self, id: &UserId, suspended: bool, by: &Actor, now: OffsetDateTime) -> Result<(), UserError> {
        let user = self
            .change_user(id, move |auth, user| {
                user.suspended = suspended;
                auth.still_has_admin(user)
            })
            .await?;
        // Whoever has one of its ports open is asked again, before anything here can fail.
        self.inner.identities.ask_again();
        let mut ended = Ok(());
        if suspended {
            self.interrupt_tokens(id);
            ended = self.end_sessions(id, None).await;
        }
        let action = if suspended { "user.suspended" } else { "user.restored" };
        self.audit(action, by, user.name.as_str(), "", now).await;
        Ok(ended?)
    }

    /// Gives an account another role, and ends its login sessions and the connections of its tokens (SESS-1). The last
    /// administrator stays one.
    pub async fn set_role(&self, id: &UserId, role: Role, by: &Actor, now: OffsetDateTime) -> Result<Arc<User>, UserError> {
        let before = self.user(id).ok_or(UserError::Missing)?;
        if before.role == role {
            return Ok(before);
        }
        let user = self
            .change_user(id, move |auth, user| {
                user.role = role;
                auth.still_has_admin(user)
            })
            .await?;
        self.interrupt_tokens(id);
        let ended = self.end_sessions(id, None).await;
        self.audit("user.role", by, user.name.as_str(), role.as_str(), now).await;
        Ok(ended.map(|()| user)?)
    }

    /// Makes an account; with `first`, only while there is none.
    pub(super) async fn add_user(&self, new: NewUser, first: bool, by: &Actor, now: OffsetDateTime) -> Result<Arc<User>, UserError> {
        let password = match new.password {
            Some(password) => {
                passwords::check_new(&password, &new.name)?;
                Some(self.inner.hasher.hash(password).await?)
            }
            None => None,
        };
        let user = Arc::new(User {
            id: UserId(fresh_id()),
            name: new.name,
            role: new.role,
            email: new.email,
            suspended: false,
            created_at: now,
            made_by: None,
            password,
        });
        let kept = user.clone();
        self.change(move |auth| async move {
            if first {
                auth.inner.store.add_first_user(&kept.record()).await?;
            } else {
                auth.inner.store.add_user(&kept.record()).await?;
            }
            auth.keep_user(kept);
            Ok::<(), UserError>(())
        })
        .await?;
        self.audit("user.created", by, user.name.as_str(), user.role.as_str(), now).await;
        Ok(user)
    }

    pub(super) async fn load_users(&self) -> Result<(), StoreError> {
        for record in self.inner.store.users().await? {
            self.keep_user(Arc::new(record.into()));
        }
        Ok(())
    }

    pub(super) fn keep_user(&self, user: Arc<User>) {
        self.inner.names.insert(user.name.clone(), user.id.clone());
        self.inner.users.insert(user.id.clone(), user);
    }

    /// Refuses a change that would leave nobody who can administer.
    fn still_has_admin(&self, changed: &User) -> Result<(), UserError> {
        let administers = |user: &User| user.role == Role::Admin && !user.suspended;
        let others = self.inner.users.iter().any(|other| other.id != changed.id && administers(&other));
        let was = self.user(&changed.id).is_some_and(|user| administers(&user));
        if administers(changed) || others || !was {
            Ok(())
        } else {
            Err(UserError::LastAdmin)
        }
    }

    async fn change_user(
        &self,
        id: &UserId,
        change: impl FnOnce(&Self, &mut User) -> Result<(), UserError> + Send + 'static,
    ) -> Result<Arc<User>, UserError> {
        let id = id.clone();
        self.change(move |auth| async move {
            let mut user = (*auth.user(&id).ok_or(UserError::Missing)?).clone();
            change(&auth, &mut user)?;
            auth.inner.store.update_user(&user.record()).await?;
            let user = Arc::new(user);
            auth.keep_user(user.clone());
            Ok(user)
        })
        .await
    }
}
