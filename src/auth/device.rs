//! Signing a command line in from a browser: the shape of the device grant (RFC 8628).
//!
//! A program asks for two codes; a person who is signed in types the short one and decides on what is asked for; the
//! program, asking with the long one, gets a personal access token. Kept in memory alone: a restart voids what waits.
//! The token is made when it is fetched, so that no secret waits here.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use time::OffsetDateTime;

use super::{
    Auth, Client, NewToken, UserError,
    secrets::{fresh_secret_string, hash_secret},
    tokens::tidy,
};
use crate::{
    audit::Actor,
    domain::{Scope, UserId, subnet},
};

/// How long the codes are good.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// How long a program waits between two questions, and by how much longer after each that came too soon.
const INTERVAL: Duration = Duration::from_secs(5);
/// A question that comes this much early is not too soon: clocks and networks are not exact.
const SLACK: Duration = Duration::from_secs(1);
/// Most requests that wait: all together, from one address (an IPv6 /64 is one), and from its neighbourhood, the /24 or /48
/// that somebody may have all of, so that nobody's network takes all places.
const MAX_WAITING: usize = 1000;
const MAX_WAITING_EACH: usize = 10;
const MAX_WAITING_NEAR: usize = 100;
/// Longest name of a machine that is kept.
const MAX_MACHINE_BYTES: usize = 64;
/// Letters of the short code: none that looks like another, none that makes words (RFC 8628 §6.1). 20^8 is 2.5e10.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LETTERS: usize = 8;

/// What a program asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRequest {
    /// The machine's name as it says itself, which proves nothing.
    pub machine: String,
    pub scope: Scope,
    /// How long the token is to be valid; for ever if none.
    pub lasting: Option<Duration>,
}

/// The codes of a request.
#[derive(Clone, Debug)]
pub struct DeviceCodes {
    /// What the program asks with.
    pub device_code: SecretString,
    /// What the person types.
    pub user_code: SecretString,
    pub expires_in: Duration,
    pub interval: Duration,
}

/// A request that waits, as the person who decides sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceWaiting {
    pub asked: DeviceRequest,
    pub address: Option<IpAddr>,
    pub asked_at: OffsetDateTime,
}

/// Why a program has no token yet, or never will; `Display` is for people.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error("nobody has decided yet")]
    Pending,
    #[error("asked too soon; wait {} s between two questions", .interval.as_secs())]
    SlowDown { interval: Duration },
    #[error("the request was declined")]
    Declined,
    #[error("the code has expired or was used; begin again")]
    Over,
    #[error("there is no request of this code; check it, or begin again where it was shown")]
    WrongCode,
    #[error("too many requests; try again in {} s", .retry_after.as_secs())]
    TooMany { retry_after: Duration },
    #[error(transparent)]
    User(#[from] UserError),
}

/// The requests that wait, by the hash of the long code.
#[derive(Default)]
pub(super) struct Table {
    waiting: HashMap<[u8; 32], Entry>,
}

struct Entry {
    user_code: String,
    seen: DeviceWaiting,
    interval: Duration,
    asked_last: Option<OffsetDateTime>,
    decision: Decision,
}

#[derive(Clone, Debug, PartialEq)]
enum Decision {
    Open,
    Granted(UserId),
    Declined,
}

impl Auth {
    /// Begins a request of a program that nobody knows yet.
    pub fn begin_device(&self, asked: DeviceRequest, client: &Client, now: OffsetDateTime) -> Result<DeviceCodes, DeviceError> {
        let machine = tidy(&asked.machine);
        let machine = machine[..machine.floor_char_boundary(MAX_MACHINE_BYTES)].to_owned();
        let seen = DeviceWaiting {
            asked: DeviceRequest { machine, ..asked },
            address: client.address,
            asked_at: now,
        };
        let codes = DeviceCodes {
            device_code: fresh_secret_string(),
            user_code: fresh_code().into(),
            expires_in: GOOD_FOR,
            interval: INTERVAL,
        };
        let hash = hash_secret(codes.device_code.expose_secret());
        let letters = normal(codes.user_code.expose_secret());
        self.inner.devices.lock().begin(hash, letters, seen, now)?;
        Ok(codes)
    }

    /// Shows the request of a code that a person typed. Wrong codes count against the person and the address (RATE-1).
    pub fn device_request(&self, user: &UserId, code: &str, client: &Client, now: OffsetDateTime) -> Result<DeviceWaiting, DeviceError> {
        self.guess(user, client, now, |table| {
            table.find(&normal(code), now).map(|entry| entry.seen.clone())
        })
    }

    /// Grants or declines a request, once.
    pub async fn decide_device(
        &self,
        user: &UserId,
        code: &str,
        grant: bool,
        client: &Client,
        now: OffsetDateTime,
    ) -> Result<(), DeviceError> {
        let account = self.user(user).ok_or(UserError::Missing)?;
        let limit = self.inner.options.tokens_per_user;
        if grant && self.tokens_of(user).len() >= limit {
            return Err(UserError::TooManyTokens { limit }.into());
        }
        let decision = if grant {
            Decision::Granted(user.clone())
        } else {
            Decision::Declined
        };
        let seen = self.guess(user, client, now, |table| table.decide(&normal(code), decision, now))?;
        let action = if grant { "device.granted" } else { "device.declined" };
        let from = seen.address.map_or_else(String::new, |address| format!(" at {address}"));
        let detail = format!("{} for {:?}{from}", seen.asked.scope, seen.asked.machine);
        let by = client.actor(account.name.as_str());
        self.audit(action, &by, account.name.as_str(), &detail, now).await;
        Ok(())
    }

    /// Answers a program that asks with its long code: the token, once, when a person has granted it.
    pub async fn ask_device(&self, device_code: &str, client: &Client, now: OffsetDateTime) -> Result<NewToken, DeviceError> {
        let (user, asked) = self.inner.devices.lock().ask(&hash_secret(device_code), now)?;
        let account = self.user(&user).filter(|user| !user.suspended).ok_or(DeviceError::Declined)?;
        let name = format!("portico login on {}", asked.machine);
        let expires_at = asked
            .lasting
            .and_then(|lasting| time::Duration::try_from(lasting).ok())
            .map(|lasting| now + lasting);
        let by: Actor = client.actor(account.name.as_str());
        Ok(self.create_token(&user, &name, asked.scope, expires_at, &by, now).await?)
    }

    pub(super) fn sweep_devices(&self, now: OffsetDateTime) {
        self.inner.devices.lock().sweep(now);
    }

    /// Looks something up by a code that a person typed; only a wrong one costs an attempt.
    fn guess<T>(
        &self,
        user: &UserId,
        client: &Client,
        now: OffsetDateTime,
        look: impl FnOnce(&mut Table) -> Option<T>,
    ) -> Result<T, DeviceError> {
        let mut attempts = self.inner.code_attempts.lock();
        let taken = attempts.take(&user.0, client.address, now);
        taken.map_err(|retry_after| DeviceError::TooMany { retry_after })?;
        let found = look(&mut self.inner.devices.lock()).ok_or(DeviceError::WrongCode)?;
        attempts.give_back(&user.0, client.address);
        Ok(found)
    }
}

impl Table {
    fn begin(&mut self, hash: [u8; 32], user_code: String, seen: DeviceWaiting, now: OffsetDateTime) -> Result<(), DeviceError> {
        self.sweep(now);
        // Loopback is not counted by itself: there a proxy may bring everybody's.
        let address = seen.address.filter(|address| !address.to_canonical().is_loopback());
        let count = |part: fn(IpAddr) -> IpAddr| {
            let here = |entry: &&Entry| address.is_some() && entry.seen.address.map(part) == address.map(part);
            self.waiting.values().filter(here).count()
        };
        let crowded = count(subnet) >= MAX_WAITING_EACH || count(neighbourhood) >= MAX_WAITING_NEAR;
        let taken = self.waiting.values().any(|entry| entry.user_code == user_code);
        if self.waiting.len() >= MAX_WAITING || crowded || taken {
            let retry_after = Duration::from_secs(60);
            return Err(DeviceError::TooMany { retry_after });
        }
        let entry = Entry {
            user_code,
            seen,
            interval: INTERVAL,
            asked_last: None,
            decision: Decision::Open,
        };
        self.waiting.insert(hash, entry);
        Ok(())
    }

    /// The open request of a short code.
    fn find(&mut self, code: &str, now: OffsetDateTime) -> Option<&mut Entry> {
        let open = |entry: &&mut Entry| entry.user_code == code && entry.decision == Decision::Open && entry.is_good(now);
        self.waiting.values_mut().find(open)
    }

    fn decide(&mut self, code: &str, decision: Decision, now: OffsetDateTime) -> Option<DeviceWaiting> {
        let entry = self.find(code, now)?;
        entry.decision = decision;
        Some(entry.seen.clone())
    }

    fn ask(&mut self, hash: &[u8; 32], now: OffsetDateTime) -> Result<(UserId, DeviceRequest), DeviceError> {
        let entry = self
            .waiting
            .get_mut(hash)
            .filter(|entry| entry.is_good(now))
            .ok_or(DeviceError::Over)?;
        let soon = entry
            .asked_last
            .is_some_and(|last| now - last < entry.interval.saturating_sub(SLACK));
        entry.asked_last = Some(now);
        if soon {
            entry.interval += INTERVAL;
            let interval = entry.interval;
            return Err(DeviceError::SlowDown { interval });
        }
        match entry.decision.clone() {
            Decision::Open => Err(DeviceError::Pending),
            Decision::Declined => {
                self.waiting.remove(hash);
                Err(DeviceError::Declined)
            }
            Decision::Granted(user) => {
                // Taken out before the token is made: of two questions at once, one gets it.
                let entry = self.waiting.remove(hash).ok_or(DeviceError::Over)?;
                Ok((user, entry.seen.asked))
            }
        }
    }

    fn sweep(&mut self, now: OffsetDateTime) {
        self.waiting.retain(|_, entry| entry.is_good(now));
    }
}

impl Entry {
    fn is_good(&self, now: OffsetDateTime) -> bool {
        (now - self.seen.asked_at).unsigned_abs() < GOOD_FOR
    }
}

/// The /24 or /48 of an address.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

/// A code as it is shown, such as `BCDF-GHJK`.
fn fresh_code() -> String {
    let letters: Vec<u8> = std::iter::repeat_with(rand::random::<u8>)
        // Beyond the last multiple of 20 some letters would come up more often.
        .filter(|byte| *byte < 240)
        .map(|byte| LETTERS[usize::from(byte) % LETTERS.len()])
        .take(CODE_LETTERS)
        .collect();
    let (first, second) = letters.split_at(CODE_LETTERS / 2);
    format!("{}-{}", String::from_utf8_lossy(first), String::from_utf8_lossy(second))
}

/// A code as it is compared: people leave out the dash, type small letters, add spaces.
fn normal(code: &str) -> String {
    let letters = code.chars().take(64).filter(char::is_ascii_alphabetic);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{
        Presented,
        fixture::{TOKENS, audited, auth, now, seconds, user},
    };

    fn asked() -> DeviceRequest {
        DeviceRequest {
            machine: "lap\u{1b}top".into(),
            scope: Scope::Read,
            lasting: Some(seconds(3600)),
        }
    }

    fn from(address: &str) -> Client {
        Client {
            address: Some(address.parse().expect("an address")),
            ..Client::default()
        }
    }

    fn begin(auth: &Auth, at: OffsetDateTime) -> (String, String) {
        let codes = auth.begin_device(asked(), &from("192.0.2.1"), at).expect("codes");
        (codes.device_code.expose_secret().into(), codes.user_code.expose_secret().into())
    }

    #[tokio::test]
    async fn a_code_that_is_typed_and_granted_gives_one_token() {
        let (auth, store) = auth().await;
        let ada = user(&auth, "ada").await;
        let here = from("192.0.2.9");
        let (device, code) = begin(&auth, now());
        assert!(code.len() == 9 && code.as_bytes()[4] == b'-');
        let ask = async |after| auth.ask_device(&device, &here, now() + seconds(after)).await;
        assert!(matches!(ask(5).await, Err(DeviceError::Pending)));
        let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
        let seen = auth.device_request(&ada.id, &typed, &here, now()).expect("the request");
        assert_eq!((seen.asked.machine.as_str(), seen.asked.scope), ("laptop", Scope::Read));
        assert_eq!(seen.address, from("192.0.2.1").address);
        assert!(matches!(ask(10).await, Err(DeviceError::Pending)), "looking grants nothing");
        auth.decide_device(&ada.id, &typed, true, &here, now()).await.expect("granted");
        assert!(matches!(
            auth.decide_device(&ada.id, &code, false, &here, now()).await,
            Err(DeviceError::WrongCode)
        ));
        let (first, second) = tokio::join!(ask(15), ask(15));
        assert!(first.is_ok() != second.is_ok(), "of two questions at once, one");
        let made = first.or(second).expect("one of them");
        assert_eq!(
            (made.record.name.as_str(), made.record.expires_at),
            ("portico login on laptop", Some(now() + seconds(3615)))
        );
        assert!(matches!(auth.by_token(made.plain.expose_secret(), now()), Presented::Valid(_)));
        assert!(matches!(ask(100).await, Err(DeviceError::Over)));
        assert_eq!(audited(&store).await, ["user.created", "device.granted", "token.created"]);
    }

    #[tokio::test]
    async fn a_request_that_is_declined_late_or_of_a_suspended_person_gives_none() {
        let (auth, _) = auth().await;
        let (ada, bob) = (user(&auth, "ada").await, user(&auth, "bob").await);
        let here = from("192.0.2.9");
        let (declined, code) = begin(&auth, now());
        auth.decide_device(&ada.id, &code, false, &here, now()).await.expect("declined");
        assert!(matches!(auth.ask_device(&declined, &here, now()).await, Err(DeviceError::Declined)));
        assert!(matches!(auth.ask_device(&declined, &here, now()).await, Err(DeviceError::Over)));
        let (suspended, code) = begin(&auth, now());
        auth.decide_device(&bob.id, &code, true, &here, now()).await.expect("granted");
        auth.suspend(&bob.id, true, &Actor::gateway(), now()).await.expect("suspended");
        assert!(matches!(
            auth.ask_device(&suspended, &here, now()).await,
            Err(DeviceError::Declined)
        ));
        let (late, code) = begin(&auth, now());
        let later = now() + seconds(600);
        assert!(matches!(
            auth.device_request(&ada.id, &code, &here, later),
            Err(DeviceError::WrongCode)
        ));
        assert!(matches!(auth.ask_device(&late, &here, later).await, Err(DeviceError::Over)));
        auth.sweep(later).await;
        assert!(auth.inner.devices.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_program_that_asks_too_often_is_slowed_down() {
        let (auth, _) = auth().await;
        let here = from("192.0.2.9");
        let (device, _) = begin(&auth, now());
        for (after, slow) in [(0, false), (1, true), (6, true), (20, false), (34, false), (35, true)] {
            let answer = auth.ask_device(&device, &here, now() + seconds(after)).await;
            let expected = if slow {
                matches!(answer, Err(DeviceError::SlowDown { .. }))
            } else {
                matches!(answer, Err(DeviceError::Pending))
            };
            assert!(expected, "after {after} s: {answer:?}");
        }
    }

    #[tokio::test]
    async fn rate_1_codes_cannot_be_guessed_nor_requests_piled_up() {
        let (auth, _) = auth().await;
        let ada = user(&auth, "ada").await;
        let (_, code) = begin(&auth, now());
        let here = from("192.0.2.9");
        let wrong = (0..100).take_while(|_| matches!(auth.device_request(&ada.id, "BCDF-BCDF", &here, now()), Err(DeviceError::WrongCode)));
        assert_eq!(wrong.count(), 10);
        assert!(matches!(
            auth.device_request(&ada.id, &code, &here, now()),
            Err(DeviceError::TooMany { .. })
        ));
        let one_subnet = |index: usize| from(&format!("2001:db8::{index:x}"));
        let begun = (0..100).take_while(|index| auth.begin_device(asked(), &one_subnet(*index), now()).is_ok());
        assert_eq!(begun.count(), MAX_WAITING_EACH);
        let begun = |address: fn(usize) -> String| {
            let begun = (0..2 * MAX_WAITING).take_while(|index| auth.begin_device(asked(), &from(&address(*index)), now()).is_ok());
            begun.count()
        };
        assert_eq!(begun(|index| format!("2001:db8:1:{index:x}::1")), MAX_WAITING_NEAR);
        assert_eq!(begun(|index| format!("198.51.100.{}", index % 256)), MAX_WAITING_NEAR);
        let waiting = MAX_WAITING_EACH + 2 * MAX_WAITING_NEAR + 1;
        assert_eq!(
            begun(|index| format!("10.{}.{}.1", index / 256, index % 256)),
            MAX_WAITING - waiting
        );
    }

    #[tokio::test]
    async fn somebody_with_all_tokens_is_told_before_granting() {
        let (auth, _) = auth().await;
        let ada = user(&auth, "ada").await;
        for _ in 0..TOKENS {
            let made = auth.create_token(&ada.id, "ci", Scope::Read, None, &Actor::gateway(), now()).await;
            made.expect("a token");
        }
        let (_, code) = begin(&auth, now());
        let refused = auth.decide_device(&ada.id, &code, true, &from("192.0.2.9"), now()).await;
        assert!(matches!(refused, Err(DeviceError::User(UserError::TooManyTokens { .. }))));
    }
}
