//! What the operator set of codespaces' lives.

use std::time::Duration;

/// Bounds and terms; the defaults are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Most starts of one person in a minute (RESUME-3).
    pub starts_per_minute: usize,
    /// How long a minute of an idle timeout lasts: 60 seconds but where somebody wants to watch.
    pub idle_minute: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            starts_per_minute: 30,
            idle_minute: Duration::from_secs(60),
        }
    }
}
