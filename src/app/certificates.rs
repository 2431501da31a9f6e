//! The gateway's certificates: read, watched, and got by itself where the configuration says so.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::{STORE_FILE, StartError};
use crate::{
    clock::SharedClock,
    config::Config,
    edge::{self, CertificateError, Certificates, Tls},
    issuance::{
        Challenges,
        acme::{self, Keeper, Wanted},
        local,
    },
    ops::Metrics,
    store::{Store, StoreError},
};

/// The name of the ticket keys' secret in the store.
const TICKET_KEY: &str = "tls-ticket-key";

/// What the gateway speaks TLS with.
pub(super) struct Speech {
    pub tls: Tls,
    /// How to have our own authority trusted, if it was made just now.
    pub advice: Option<String>,
    /// What ACME is to get.
    wanted: Vec<Wanted>,
}

/// Reads the certificates that are configured, if any are, and makes what is our own.
pub(super) async fn read(config: &Config, store: &dyn Store, clock: &SharedClock) -> Result<Option<Speech>, StartError> {
    if !config.speaks_tls() {
        return Ok(None);
    }
    let failed = |source| StartError::Store {
        path: config.data.join(STORE_FILE),
        source,
    };
    let kept = store.keep_secret(TICKET_KEY, &rand::random::<[u8; 32]>()).await.map_err(failed)?;
    let secret = kept.try_into();
    let secret = secret.map_err(|_| failed(StoreError::Failed("the key of TLS tickets in the store is damaged".into())))?;
    let is_new = config.tls.local && local::ensure(&config.data, &config.url.host, &config.domain, clock.now())?;
    let wanted = wanted(config)?;
    let tls = Tls::load(config.pairs(), &config.sites(), secret, Arc::clone(clock))?;
    Ok(Some(Speech {
        tls,
        advice: is_new.then(|| local::Files::of(&config.data).advice()),
        wanted,
    }))
}

impl Speech {
    /// What must run beside the listener: the watch over files, and ACME.
    pub(super) fn keep(
        self,
        config: &Config,
        challenges: Challenges,
        (clock, metrics): (SharedClock, Metrics),
        poke: Arc<Notify>,
        close: &CancellationToken,
    ) -> (impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>) {
        let keeper = Keeper {
            options: config.acme.clone(),
            wanted: self.wanted,
            folder: acme::folder(&config.data),
            challenges,
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            renewed: Arc::clone(&poke),
        };
        let (tls, watched) = (self.tls, close.clone());
        let watch = async move { edge::watch_certificates(tls, &poke, clock, metrics, watched).await };
        (watch, keeper.run(close.clone()))
    }
}

/// The names for which ACME is asked: those that no other certificate covers, and without a hook no wildcard.
fn wanted(config: &Config) -> Result<Vec<Wanted>, CertificateError> {
    if !config.acme.accept_terms {
        return Ok(Vec::new());
    }
    let [gateway, codespaces] = acme::files(&config.data);
    let mut others = config.clone();
    others.acme.accept_terms = false;
    let names = match others.pairs() {
        pairs if pairs.is_empty() => vec![config.url.host.clone(), format!("*.{}", config.domain)],
        pairs => Certificates::check(&pairs, &config.sites())?.uncovered(),
    };
    let names = names
        .into_iter()
        .filter(|name| config.acme.hook.is_some() || !name.starts_with("*."));
    let wanted = names.map(|name| Wanted {
        file: if name.starts_with("*.") {
            codespaces.clone()
        } else {
            gateway.clone()
        },
        name,
    });
    Ok(wanted.collect())
}

/// Pokes at each SIGHUP until told to close.
pub(super) fn hangups(poke: Arc<Notify>, close: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => poke.notify_one(),
                () = close.cancelled() => return,
            }
        }
    })
}
