//! Signing in: a password that is right becomes a login session.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Auth, Client, LoginSession, SESSION_COOKIE, Secret, User,
    attempts::Attempt,
    cookies::set_cookie,
    secrets::{fresh_id, fresh_secret, hash_secret},
};
use crate::{
    domain::{SessionId, UserName},
    store::{SessionOrigin, SessionRecord, StoreError},
};

/// Most bytes of a `User-Agent` that are kept.
const MAX_AGENT_BYTES: usize = 200;
/// Most login sessions of one user; the one unseen for longest gives way.
const MAX_SESSIONS_EACH: usize = 100;

/// A sign-in that succeeded.
#[derive(Clone)]
pub struct Fresh {
    pub session: Arc<LoginSession>,
    /// The `Set-Cookie` header's value for the gateway host.
    pub set_cookie: String,
}

/// Who vouches for a sign-in, and for how long.
#[derive(Default)]
pub(super) struct Vouching {
    pub origin: Option<SessionOrigin>,
    pub until: Option<OffsetDateTime>,
    pub id_token: Option<Secret>,
}

/// Why a sign-in failed; a wrong name, a wrong password and a suspended account read the same.
#[derive(Debug, Error)]
pub enum SignInError {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("passwords do not sign in here")]
    Off,
    #[error("too many attempts; try again in {} s", .retry_after.as_secs())]
    TooMany { retry_after: Duration },
    #[error("the sign-in could not be kept")]
    Store(#[from] StoreError),
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Auth {
    /// Signs in with a name and a password. The caller ends the session that the browser had before, if any (SESS-1).
    pub async fn sign_in(&self, name: &str, password: SecretString, client: Client, now: OffsetDateTime) -> Result<Fresh, SignInError> {
        if !self.inner.outside.passwords {
            return Err(SignInError::Off);
        }
        let user = self.try_password(name, password, &client, now).await?;
        let fresh = self.open_session(&user, &client, now).await?;
        let by = client.actor(user.name.as_str());
        self.audit("session.created", &by, &user.name.to_string(), "password", now).await;
        Ok(fresh)
    }

    /// Makes a login session for a user who proved to be that user.
    pub(crate) async fn open_session(&self, user: &User, client: &Client, now: OffsetDateTime) -> Result<Fresh, StoreError> {
        self.open_session_by(user, Vouching::default(), client, now).await
    }

    /// The same for somebody for whom another vouched.
    pub(super) async fn open_session_by(
        &self,
        user: &User,
        vouching: Vouching,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<Fresh, StoreError> {
        self.can_forget()?;
        let secret = fresh_secret();
        let mut session = LoginSession::new(SessionRecord {
            id: SessionId(fresh_id()),
            user: user.id.clone(),
            secret_hash: hash_secret(&secret),
            created_at: now,
            last_seen_at: now,
            agent: cut(&client.agent),
            address: client.address.map(|address| address.to_string()),
            expires_at: vouching.until,
            origin: vouching.origin,
        });
        session.id_token = vouching.id_token;
        let session = Arc::new(session);
        for surplus in self.sessions_of(&user.id).into_iter().skip(MAX_SESSIONS_EACH - 1) {
            self.end_session(&surplus).await?;
        }
        let (kept, proved) = (session.clone(), user.clone());
        self.change(move |auth| async move {
            // Suspended meanwhile, or the password changed: what was proved holds no more.
            if auth.user(&proved.id).is_none_or(|user| *user != proved) {
                return Err(StoreError::Missing);
            }
            auth.inner.store.put_session(&kept.record()).await?;
            auth.keep_session(kept);
            Ok(())
        })
        .await?;
        let lasts = self.inner.options.session_absolute;
        let left = vouching.until.map(|until| (until - now).try_into().unwrap_or_default());
        let set_cookie = set_cookie(SESSION_COOKIE, &secret, left.map_or(lasts, |left| lasts.min(left)).as_secs());
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
        let attempt = Attempt::take(&self.inner.attempts, account, client.address, now).map_err(too_many)?;
        let user = name.as_ref().and_then(|name| self.user_by_name(name));
        // Nobody gets in as who is suspended, with whatever password.
        let hash = user.as_ref().filter(|user| !user.suspended).and_then(|user| user.password.clone());
        let busy = |_| too_many(Duration::from_secs(2));
        let right = self.inner.hasher.verify(password, hash, attempt).await.map_err(busy)?;
        // A name that nobody has is not kept: people type their passwords there.
        let known = user.as_ref().map_or("", |_| account).to_owned();
        match user.filter(|_| right) {
            Some(user) => Ok(user),
            None => {
                self.audit_refusal(&known, "password", client, now).await;
                Err(SignInError::Wrong)
            }
        }
    }

    /// Tells the audit log of a sign-in that was refused; of a flood, now and then.
    pub(super) async fn audit_refusal(&self, account: &str, how: &str, client: &Client, now: OffsetDateTime) {
        let told = self.inner.refusals.lock().tell(now);
        let detail = match told {
            None => return,
            Some(0) => how.to_owned(),
            Some(others) => format!("{how}; {others} more before it, by anyone"),
        };
        self.audit("session.refused", &client.actor(""), account, &detail, now).await;
    }
}

fn cut(agent: &str) -> String {
    let agent: String = agent.chars().filter(|character| !character.is_control()).collect();
    agent[..agent.floor_char_boundary(MAX_AGENT_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        audit::Actor,
        auth::fixture::{PASSWORD, audited, auth, auth_on, now, secret, user, user_with_password},
        store::{Store as _, sqlite::SqliteStore},
    };

    #[tokio::test]
    async fn sess_1_each_sign_in_is_a_session_of_its_own() {
        let (auth, store) = auth().await;
        user_with_password(&auth, "ada").await;
        let client = Client {
            address: Some([127, 0, 0, 1].into()),
            agent: format!("Browser\u{7}/1 {}\u{e9}", "x".repeat(300)),
            request_id: None,
        };
        let first = auth
            .sign_in("ada", secret(PASSWORD), client.clone(), now())
            .await
            .expect("a session");
        let second = auth.sign_in(" Ada ", secret(PASSWORD), client, now()).await.expect("a session");
        assert_ne!(first.session.id, second.session.id);
        assert_ne!(first.set_cookie, second.set_cookie);
        assert!(first.session.agent.starts_with("Browser/1 x") && first.session.agent.len() <= MAX_AGENT_BYTES);
        assert!(!format!("{first:?}").contains(&first.set_cookie));
        assert!(matches!(
            auth.sign_in("ada", secret("wrong one"), Client::default(), now()).await,
            Err(SignInError::Wrong)
        ));
        let expected = [
            "user.created",
            "user.password",
            "session.created",
            "session.created",
            "session.refused",
        ];
        assert_eq!(audited(&store).await, expected);
    }

    #[tokio::test]
    async fn rate_2_every_wrong_answer_is_the_same_and_costs_the_same() {
        let (auth, _) = auth().await;
        let suspended = user_with_password(&auth, "bob").await;
        auth.suspend(&suspended.id, true, &Actor::gateway(), now())
            .await
            .expect("suspended");
        user_with_password(&auth, "ada").await;
        user(&auth, "carol").await;
        let mut took = Vec::new();
        // The least of some tries: what a busy machine adds is not the answer's doing.
        for (name, password) in [
            ("ada", "wrong one"),
            ("nobody", PASSWORD),
            ("carol", PASSWORD),
            ("bob", PASSWORD),
            ("../etc", PASSWORD),
            ("", ""),
        ] {
            let mut tries = Vec::new();
            for _ in 0..4 {
                let start = Instant::now();
                let outcome = auth.sign_in(name, secret(password), Client::default(), now()).await;
                assert!(matches!(outcome, Err(SignInError::Wrong)), "{name}");
                tries.push(start.elapsed());
            }
            took.extend(tries.into_iter().min());
        }
        let (least, most) = (took.iter().min(), took.iter().max());
        // No answer skips the hash; how close they are is measured elsewhere.
        assert!(least.zip(most).is_some_and(|(least, most)| *least * 20 > *most), "{took:?}");
    }

    #[tokio::test]
    async fn rate_1_too_many_attempts_wait() {
        let (auth, _) = auth().await;
        user_with_password(&auth, "ada").await;
        for _ in 0..10 {
            let outcome = auth.sign_in("ada", secret("wrong one"), Client::default(), now()).await;
            assert!(matches!(outcome, Err(SignInError::Wrong)));
        }
        // The right password does not help either, in any spelling of the name, until time has passed.
        let outcome = auth.sign_in("ADA", secret(PASSWORD), Client::default(), now()).await;
        let Err(SignInError::TooMany { retry_after }) = outcome else {
            panic!("{outcome:?}");
        };
        auth.sign_in("ada", secret(PASSWORD), Client::default(), now() + retry_after)
            .await
            .expect("a session");
    }

    #[tokio::test]
    async fn fail_1_a_store_that_fails_denies() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(SqliteStore::open(&directory.path().join("s.db")).await.expect("a store"));
        let auth = auth_on(store.clone(), now()).await;
        let ada = user(&auth, "ada").await;
        let fresh = auth.open_session(&ada, &Client::default(), now()).await.expect("a session");
        store.close().await;
        assert!(auth.open_session(&ada, &Client::default(), now()).await.is_err());
        assert!(
            auth.set_password(&ada.id, secret(PASSWORD), None, &Actor::gateway(), now())
                .await
                .is_err()
        );
        assert!(!auth.user(&ada.id).expect("ada").has_password(), "memory is not ahead of the store");
        // A sign-out says that it failed, and the session is over all the same.
        assert!(auth.sign_out(&fresh.session.id, &Actor::gateway(), now()).await.is_err());
        assert!(fresh.session.ended().is_cancelled() && auth.sessions_of(&ada.id).is_empty());
    }
}
