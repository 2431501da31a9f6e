//! From when until when a certificate is good, read off its DER (RFC 5280 §4.1.2.5).

use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// Earliest warning: time enough for somebody to come back from a holiday.
const NOTICE: Duration = Duration::days(14);

/// The times of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    pub from: OffsetDateTime,
    pub until: OffsetDateTime,
}

/// How urgently a certificate must be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// Nobody who looks trusts it any more.
    Expired,
    /// It should have been replaced by now.
    Soon,
    /// Clocks say that it is not good yet.
    NotYet,
}

impl Validity {
    /// Reads a certificate; none if it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (signed, _) = element(certificate, SEQUENCE)?;
        let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
        let (_, rest) = element(rest, INTEGER)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (validity, _) = element(rest, SEQUENCE)?;
        let (from, rest) = moment(validity)?;
        let (until, _) = moment(rest)?;
        Some(Self { from, until })
    }

    /// Whether it must be replaced, and how urgently. Certificates that live for days are not old after one.
    pub fn urgency(self, now: OffsetDateTime) -> Option<Urgency> {
        if now >= self.until {
            Some(Urgency::Expired)
        } else if now < self.from {
            Some(Urgency::NotYet)
        } else if self.until - now < NOTICE.min(self.life() / 4) {
            Some(Urgency::Soon)
        } else {
            None
        }
    }

    /// When a certificate that can be had at any time is renewed: after two thirds of its life.
    pub fn renewal(self) -> OffsetDateTime {
        self.from + self.life() * 2 / 3
    }

    /// How long it is good in all.
    pub fn life(self) -> Duration {
        (self.until - self.from).max(Duration::ZERO)
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, the optional version.
const VERSION: u8 = 0xa0;

/// Splits off the first element if it has the tag: what is in it, and what follows (X.690 §8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// Reads a time, which certificates give in UTC and to the second.
fn moment(der: &[u8]) -> Option<(OffsetDateTime, &[u8])> {
    let (text, rest, year_digits) = match element(der, UTC_TIME) {
        Some((text, rest)) => (text, rest, 2),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
    };
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != year_digits + 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year: i32 = text[..year_digits].parse().ok()?;
    let year = match (year_digits, year) {
        (2, 50..) => 1900 + year,
        (2, _) => 2000 + year,
        (_, year) => year,
    };
    let pair = |index: usize| text[year_digits + 2 * index..][..2].parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(pair(0)?).ok()?, pair(1)?).ok()?;
    let time = Time::from_hms(pair(2)?, pair(3)?, pair(4)?).ok()?;
    Some((PrimitiveDateTime::new(date, time).assume_utc(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn certificate(from: OffsetDateTime, until: OffsetDateTime) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (from, until);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn times_are_read_and_broken_ones_are_not() {
        for (from, until) in [
            (datetime!(2026-11-22 01:02:03 UTC), datetime!(2027-02-20 23:59:59 UTC)),
            (datetime!(1999-12-31 00:00:00 UTC), datetime!(2049-12-31 23:59:59 UTC)),
            (datetime!(2020-01-01 00:00:00 UTC), datetime!(4096-01-01 00:00:00 UTC)),
        ] {
            let der = certificate(from, until);
            assert_eq!(Validity::of(&der), Some(Validity { from, until }));
            for length in 0..der.len() / 4 {
                assert_eq!(Validity::of(&der[..length]), None);
            }
        }
        assert_eq!(Validity::of(b"-----BEGIN CERTIFICATE-----"), None);
    }

    #[test]
    fn urgency_comes_in_time() {
        #[track_caller]
        fn check(life: i64, age: i64, expected: Option<Urgency>) {
            let from = datetime!(2026-01-01 00:00:00 UTC);
            let validity = Validity {
                from,
                until: from + Duration::hours(life),
            };
            assert_eq!(validity.urgency(from + Duration::hours(age)), expected, "{age} of {life} hours");
        }
        let ninety_days = 90 * 24;
        check(ninety_days, -1, Some(Urgency::NotYet));
        check(ninety_days, 0, None);
        check(ninety_days, 75 * 24, None);
        check(ninety_days, 77 * 24, Some(Urgency::Soon));
        check(ninety_days, ninety_days, Some(Urgency::Expired));
        check(6 * 24, 4 * 24, None);
        check(6 * 24, 5 * 24, Some(Urgency::Soon));
        check(0, 0, Some(Urgency::Expired));
    }

    proptest! {
        #[test]
        fn anything_is_a_certificate_or_not(bytes: Vec<u8>, at in 0..200_usize, byte: u8) {
            Validity::of(&bytes);
            let mut der = certificate(datetime!(2026-01-01 00:00:00 UTC), datetime!(2027-01-01 00:00:00 UTC));
            der[at] = byte;
            Validity::of(&der);
        }
    }
}
