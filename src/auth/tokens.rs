//! Tokens: what programs prove themselves with.
//!
//! A token that a person made shows in that person's list; the one inside a codespace ([`Scope::Inside`]) does not.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use secrecy::SecretString;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{
    Auth, Presented, UserError,
    endings::Ending,
    secrets::{fresh_id, fresh_secret, hash_secret},
};
use crate::{
    audit::Actor,
    domain::{CodespaceName, Credential, Scope, TokenId, UserId},
    store::{StoreError, TokenRecord},
};

/// What all our tokens begin with, so that scanners and people know one.
const PREFIX: &str = "pt_";
/// Longest token that is looked at.
const MAX_BYTES: usize = 128;
/// Longest name that is kept.
const MAX_NAME_BYTES: usize = 100;
/// How often at most it is written to the store when a token was last used.
const WRITE_EVERY: i64 = 5 * 60;

/// A token, without its secret.
pub struct Token {
    pub id: TokenId,
    pub user: UserId,
    pub name: String,
    pub scope: Scope,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    hash: [u8; 32],
    /// Seconds since 1970; 0 if it was never used.
    last_used: AtomicI64,
    written: AtomicI64,
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
        let used = record.last_used_at.map_or(0, OffsetDateTime::unix_timestamp);
        Self {
            id: record.id,
            user: record.user,
            name: record.name,
            scope: record.scope,
            created_at: record.created_at,
            expires_at: record.expires_at,
            hash: record.hash,
            last_used: used.into(),
            written: used.into(),
            ended: CancellationToken::new(),
        }
    }

    /// When it was last used, to the second; none if it never was.
    pub fn last_used_at(&self) -> Option<OffsetDateTime> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|_| seconds > 0)
    }

    fn is_inside(&self) -> bool {
        matches!(self.scope, Scope::Inside(_))
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
            last_used_at: self.last_used_at(),
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
            self.note_use(&token, now);
            Some(user.identity(Credential::Token(token.id.clone()), token.scope.clone()))
        });
        found.map_or(Presented::Invalid, |identity| Presented::Valid(Arc::new(identity)))
    }

    /// Fires when the token is revoked or expires; none if it is no more.
    pub fn token_ended(&self, id: &TokenId) -> Option<CancellationToken> {
        self.token(id).map(|token| token.ended.clone())
    }

    /// Whether what proved an identity proves it still.
    pub fn proves_still(&self, credential: &Credential, now: OffsetDateTime) -> bool {
        match credential {
            Credential::Cookie(session) => self.alive(session, now).is_some(),
            Credential::Token(token) => self.token(token).is_some_and(|token| !token.is_over(now)),
            Credential::Operator => true,
        }
    }

    /// Fires when the login session or the token ends that proved an identity; did already if it is no more. None for the
    /// operator's, which never ends.
    pub fn credential_ended(&self, credential: &Credential) -> Option<CancellationToken> {
        let ended = match credential {
            Credential::Cookie(session) => self.login_session(session).map(|session| session.ended()),
            Credential::Token(token) => self.token_ended(token),
            Credential::Operator => return None,
        };
        Some(ended.unwrap_or_else(|| {
            let ended = CancellationToken::new();
            ended.cancel();
            ended
        }))
    }

    /// Makes a token. A codespace has one [`Scope::Inside`] token at most: making it revokes the one before; they do not
    /// count among those that a user may have.
    pub async fn create_token(
        &self,
        user: &UserId,
        name: &str,
        scope: Scope,
        expires_at: Option<OffsetDateTime>,
        by: &Actor,
        now: OffsetDateTime,
    ) -> Result<NewToken, UserError> {
        let owner = self.user(user).ok_or(UserError::Missing)?;
        self.can_forget()?;
        if let Scope::Inside(codespace) = &scope {
            self.revoke_inside(codespace).await?;
        }
        let plain = format!("{PREFIX}{}", fresh_secret());
        let record = Arc::new(Token::new(TokenRecord {
            id: TokenId(fresh_id()),
            user: owner.id.clone(),
            name: tidy(name),
            scope,
            created_at: now,
            expires_at,
            hash: hash_secret(&plain),
            last_used_at: None,
        }));
        let kept = record.clone();
        self.change(move |auth| async move {
            let limit = auth.inner.options.tokens_per_user;
            if !kept.is_inside() && auth.tokens_of(&kept.user).len() >= limit {
                return Err(UserError::TooManyTokens { limit });
            }
            auth.inner.store.add_token(&kept.record()).await?;
            auth.keep_token(kept);
            Ok::<(), UserError>(())
        })
        .await?;
        let until = expires_at.map_or_else(|| "for ever".to_owned(), |at| format!("until {at}"));
        let detail = format!("{} {until}, {}", record.scope, record.id);
        self.audit("token.created", by, owner.name.as_str(), &detail, now).await;
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
            .filter(|token| token.user == *user && !token.is_inside())
            .map(|token| token.clone())
            .collect();
        tokens.sort_by(|a, b| b.id.cmp(&a.id));
        tokens
    }

    /// Revokes a token of a user; false if that user has none of this id.
    pub async fn revoke_token(&self, user: &UserId, id: &TokenId, by: &Actor, now: OffsetDateTime) -> Result<bool, StoreError> {
        let Some(token) = self.token(id).filter(|token| token.user == *user) else {
            return Ok(false);
        };
        let ended = self.end_token(&token).await;
        let owner = self.user(user).map(|user| user.name.to_string()).unwrap_or_default();
        self.audit("token.revoked", by, &owner, &format!("{} {id}", token.scope), now).await;
        ended.map(|()| true)
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

    /// Finds a token that has not ended.
    pub fn token(&self, id: &TokenId) -> Option<Arc<Token>> {
        self.inner.tokens.get(id).map(|token| token.clone())
    }

    /// Notes that a token was used; written through at most every 5 minutes.
    fn note_use(&self, token: &Arc<Token>, now: OffsetDateTime) {
        let seconds = now.unix_timestamp();
        // Many requests of one token in a second must not fight over where this is kept.
        if token.last_used.load(Ordering::Relaxed) >= seconds {
            return;
        }
        token.last_used.fetch_max(seconds, Ordering::Relaxed);
        let written = token.written.load(Ordering::Relaxed);
        let due = seconds - written >= WRITE_EVERY;
        let orders = (Ordering::Relaxed, Ordering::Relaxed);
        if due && token.written.compare_exchange(written, seconds, orders.0, orders.1).is_ok() {
            let (auth, id) = (self.clone(), token.id.clone());
            self.write_later(async move {
                if let Err(error) = auth.inner.store.token_used(&id, now).await {
                    tracing::warn!(%error, "it was not kept when a token was last used");
                }
            });
        }
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
        self.forget(Ending::Token(token.id.clone())).await
    }
}

/// A name as it is kept: short, and with nothing in it that would drive a terminal.
pub(super) fn tidy(name: &str) -> String {
    let name: String = name.chars().filter(|character| !character.is_control()).collect();
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::auth::{
        Auth,
        fixture::{auth, auth_on, name, now, seconds, user},
    };

    async fn token(auth: &Auth, user: &UserId, scope: Scope) -> NewToken {
        auth.create_token(user, "ci", scope, Some(now() + seconds(60)), &Actor::gateway(), now())
            .await
            .expect("a token")
    }

    fn scope_of(presented: Presented) -> Option<Scope> {
        match presented {
            Presented::Valid(identity) => Some(identity.scope.clone()),
            Presented::Nothing | Presented::Invalid => None,
        }
    }

    #[tokio::test]
    async fn a_token_proves_until_it_ends() {
        let (auth, store) = auth().await;
        let ada = user(&auth, "ada").await;
        let new = token(&auth, &ada.id, Scope::Read).await;
        let plain = new.plain.expose_secret();
        assert!(plain.starts_with("pt_") && plain.len() == 46 && !format!("{new:?}").contains(plain));
        assert_eq!(scope_of(auth.by_token(plain, now())), Some(Scope::Read));
        assert_eq!(auth.by_token("", now()), Presented::Nothing);
        for wrong in [
            "pt_",
            "pt_x",
            &plain[3..],
            &format!("{plain}x"),
            &plain.to_uppercase(),
            &"pt_".repeat(100),
        ] {
            assert_eq!(auth.by_token(wrong, now()), Presented::Invalid);
        }
        let kept = store.tokens().await.expect("tokens");
        assert_eq!(kept[0].hash, hash_secret(plain));
        assert_eq!(
            scope_of(auth_on(store.clone(), now()).await.by_token(plain, now())),
            Some(Scope::Read)
        );
        let ended = auth.token_ended(&new.record.id).expect("the token");
        assert_eq!(auth.by_token(plain, now() + seconds(60)), Presented::Invalid);
        auth.sweep(now() + seconds(60)).await;
        assert!(ended.is_cancelled() && auth.token_ended(&new.record.id).is_none());
        assert!(store.tokens().await.expect("tokens").is_empty());
    }

    #[tokio::test]
    async fn only_its_user_revokes_a_token() {
        let (auth, store) = auth().await;
        let (ada, bob) = (user(&auth, "ada").await, user(&auth, "bob").await);
        let new = token(&auth, &ada.id, Scope::All).await;
        assert!(
            !auth
                .revoke_token(&bob.id, &new.record.id, &Actor::gateway(), now())
                .await
                .expect("no fault")
        );
        assert!(
            auth.revoke_token(&ada.id, &new.record.id, &Actor::gateway(), now())
                .await
                .expect("no fault")
        );
        assert_eq!(auth.by_token(new.plain.expose_secret(), now()), Presented::Invalid);
        assert!(store.tokens().await.expect("tokens").is_empty());
    }

    #[tokio::test]
    async fn a_token_tells_when_it_was_used() {
        let (auth, store) = auth().await;
        let ada = user(&auth, "ada").await;
        let new = auth
            .create_token(&ada.id, "c\u{1b}i", Scope::All, None, &Actor::gateway(), now())
            .await;
        let new = new.expect("a token");
        assert_eq!((new.record.name.as_str(), new.record.last_used_at()), ("ci", None));
        for (after, kept) in [(10, 10), (200, 10), (310, 310)] {
            let at = now() + seconds(after);
            assert!(scope_of(auth.by_token(new.plain.expose_secret(), at)).is_some());
            assert_eq!(new.record.last_used_at(), Some(at));
            let written = || async { store.tokens().await.expect("tokens")[0].last_used_at };
            while written().await != Some(now() + seconds(kept)) {
                tokio::task::yield_now().await;
            }
        }
        let again = auth_on(store.clone(), now()).await;
        assert_eq!(again.tokens_of(&ada.id)[0].last_used_at(), Some(now() + seconds(310)));
    }

    #[tokio::test]
    async fn a_user_has_only_so_many_tokens() {
        let (auth, _) = auth().await;
        let (ada, bob) = (user(&auth, "ada").await, user(&auth, "bob").await);
        let make = async |of: &UserId, scope| auth.create_token(of, "ci", scope, None, &Actor::gateway(), now()).await;
        for _ in 0..crate::auth::fixture::TOKENS {
            make(&ada.id, Scope::Read).await.expect("a token");
        }
        assert!(matches!(make(&ada.id, Scope::Read).await, Err(UserError::TooManyTokens { .. })));
        make(&ada.id, Scope::Inside(name("amber"))).await.expect("the codespace's own");
        make(&bob.id, Scope::Read).await.expect("somebody else's");
        let one = auth.tokens_of(&ada.id)[0].id.clone();
        assert!(auth.revoke_token(&ada.id, &one, &Actor::gateway(), now()).await.expect("no fault"));
        make(&ada.id, Scope::Read).await.expect("room again");
    }

    #[tokio::test]
    async fn one_token_inside_a_codespace_and_hidden() {
        let (auth, _) = auth().await;
        let ada = user(&auth, "ada").await;
        let inside = || Scope::Inside(name("amber"));
        let first = token(&auth, &ada.id, inside()).await;
        let second = token(&auth, &ada.id, inside()).await;
        assert_eq!(auth.by_token(first.plain.expose_secret(), now()), Presented::Invalid);
        assert_eq!(scope_of(auth.by_token(second.plain.expose_secret(), now())), Some(inside()));
        assert!(auth.tokens_of(&ada.id).is_empty());
        auth.revoke_inside(&name("amber")).await.expect("revoked");
        assert_eq!(auth.by_token(second.plain.expose_secret(), now()), Presented::Invalid);
    }

    #[tokio::test]
    async fn sess_3_suspending_cuts_what_tokens_hold_open() {
        let (auth, _) = auth().await;
        let ada = user(&auth, "ada").await;
        let new = token(&auth, &ada.id, Scope::All).await;
        let ended = auth.token_ended(&new.record.id).expect("the token");
        auth.suspend(&ada.id, true, &Actor::gateway(), now()).await.expect("suspended");
        assert!(ended.is_cancelled());
        assert_eq!(auth.by_token(new.plain.expose_secret(), now()), Presented::Invalid);
        auth.suspend(&ada.id, false, &Actor::gateway(), now()).await.expect("restored");
        assert_eq!(scope_of(auth.by_token(new.plain.expose_secret(), now())), Some(Scope::All));
        assert!(!auth.token_ended(&new.record.id).expect("the token").is_cancelled());
    }
}
