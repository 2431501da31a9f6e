//! The keys of `[codespaces]`: how they start, sleep and end.

use std::{ops::RangeInclusive, time::Duration};

use super::keys::{Key, duration, number, optional, put};

const IDLE_MINUTE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const MINUTES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(4 * 3600);
const HOURS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(365 * 24 * 3600);
/// A whole day at least, so that nobody sets minutes for days.
const DAYS: RangeInclusive<Duration> = Duration::from_secs(24 * 3600)..=Duration::from_secs(36_500 * 24 * 3600);
const HOURS_ALLOWED: &str = "a duration from 1m to 365d, for instance 12h";
const DAYS_ALLOWED: &str = "a duration from 1d on, for instance 30d";

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
    Key {
        name: "codespaces.warning",
        allowed: "a duration from 1s to 4h, for instance 5m",
        set: |config, text| put(&mut config.life.warning, duration(text, MINUTES)),
    },
    Key {
        name: "codespaces.max_lifetime",
        allowed: "a duration from 1m to 365d, for instance 12h, or nothing for no bound",
        set: |config, text| put(&mut config.life.max_lifetime, optional(text, |text| duration(text, HOURS))),
    },
    Key {
        name: "codespaces.max_lease",
        allowed: HOURS_ALLOWED,
        set: |config, text| put(&mut config.life.max_lease, duration(text, HOURS)),
    },
    Key {
        name: "codespaces.retention",
        allowed: "a duration from 1d on, for instance 30d, or nothing to keep codespaces for ever",
        set: |config, text| put(&mut config.life.retention, optional(text, |text| duration(text, DAYS))),
    },
    Key {
        name: "codespaces.unsaved_grace",
        allowed: DAYS_ALLOWED,
        set: |config, text| put(&mut config.life.unsaved_grace, duration(text, DAYS)),
    },
    Key {
        name: "codespaces.notice",
        allowed: DAYS_ALLOWED,
        set: |config, text| put(&mut config.life.notice, duration(text, DAYS)),
    },
];
