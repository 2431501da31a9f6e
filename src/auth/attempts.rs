//! How often someone may try a password: token buckets per account, per address and for all, as the operator set them
//! (RATE-1).
//!
//! Pure: time is an argument.

use std::{collections::HashMap, hash::Hash, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use time::OffsetDateTime;

use crate::domain::subnet;

/// Most keys kept at once; beyond it, buckets that are full again are forgotten, then the oldest.
const MAX_KEYS: usize = 20_000;

/// Most attempts that may fail: so many at once, of which all come back, evenly, in so much time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttemptLimit {
    pub most: u32,
    pub within: Duration,
}

/// The limits of attempts to sign in. Codes of a command line and passwords of links are counted apart, within the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttemptLimits {
    /// Of one account, whether or not anybody has it.
    pub account: AttemptLimit,
    /// From one address; an IPv6 /64 is one.
    pub address: AttemptLimit,
    /// Of everybody.
    pub all: AttemptLimit,
}

impl AttemptLimit {
    pub const fn new(most: u32, seconds: u64) -> Self {
        let within = Duration::from_secs(seconds);
        Self { most, within }
    }

    fn rate(self) -> Rate {
        let burst = f64::from(self.most);
        Rate {
            burst,
            seconds_each: self.within.as_secs_f64() / burst,
        }
    }
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self {
            account: AttemptLimit::new(10, 200),
            address: AttemptLimit::new(30, 150),
            all: AttemptLimit::new(200, 40),
        }
    }
}

/// So many at once, then one each so many seconds.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    seconds_each: f64,
}

/// Refusals that the audit log tells one by one, and how often it tells of one in a flood.
const TOLD: Rate = Rate {
    burst: 100.0,
    seconds_each: 10.0,
};
/// The same of what one person is denied.
const TOLD_OF_ONE: Rate = Rate {
    burst: 20.0,
    seconds_each: 60.0,
};

/// Which refusals the audit log tells of: in a flood one now and then, with how many there were besides, so that nobody
/// can fill the disk (LIM-2).
#[derive(Debug)]
pub(super) struct Refusals {
    rate: Rate,
    bucket: Option<Bucket>,
    untold: u64,
}

impl Default for Refusals {
    fn default() -> Self {
        Self::at(TOLD)
    }
}

impl Refusals {
    /// For what one person is denied.
    pub(super) fn of_one() -> Self {
        Self::at(TOLD_OF_ONE)
    }

    fn at(rate: Rate) -> Self {
        Self {
            rate,
            bucket: None,
            untold: 0,
        }
    }

    /// Tells of one more, with how many were not told of before it; none if this one is not to be told of.
    pub(super) fn tell(&mut self, now: OffsetDateTime) -> Option<u64> {
        let bucket = self.bucket.get_or_insert_with(|| Bucket::full(self.rate, now));
        bucket.refill(self.rate, now);
        if bucket.left < 1.0 {
            self.untold += 1;
            return None;
        }
        bucket.left -= 1.0;
        Some(std::mem::take(&mut self.untold))
    }
}

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    limits: AttemptLimits,
    accounts: HashMap<String, Bucket>,
    addresses: HashMap<Option<IpAddr>, Bucket>,
    all: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: OffsetDateTime,
}

/// One attempt that was taken. Dropped, it is given back: only what was found wrong counts.
#[derive(Debug)]
pub(super) struct Attempt {
    of: Arc<Mutex<Attempts>>,
    account: String,
    address: Option<IpAddr>,
    wrong: bool,
}

impl Attempt {
    /// Takes one as [`Attempts::take`] does.
    pub(super) fn take(of: &Arc<Mutex<Attempts>>, account: &str, address: Option<IpAddr>, now: OffsetDateTime) -> Result<Self, Duration> {
        of.lock().take(account, address, now)?;
        Ok(Self {
            of: of.clone(),
            account: account.to_owned(),
            address,
            wrong: false,
        })
    }

    /// Settles it, and says how.
    pub(super) fn judge(mut self, right: bool) -> bool {
        self.wrong = !right;
        right
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.wrong {
            self.of.lock().give_back(&self.account, self.address);
        }
    }
}

impl Attempts {
    pub(super) fn within(limits: AttemptLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes one attempt, or says how long to wait. `account` is the canonical name, so that no spelling of it gets a
    /// bucket of its own.
    pub(super) fn take(&mut self, account: &str, address: Option<IpAddr>, now: OffsetDateTime) -> Result<(), Duration> {
        let address = address.map(subnet);
        let [of_account, of_address, of_all] = self.rates();
        make_room(&mut self.accounts, of_account, now);
        make_room(&mut self.addresses, of_address, now);
        let full = |rate| move || Bucket::full(rate, now);
        let buckets = [
            (self.all.get_or_insert_with(full(of_all)), of_all),
            (self.accounts.entry(account.into()).or_insert_with(full(of_account)), of_account),
            (self.addresses.entry(address).or_insert_with(full(of_address)), of_address),
        ];
        let mut wait = 0.0_f64;
        let mut taken = Vec::with_capacity(buckets.len());
        for (bucket, rate) in buckets {
            bucket.refill(rate, now);
            wait = wait.max((1.0 - bucket.left) * rate.seconds_each);
            taken.push(bucket);
        }
        if wait > 0.0 {
            return Err(Duration::from_secs_f64(wait.ceil()));
        }
        for bucket in taken {
            bucket.left -= 1.0;
        }
        Ok(())
    }

    /// Takes one attempt of an address that names no account: only the address waits for it.
    pub(super) fn take_from(&mut self, address: Option<IpAddr>, now: OffsetDateTime) -> Result<(), Duration> {
        let rate = self.limits.address.rate();
        make_room(&mut self.addresses, rate, now);
        let bucket = self.addresses.entry(address.map(subnet)).or_insert_with(|| Bucket::full(rate, now));
        bucket.refill(rate, now);
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64(((1.0 - bucket.left) * rate.seconds_each).ceil()));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    /// Gives back an attempt of [`Self::take_from`] that succeeded.
    pub(super) fn give_back_from(&mut self, address: Option<IpAddr>) {
        let rate = self.limits.address.rate();
        if let Some(bucket) = self.addresses.get_mut(&address.map(subnet)) {
            bucket.left = (bucket.left + 1.0).min(rate.burst);
        }
    }

    /// Gives back an attempt that succeeded: only failures count.
    pub(super) fn give_back(&mut self, account: &str, address: Option<IpAddr>) {
        let [of_account, of_address, of_all] = self.rates();
        let buckets = [
            (self.all.as_mut(), of_all),
            (self.accounts.get_mut(account), of_account),
            (self.addresses.get_mut(&address.map(subnet)), of_address),
        ];
        for (bucket, rate) in buckets {
            if let Some(bucket) = bucket {
                bucket.left = (bucket.left + 1.0).min(rate.burst);
            }
        }
    }

    /// Of an account, of an address and of all.
    fn rates(&self) -> [Rate; 3] {
        [self.limits.account, self.limits.address, self.limits.all].map(AttemptLimit::rate)
    }
}

impl Bucket {
    fn full(rate: Rate, now: OffsetDateTime) -> Self {
        Self { left: rate.burst, at: now }
    }

    fn refill(&mut self, rate: Rate, now: OffsetDateTime) {
        let passed = (now - self.at).as_seconds_f64().max(0.0);
        self.left = (self.left + passed / rate.seconds_each).min(rate.burst);
        self.at = now;
    }
}

fn make_room<K: Clone + Eq + Hash>(buckets: &mut HashMap<K, Bucket>, rate: Rate, now: OffsetDateTime) {
    if buckets.len() < MAX_KEYS {
        return;
    }
    buckets.retain(|_, bucket| {
        bucket.refill(rate, now);
        bucket.left < rate.burst
    });
    if buckets.len() > MAX_KEYS / 2 {
        // Those with most left matter least.
        let mut kept: Vec<_> = buckets.drain().collect();
        kept.sort_by(|(_, a), (_, b)| a.left.total_cmp(&b.left));
        kept.truncate(MAX_KEYS / 2);
        buckets.extend(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::now;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    /// How many attempts pass before the first is refused.
    fn passed(attempts: &mut Attempts, of: impl Fn(usize) -> (String, Option<IpAddr>)) -> usize {
        (0..1000)
            .take_while(|index| {
                let (account, address) = of(*index);
                attempts.take(&account, address, now()).is_ok()
            })
            .count()
    }

    #[test]
    fn rate_1_accounts_addresses_and_all_are_limited() {
        let mut attempts = Attempts::default();
        let spread = |index: usize| address(&format!("10.0.{}.{}", index / 200, index % 200));
        assert_eq!(
            passed(&mut attempts, |index| ("ada".into(), spread(index))),
            10,
            "one account from anywhere"
        );
        let mut attempts = Attempts::default();
        assert_eq!(
            passed(&mut attempts, |index| (format!("n{index}"), address("10.0.0.1"))),
            30,
            "one address for any account"
        );
        let mut attempts = Attempts::default();
        let one_subnet = |index: usize| address(&format!("2001:db8:1:2::{index:x}"));
        assert_eq!(
            passed(&mut attempts, |index| (format!("n{index}"), one_subnet(index))),
            30,
            "one IPv6 /64"
        );
        let mut attempts = Attempts::default();
        assert_eq!(passed(&mut attempts, |index| (format!("n{index}"), spread(index))), 200, "everyone");
    }

    #[test]
    fn rate_1_the_operator_says_how_many() {
        let limits = AttemptLimits {
            account: AttemptLimit::new(2, 60),
            address: AttemptLimit::new(3, 9),
            all: AttemptLimit::new(5, 5),
        };
        let spread = |index: usize| address(&format!("10.0.0.{index}"));
        let one = address("10.0.0.1");
        for (expected, of) in [
            (
                2,
                Box::new(|index| ("ada".into(), spread(index))) as Box<dyn Fn(usize) -> (String, Option<IpAddr>)>,
            ),
            (3, Box::new(|index| (format!("n{index}"), one))),
            (5, Box::new(|index| (format!("n{index}"), spread(index)))),
        ] {
            assert_eq!(passed(&mut Attempts::within(limits), of), expected);
        }
        let mut attempts = Attempts::within(limits);
        passed(&mut attempts, |_| ("ada".into(), None));
        let wait = attempts.take("ada", None, now()).expect_err("too many");
        assert_eq!(wait, Duration::from_secs(30), "two in a minute are one in half of it");
        let mut attempts = Attempts::within(limits);
        let from: Vec<_> = (0..4).map(|_| attempts.take_from(one, now())).collect();
        assert_eq!(from, [Ok(()), Ok(()), Ok(()), Err(Duration::from_secs(3))]);
        attempts.give_back_from(one);
        assert_eq!(attempts.take_from(one, now()), Ok(()));
    }

    #[test]
    fn rate_1_waiting_and_success_give_attempts_back() {
        let mut attempts = Attempts::default();
        for _ in 0..500 {
            attempts.take("ada", None, now()).expect("an attempt");
            attempts.give_back("ada", None);
        }
        assert_eq!(passed(&mut attempts, |_| ("ada".into(), None)), 10);
        let wait = attempts.take("ada", None, now()).expect_err("too many");
        assert_eq!(wait, Duration::from_secs(20));
        assert!(attempts.take("ada", None, now() + wait - Duration::from_secs(1)).is_err());
        assert!(attempts.take("ada", None, now() + wait).is_ok());
        // A clock set back gives nothing away.
        assert!(attempts.take("ada", None, now() - Duration::from_secs(9999)).is_err());
    }

    #[test]
    fn rate_1_only_what_was_found_wrong_counts() {
        let attempts = Arc::new(Mutex::new(Attempts::default()));
        let take = || Attempt::take(&attempts, "ada", None, now());
        for _ in 0..20 {
            drop(take().expect("an attempt that nobody came to"));
            assert!(take().expect("an attempt").judge(true));
        }
        for _ in 0..10 {
            assert!(!take().expect("an attempt").judge(false));
        }
        assert!(take().is_err());
    }

    #[test]
    fn audit_1_a_flood_of_refusals_is_told_in_sum() {
        let mut refusals = Refusals::default();
        let told: Vec<_> = (0..1000).filter_map(|_| refusals.tell(now())).collect();
        assert_eq!(told, vec![0; 100]);
        assert_eq!(refusals.tell(now() + Duration::from_secs(10)), Some(900));
        assert_eq!(refusals.tell(now() + Duration::from_secs(10)), None);
        assert_eq!(refusals.tell(now() + Duration::from_secs(3600)), Some(1));
    }

    #[test]
    fn a_flood_of_names_stays_bounded() {
        let mut attempts = Attempts::default();
        for index in 0..2 * MAX_KEYS as u64 {
            let at = now() + Duration::from_millis(index * 10);
            let _refused = attempts.take(
                &format!("n{index}"),
                address(&format!("10.{}.{}.{}", index >> 16, (index >> 8) & 255, index & 255)),
                at,
            );
        }
        assert!(attempts.accounts.len() <= MAX_KEYS && attempts.addresses.len() <= MAX_KEYS);
    }
}
