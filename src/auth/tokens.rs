//! Tokens: what programs prove themselves with.
//!
//! A token that a person made shows in that person's list; the one inside a codespace ([`Scope::Inside`]) does not.

use std::sync::Arc;

use secrecy::SecretString;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{
    Auth, Presented, UserError,
    secrets::{fresh_id, fresh_secret, hash_secret},
};
use crate::{
    domain::{CodespaceName, Credential, Scope, TokenId, UserId},
    store::{StoreError, TokenRecord},
};

/// What all our tokens begin with, so that scanners and people know one.
const PREFIX: &str = "pt_";
/// Longest token that is looked at.
const MAX_BYTES: usize = 128;
/// Longest name that is kept.
const MAX_NAME_BYTES: usize = 100;

/// A token, without its secret.
pub struct Token {
    pub id: TokenId,
    pub user: UserId,
    pub name: String,
    pub scope: Scope,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    hash: [u8; 32],
    ended: CancellationToken,
}

/// A token just made; the only time its secret is there.
pub struct NewToken {
    pub record: Arc<Token>,
    pub plain: SecretString,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("record", &self.record).finish_non_exhaustive()
    }
}

impl Token {
    fn new(record: TokenRecord) -> Self {
        Self {
            id: record.id,
            user: record.user,
            name: record.name,
            scope: record.scope,
            created_at: record.created_at,
            expires_at: record.expires_at,
            hash: record.hash,
            ended: CancellationToken::new(),
        }
    }

    fn is_over(&self, now: OffsetDateTime) -> bool {
        self.ended.is_cancelled() || self.expires_at.is_some_and(|at| now >= at)
    }

    fn record(&self) -> TokenRecord {
        TokenRecord {
            id: self.id.clone(),
            user: self.user.clone(),
            name: self.name.clone(),
            scope: self.scope.clone(),
            hash: self.hash,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

impl Auth {
    /// Reads a token, as it stands behind `Bearer` or in `X-Portico-Token`.
    pub fn by_token(&self, text: &str, now: OffsetDateTime) -> Presented {
        if text.is_empty() {
            return Presented::Nothing;
        }
        if !text.starts_with(PREFIX) || text.len() > MAX_BYTES {
            return Presented::Invalid;
        }
        // Found by its hash: what a comparison could leak through time is the hash's, not the token's (RATE-2).
        let id = self.inner.token_hashes.get(&hash_secret(text)).map(|id| id.clone());
        let token = id.and_then(|id| self.token(&id)).filter(|token| !token.is_over(now));
        let found = token.and_then(|token| {
            let user = self.user(&token.user).filter(|user| !user.suspended)?;
            Some(user.identity(Credential::Token(token.id.clone()), token.scope.clone()))
        });
        found.map_or(Presented::Invalid, Presented::Valid)
    }

    /// Fires when the token is revoked or expires; none if it is no more.
    pub fn token_ended(&self, id: &TokenId) -> Option<CancellationToken> {
        self.token(id).map(|token| token.ended.clone())
    }

    /// Makes a token. A codespace has one [`Scope::Inside`] token at most: making it revokes the one before.
    pub async fn create_token(
        &self,
        user: &UserId,
        name: &str,
        scope: Scope,
        expires_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<NewToken, UserError> {
        let owner = self.user(user).ok_or(UserError::Missing)?;
        if let Scope::Inside(codespace) = &scope {
            self.revoke_inside(codespace).await?;
        }
        let plain = format!("{PREFIX}{}", fresh_secret());
        let record = Arc::new(Token {
            id: TokenId(fresh_id()),
            user: owner.id.clone(),
            name: name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned(),
            scope,
            created_at: now,
            expires_at,
            hash: hash_secret(&plain),
            ended: CancellationToken::new(),
        });
        let changing = self.inner.changing.lock().await;
        self.inner.store.add_token(&record.record()).await?;
        self.keep_token(record.clone());
        drop(changing);
        let detail = record.scope.to_string();
        self.audit("token.created", owner.name.as_str(), &record.id.0, &detail, None, now)
            .await;
        Ok(NewToken {
            record,
            plain: plain.into(),
        })
    }

    /// The tokens that a user made, newest first.
    pub fn tokens_of(&self, user: &UserId) -> Vec<Arc<Token>> {
        let mut tokens: Vec<_> = self
            .inner
            .tokens
            .iter()
            .filter(|token| token.user == *user && !matches!(token.scope, Scope::Inside(_)))
            .map(|token| token.clone())
            .collect();
        tokens.sort_by(|a, b| b.id.cmp(&a.id));
        tokens
    }

    /// Revokes a token of a user; false if that user has none of this id.
    pub async fn revoke_token(&self, user: &UserId, id: &TokenId, now: OffsetDateTime) -> Result<bool, StoreError> {
        let Some(token) = self.token(id).filter(|token| token.user == *user) else {
            return Ok(false);
        };
        self.end_token(&token).await?;
        let actor = self.user(user).map(|user| user.name.to_string()).unwrap_or_default();
        self.audit("token.revoked", &actor, &id.0, "", None, now).await;
        Ok(true)
    }

    /// Revokes the token inside a codespace.
    pub async fn revoke_inside(&self, codespace: &CodespaceName) -> Result<(), StoreError> {
        let is_inside = |scope: &Scope| matches!(scope, Scope::Inside(name) if name == codespace);
        for token in self.tokens_where(|token| is_inside(&token.scope)) {
            self.end_token(&token).await?;
        }
        Ok(())
    }

    /// Closes what a suspended user's tokens hold open; the tokens stay, and are refused while the user is suspended.
    pub(super) fn interrupt_tokens(&self, user: &UserId) {
        for token in self.tokens_where(|token| token.user == *user) {
            self.keep_token(Arc::new(Token::new(token.record())));
            token.ended.cancel();
        }
    }

    pub(super) async fn load_tokens(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        for record in self.inner.store.tokens().await? {
            let token = Token::new(record);
            if token.is_over(now) || self.user(&token.user).is_none() {
                self.inner.store.remove_token(&token.id).await?;
            } else {
                self.keep_token(Arc::new(token));
            }
        }
        Ok(())
    }

    pub(super) async fn sweep_tokens(&self, now: OffsetDateTime) {
        for token in self.tokens_where(|token| token.is_over(now)) {
            if let Err(error) = self.end_token(&token).await {
                tracing::error!(%error, "a token that is over was not removed from the store");
            }
        }
    }

    fn token(&self, id: &TokenId) -> Option<Arc<Token>> {
        self.inner.tokens.get(id).map(|token| token.clone())
    }

    fn tokens_where(&self, wanted: impl Fn(&Token) -> bool) -> Vec<Arc<Token>> {
        self.inner
            .tokens
            .iter()
            .filter(|token| wanted(token))
            .map(|token| token.clone())
            .collect()
    }

    fn keep_token(&self, token: Arc<Token>) {
        self.inner.token_hashes.insert(token.hash, token.id.clone());
        self.inner.tokens.insert(token.id.clone(), token);
    }

    /// Ends a token in memory first: it must be over even if the store fails (FAIL-1).
    async fn end_token(&self, token: &Token) -> Result<(), StoreError> {
        token.ended.cancel();
        self.inner.token_hashes.remove(&token.hash);
        self.inner.tokens.remove(&token.id);
        let _changing = self.inner.changing.lock().await;
        self.inner.store.remove_token(&token.id).await
    }
}
