//! Passwords: argon2id, few at a time, and the same work for names that do not exist (RATE-2, RATE-3).
//!
//! A hash is worked out on a thread of its own, and when many sign in at once that thread runs only while nobody else wants the
//! processor (SCHED_IDLE of sched(7)): who floods the sign-in page delays others who sign in, not the sockets that are open. A
//! lower priority alone did not do: what wakes up waits for the end of the running thread's slice all the same, some
//! milliseconds. Signing in does not starve either: after a hash that took long those that follow have a normal share.

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
use tokio::sync::{Semaphore, oneshot};

use crate::domain::UserName;

/// Fewest characters of a password.
const MIN_CHARACTERS: usize = 8;
/// Most bytes of a password: argon2 reads them all, so a stranger must not choose how many.
const MAX_BYTES: usize = 1024;
/// Most hashes that may be worked out at once; each takes 19 MiB and one core, and half of the cores stays free.
const AT_ONCE: usize = 2;
/// More than so many at work or waiting are a flood, whose hashes stand back behind what else runs.
const FLOOD: usize = 4;
/// A hash that stood back and took longer than this had no processor left to it.
const STARVED: Duration = Duration::from_millis(500);
/// For how long hashes do not stand back after one that starved.
const SHARE: Duration = Duration::from_secs(10);
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
    /// When a hash last ended that had no processor left to it.
    starved: Arc<Mutex<Option<Instant>>>,
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
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::of((cores / 2).clamp(1, AT_ONCE))
    }

    fn of(at_once: usize) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            starved: Arc::default(),
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
        let (done, outcome) = oneshot::channel();
        let starved = self.starved.clone();
        let at_work = WAITING - self.waiting.available_permits();
        let behind = stands_back(at_work, *starved.lock(), Instant::now());
        // The permit goes with the work: a caller that gives up must not let one more hash begin.
        let worker = thread::Builder::new().name("password".into()).spawn(move || {
            let _permit = permit;
            let began = Instant::now();
            if behind {
                stand_back();
            }
            let outcome = work();
            if behind && began.elapsed() > STARVED {
                *starved.lock() = Some(Instant::now());
            }
            drop(done.send(outcome));
        });
        worker.map_err(|_| Busy)?;
        outcome.await.map_err(|_| Busy)
    }
}

/// Tells whether the next hash stands back: so many are at work or wait, and one starved then.
fn stands_back(at_work: usize, starved: Option<Instant>, now: Instant) -> bool {
    at_work > FLOOD && starved.is_none_or(|then| now.saturating_duration_since(then) > SHARE)
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
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use futures_util::{future::join_all, poll};

    use super::*;

    #[tokio::test]
    async fn rate_3_few_are_worked_out_at_once_and_the_rest_waits_or_is_refused() {
        let hasher = Hasher::of(AT_ONCE);
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
    /// The scheduling policy of the calling thread, field 41 of proc_pid_stat(5); 5 is SCHED_IDLE.
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_whitespace().nth(38).unwrap().to_owned()
    }

    #[tokio::test]
    async fn rate_3_hashes_of_a_flood_stand_back_behind_what_else_runs() {
        let (hasher, ours) = (Hasher::of(1), policy());
        assert_ne!(ours, "5");
        assert_eq!(hasher.run(policy).await.unwrap(), ours);
        let _others = hasher.waiting.acquire_many(u32::try_from(FLOOD).unwrap()).await.unwrap();
        assert_eq!(hasher.run(policy).await.unwrap(), "5");
        *hasher.starved.lock() = Some(Instant::now());
        assert_eq!(hasher.run(policy).await.unwrap(), ours);
    }

    #[test]
    fn hashes_stand_back_in_a_flood_and_not_after_one_starved() {
        let then = Instant::now();
        assert!(!stands_back(FLOOD, None, then));
        assert!(stands_back(FLOOD + 1, None, then));
        assert!(!stands_back(WAITING, Some(then), then + SHARE));
        assert!(stands_back(WAITING, Some(then), then + SHARE + STARVED));
    }
}
