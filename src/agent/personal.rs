//! What the gateway told of the codespace's user: kept in memory alone, for whatever runs inside.
//!
//! Owns the wait for it: what starts inside before it came would lack the user's secrets. Refuses to write any of it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::protocol::personal;

/// How long what runs inside waits for the gateway: one that is away that long is away for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of the user; clones are the same one.
#[derive(Clone)]
pub struct Personal(watch::Sender<Option<Arc<personal::Personal>>>);

impl Personal {
    /// Nothing yet, or nothing at all where the gateway will not tell.
    pub fn new(will_be_told: bool) -> Self {
        let nothing = (!will_be_told).then(Arc::default);
        Self(watch::Sender::new(nothing))
    }

    /// Takes what the gateway tells, in place of what it told before.
    pub fn learn(&self, told: personal::Personal) {
        self.0.send_replace(Some(Arc::new(told)));
    }

    /// What is known now.
    pub fn now(&self) -> Arc<personal::Personal> {
        self.0.borrow().clone().unwrap_or_default()
    }

    /// What is known once the gateway has told, or has not for long.
    pub async fn told(&self) -> Arc<personal::Personal> {
        self.told_within(PATIENCE).await
    }

    async fn told_within(&self, patience: Duration) -> Arc<personal::Personal> {
        let mut watch = self.0.subscribe();
        if timeout(patience, watch.wait_for(Option::is_some)).await.is_err() {
            tracing::warn!("the gateway did not tell what the user keeps; what starts now starts without it");
        }
        self.now()
    }
}

impl Default for Personal {
    fn default() -> Self {
        Self::new(false)
    }
}

impl std::fmt::Debug for Personal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Personal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bootstrap::Secret;

    #[tokio::test]
    async fn it_is_waited_for_and_not_for_ever() {
        assert_eq!(*Personal::new(false).told().await, personal::Personal::default());
        let late = Personal::new(true);
        assert_eq!(*late.told_within(Duration::from_millis(1)).await, personal::Personal::default());
        let told = personal::Personal {
            variables: [("A".to_owned(), Secret("canary".into()))].into(),
            ..personal::Personal::default()
        };
        let other = late.clone();
        let (known, ()) = tokio::join!(late.told(), async { other.learn(told.clone()) });
        assert_eq!(*known, told);
        assert!(!format!("{late:?} {told:?}").contains("canary"));
    }
}
