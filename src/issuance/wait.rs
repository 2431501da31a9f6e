//! Waiting for a moment of the wall clock.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::Ledger;

/// Longest sleep: clocks are set, and machines sleep.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// How long it is until then; nothing if that is over.
pub(super) fn until(then: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(then - now).unwrap_or_default()
}

/// Waits so long, or until somebody wants no more waiting; false if it was told to close before that.
pub(super) async fn sleep(pause: Duration, ledger: &Ledger, close: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = ledger.asked() => true,
        () = close.cancelled() => false,
    }
}
