//! The gateway's certificates: read, watched, and got by itself where the configuration says so.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{STORE_FILE, StartError};
use crate::{
    clock::SharedClock,
    config::Config,
    edge::{self, CertificateError, Certificates, Tls},
    issuance::{
        Challenges, Ledger,
        acme::{self, Wanted},
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
pub(super) async fn read(
    config: &Config,
    store: &dyn Store,
    challenges: &Challenges,
    clock: &SharedClock,
) -> Result<Option<Speech>, StartError> {
    if !config.speaks_tls() {
        return Ok(None);
    }
    let secret = match &config.tls.ticket_key_file {
        Some(path) => edge::shared_ticket_secret(path)?,
        None => kept_secret(config, store).await?,
    };
    let is_new = config.tls.local && local::ensure(&config.data, &config.url.host, &config.domain, clock.now())?.authority;
    let wanted = wanted(config)?;
    let tls = Tls::load(config.pairs(), &config.sites(), secret, challenges.clone(), Arc::clone(clock))?;
    Ok(Some(Speech {
        tls,
        advice: is_new.then(|| local::Files::of(&config.data).advice()),
        wanted,
    }))
}

/// The key of session tickets that this gateway keeps for itself.
async fn kept_secret(config: &Config, store: &dyn Store) -> Result<edge::TicketSecret, StartError> {
    let failed = |source| StartError::Store {
        path: config.data.join(STORE_FILE),
        source,
    };
    let kept = store.keep_secret(TICKET_KEY, &rand::random::<[u8; 32]>()).await.map_err(failed)?;
    let secret = kept.try_into();
    secret.map_err(|_| failed(StoreError::Failed("the key of TLS tickets in the store is damaged".into())))
}

/// What is told and asked while certificates are kept.
pub(super) struct Around {
    pub challenges: Challenges,
    pub clock: SharedClock,
    pub metrics: Metrics,
    pub ledger: Ledger,
    /// Has certificates read again.
    pub poke: Arc<Notify>,
}

impl Speech {
    /// What must run beside the listener: the watch over files, ACME, and our own authority.
    pub(super) fn keep(self, config: &Config, around: Around, close: &CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let Around {
            challenges,
            clock,
            metrics,
            ledger,
            poke,
        } = around;
        let acme = acme::Keeper {
            options: config.acme.clone(),
            wanted: self.wanted,
            folder: acme::folder(&config.data),
            challenges,
            plain_http: config.redirect_http.is_some(),
            clock: Arc::clone(&clock),
            ledger: ledger.clone(),
            metrics,
            renewed: Arc::clone(&poke),
        };
        let local = config.tls.local.then(|| local::Keeper {
            data: config.data.clone(),
            host: config.url.host.clone(),
            domain: config.domain.clone(),
            clock: Arc::clone(&clock),
            ledger: ledger.clone(),
            renewed: Arc::clone(&poke),
        });
        let (tls, watched) = (self.tls, close.clone());
        let watch = async move { edge::watch_certificates(tls, &poke, clock, ledger, watched).await };
        let local = local.map(|keeper| keeper.run(close.clone()).boxed());
        [watch.boxed(), acme.run(close.clone()).boxed()].into_iter().chain(local).collect()
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
