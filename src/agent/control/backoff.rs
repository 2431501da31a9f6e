//! How long to wait before the next attempt; pure, chance is an argument.

use std::time::Duration;

/// First delay.
const START: Duration = Duration::from_millis(100);
/// Longest delay: after a restart of the gateway its agents are back within 10 s.
const CAP: Duration = Duration::from_secs(4);

/// The delay before an attempt, `attempt` of them having failed; `chance` is 0 to 1.
pub(super) fn delay(attempt: u32, chance: f64) -> Duration {
    around(START.saturating_mul(1 << attempt.min(10)).min(CAP), chance)
}

/// A duration between the half and the whole of `delay`, so that agents do not all come at once.
pub(super) fn around(delay: Duration, chance: f64) -> Duration {
    delay.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap() {
        let millis = |attempt, chance| delay(attempt, chance).as_millis();
        assert_eq!([millis(0, 0.0), millis(0, 1.0)], [50, 100]);
        assert_eq!([millis(3, 0.0), millis(3, 1.0)], [400, 800]);
        assert_eq!([millis(6, 1.0), millis(u32::MAX, 1.0), millis(40, 0.0)], [4000, 4000, 2000]);
    }
}
