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
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::{
    Auth, Presented, SESSION_COOKIE, Secret, User,
    cookies::{Found, find},
    endings::Ending,
    secrets::hash_secret,
};
use crate::{
    audit::Actor,
    domain::{CodespaceName, Credential, Port, Scope, SessionId, UserId},
    route::Route,
    store::{SessionOrigin, SessionRecord, StoreError},
};

/// How often at most it is written to the store when a session was last seen.
const WRITE_EVERY: i64 = 5 * 60;
/// A host that was tried for so long ago may be tried again.
const TRIED_FOR: Duration = Duration::from_secs(30);
/// Most hosts that one session remembers.
const MAX_HOSTS: usize = 4096;

/// A login session.
pub struct LoginSession {
    pub id: SessionId,
    pub created_at: OffsetDateTime,
    /// The browser, as it named itself.
    pub agent: String,
    /// Where the sign-in came from.
    pub address: Option<String>,
    /// When it ends in any case, where whoever vouched for it said so (SESS-4).
    pub expires_at: Option<OffsetDateTime>,
    /// Who vouched for it.
    pub origin: Option<SessionOrigin>,
    /// What its provider gave for it; not kept in the store.
    pub(super) id_token: Option<Secret>,
    user: UserId,
    secret_hash: [u8; 32],
    last_seen: AtomicI64,
    written: AtomicI64,
    ended: CancellationToken,
    visited: Mutex<HashSet<(CodespaceName, Port)>>,
    tried: Mutex<HashMap<Route, OffsetDateTime>>,
    /// Where the session's cookie was set lately, and whether the person's own step began that.
    arrived: Mutex<HashMap<Route, (OffsetDateTime, bool)>>,
}

impl std::fmt::Debug for LoginSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginSession").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LoginSession {
    pub(super) fn new(record: SessionRecord) -> Self {
        let seen = record.last_seen_at.unix_timestamp();
        Self {
            id: record.id,
            created_at: record.created_at,
            agent: record.agent,
            address: record.address,
            expires_at: record.expires_at,
            origin: record.origin,
            id_token: None,
            user: record.user,
            secret_hash: record.secret_hash,
            last_seen: seen.into(),
            written: seen.into(),
            ended: CancellationToken::new(),
            visited: Mutex::default(),
            tried: Mutex::default(),
            arrived: Mutex::default(),
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

    /// Notes that the session's cookie was set on a host, and whether that began with the person's own step.
    pub fn mark_arrived(&self, host: &Route, own: bool, now: OffsetDateTime) {
        let mut arrived = self.arrived.lock();
        if arrived.len() >= MAX_HOSTS {
            arrived.retain(|_, (at, _)| (now - *at).unsigned_abs() < TRIED_FOR);
        }
        if arrived.len() < MAX_HOSTS {
            arrived.insert(host.clone(), (now, own));
        }
    }

    /// Tells whether the session's cookie was set on a host in the last 30 s.
    pub fn arrived_lately(&self, host: &Route, now: OffsetDateTime) -> bool {
        self.arrived
            .lock()
            .get(host)
            .is_some_and(|(at, _)| (now - *at).unsigned_abs() < TRIED_FOR)
    }

    /// Tells, once, whether the person's own step began the sign-in at a host of the last 30 s.
    pub fn take_intent(&self, host: &Route, now: OffsetDateTime) -> bool {
        self.arrived.lock().get_mut(host).is_some_and(|(at, own)| {
            let lately = (now - *at).unsigned_abs() < TRIED_FOR;
            std::mem::take(own) && lately
        })
    }

    pub(super) fn record(&self) -> SessionRecord {
        SessionRecord {
            id: self.id.clone(),
            user: self.user.clone(),
            secret_hash: self.secret_hash,
            created_at: self.created_at,
            last_seen_at: self.last_seen_at(),
            agent: self.agent.clone(),
            address: self.address.clone(),
            expires_at: self.expires_at,
            origin: self.origin.clone(),
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
                Presented::Valid(Arc::new(user.identity(Credential::Cookie(session.id.clone()), Scope::All)))
            }
            None => Presented::Invalid,
        }
    }

    /// Finds a login session that has not ended.
    pub fn login_session(&self, id: &SessionId) -> Option<Arc<LoginSession>> {
        self.inner.sessions.get(id).map(|session| session.clone())
    }

    /// Ends a login session, its cookies on every host and its live connections.
    pub async fn sign_out(&self, id: &SessionId, by: &Actor, now: OffsetDateTime) -> Result<(), StoreError> {
        let Some(session) = self.login_session(id) else { return Ok(()) };
        let ended = self.end_session(&session).await;
        let owner = self.user(session.user()).map(|user| user.name.to_string()).unwrap_or_default();
        self.audit("session.ended", by, &owner, &id.0, now).await;
        ended
    }

    /// Ends all login sessions of a user.
    pub async fn sign_out_everywhere(&self, user: &UserId, by: &Actor, now: OffsetDateTime) -> Result<(), StoreError> {
        let ended = self.end_sessions(user, None).await;
        let owner = self.user(user).map(|user| user.name.to_string()).unwrap_or_default();
        self.audit("session.ended", by, &owner, "everywhere", now).await;
        ended
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
        let mut sessions = self.sessions_of(user);
        sessions.retain(|session| Some(&session.id) != keep);
        self.end_all(&sessions).await
    }

    /// Ends all of them at once, whatever the store says; then tells of the first that it did not forget.
    pub(super) async fn end_all(&self, sessions: &[Arc<LoginSession>]) -> Result<(), StoreError> {
        sessions.iter().for_each(|session| self.take_away(session));
        let mut outcome = Ok(());
        for session in sessions {
            let ended = self.end_session(session).await;
            outcome = outcome.and(ended);
        }
        outcome
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

    /// Ends sessions whose provider gave them an end that has come, so that what they hold open closes within a second;
    /// costs nothing until then. To be called about twice a second.
    pub fn end_due_sessions(&self, now: OffsetDateTime) {
        if now.unix_timestamp() < self.inner.next_end.load(Ordering::Relaxed) {
            return;
        }
        self.inner.next_end.store(i64::MAX, Ordering::Relaxed);
        self.sweep_sessions(now);
        for end in self.inner.sessions.iter().filter_map(|session| session.expires_at) {
            self.inner.next_end.fetch_min(end.unix_timestamp(), Ordering::Relaxed);
        }
    }

    pub(super) fn sweep_sessions(&self, now: OffsetDateTime) {
        let over: Vec<_> = self
            .inner
            .sessions
            .iter()
            .filter(|session| self.is_over(session, now))
            .map(|session| session.clone())
            .collect();
        over.iter().for_each(|session| self.take_away(session));
        // A store that is slow must not hold up what ends next.
        let auth = self.clone();
        self.write_later(async move {
            for session in over {
                if let Err(error) = auth.forget(Ending::Session(session)).await {
                    tracing::error!(%error, "a login session that is over was not removed from the store");
                }
            }
        });
    }

    fn is_over(&self, session: &LoginSession, now: OffsetDateTime) -> bool {
        let options = &self.inner.options;
        // In whole seconds: this is asked of every request.
        let since = |then: i64| u64::try_from(now.unix_timestamp().saturating_sub(then)).unwrap_or(0);
        session.ended.is_cancelled()
            || since(session.last_seen.load(Ordering::Relaxed)) >= options.session_idle.as_secs()
            || since(session.created_at.unix_timestamp()) >= options.session_absolute.as_secs()
            || session.expires_at.is_some_and(|at| now >= at)
    }

    pub(super) fn keep_session(&self, session: Arc<LoginSession>) {
        if let Some(at) = session.expires_at {
            self.inner.next_end.fetch_min(at.unix_timestamp(), Ordering::Relaxed);
        }
        self.inner.session_hashes.insert(session.secret_hash, session.id.clone());
        self.inner.sessions.insert(session.id.clone(), session);
    }

    /// Ends a session in memory first: it must be over even if the store fails (FAIL-1).
    pub(super) async fn end_session(&self, session: &Arc<LoginSession>) -> Result<(), StoreError> {
        self.take_away(session);
        self.forget(Ending::Session(Arc::clone(session))).await
    }

    /// Ends it here; the store is not told.
    fn take_away(&self, session: &LoginSession) {
        session.ended.cancel();
        self.inner.session_hashes.remove(&session.secret_hash);
        self.inner.sessions.remove(&session.id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{
        Client, clear_session_cookie,
        fixture::{auth, auth_on, cookies, name, now, port, seconds, sent_back, signed_in},
    };

    const HOUR: u64 = 3600;

    fn is_valid(auth: &Auth, cookie: &str, now: OffsetDateTime) -> bool {
        matches!(auth.by_gateway_cookie(&cookies(&[sent_back(cookie)]), now), Presented::Valid(_))
    }

    #[tokio::test]
    async fn three_answers() {
        let (auth, _) = auth().await;
        let fresh = signed_in(&auth).await;
        let ask = |lines: &[&str]| auth.by_gateway_cookie(&cookies(lines), now());
        assert_eq!(ask(&["a=b"]), Presented::Nothing);
        assert_eq!(ask(&["__Host-portico_session=forged"]), Presented::Invalid);
        assert_eq!(
            ask(&[sent_back(&fresh.set_cookie), "__Host-portico_session=forged"]),
            Presented::Invalid
        );
        let Presented::Valid(identity) = ask(&[sent_back(&fresh.set_cookie)]) else {
            panic!("not valid");
        };
        assert_eq!((identity.name.as_str(), &identity.scope), ("ada", &Scope::All));
        assert!(!clear_session_cookie().contains(&fresh.session.id.0.to_string()));
    }

    #[tokio::test]
    async fn sess_2_idle_and_absolute_ends() {
        let (auth, store) = auth().await;
        let fresh = signed_in(&auth).await;
        let cookie = &fresh.set_cookie;
        assert!(!is_valid(&auth, cookie, now() + seconds(12 * HOUR)), "idle");
        // Used every 11 hours it lives for 7 days, and no longer.
        let mut at = now();
        while at + seconds(11 * HOUR) < now() + seconds(7 * 24 * HOUR) {
            at += seconds(11 * HOUR);
            assert!(is_valid(&auth, cookie, at), "{at}");
        }
        assert!(is_valid(&auth, cookie, now() + seconds(7 * 24 * HOUR - 1)));
        assert!(!is_valid(&auth, cookie, now() + seconds(7 * 24 * HOUR)));
        auth.settle().await;
        let kept = store.sessions().await.expect("sessions");
        assert_eq!(kept[0].last_seen_at, now() + seconds(7 * 24 * HOUR - 1), "written through");
        let ended = fresh.session.ended();
        auth.sweep(now() + seconds(7 * 24 * HOUR)).await;
        assert!(ended.is_cancelled());
        auth.settle().await;
        assert!(store.sessions().await.expect("sessions").is_empty());
    }

    #[tokio::test]
    async fn sess_3_ends_are_at_once_and_last() {
        let (auth, store) = auth().await;
        let first = signed_in(&auth).await;
        let user = auth.user(first.session.user()).expect("the user");
        let open = async || auth.open_session(&user, &Client::default(), now()).await.expect("a session");
        let (second, third) = (open().await, open().await);
        auth.sign_out(&first.session.id, &Actor::gateway(), now())
            .await
            .expect("signed out");
        assert!(first.session.ended().is_cancelled() && !second.session.ended().is_cancelled());
        assert!(!is_valid(&auth, &first.set_cookie, now()) && is_valid(&auth, &second.set_cookie, now()));
        let password = crate::auth::fixture::secret("something long");
        auth.set_password(&user.id, password, Some(&second.session.id), &Actor::gateway(), now())
            .await
            .expect("a password");
        assert!(third.session.ended().is_cancelled() && !second.session.ended().is_cancelled());
        auth.suspend(&user.id, true, &Actor::gateway(), now()).await.expect("suspended");
        assert!(second.session.ended().is_cancelled());
        auth.suspend(&user.id, false, &Actor::gateway(), now()).await.expect("restored");
        assert!(!is_valid(&auth, &second.set_cookie, now()));
        assert!(
            auth.open_session(&user, &Client::default(), now()).await.is_err(),
            "the account changed since it was proved"
        );
        assert!(store.sessions().await.expect("sessions").is_empty());
    }

    #[tokio::test]
    async fn a_session_outlives_the_gateway() {
        let (auth, store) = auth().await;
        let fresh = signed_in(&auth).await;
        let again = auth_on(store.clone(), now()).await;
        assert!(is_valid(&again, &fresh.set_cookie, now()));
        assert_eq!(again.sessions_of(fresh.session.user()).len(), 1);
        let late = auth_on(store.clone(), now() + seconds(13 * HOUR)).await;
        assert!(!is_valid(&late, &fresh.set_cookie, now()));
        assert!(store.sessions().await.expect("sessions").is_empty());
    }

    #[tokio::test]
    async fn last_seen_is_written_every_five_minutes_at_most() {
        let (auth, store) = auth().await;
        let fresh = signed_in(&auth).await;
        for (after, expected) in [(299, 0), (300, 300), (599, 300), (600, 600)] {
            assert!(is_valid(&auth, &fresh.set_cookie, now() + seconds(after)));
            auth.settle().await;
            let kept = store.sessions().await.expect("sessions");
            assert_eq!(kept[0].last_seen_at, now() + seconds(expected), "{after}");
        }
    }

    #[tokio::test]
    async fn hosts_are_remembered() {
        let (auth, _) = auth().await;
        let session = signed_in(&auth).await.session;
        let (name, number) = (name("amber"), Port::new(3000).expect("a port"));
        assert!(!session.visited(&name, number));
        session.mark_visited(&name, number);
        assert!(session.visited(&name, number));
        let host = port("amber", 3000);
        assert!(!session.tried_recently(&host, now()));
        session.mark_tried(&host, now());
        assert!(session.tried_recently(&host, now() + seconds(29)));
        assert!(!session.tried_recently(&host, now() + seconds(30)));
    }
}
