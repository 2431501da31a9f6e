//! The operator's commands on the store itself, for when the gateway is down.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use time::OffsetDateTime;

use super::place;
use crate::{
    api::{
        model::{AuditEvent, CreateToken, CreateUser, NewToken, Token, User},
        parse, views,
    },
    app::{self, STORE_FILE},
    audit::Actor,
    auth::{self, Auth, Options},
    belongings::{self, Vault},
    domain::{Role, TokenId, UserName},
    store::{Store, sqlite::SqliteStore},
};

/// The store of a data directory, with the accounts in it.
pub struct Offline {
    store: Arc<SqliteStore>,
    auth: Auth,
    now: OffsetDateTime,
    /// The key that encrypts what people keep.
    belongings_key: PathBuf,
    /// Held as a gateway holds it: one that starts or ends at this moment would not hear of what is changed behind its back,
    /// and a token that was revoked would go on to work.
    _lock: File,
}

impl Offline {
    /// Opens the store, and makes it where there is none yet.
    pub async fn open(data: &Path) -> anyhow::Result<Self> {
        let config = place::config(Some(data))?;
        let lock = app::take_data(data)?;
        let path = data.join(STORE_FILE);
        let store = SqliteStore::open(&path)
            .await
            .with_context(|| format!("the store {} cannot be opened", path.display()))?;
        let store = Arc::new(store);
        let options = Options {
            sites: config.sites(),
            session_idle: config.sessions.idle,
            session_absolute: config.sessions.absolute,
            tokens_per_user: config.limits.tokens_per_user,
            attempts: config.limits.attempts,
            outside: config.sign_in.meant(config.outbound.clone()),
        };
        let now = OffsetDateTime::now_utc();
        let auth = Auth::load(store.clone(), options, now)
            .await
            .context("the accounts cannot be read")?;
        Ok(Self {
            store,
            auth,
            now,
            belongings_key: config.belongings_key(),
            _lock: lock,
        })
    }

    /// Writes what is still to be written.
    pub async fn close(self) {
        self.auth.settle().await;
        self.store.close().await;
    }

    /// Makes an account.
    pub async fn create_user(&self, wanted: CreateUser) -> anyhow::Result<User> {
        let made = self
            .auth
            .create_user(parse::new_user(wanted)?, &Actor::operator(), self.now)
            .await?;
        Ok(views::user(&made))
    }

    /// All accounts.
    pub fn users(&self) -> Vec<User> {
        self.auth.users().iter().map(|user| views::user(user)).collect()
    }

    /// Gives an account another role.
    pub async fn set_role(&self, named: &str, role: &str) -> anyhow::Result<User> {
        let user = self.account(Some(named))?;
        let changed = self.auth.set_role(&user.id, role.parse()?, &Actor::operator(), self.now).await?;
        Ok(views::user(&changed))
    }

    /// Suspends an account or lifts that.
    pub async fn set_suspended(&self, named: &str, suspended: bool) -> anyhow::Result<User> {
        let user = self.account(Some(named))?;
        self.auth.suspend(&user.id, suspended, &Actor::operator(), self.now).await?;
        let user = self.account(Some(named))?;
        Ok(views::user(&user))
    }

    /// The audit events that a query asks for.
    pub async fn audit(&self, query: &str) -> anyhow::Result<Vec<AuditEvent>> {
        let question = parse::audit_question(query, self.now).map_err(anyhow::Error::msg)?;
        let entries = self.store.audit(&question).await?;
        Ok(entries.into_iter().map(views::audit_event).collect())
    }

    /// Forgets what everybody keeps, or as much of it as the key does not open; gives how much that was.
    pub async fn forget_belongings(&self, all: bool) -> anyhow::Result<usize> {
        let mut lost = self.store.belongings().await?;
        if !all {
            let vault = Vault::at(&self.belongings_key, !lost.is_empty())?;
            lost.retain(|record| !belongings::is_readable(&vault, record));
        }
        for record in &lost {
            self.store.remove_belonging(&record.user, &record.key).await?;
        }
        Ok(lost.len())
    }

    /// Makes a token for an account.
    pub async fn create_token(&self, of: Option<&str>, wanted: &CreateToken) -> anyhow::Result<NewToken> {
        let user = self.account(of)?;
        let scope = parse::personal_scope(&wanted.scope)?;
        let expires_at = wanted.expires_in.as_deref().map(|text| parse::expiry(text, self.now));
        let expires_at = expires_at.transpose().map_err(anyhow::Error::msg)?;
        let made = self
            .auth
            .create_token(&user.id, &wanted.name, scope, expires_at, &Actor::operator(), self.now)
            .await?;
        Ok(views::new_token(&made))
    }

    /// The tokens of an account.
    pub fn tokens(&self, of: Option<&str>) -> anyhow::Result<Vec<Token>> {
        let user = self.account(of)?;
        Ok(self.auth.tokens_of(&user.id).iter().map(|token| views::token(token)).collect())
    }

    /// Revokes a token of an account.
    pub async fn revoke_token(&self, of: Option<&str>, id: &str) -> anyhow::Result<()> {
        let user = self.account(of)?;
        let revoked = self
            .auth
            .revoke_token(&user.id, &TokenId(id.into()), &Actor::operator(), self.now)
            .await?;
        anyhow::ensure!(revoked, "there is no such token; see: portico token list");
        Ok(())
    }

    /// The account that is named, else the first admin, as on the administration socket.
    fn account(&self, named: Option<&str>) -> anyhow::Result<Arc<auth::User>> {
        let Some(named) = named else {
            let admins = self.auth.users().into_iter().filter(|user| user.role == Role::Admin);
            let first = admins.min_by_key(|user| user.created_at);
            return first.context("there is no account yet. Make one with: portico user create NAME --admin");
        };
        let name: UserName = named.parse()?;
        match self.auth.user_by_name(&name) {
            Some(user) => Ok(user),
            None => bail!("there is no account named {name}; see: portico user list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_starts_or_ends_is_not_gone_behind() {
        let data = tempfile::tempdir().expect("a directory");
        let gateways = app::take_data(data.path()).expect("nobody else has it");
        assert!(Offline::open(data.path()).await.is_err());
        drop(gateways);
        Offline::open(data.path()).await.expect("nobody has it").close().await;
    }
}
