//! When a certificate is asked for, and how long to wait after a failure.

use std::time::Duration;

use time::OffsetDateTime;

use crate::issuance::Validity;

/// First pause after a failure: authorities bear a few failures an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Longest pause, however often it failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3600);
/// Longest pause that is never too long, however urgent it is.
const URGENT_PAUSE: Duration = Duration::from_secs(3600);

/// When a certificate is renewed; none is now, because there is none. `jitter` from 0 to 1 spreads a fleet over a
/// twelfth of its life.
pub(super) fn due(validity: Option<Validity>, jitter: f64) -> Option<OffsetDateTime> {
    let validity = validity?;
    Some(validity.renewal() + validity.life() / 12 * jitter)
}

/// How long to wait after so many failures in a row, when the certificate is still good for so long; `jitter` from 0 to 1.
///
/// A certificate that lives for hours is tried several times before its end.
pub(super) fn pause(failures: u32, left: Duration, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let longest = (left / 4).clamp(URGENT_PAUSE, LONGEST_PAUSE);
    doubled.min(longest).mul_f64(0.75 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use time::{Duration as Span, macros::datetime};

    use super::*;

    #[test]
    fn renewal_after_two_thirds_and_not_all_at_once() {
        let from = datetime!(2026-01-01 00:00:00 UTC);
        let validity = Validity {
            from,
            until: from + Span::days(90),
        };
        assert_eq!(due(None, 0.5), None);
        assert_eq!(due(Some(validity), 0.0), Some(from + Span::days(60)));
        assert_eq!(due(Some(validity), 1.0), Some(from + Span::hours(60 * 24 + 180)));
    }

    #[test]
    fn pauses_grow_and_end() {
        let minutes = |failures, jitter| pause(failures, Duration::from_secs(30 * 24 * 3600), jitter).as_secs() / 60;
        assert_eq!([1, 2, 3, 4].map(|failures| minutes(failures, 0.5)), [5, 10, 20, 40]);
        assert_eq!(minutes(100, 0.5), 12 * 60);
        assert_eq!((minutes(1, 0.0), minutes(1, 1.0)), (3, 6));
        let hours = |left: u64| pause(100, Duration::from_secs(left * 3600), 0.5).as_secs() / 3600;
        assert_eq!(
            [0, 3, 8, 24, 48, 500].map(hours),
            [1, 1, 2, 6, 12, 12],
            "more often when it ends soon"
        );
    }
}
