//! What the gateway told of the codespace's user: kept in memory alone, for whatever runs inside.
//!
//! Owns the wait for it: what starts inside before it came would lack the user's secrets, and a private repository would be
//! refused. Refuses to write any of it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::protocol::personal;

/// How long a command waits for the gateway: one that is away that long is away for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so long, a wait for the gateway is worth a word.
const AWAY: Duration = Duration::from_secs(2);

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

    /// Tells each time that the gateway told something, what it told before among it.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<personal::Personal>>> {
        self.0.subscribe()
    }

    /// What is known once the gateway has told, or has not for long.
    pub async fn told(&self) -> Arc<personal::Personal> {
        self.told_within(PATIENCE).await
    }

    /// What is known once the gateway has told, however long it is away; `away` is called where that is long.
    pub async fn surely_told(&self, away: impl FnOnce()) -> Arc<personal::Personal> {
        self.surely_told_after(AWAY, away).await
    }

    async fn surely_told_after(&self, long: Duration, away: impl FnOnce()) -> Arc<personal::Personal> {
        let mut watch = self.0.subscribe();
        let told = async { drop(watch.wait_for(Option::is_some).await) };
        tokio::pin!(told);
        tokio::select! {
            biased;
            () = &mut told => {}
            () = sleep(long) => {
                away();
                told.await;
            }
        }
        self.now()
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
    async fn what_cannot_do_without_waits_for_ever_and_says_so() {
        let late = Personal::new(true);
        let (other, away) = (late.clone(), watch::Sender::new(false));
        let mut said = away.subscribe();
        let told = personal::Personal {
            extensions: vec!["a.b".into()],
            ..personal::Personal::default()
        };
        let waiting = late.surely_told_after(Duration::from_millis(1), || {
            away.send_replace(true);
        });
        let (known, ()) = tokio::join!(waiting, async {
            said.wait_for(|said| *said).await.expect("it says so");
            other.learn(told.clone());
        });
        assert_eq!(*known, told);
        let known = late.surely_told(|| panic!("it is known")).await;
        assert_eq!(*known, told);
    }

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
