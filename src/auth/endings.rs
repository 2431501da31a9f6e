//! Ends that the store was not told of yet: they hold here at once, and it is told again until it takes them (SESS-3).
//!
//! A login session or a token that ended in memory alone would be back after a restart. Refuses to let that pile up: while
//! too many wait, nothing new is given out that would have to be forgotten as well.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Auth, LoginSession};
use crate::{domain::TokenId, store::StoreError};

/// Most ends that may wait before nothing new begins.
const MOST: usize = 65_536;
/// How many of them may fail in a row of attempts before the rest waits for the next.
const FAILED_EACH: usize = 8;

/// How often operators are told that ends wait.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Something that ended, and that the store must forget.
#[derive(Clone)]
pub(super) enum Ending {
    Session(Arc<LoginSession>),
    Token(TokenId),
}

/// The ends that the store was not told of, the one that was tried last at the back.
#[derive(Default)]
pub(super) struct Owed {
    ends: Mutex<VecDeque<Ending>>,
    said: Mutex<Option<Instant>>,
}

impl Ending {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Session(one), Self::Session(other)) => one.id == other.id,
            (Self::Token(one), Self::Token(other)) => one == other,
            _ => false,
        }
    }
}

impl Owed {
    /// The sessions among them that are meant.
    pub(super) fn sessions(&self, meant: impl Fn(&LoginSession) -> bool) -> Vec<Arc<LoginSession>> {
        let owed = self.ends.lock();
        let sessions = owed.iter().filter_map(|ending| match ending {
            Ending::Session(session) => Some(session),
            Ending::Token(_) => None,
        });
        sessions.filter(|session| meant(session)).cloned().collect()
    }

    /// Whether operators are to be told again that ends wait.
    fn is_to_be_said(&self, now: Instant) -> bool {
        let mut said = self.said.lock();
        let due = said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EVERY);
        if due {
            *said = Some(now);
        }
        due
    }

    fn next(&self) -> Option<Ending> {
        self.ends.lock().front().cloned()
    }

    /// Takes note of whether the store was told of an end.
    fn note(&self, ending: Ending, told: bool) {
        let mut owed = self.ends.lock();
        if owed.front().is_some_and(|first| first.is(&ending)) {
            owed.pop_front();
        } else {
            owed.retain(|other| !other.is(&ending));
        }
        if !told {
            owed.push_back(ending);
        }
    }
}

impl Auth {
    /// Tells the store to forget what ended; if it does not take that now, it is told again by [`Auth::tell_owed`].
    pub(super) async fn forget(&self, ending: Ending) -> Result<(), StoreError> {
        self.change(move |auth| async move {
            let store = &auth.inner.store;
            let told = match &ending {
                Ending::Session(session) => store.remove_session(&session.id).await,
                Ending::Token(id) => store.remove_token(id).await,
            };
            auth.inner.owed.note(ending, told.is_ok());
            told
        })
        .await
    }

    /// Tells the store again what it did not take; to be called about twice a second.
    pub async fn tell_owed(&self) {
        let waiting = self.inner.owed.ends.lock().len();
        let mut failed = 0;
        for _ in 0..waiting {
            let Some(next) = self.inner.owed.next() else { return };
            if let Err(error) = self.forget(next).await {
                failed += 1;
                if self.inner.owed.is_to_be_said(Instant::now()) {
                    tracing::error!(%error, waiting, "login sessions or tokens that ended are in the store still: a restart would revive them");
                }
                if failed >= FAILED_EACH {
                    return;
                }
            }
        }
    }

    /// Says what the store was not told of to the last.
    pub(super) fn owed_at_the_end(&self) {
        let waiting = self.inner.owed.ends.lock().len();
        if waiting > 0 {
            tracing::error!(
                waiting,
                "login sessions or tokens that ended are in the store still, and are valid again after a start"
            );
        }
    }

    /// Refuses what would have to be forgotten one day, while the store does not forget.
    pub(super) fn can_forget(&self) -> Result<(), StoreError> {
        if self.inner.owed.ends.lock().len() < MOST {
            return Ok(());
        }
        Err(StoreError::Failed("too much that ended is in the store still".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Actor,
        auth::{
            Client, Presented,
            fixture::{auth_on, cookies, now, sent_back, user},
        },
        domain::{Scope, SessionId},
        store::{Store as _, memory::MemoryStore},
    };

    #[tokio::test]
    async fn sess_3_what_ended_ends_in_a_store_that_failed_too() {
        let store = Arc::new(MemoryStore::new());
        let auth = auth_on(store.clone(), now()).await;
        let ada = user(&auth, "ada").await;
        let open = async || auth.open_session(&ada, &Client::default(), now()).await.expect("a session");
        let sessions = [open().await, open().await, open().await];
        let by = Actor::gateway();
        let token = auth
            .create_token(&ada.id, "ci", Scope::All, None, &by, now())
            .await
            .expect("a token")
            .record;
        store.refuse_to_remove([&sessions[1].session.id.0, &token.id.0]);
        assert!(auth.sign_out_everywhere(&ada.id, &by, now()).await.is_err(), "it says so");
        assert!(auth.revoke_token(&ada.id, &token.id, &by, now()).await.is_err());
        // All of them ended, and the one that the store kept held up no other.
        for session in &sessions {
            assert!(session.session.ended().is_cancelled());
            let presented = auth.by_gateway_cookie(&cookies(&[sent_back(&session.set_cookie)]), now());
            assert_eq!(presented, Presented::Invalid);
        }
        let kept: Vec<SessionId> = store
            .sessions()
            .await
            .expect("sessions")
            .into_iter()
            .map(|session| session.id)
            .collect();
        assert_eq!(kept, [sessions[1].session.id.clone()]);
        auth.tell_owed().await;
        assert_eq!(store.sessions().await.expect("sessions").len(), 1, "it fails still");
        store.refuse_to_remove([]);
        auth.tell_owed().await;
        assert!(store.sessions().await.expect("sessions").is_empty());
        assert!(store.tokens().await.expect("tokens").is_empty());
        assert!(auth.inner.owed.next().is_none());
    }

    #[tokio::test]
    async fn sess_3_a_suspension_closes_all_that_is_open_though_the_store_fails() {
        let store = Arc::new(MemoryStore::new());
        let auth = auth_on(store.clone(), now()).await;
        let ada = user(&auth, "ada").await;
        let session = auth.open_session(&ada, &Client::default(), now()).await.expect("a session").session;
        let by = Actor::gateway();
        let token = auth
            .create_token(&ada.id, "ci", Scope::All, None, &by, now())
            .await
            .expect("a token")
            .record;
        let open = auth.token_ended(&token.id).expect("a token");
        store.refuse_to_remove([&session.id.0]);
        assert!(auth.suspend(&ada.id, true, &by, now()).await.is_err());
        assert!(session.ended().is_cancelled() && open.is_cancelled());
        // The last attempt is made as the gateway ends.
        store.refuse_to_remove([]);
        auth.settle().await;
        assert!(store.sessions().await.expect("sessions").is_empty());
    }
}
