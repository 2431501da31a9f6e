//! How many attempts to sign in may fail: a number in a time, `10 in 200s`.

use std::{ops::RangeInclusive, time::Duration};

use super::keys::{duration, number};
use crate::auth::AttemptLimit;

/// A limit that is none would be a mistake, and so would one that locks people out for longer than a day.
const MOST: RangeInclusive<u32> = 1..=1_000_000;
const WITHIN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
pub(super) const ALLOWED: &str = "a number from 1 to 1000000 in a time from 1s to 1d, for instance 10 in 200s";

pub(super) fn read(text: &str) -> Option<AttemptLimit> {
    let (most, within) = text.split_once(" in ")?;
    Some(AttemptLimit {
        most: number(most.trim(), MOST)?,
        within: duration(within.trim(), WITHIN)?,
    })
}
