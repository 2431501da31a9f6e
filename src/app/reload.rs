//! What SIGHUP has read again: certificates, and the ceiling of the configuration.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::{codespace::Codespaces, config::Config, issuance::Ledger};

/// Reads the configuration again; none where that cannot be done, which it has said.
pub type Again = Box<dyn Fn() -> Option<Config> + Send>;

struct Reload {
    hangup: Signal,
    poke: Arc<Notify>,
    certificates: Ledger,
    codespaces: Codespaces,
    again: Option<Again>,
    close: CancellationToken,
}

impl Gateway {
    /// At each SIGHUP has certificates read and tried again, and takes over the ceiling of a configuration that is read
    /// `again`. Without either the signal keeps its meaning.
    pub fn reload_on_hangup(&self, again: Option<Again>) -> io::Result<()> {
        if self.config.speaks_tls() || again.is_some() {
            let reload = Reload {
                hangup: signal(SignalKind::hangup())?,
                poke: Arc::clone(&self.poke),
                certificates: self.certificates.clone(),
                codespaces: self.codespaces.clone(),
                again,
                close: self.close.clone(),
            };
            self.locals.spawn(reload.run());
        }
        Ok(())
    }
}

impl Reload {
    async fn run(mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {}
                () = self.close.cancelled() => return,
            }
            self.poke.notify_one();
            self.certificates.try_now();
            if let Some(config) = self.again.as_ref().and_then(|again| again()) {
                let closed = self.codespaces.configure_ceiling(config.sharing.ceiling).await;
                tracing::info!(closed = closed.len(), "the ceiling of the configuration was read again");
            }
        }
    }
}
