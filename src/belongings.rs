//! What people keep for their codespaces: secrets, credentials for git servers, and settings that follow them.
//!
//! Owns its bounds, its encryption, and what of it a codespace is told. A value goes in and comes out at an agent alone:
//! whoever asks hears names. Refuses to know: HTTP, how an agent is told, what is done with it inside.

mod profile;
mod vault;

use std::{collections::BTreeMap, sync::Arc};

use dashmap::DashMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use self::{
    profile::{BadProfile, Profile, ProfileChange},
    vault::{Vault, VaultError},
};
use crate::{
    audit::{Actor, Audit},
    clock::SharedClock,
    domain::{GitHost, RepositorySource, SecretName, UserId},
    protocol::{
        bootstrap::Secret,
        personal::{Dotfiles, GitCredential, Personal},
    },
    store::{BelongingKey, BelongingRecord, SharedStore, StoreError},
};

/// Most secrets of one user, those of single repositories counted too.
pub const MAX_SECRETS: usize = 100;
/// Longest value of a secret in bytes, as GitHub has it.
pub const MAX_SECRET_BYTES: usize = 48 * 1024;
/// Longest values of all secrets of a user together: an agent is told them in one message.
const MAX_SECRETS_BYTES: usize = 256 * 1024;
/// Most git servers of one user.
const MAX_GIT_HOSTS: usize = 50;
const MAX_USERNAME: usize = 255;
const MAX_PASSWORD: usize = 4096;
/// What encryption adds to a value.
const SEAL_BYTES: usize = vault::SEAL_BYTES;

const SECRET: &str = "secret";
const GIT: &str = "git";
const PROFILE: &str = "profile";

/// What everybody keeps. Cheap to clone.
#[derive(Clone)]
pub struct Belongings {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    vault: Vault,
    audit: Audit,
    clock: SharedClock,
    /// Sealed, as in the store.
    of: DashMap<UserId, BTreeMap<BelongingKey, BelongingRecord>>,
    /// One change at a time, so that bounds hold.
    changing: tokio::sync::Mutex<()>,
}

/// A secret as its owner may see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptSecret {
    pub name: String,
    /// The repository whose codespaces have it; none for all.
    pub repository: Option<String>,
    /// Whether it can be decrypted.
    pub readable: bool,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A git server for which a user keeps a credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptGit {
    pub host: String,
    pub username: String,
    /// The repository whose codespaces have it; none for all.
    pub repository: Option<String>,
    /// Whether it can be decrypted.
    pub readable: bool,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A credential under seal.
#[derive(Deserialize, Serialize)]
struct SealedGit {
    username: String,
    password: Secret,
}

/// Why something is not kept; `Display` is for the user.
#[derive(Debug, Error)]
pub enum BelongingError {
    #[error("you have {limit} of them, which is as many as there may be; delete one first")]
    TooMany { limit: usize },
    #[error("that is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("your secrets would be longer than {MAX_SECRETS_BYTES} bytes together")]
    TooLongTogether,
    #[error("a value is text; of control characters it may have tabs and line breaks alone")]
    Control,
    #[error("it is empty")]
    Empty,
    #[error("a user name or a password for git is one line")]
    SeveralLines,
    #[error(transparent)]
    Profile(#[from] BadProfile),
    #[error(
        "your settings cannot be decrypted: the gateway's key is not the one that they were encrypted with. Have its operator restore the key from a backup, or forget what cannot be read: portico secret forget --unreadable"
    )]
    Unreadable,
    #[error("the gateway could not encrypt it")]
    Seal,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Belongings {
    /// Reads what everybody keeps.
    pub async fn load(store: SharedStore, vault: Vault, audit: Audit, clock: SharedClock) -> Result<Self, StoreError> {
        let of: DashMap<UserId, BTreeMap<BelongingKey, BelongingRecord>> = DashMap::new();
        let mut lost = 0_usize;
        for record in store.belongings().await? {
            lost += usize::from(!is_readable(&vault, &record));
            of.entry(record.user.clone()).or_default().insert(record.key.clone(), record);
        }
        if lost > 0 {
            tracing::error!(
                lost,
                "secrets and settings of users cannot be decrypted: the key file is not the one that they were encrypted with. Restore it from a backup, or forget them: portico secret forget --unreadable"
            );
        }
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                vault,
                audit,
                clock,
                of,
                changing: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// Nothing kept, and a key that nobody keeps: for tests.
    pub fn none(store: &SharedStore, clock: &SharedClock) -> Option<Self> {
        let inner = Inner {
            store: Arc::clone(store),
            vault: Vault::forgetful()?,
            audit: Audit::new(Arc::clone(store), Arc::clone(clock)),
            clock: Arc::clone(clock),
            of: DashMap::new(),
            changing: tokio::sync::Mutex::default(),
        };
        Some(Self { inner: Arc::new(inner) })
    }

    /// The secrets of a user, by name.
    pub fn secrets(&self, user: &UserId) -> Vec<KeptSecret> {
        let records = self.inner.records(user, SECRET);
        records.into_iter().map(|record| self.inner.secret(record)).collect()
    }

    /// Keeps a secret, in place of the one of that name; also whether it is new.
    pub async fn set_secret(
        &self,
        user: &UserId,
        name: &SecretName,
        repository: Option<&RepositorySource>,
        value: &SecretString,
        by: &Actor,
    ) -> Result<(KeptSecret, bool), BelongingError> {
        let value = value.expose_secret();
        check_text(value, MAX_SECRET_BYTES)?;
        let _one = self.inner.changing.lock().await;
        let key = self.inner.known(user, key(SECRET, name.to_string(), repository));
        let others = self.inner.records(user, SECRET);
        let others: Vec<_> = others.iter().filter(|record| record.key != key).collect();
        if others.len() >= MAX_SECRETS {
            return Err(BelongingError::TooMany { limit: MAX_SECRETS });
        }
        let together: usize = others.iter().map(|record| record.sealed.len().saturating_sub(SEAL_BYTES)).sum();
        if together + value.len() > MAX_SECRETS_BYTES {
            return Err(BelongingError::TooLongTogether);
        }
        let (record, is_new) = self.inner.keep(user, key, value.as_bytes()).await?;
        self.inner
            .audit
            .record("secret.set", by, name.to_string(), of_repository(repository));
        Ok((self.inner.secret(record), is_new))
    }

    /// Forgets a secret; false if there is none of that name for that repository.
    pub async fn delete_secret(
        &self,
        user: &UserId,
        name: &SecretName,
        repository: Option<&RepositorySource>,
        by: &Actor,
    ) -> Result<bool, BelongingError> {
        let was_there = self.inner.forget(user, key(SECRET, name.to_string(), repository)).await?;
        if was_there {
            self.inner
                .audit
                .record("secret.deleted", by, name.to_string(), of_repository(repository));
        }
        Ok(was_there)
    }

    /// The git servers for which a user keeps a credential, by name.
    pub fn git(&self, user: &UserId) -> Vec<KeptGit> {
        let records = self.inner.records(user, GIT).into_iter();
        records.map(|record| self.inner.git(record)).collect()
    }

    /// Keeps a credential for a git server, in place of the one before; also whether it is new.
    pub async fn set_git(
        &self,
        user: &UserId,
        host: &GitHost,
        repository: Option<&RepositorySource>,
        username: &str,
        password: &SecretString,
        by: &Actor,
    ) -> Result<(KeptGit, bool), BelongingError> {
        let password = password.expose_secret();
        for (text, limit) in [(username, MAX_USERNAME), (password, MAX_PASSWORD)] {
            check_text(text, limit)?;
            if text.chars().any(char::is_control) {
                return Err(BelongingError::SeveralLines);
            }
        }
        let _one = self.inner.changing.lock().await;
        let key = self.inner.known(user, key(GIT, host.to_string(), repository));
        let others = self.inner.records(user, GIT).iter().filter(|record| record.key != key).count();
        if others >= MAX_GIT_HOSTS {
            return Err(BelongingError::TooMany { limit: MAX_GIT_HOSTS });
        }
        let sealed = SealedGit {
            username: username.into(),
            password: Secret(password.into()),
        };
        let text = serde_json::to_vec(&sealed).map_err(|_| BelongingError::Seal)?;
        let (record, is_new) = self.inner.keep(user, key, &text).await?;
        let detail = of_repository(repository);
        self.inner.audit.record("git-credential.set", by, host.to_string(), detail);
        Ok((self.inner.git(record), is_new))
    }

    /// Forgets a credential; false if there is none for that server and repository.
    pub async fn delete_git(
        &self,
        user: &UserId,
        host: &GitHost,
        repository: Option<&RepositorySource>,
        by: &Actor,
    ) -> Result<bool, BelongingError> {
        let was_there = self.inner.forget(user, key(GIT, host.to_string(), repository)).await?;
        if was_there {
            let detail = of_repository(repository);
            self.inner.audit.record("git-credential.deleted", by, host.to_string(), detail);
        }
        Ok(was_there)
    }

    /// The settings that follow a user; none if they cannot be decrypted.
    pub fn profile(&self, user: &UserId) -> Option<Profile> {
        match self.inner.records(user, PROFILE).first() {
            Some(record) => self.inner.read(record),
            None => Some(Profile::default()),
        }
    }

    /// Changes the settings that follow a user.
    pub async fn change_profile(
        &self,
        user: &UserId,
        change: ProfileChange,
        allow_local: bool,
        by: &Actor,
    ) -> Result<Profile, BelongingError> {
        let _one = self.inner.changing.lock().await;
        let profile = self.profile(user).ok_or(BelongingError::Unreadable)?;
        let profile = profile.with(change, allow_local)?;
        let text = serde_json::to_vec(&profile).map_err(|_| BelongingError::Seal)?;
        self.inner.keep(user, key(PROFILE, String::new(), None), &text).await?;
        self.inner.audit.record("settings.changed", by, by.name.clone(), "");
        Ok(profile)
    }

    /// What a codespace of this user and repository is told. What is of the repository's own wins over what is for all.
    pub fn for_codespace(&self, user: &UserId, repository: &str, allow_local: bool) -> Personal {
        let inner = &self.inner;
        let repository = canon(repository);
        // Those for all sort first, and are overwritten.
        let fitting = |kind| {
            let records = inner.records(user, kind).into_iter();
            records.filter(|record| record.key.repository.is_empty() || canon(&record.key.repository) == repository)
        };
        let variables = fitting(SECRET).filter_map(|record| {
            let value = String::from_utf8(inner.open(&record)?).ok()?;
            Some((record.key.name, Secret(value)))
        });
        let variables = variables.collect();
        let git = fitting(GIT).filter_map(|record| {
            let SealedGit { username, password } = inner.read(&record)?;
            let host = record.key.name;
            Some((host.clone(), GitCredential { host, username, password }))
        });
        let git: BTreeMap<_, _> = git.collect();
        let git = git.into_values().collect();
        let profile = self.profile(user).unwrap_or_default();
        Personal {
            variables,
            git,
            git_name: profile.git_name,
            git_email: profile.git_email,
            dotfiles: profile.dotfiles_repository.map(|repository| Dotfiles {
                repository,
                script: profile.dotfiles_script,
                allow_local,
            }),
            editor_settings: profile.editor_settings,
            extensions: profile.extensions,
        }
    }
}

impl Inner {
    /// What a user keeps of a kind, in the order of the keys.
    fn records(&self, user: &UserId, kind: &str) -> Vec<BelongingRecord> {
        let Some(all) = self.of.get(user) else { return Vec::new() };
        all.values().filter(|record| record.key.kind == kind).cloned().collect()
    }

    /// The key under which something is kept already, for the same repository in other words.
    fn known(&self, user: &UserId, key: BelongingKey) -> BelongingKey {
        let wanted = canon(&key.repository);
        let known = self.records(user, &key.kind).into_iter().map(|record| record.key);
        let mut known = known.filter(|known| known.name == key.name && canon(&known.repository) == wanted);
        known.next().unwrap_or(key)
    }

    fn secret(&self, record: BelongingRecord) -> KeptSecret {
        KeptSecret {
            readable: self.open(&record).is_some(),
            name: record.key.name,
            repository: Some(record.key.repository).filter(|repository| !repository.is_empty()),
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }

    fn git(&self, record: BelongingRecord) -> KeptGit {
        let sealed = self.read::<SealedGit>(&record);
        KeptGit {
            readable: sealed.is_some(),
            username: sealed.map(|git| git.username).unwrap_or_default(),
            host: record.key.name,
            repository: Some(record.key.repository).filter(|repository| !repository.is_empty()),
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }

    fn open(&self, record: &BelongingRecord) -> Option<Vec<u8>> {
        self.vault.open(&bound(record), &record.sealed)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, record: &BelongingRecord) -> Option<T> {
        serde_json::from_slice(&self.open(record)?).ok()
    }

    async fn keep(&self, user: &UserId, key: BelongingKey, value: &[u8]) -> Result<(BelongingRecord, bool), BelongingError> {
        let now = self.clock.now();
        let before = self.of.get(user).and_then(|all| all.get(&key).map(|record| record.created_at));
        let mut record = BelongingRecord {
            user: user.clone(),
            key,
            sealed: Vec::new(),
            created_at: before.unwrap_or(now),
            updated_at: now,
        };
        record.sealed = self.vault.seal(&bound(&record), value).ok_or(BelongingError::Seal)?;
        self.store.put_belonging(&record).await?;
        self.of.entry(user.clone()).or_default().insert(record.key.clone(), record.clone());
        Ok((record, before.is_none()))
    }

    async fn forget(&self, user: &UserId, key: BelongingKey) -> Result<bool, BelongingError> {
        let _one = self.changing.lock().await;
        let key = &self.known(user, key);
        if !self.of.get(user).is_some_and(|all| all.contains_key(key)) {
            return Ok(false);
        }
        self.store.remove_belonging(user, key).await?;
        if let Some(mut all) = self.of.get_mut(user) {
            all.remove(key);
        }
        Ok(true)
    }
}

/// Whether a value that is kept can be decrypted.
pub fn is_readable(vault: &Vault, record: &BelongingRecord) -> bool {
    vault.open(&bound(record), &record.sealed).is_some()
}

/// What a sealed value is bound to: moved to another user or key, it does not open.
fn bound(record: &BelongingRecord) -> Vec<u8> {
    let BelongingKey { kind, name, repository } = &record.key;
    let mut bound = Vec::new();
    for part in [&*record.user.0, kind, name, repository] {
        bound.extend((part.len() as u64).to_be_bytes());
        bound.extend(part.as_bytes());
    }
    bound
}

fn key(kind: &str, name: String, repository: Option<&RepositorySource>) -> BelongingKey {
    BelongingKey {
        kind: kind.into(),
        name,
        repository: repository.map(ToString::to_string).unwrap_or_default(),
    }
}

/// Which repository a text names, however it is written; nothing for nothing.
fn canon(repository: &str) -> String {
    let source = repository.parse::<RepositorySource>();
    source.map_or_else(|_| repository.to_owned(), |source| source.canon())
}

fn of_repository(repository: Option<&RepositorySource>) -> String {
    repository.map(|repository| format!("for {repository}")).unwrap_or_default()
}

fn check_text(text: &str, limit: usize) -> Result<(), BelongingError> {
    if text.is_empty() {
        return Err(BelongingError::Empty);
    }
    if text.len() > limit {
        return Err(BelongingError::TooLong { limit });
    }
    // JSON makes six bytes of each, and none is of use in a variable.
    let odd = |char: char| char.is_control() && !matches!(char, '\t' | '\n' | '\r');
    if text.chars().any(odd) {
        Err(BelongingError::Control)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
