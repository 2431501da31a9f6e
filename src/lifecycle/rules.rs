//! What the operator set of codespaces' lives.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Bounds and terms; the defaults are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Most starts of one person in a minute (RESUME-3).
    pub starts_per_minute: usize,
    /// How long a minute of an idle timeout lasts: 60 seconds but where somebody wants to watch.
    pub idle_minute: Duration,
    /// So long before a codespace stops, its page says so; half the idle timeout at most.
    pub warning: Duration,
    /// So long after it started a codespace stops, used or not; never if there is none.
    pub max_lifetime: Option<Duration>,
    /// How long a process may ask to keep its codespace awake.
    pub max_lease: Duration,
    /// So long after its last use a codespace is deleted; never if there is none.
    pub retention: Option<Duration>,
    /// So much longer one is kept that has work which is nowhere else, or may have.
    pub unsaved_grace: Duration,
    /// So long before its deletion a codespace is announced to go.
    pub notice: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            starts_per_minute: 30,
            idle_minute: Duration::from_secs(60),
            warning: Duration::from_secs(5 * 60),
            max_lifetime: None,
            max_lease: DAY,
            retention: None,
            unsaved_grace: 90 * DAY,
            notice: 7 * DAY,
        }
    }
}
