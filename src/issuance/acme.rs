//! Certificates by ACME (RFC 8555): DNS-01 through a hook for wildcards, else HTTP-01 or TLS-ALPN-01, renewed after two
//! thirds of their life.

mod account;
pub mod handshake;
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
use super::{
    Challenges, Ledger, Source, Trouble, Validity, files,
    wait::{LOOK_AGAIN, sleep, until},
};
use crate::{clock::SharedClock, ops::Metrics, outbound::Outbound};

/// Let's Encrypt.
pub const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The authority and how to satisfy it.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Whether its terms are accepted; without, nothing is asked for.
    pub accept_terms: bool,
    pub email: Option<String>,
    /// The URL of its directory.
    pub directory: String,
    /// The program that puts records into the DNS; without one, the gateway itself gives the proofs.
    pub hook: Option<PathBuf>,
    /// A root in PEM with which the authority's own site is trusted, instead of the machine's roots.
    pub root: Option<PathBuf>,
    /// How the authority is reached.
    pub outbound: Outbound,
    /// The name of an account with the authority to which ours is bound.
    pub eab_key_id: Option<String>,
    /// The file of the key for that.
    pub eab_key_file: Option<PathBuf>,
}

impl Options {
    /// Whether the key of the external account is there and is one.
    pub fn check_binding(&self) -> Result<(), AcmeError> {
        account::binding(self).map(drop)
    }
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
            eab_key_id: None,
            eab_key_file: None,
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
    #[error("the authority at {directory} {}", in_words(source))]
    Authority { directory: String, source: instant_acme::Error },
    #[error("the authority does not offer {0} for {1}")]
    NoChallenge(&'static str, String),
    #[error("the authority could not verify {name}: {why}")]
    Refused { name: String, why: String },
    #[error("{} holds no key of an external account: it is the base64 text that the authority shows beside the key's id", .0.display())]
    Binding(PathBuf),
    #[error("the proof for the authority cannot be made: {0}")]
    Proof(String),
    #[error("the certificate that came is good until {until} only and would be due again at once: this machine's clock may be wrong")]
    Stale { until: OffsetDateTime },
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
    /// Whether proofs can be given over plain HTTP.
    pub plain_http: bool,
    pub clock: SharedClock,
    pub ledger: Ledger,
    pub metrics: Metrics,
    /// Told when a certificate was written.
    pub renewed: Arc<Notify>,
}

/// What is to be done now.
struct Plan<'a> {
    missing: Vec<&'a Wanted>,
    /// How long the first of those is still good.
    left: Duration,
    /// How long it is until the first is due.
    first: Duration,
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
            let Plan { missing, left, first } = self.plan(jitter);
            if missing.is_empty() {
                if sleep(first, &self.ledger, &close).await {
                    continue;
                } else {
                    return;
                }
            }
            let pause = schedule::pause(failures + 1, left, rand::random());
            let mut failed = false;
            for wanted in missing {
                let got = tokio::select! {
                    got = self.renew(wanted, jitter) => got,
                    () = close.cancelled() => return,
                };
                failed |= got.is_err();
                self.tell(wanted, got, pause, &mut troubles);
            }
            failures = if failed { failures + 1 } else { 0 };
            if failed && !sleep(pause, &self.ledger, &close).await {
                return;
            }
        }
    }

    /// Looks at what there is, and says so.
    fn plan(&self, jitter: f64) -> Plan<'_> {
        let now = self.clock.now();
        let mut plan = Plan {
            missing: Vec::new(),
            left: Duration::MAX,
            first: LOOK_AGAIN,
        };
        for wanted in &self.wanted {
            let validity = validity(&wanted.file);
            let due = schedule::due(validity, jitter).unwrap_or(now);
            self.ledger.planned(&wanted.name, Source::Acme, due);
            plan.first = plan.first.min(until(due, now));
            if due <= now {
                let left = validity.map_or(Duration::ZERO, |validity| until(validity.until, now));
                plan.left = plan.left.min(left);
                plan.missing.push(wanted);
            }
        }
        plan
    }

    /// Gets one certificate and writes it.
    async fn renew(&self, wanted: &Wanted, jitter: f64) -> Result<Validity, AcmeError> {
        let client = transport::Transport::new(self.options.root.as_deref(), self.options.outbound.clone())?;
        let account = account::open(&self.options, &self.folder, client).await?;
        let proof = match &self.options.hook {
            Some(hook) => Proof::Dns(hook),
            None => Proof::Own {
                challenges: &self.challenges,
                plain_http: self.plain_http,
            },
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
        self.renewed.notify_one();
        // Or it would be asked for again at once, and for ever.
        if schedule::due(Some(got), jitter).is_some_and(|due| due <= self.clock.now()) {
            return Err(AcmeError::Stale { until: got.until });
        }
        Ok(got)
    }

    fn tell(&self, wanted: &Wanted, got: Result<Validity, AcmeError>, pause: Duration, troubles: &mut Troubles) {
        let (name, now) = (&wanted.name, self.clock.now());
        match got {
            Ok(validity) => {
                tracing::info!(name, until = %validity.until, "got a certificate by ACME");
                troubles.0.remove(name);
                self.ledger.tried(name, None);
            }
            Err(error) => {
                let next = now + pause;
                tracing::error!(name, %error, %next, "no certificate by ACME; it is tried again");
                self.metrics.acme_failed();
                let text = error.to_string();
                troubles.0.insert(name.clone(), text.clone());
                self.ledger.tried(name, Some(Trouble { text, at: now }));
                self.ledger.planned(name, Source::Acme, next);
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

/// What an authority says if it wants an account bound to another (RFC 8555 §6.7), and what helps.
const BINDING_WANTED: &str = "urn:ietf:params:acme:error:externalAccountRequired";
const BINDING_HINT: &str = "set acme.eab_key_id and acme.eab_key_file";

/// The authority's own words, in one line that is not too long (LOG-2).
fn in_words(error: &instant_acme::Error) -> String {
    plain(&match error {
        instant_acme::Error::Api(problem) => format!("says: {}", problem_in_words(problem)),
        other => format!("gives no answer that can be used: {other}"),
    })
}

fn problem_in_words(problem: &instant_acme::Problem) -> String {
    let details = problem.subproblems.iter().filter_map(|sub| sub.detail.as_deref());
    let hint = problem
        .r#type
        .as_deref()
        .filter(|kind| *kind == BINDING_WANTED)
        .map(|_| BINDING_HINT);
    let details: Vec<&str> = problem.detail.as_deref().into_iter().chain(details).chain(hint).collect();
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
