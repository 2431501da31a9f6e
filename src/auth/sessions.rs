//! Login sessions: what a sign-in makes, how long it lasts, and how it ends.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use parking_lot::Mutex;
use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{
    Auth, Client, Presented, SESSION_COOKIE, User,
    cookies::{Found, find, set_cookie},
    secrets::{fresh_id, fresh_secret, hash_secret},
};
use crate::{
    domain::{CodespaceName, Credential, Port, Scope, SessionId, UserId, UserName},
    route::Route,
    store::{SessionRecord, StoreError},
};

/// How often at most it is written to the store when a session was last seen.
const WRITE_EVERY: i64 = 5 * 60;
/// A host that was tried for so long ago may be tried again.
const TRIED_FOR: Duration = Duration::from_secs(30);
/// Most hosts that one session remembers.
const MAX_HOSTS: usize = 4096;
/// Most bytes of a `User-Agent` that are kept.
const MAX_AGENT_BYTES: usize = 200;
/// Most login sessions of one user; the one unseen for longest gives way.
const MAX_SESSIONS_EACH: usize = 100;

/// A login session.
pub struct LoginSession {
    pub id: SessionId,
    pub created_at: OffsetDateTime,
    /// The browser, as it named itself.
    pub agent: String,
    user: UserId,
    secret_hash: [u8; 32],
    last_seen: AtomicI64,
    written: AtomicI64,
    ended: CancellationToken,
    visited: Mutex<HashSet<(CodespaceName, Port)>>,
    tried: Mutex<HashMap<Route, OffsetDateTime>>,
}

/// A sign-in that succeeded.
#[derive(Clone)]
pub struct Fresh {
    pub session: Arc<LoginSession>,
    /// The `Set-Cookie` header's value for the gateway host.
    pub set_cookie: String,
}

/// Why a sign-in failed; a wrong name, a wrong password and a suspended account read the same.
#[derive(Debug, Error)]
pub enum SignInError {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many attempts; try again in {} s", .retry_after.as_secs())]
    TooMany { retry_after: Duration },
    #[error("the sign-in could not be kept")]
    Store(#[from] StoreError),
}

impl std::fmt::Debug for LoginSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh").field("session", &self.session).finish_non_exhaustive()
    }
}

impl LoginSession {
    fn new(record: SessionRecord) -> Self {
        let seen = record.last_seen_at.unix_timestamp();
        Self {
            id: record.id,
            created_at: record.created_at,
            agent: record.agent,
            user: record.user,
            secret_hash: record.secret_hash,
            last_seen: seen.into(),
            written: seen.into(),
            ended: CancellationToken::new(),
            visited: Mutex::default(),
            tried: Mutex::default(),
        }
    }

    /// Fires when the session ends, however it does; live connections close by it (SESS-3).
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Whose session it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// When it was last used, to the second.
    pub fn last_seen_at(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.last_seen.load(Ordering::Relaxed)).unwrap_or(self.created_at)
    }

    /// Tells whether the session's cookie was set on a port host.
    pub fn visited(&self, name: &CodespaceName, port: Port) -> bool {
        self.visited.lock().contains(&(name.clone(), port))
    }

    /// Notes that the session's cookie was set on a port host: its redeem succeeded.
    pub fn mark_visited(&self, name: &CodespaceName, port: Port) {
        let mut visited = self.visited.lock();
        if visited.len() >= MAX_HOSTS {
            visited.clear();
        }
        visited.insert((name.clone(), port));
    }

    /// Tells whether the detour for a host was tried in the last 30 s.
    pub fn tried_recently(&self, host: &Route, now: OffsetDateTime) -> bool {
        self.tried.lock().get(host).is_some_and(|at| (now - *at).unsigned_abs() < TRIED_FOR)
    }

    /// Notes that the detour for a host was tried.
    pub fn mark_tried(&self, host: &Route, now: OffsetDateTime) {
        let mut tried = self.tried.lock();
        if tried.len() >= MAX_HOSTS {
            tried.retain(|_, at| (now - *at).unsigned_abs() < TRIED_FOR);
        }
        if tried.len() < MAX_HOSTS {
            tried.insert(host.clone(), now);
        }
    }

    fn record(&self) -> SessionRecord {
        SessionRecord {
            id: self.id.clone(),
            user: self.user.clone(),
            secret_hash: self.secret_hash,
            created_at: self.created_at,
            last_seen_at: self.last_seen_at(),
            agent: self.agent.clone(),
        }
    }
}

impl Auth {
    /// Reads the login session's cookie of the gateway host.
    pub fn by_gateway_cookie(&self, headers: &HeaderMap, now: OffsetDateTime) -> Presented {
        let secret = match find(headers, SESSION_COOKIE) {
            Found::Nothing => return Presented::Nothing,
            Found::Bad => return Presented::Invalid,
            Found::One(secret) => secret,
        };
        let id = self.inner.session_hashes.get(&hash_secret(&secret)).map(|id| id.clone());
        match id.and_then(|id| self.alive(&id, now)) {
            Some((session, user)) => {
                self.touch(&session, now);
                Presented::Valid(user.identity(Credential::Cookie(session.id.clone()), Scope::All))
            }
            None => Presented::Invalid,
        }
    }

    /// Finds a login session that has not ended.
    pub fn login_session(&self, id: &SessionId) -> Option<Arc<LoginSession>> {
        self.inner.sessions.get(id).map(|session| session.clone())
    }

    /// Signs in with a name and a password. The caller ends the session that the browser had before, if any (SESS-1).
    pub async fn sign_in(&self, name: &str, password: SecretString, client: Client, now: OffsetDateTime) -> Result<Fresh, SignInError> {
        let user = self.try_password(name, password, &client, now).await?;
        let fresh = self.open_session(&user, &client, now).await?;
        self.audit(
            "session.created",
            user.name.as_str(),
            fresh.session.id.0.as_ref(),
            "password",
            Some(&client),
            now,
        )
        .await;
        Ok(fresh)
    }

    /// Ends a login session, its cookies on every host and its live connections.
    pub async fn sign_out(&self, id: &SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
        let Some(session) = self.login_session(id) else { return Ok(()) };
        self.end_session(&session).await?;
        let actor = self.user(session.user()).map(|user| user.name.to_string()).unwrap_or_default();
        self.audit("session.ended", &actor, &id.0, "", None, now).await;
        Ok(())
    }

    /// Ends all login sessions of a user.
    pub async fn sign_out_everywhere(&self, user: &UserId, now: OffsetDateTime) -> Result<(), StoreError> {
        self.end_sessions(user, None).await?;
        let actor = self.user(user).map(|user| user.name.to_string()).unwrap_or_default();
        self.audit("session.ended", &actor, "", "everywhere", None, now).await;
        Ok(())
    }

    /// The login sessions of a user, the one seen last first.
    pub fn sessions_of(&self, user: &UserId) -> Vec<Arc<LoginSession>> {
        let mut sessions: Vec<_> = self
            .inner
            .sessions
            .iter()
            .filter(|session| session.user() == user)
            .map(|session| session.clone())
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.last_seen_at()));
        sessions
    }

    /// Makes a login session for a user who proved to be that user.
    pub(super) async fn open_session(&self, user: &User, client: &Client, now: OffsetDateTime) -> Result<Fresh, StoreError> {
        let secret = fresh_secret();
        let session = Arc::new(LoginSession::new(SessionRecord {
            id: SessionId(fresh_id()),
            user: user.id.clone(),
            secret_hash: hash_secret(&secret),
            created_at: now,
            last_seen_at: now,
            agent: cut(&client.agent),
        }));
        for surplus in self.sessions_of(&user.id).into_iter().skip(MAX_SESSIONS_EACH - 1) {
            self.end_session(&surplus).await?;
        }
        let _changing = self.inner.changing.lock().await;
        self.inner.store.put_session(&session.record()).await?;
        self.keep_session(session.clone());
        let set_cookie = set_cookie(SESSION_COOKIE, &secret, self.inner.options.session_absolute.as_secs());
        Ok(Fresh { session, set_cookie })
    }

    /// Checks a name and a password, within the limits (RATE-1, RATE-2).
    pub(super) async fn try_password(
        &self,
        name: &str,
        password: SecretString,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Arc<User>, SignInError> {
        // Whatever is no name counts as one, so that made-up spellings share a bucket.
        let name: Option<UserName> = name.trim().to_ascii_lowercase().parse().ok();
        let account = name.as_ref().map_or("", |name| name.as_str());
        let too_many = |retry_after| SignInError::TooMany { retry_after };
        self.inner.attempts.lock().take(account, client.address, now).map_err(too_many)?;
        let user = name.as_ref().and_then(|name| self.user_by_name(name));
        let hash = user.as_ref().and_then(|user| user.password.clone());
        let busy = |_| too_many(Duration::from_secs(2));
        let right = self.inner.hasher.verify(password, hash).await.map_err(busy)?;
        match user.filter(|user| right && !user.suspended) {
            Some(user) => {
                self.inner.attempts.lock().give_back(account, client.address);
                Ok(user)
            }
            None => {
                self.audit("session.refused", account, "", "password", Some(client), now).await;
                Err(SignInError::Wrong)
            }
        }
    }

    /// A session that lives, with its user.
    pub(super) fn alive(&self, id: &SessionId, now: OffsetDateTime) -> Option<(Arc<LoginSession>, Arc<User>)> {
        let session = self.login_session(id).filter(|session| !self.is_over(session, now))?;
        let user = self.user(session.user()).filter(|user| !user.suspended)?;
        Some((session, user))
    }

    /// Notes that a session was used; written through at most every 5 minutes.
    pub(super) fn touch(&self, session: &Arc<LoginSession>, now: OffsetDateTime) {
        let now = now.unix_timestamp();
        session.last_seen.fetch_max(now, Ordering::Relaxed);
        let written = session.written.load(Ordering::Relaxed);
        let due = now - written >= WRITE_EVERY;
        if due
            && session
                .written
                .compare_exchange(written, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let (auth, session) = (self.clone(), session.clone());
            self.write_later(async move { auth.write_seen(&session).await });
        }
    }

    /// Ends the sessions of a user other than `keep`.
    pub(super) async fn end_sessions(&self, user: &UserId, keep: Option<&SessionId>) -> Result<(), StoreError> {
        for session in self.sessions_of(user) {
            if Some(&session.id) != keep {
                self.end_session(&session).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn load_sessions(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        for record in self.inner.store.sessions().await? {
            let session = LoginSession::new(record);
            if self.is_over(&session, now) || self.user(session.user()).is_none() {
                self.inner.store.remove_session(&session.id).await?;
            } else {
                self.keep_session(Arc::new(session));
            }
        }
        Ok(())
    }

    pub(super) async fn sweep_sessions(&self, now: OffsetDateTime) {
        let over: Vec<_> = self
            .inner
            .sessions
            .iter()
            .filter(|session| self.is_over(session, now))
            .map(|session| session.clone())
            .collect();
        for session in over {
            if let Err(error) = self.end_session(&session).await {
                tracing::error!(%error, "a login session that is over was not removed from the store");
            }
        }
    }

    fn is_over(&self, session: &LoginSession, now: OffsetDateTime) -> bool {
        let options = &self.inner.options;
        session.ended.is_cancelled()
            || now - session.last_seen_at() >= options.session_idle
            || now - session.created_at >= options.session_absolute
    }

    fn keep_session(&self, session: Arc<LoginSession>) {
        self.inner.session_hashes.insert(session.secret_hash, session.id.clone());
        self.inner.sessions.insert(session.id.clone(), session);
    }

    /// Ends a session in memory first: it must be over even if the store fails (FAIL-1).
    async fn end_session(&self, session: &LoginSession) -> Result<(), StoreError> {
        session.ended.cancel();
        self.inner.session_hashes.remove(&session.secret_hash);
        self.inner.sessions.remove(&session.id);
        let _changing = self.inner.changing.lock().await;
        self.inner.store.remove_session(&session.id).await
    }

    async fn write_seen(&self, session: &LoginSession) {
        let _changing = self.inner.changing.lock().await;
        // An ended session must not come back by a late write.
        if session.ended.is_cancelled() {
            return;
        }
        if let Err(error) = self.inner.store.put_session(&session.record()).await {
            tracing::warn!(%error, "it was not kept when a login session was last seen");
        }
    }
}

fn cut(agent: &str) -> String {
    let agent: String = agent.chars().filter(|character| !character.is_control()).collect();
    agent[..agent.floor_char_boundary(MAX_AGENT_BYTES)].to_owned()
}
