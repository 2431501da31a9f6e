//! Passwords: argon2id, two at a time, and the same work for names that do not exist (RATE-2, RATE-3).

use std::sync::{Arc, LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::domain::UserName;

/// Fewest characters of a password.
const MIN_CHARACTERS: usize = 8;
/// Most bytes of a password: argon2 reads them all, so a stranger must not choose how many.
const MAX_BYTES: usize = 1024;
/// How many hashes may be worked out at once; each takes 19 MiB and one core.
const AT_ONCE: usize = 2;
/// How many may wait; beyond that the answer is "later", not a queue without end.
const WAITING: usize = 200;

/// Why a password will not do.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PasswordError {
    #[error("a password has at least {MIN_CHARACTERS} characters")]
    TooShort,
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    #[error("a password must differ from the account's name")]
    IsName,
}

/// Works out hashes away from the request tasks.
pub(super) struct Hasher {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// What is checked for a name that does not exist; worked out with the first check of any, not at start.
    dummy: Arc<LazyLock<String>>,
}

/// Too many are being worked out.
#[derive(Clone, Copy, Debug, Error)]
#[error("too many passwords are being checked")]
pub(super) struct Busy;

/// Checks that a new password will do for an account.
pub(super) fn check_new(password: &SecretString, name: &UserName) -> Result<(), PasswordError> {
    let text = password.expose_secret();
    if text.chars().count() < MIN_CHARACTERS {
        Err(PasswordError::TooShort)
    } else if text.len() > MAX_BYTES {
        Err(PasswordError::TooLong)
    } else if text.eq_ignore_ascii_case(name.as_str()) {
        Err(PasswordError::IsName)
    } else {
        Ok(())
    }
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            dummy: Arc::new(LazyLock::new(|| {
                hash(super::secrets::fresh_secret().as_bytes()).unwrap_or_default()
            })),
        }
    }

    /// Hashes a new password into PHC form.
    pub(super) async fn hash(&self, password: SecretString) -> Result<String, Busy> {
        self.run(move || hash(password.expose_secret().as_bytes())).await?.ok_or(Busy)
    }

    /// Checks a password; none as the hash costs the same and is always wrong.
    pub(super) async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, Busy> {
        if password.expose_secret().len() > MAX_BYTES {
            return Ok(false);
        }
        let dummy = self.dummy.clone();
        self.run(move || {
            let dummy = LazyLock::force(&dummy);
            let right = verify(password.expose_secret().as_bytes(), hash.as_deref().unwrap_or(dummy));
            right && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _waiting = self.waiting.clone().try_acquire_owned().map_err(|_| Busy)?;
        let permit = self.at_once.clone().acquire_owned().await.map_err(|_| Busy)?;
        // The permit goes with the work: a caller that gives up must not let a third hash begin.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| Busy)
    }
}

fn hash(password: &[u8]) -> Option<String> {
    Argon2::default().hash_password(password).ok().map(|hash| hash.to_string())
}

fn verify(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use futures_util::{future::join_all, poll};

    use super::*;

    #[tokio::test]
    async fn rate_3_two_are_worked_out_at_once_and_the_rest_waits_or_is_refused() {
        let hasher = Hasher::new();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // The first stay at work until everybody has asked: one that ended sooner would make room for another.
        let gate = Arc::new(Barrier::new(AT_ONCE + 1));
        let mut works = (0..WAITING + 50)
            .map(|number| {
                let (running, most, gate) = (running.clone(), most.clone(), gate.clone());
                Box::pin(tokio::task::unconstrained(hasher.run(move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    if number < AT_ONCE {
                        gate.wait();
                    }
                    running.fetch_sub(1, SeqCst);
                })))
            })
            .collect::<Vec<_>>();
        let mut let_in = Vec::new();
        for mut work in works.drain(..) {
            match poll!(&mut work) {
                std::task::Poll::Pending => let_in.push(work),
                std::task::Poll::Ready(done) => assert!(done.is_err()),
            }
        }
        assert_eq!(let_in.len(), WAITING);
        gate.wait();
        assert!(join_all(let_in).await.iter().all(Result::is_ok));
        assert_eq!(most.load(SeqCst), AT_ONCE);
    }
}
