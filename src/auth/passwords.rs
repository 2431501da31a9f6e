//! Passwords: argon2id, few at a time, and the same work for names that do not exist (RATE-2, RATE-3).
//!
//! A hash is worked out on a thread of its own, and when many sign in at once that thread runs only while nobody else wants the
//! processor (SCHED_IDLE of sched(7)): who floods the sign-in page delays others who sign in, not the sockets that are open. A
//! lower priority alone did not do: what wakes up waits for the end of the running thread's slice all the same, some
//! milliseconds. Signing in does not starve either: a hash that has no processor left to it does not hold up the next, and those that
//! follow have a normal share for a while. The kernel ranks so within one control group: where the gateway has one of its own, its own
//! connections come before its hashes, and what other groups run is shared with as their weights say.
//!
//! Passwords of share links wait in a line of their own: whoever makes or guesses them delays nobody who signs in.

use std::{
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::attempts::Attempt;
use crate::domain::UserName;

/// Fewest characters of a password.
const MIN_CHARACTERS: usize = 8;
/// Most bytes of a password: argon2 reads them all, so a stranger must not choose how many.
const MAX_BYTES: usize = 1024;
/// Most hashes that may be worked out at once; each takes 19 MiB and one core, and half of the cores stays free.
const AT_ONCE: usize = 2;
/// More than so many that sign in or wait are a flood, whose hashes stand back behind what else runs.
const FLOOD: usize = 4;
/// A hash that stands back and takes longer than this has no processor left to it.
const STARVED: Duration = Duration::from_millis(500);
/// For how long hashes do not stand back after one that starved.
const SHARE: Duration = Duration::from_secs(10);
/// How many who sign in may wait; beyond that the answer is "later", not a queue without end.
const WAITING: usize = 200;
/// The same of passwords of links, of which one is worked out at a time.
const WAITING_LINKS: usize = 20;

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
    sign_ins: Line,
    links: Line,
    /// What is checked for a name that does not exist; worked out with the first check of any, not at start.
    dummy: Arc<LazyLock<String>>,
}

/// Hashes that wait for each other and for no others.
#[derive(Clone)]
struct Line {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// How many may wait or be at work in all.
    most: usize,
    /// More than so many of them stand back.
    flood: usize,
    /// When a hash was last seen that had no processor left to it.
    starved: Arc<Mutex<Option<Instant>>>,
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
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            sign_ins: Line::of((cores / 2).clamp(1, AT_ONCE), WAITING, FLOOD),
            // Nobody waits for them with a login in hand: they always stand back.
            links: Line::of(1, WAITING_LINKS, 0),
            dummy: Arc::new(LazyLock::new(|| {
                hash(super::secrets::fresh_secret().as_bytes()).unwrap_or_default()
            })),
        }
    }

    /// Hashes a new password of an account into PHC form.
    pub(super) async fn hash(&self, password: SecretString) -> Result<String, Busy> {
        let work = move || hash(password.expose_secret().as_bytes());
        self.sign_ins.run(work).await?.ok_or(Busy)
    }

    /// The same of a share link.
    pub(super) async fn hash_of_link(&self, password: SecretString) -> Result<String, Busy> {
        let work = move || hash(password.expose_secret().as_bytes());
        self.links.run(work).await?.ok_or(Busy)
    }

    /// Checks a password; none as the hash costs the same and is always wrong. The attempt is judged whether or not its caller waits
    /// for that, and given back where it was not worked on.
    pub(super) async fn verify(&self, password: SecretString, hash: Option<String>, attempt: Attempt) -> Result<bool, Busy> {
        self.check(&self.sign_ins, password, hash, attempt).await
    }

    /// The same of a share link.
    pub(super) async fn verify_of_link(&self, password: SecretString, hash: String, attempt: Attempt) -> Result<bool, Busy> {
        self.check(&self.links, password, Some(hash), attempt).await
    }

    async fn check(&self, line: &Line, password: SecretString, hash: Option<String>, attempt: Attempt) -> Result<bool, Busy> {
        if password.expose_secret().len() > MAX_BYTES {
            return Ok(attempt.judge(false));
        }
        let dummy = self.dummy.clone();
        line.run(move || {
            let dummy = LazyLock::force(&dummy);
            let right = verify(password.expose_secret().as_bytes(), hash.as_deref().unwrap_or(dummy));
            attempt.judge(right && hash.is_some())
        })
        .await
    }
}

impl Line {
    fn of(at_once: usize, most: usize, flood: usize) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(most)),
            most,
            flood,
            starved: Arc::default(),
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let waiting = self.waiting.clone().try_acquire_owned().map_err(|_| Busy)?;
        let permit = self.at_once.clone().acquire_owned().await.map_err(|_| Busy)?;
        let (done, outcome) = oneshot::channel();
        let at_work = self.most - self.waiting.available_permits();
        let behind = self.stands_back(at_work, Instant::now());
        let turn = Arc::new(Mutex::new(Some(permit)));
        if behind {
            tokio::spawn(self.clone().pass(turn.clone()));
        }
        // The turn goes with the work: a caller that gives up must not let one more hash begin.
        let worker = thread::Builder::new().name("password".into()).spawn(move || {
            if behind {
                stand_back();
            }
            let outcome = work();
            drop(turn.lock().take());
            // Before whoever asked can ask again.
            drop(waiting);
            drop(done.send(outcome));
        });
        worker.map_err(|_| Busy)?;
        outcome.await.map_err(|_| Busy)
    }

    /// Lets the next begin where one that stands back takes long.
    async fn pass(self, turn: Arc<Mutex<Option<OwnedSemaphorePermit>>>) {
        tokio::time::sleep(STARVED).await;
        if let Some(permit) = turn.lock().take() {
            *self.starved.lock() = Some(Instant::now());
            drop(permit);
        }
    }

    /// Tells whether the next hash stands back: so many are at work or wait, and none starved lately.
    fn stands_back(&self, at_work: usize, now: Instant) -> bool {
        let starved = *self.starved.lock();
        at_work > self.flood && starved.is_none_or(|then| now.saturating_duration_since(then) > SHARE)
    }
}

/// Lowers the priority of this thread; where that is refused, the work is done all the same.
fn stand_back() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
}

fn hash(password: &[u8]) -> Option<String> {
    Argon2::default().hash_password(password).ok().map(|hash| hash.to_string())
}

fn verify(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests;
