//! What is left of codespaces that are no more: what runs is removed, what holds work is named and stays. And what new ones
//! begin with is fetched before anybody waits for it.
//!
//! A runtime may be away when the gateway starts: it is tried again until it answered once.

use std::{sync::Arc, time::Duration};

use super::{CodespaceError, Codespaces, Inner};
use crate::runtime::{LeftBehind, RuntimeError, SharedRuntime};

/// After so long a runtime that was away is tried again, then after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such time: an engine that is down, and a registry.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE_OF_A_FETCH: Duration = Duration::from_secs(15 * 60);

impl Codespaces {
    /// What holds work of codespaces that are no more, of all runtimes.
    pub async fn left_behind(&self) -> Result<Vec<LeftBehind>, CodespaceError> {
        let mut left = Vec::new();
        for runtime in &self.inner.deps.runtimes {
            left.extend(self.inner.left_behind(runtime).await?);
        }
        Ok(left)
    }

    /// Has each runtime remove what runs for codespaces that are no more, name what stays, and fetch ahead. Nobody waits for it.
    pub(super) fn tidy(&self) {
        for runtime in &self.inner.deps.runtimes {
            let (inner, runtime) = (Arc::clone(&self.inner), Arc::clone(runtime));
            self.inner.tasks.spawn(async move {
                let going = inner.going.clone();
                tokio::select! {
                    () = inner.look_after(&runtime) => {}
                    () = going.cancelled() => {}
                }
            });
        }
    }
}

impl Inner {
    async fn look_after(&self, runtime: &SharedRuntime) {
        for left in self.tidied(runtime).await {
            let LeftBehind {
                kind,
                name,
                codespace,
                remove,
            } = left;
            tracing::warn!(
                codespace,
                "a {kind} of no codespace stays, as it may hold work: {name}. This removes it: {remove}"
            );
        }
        let mut pauses = Pauses::up_to(LONGEST_PAUSE_OF_A_FETCH);
        while let Err(error) = runtime.fetch_ahead().await {
            if pauses.is_first() {
                let runtime = runtime.kind();
                tracing::warn!(runtime, %error, "what codespaces begin with could not be fetched ahead: it is tried again, and when somebody needs it");
            }
            pauses.wait().await;
        }
    }

    /// What stays when all else is removed.
    async fn tidied(&self, runtime: &SharedRuntime) -> Vec<LeftBehind> {
        let mut pauses = Pauses::up_to(LONGEST_PAUSE);
        loop {
            match self.tidy_once(runtime).await {
                Ok(left) => return left,
                Err(error) if pauses.is_first() => {
                    let runtime = runtime.kind();
                    tracing::warn!(runtime, %error, "what is left of earlier codespaces could not be looked at: it is tried again until it can");
                }
                Err(_) => {}
            }
            pauses.wait().await;
        }
    }

    async fn tidy_once(&self, runtime: &SharedRuntime) -> Result<Vec<LeftBehind>, RuntimeError> {
        runtime.tidy(&|name| self.spaces.contains_key(name)).await?;
        self.left_behind(runtime).await
    }

    async fn left_behind(&self, runtime: &SharedRuntime) -> Result<Vec<LeftBehind>, RuntimeError> {
        runtime.left_behind(&|name| self.spaces.contains_key(name)).await
    }
}

/// Pauses between tries, each twice as long as the one before.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn up_to(longest: Duration) -> Self {
        let next = FIRST_PAUSE;
        Self { next, longest }
    }

    fn is_first(&self) -> bool {
        self.next == FIRST_PAUSE
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
    }
}
