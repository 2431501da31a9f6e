//! The agent's credential: what it is now, and the file that keeps it for an agent that is started again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::orders::{self, OrdersError};
use crate::protocol::bootstrap::Secret;

/// The credential; clones are the same one.
#[derive(Clone, Debug)]
pub struct Credential {
    now: Arc<Mutex<Secret>>,
    /// The orders that hold it; none if nobody starts the agent again.
    kept: Option<PathBuf>,
}

impl Credential {
    /// Takes the credential of the orders, and where those are.
    pub fn new(secret: Secret, kept: Option<&Path>) -> Self {
        Self {
            now: Arc::new(Mutex::new(secret)),
            kept: kept.map(Path::to_owned),
        }
    }

    /// What to show the gateway.
    pub fn now(&self) -> Secret {
        self.now.lock().clone()
    }

    /// Uses a fresh one from now on, once it is kept: until it is used, the one before stays good.
    pub async fn renew(&self, fresh: Secret) -> Result<(), OrdersError> {
        if let Some(kept) = self.kept.clone() {
            let (before, fresh) = (self.now(), fresh.clone());
            let keeping = tokio::task::spawn_blocking(move || orders::replace_credential(&kept, &before, fresh));
            keeping.await.map_err(io::Error::other)??;
        }
        *self.now.lock() = fresh;
        Ok(())
    }
}
