//! Certificates by ACME (RFC 8555): DNS-01 through a hook for wildcards, else HTTP-01, renewed after two thirds of their life.

mod account;
mod hook;
mod order;
mod schedule;
mod transport;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::order::Proof;
use super::{Challenges, Validity, files};
use crate::{clock::SharedClock, ops::Metrics, outbound::Outbound};

/// Let's Encrypt.
pub const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Longest sleep: clocks are set, and machines sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// The authority and how to satisfy it.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Whether its terms are accepted; without, nothing is asked for.
    pub accept_terms: bool,
    pub email: Option<String>,
    /// The URL of its directory.
    pub directory: String,
    /// The program that puts records into the DNS; without one, proofs are given over plain HTTP.
    pub hook: Option<PathBuf>,
    /// A root in PEM with which the authority's own site is trusted, instead of the machine's roots.
    pub root: Option<PathBuf>,
    /// How the authority is reached.
    pub outbound: Outbound,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            accept_terms: false,
            email: None,
            directory: DEFAULT_DIRECTORY.into(),
            hook: None,
            root: None,
            outbound: Outbound::default(),
        }
    }
}

/// A certificate to keep fresh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Key and chain, in one file, so that both change in one step.
    pub file: PathBuf,
    /// A host, or `*.DOMAIN`.
    pub name: String,
}

/// Why there is no certificate; for the operator.
#[derive(Debug, Error)]
pub enum AcmeError {
    #[error("{} cannot be read or written: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the authority's root {} holds no certificate in PEM", .0.display())]
    Root(PathBuf),
    #[error("TLS to the authority cannot be set up: {0}")]
    Tls(String),
    #[error("the authority at {directory} says: {}", in_words(source))]
    Authority { directory: String, source: instant_acme::Error },
    #[error("the authority does not offer {0} for {1}")]
    NoChallenge(&'static str, String),
    #[error("the authority could not verify {name}: {why}")]
    Refused { name: String, why: String },
    #[error("the hook {}", .0)]
    Hook(#[from] hook::HookError),
}

/// What went wrong last, by name; kept in a file for `portico check`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Troubles(BTreeMap<String, String>);

/// Keeps certificates fresh.
pub struct Keeper {
    pub options: Options,
    pub wanted: Vec<Wanted>,
    /// Where keys, the account and troubles are.
    pub folder: PathBuf,
    pub challenges: Challenges,
    pub clock: SharedClock,
    pub metrics: Metrics,
    /// Told when a certificate was written.
    pub renewed: Arc<Notify>,
}

/// The folder in a data directory.
pub fn folder(data: &Path) -> PathBuf {
    data.join("tls/acme")
}

/// The file of the gateway host's certificate, and that of the codespaces'.
pub fn files(data: &Path) -> [PathBuf; 2] {
    ["gateway.pem", "codespaces.pem"].map(|name| folder(data).join(name))
}

impl Troubles {
    /// Reads what the running gateway wrote; nothing if it wrote none.
    pub fn of(data: &Path) -> Vec<(String, String)> {
        let text = std::fs::read(folder(data).join(Self::FILE)).unwrap_or_default();
        let read: Self = serde_json::from_slice(&text).unwrap_or_default();
        read.0.into_iter().collect()
    }

    const FILE: &str = "troubles.json";
}

impl Keeper {
    /// Gets and renews certificates until told to close.
    pub async fn run(self, close: CancellationToken) {
        let jitter = rand::random::<f64>();
        let mut troubles = Troubles::default();
        let mut failures = 0;
        loop {
            let now = self.clock.now();
            let due = self.wanted.iter().map(|wanted| schedule::due(validity(&wanted.file), jitter));
            let first = due.clone().flatten().min();
            let missing: Vec<_> = self
                .wanted
                .iter()
                .zip(due)
                .filter(|(_, due)| due.is_none_or(|due| due <= now))
                .collect();
            if missing.is_empty() {
                let pause = first.map_or(LOOK_AGAIN, |due| until(due, now).min(LOOK_AGAIN));
                if sleep(pause, &close).await { continue } else { return }
            }
            let mut failed = false;
            for (wanted, _) in missing {
                let got = tokio::select! {
                    got = self.renew(wanted) => got,
                    () = close.cancelled() => return,
                };
                failed |= got.is_err();
                self.tell(wanted, got, &mut troubles);
            }
            failures = if failed { failures + 1 } else { 0 };
            if failed && !sleep(schedule::pause(failures, rand::random()), &close).await {
                return;
            }
        }
    }

    /// Gets one certificate and writes it.
    pub async fn renew(&self, wanted: &Wanted) -> Result<Validity, AcmeError> {
        let client = transport::Transport::new(self.options.root.as_deref(), self.options.outbound.clone())?;
        let account = account::open(&self.options, &self.folder, client).await?;
        let proof = match &self.options.hook {
            Some(hook) => Proof::Dns(hook),
            None => Proof::Http(&self.challenges),
        };
        let issued = order::place(&account, &wanted.name, proof, &self.options.directory).await?;
        let file = |source| AcmeError::File {
            path: wanted.file.clone(),
            source,
        };
        let got = CertificateDer::from_pem_slice(issued.as_bytes())
            .ok()
            .and_then(|der| Validity::of(&der));
        let got = got.ok_or_else(|| file(io::Error::other("the authority sent no certificate")))?;
        files::write(&wanted.file, issued.as_bytes()).map_err(file)?;
        Ok(got)
    }

    fn tell(&self, wanted: &Wanted, got: Result<Validity, AcmeError>, troubles: &mut Troubles) {
        let name = &wanted.name;
        match got {
            Ok(validity) => {
                tracing::info!(name, until = %validity.until, "got a certificate by ACME");
                troubles.0.remove(name);
                self.renewed.notify_one();
            }
            Err(error) => {
                tracing::error!(name, %error, "no certificate by ACME; it is tried again");
                self.metrics.acme_failed();
                troubles.0.insert(name.clone(), error.to_string());
            }
        }
        let text = serde_json::to_vec(&troubles).unwrap_or_default();
        if let Err(error) = files::write(&self.folder.join(Troubles::FILE), &text) {
            tracing::warn!(%error, "what ACME has trouble with cannot be written down");
        }
    }
}

/// When the certificate in a file is good; none if there is none.
fn validity(file: &Path) -> Option<Validity> {
    let der = CertificateDer::from_pem_file(file).ok()?;
    Validity::of(&der)
}

fn until(due: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(due - now).unwrap_or_default()
}

/// Tells whether the time passed before it was told to close.
async fn sleep(pause: Duration, close: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = close.cancelled() => false,
    }
}

/// The authority's own words, in one line that is not too long (LOG-2).
fn in_words(error: &instant_acme::Error) -> String {
    plain(&match error {
        instant_acme::Error::Api(problem) => problem_in_words(problem),
        other => other.to_string(),
    })
}

fn problem_in_words(problem: &instant_acme::Problem) -> String {
    let details = problem.subproblems.iter().filter_map(|sub| sub.detail.as_deref());
    let details: Vec<&str> = problem.detail.as_deref().into_iter().chain(details).collect();
    match (details.is_empty(), problem.r#type.as_deref()) {
        (false, _) => details.join("; "),
        (true, Some(kind)) => kind.to_owned(),
        (true, None) => "it gave no reason".to_owned(),
    }
}

/// Longest text of others in a message, in characters.
const MAX_WORDS: usize = 600;

fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(MAX_WORDS)
        .collect()
}
