//! The keys of `[codespaces]`: how they start, sleep and end.

use std::{ops::RangeInclusive, time::Duration};

use super::keys::{Key, duration, number, put};

const IDLE_MINUTE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// The keys, in the order of the sample file.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "codespaces.starts_per_minute",
        allowed: "a number from 1 to 100000",
        set: |config, text| put(&mut config.life.starts_per_minute, number(text, 1..=100_000)),
    },
    Key {
        name: "codespaces.idle_minute",
        allowed: "a duration from 100ms to 60s",
        set: |config, text| put(&mut config.life.idle_minute, duration(text, IDLE_MINUTE)),
    },
];
