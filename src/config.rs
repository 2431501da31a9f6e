//! The configuration: as written in a file, variables and flags, to as meant.
//!
//! Owns every key, its default and its bounds, and is the only reader of configuration files and of the environment.
//! Refuses unknown keys with the nearest known one (FAIL-1), and to know what the others do with the values.

mod attempts;
mod docker;
mod gather;
mod keys;
mod life;
mod problems;
mod sign_in;
mod site;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    auth::AttemptLimits,
    codespace::StrangerCaps,
    edge::{Fronts, Pair},
    issuance::{Source, acme, local},
    outbound::Outbound,
    policy::Ceiling,
    route::{Origin, Sites},
};

pub use gather::{ConfigError, Overrides};
pub use problems::{Problem, Severity};
pub use sign_in::{SignIn, TrustedHeader};

/// Everything that can be set, as meant. Each field is a key of the file; `[tls]`, `[acme]`, `[docker]`, `[limits]`, `[log]` and `[sessions]` are tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Where metrics are, in plain HTTP at `/metrics` and for whoever can connect; nowhere if there is none.
    pub metrics_listen: Option<SocketAddr>,
    /// Where plain HTTP is sent to https; nowhere if there is none.
    pub redirect_http: Option<SocketAddr>,
    /// Who stands in front: `trusted_proxies`, `forwarded_header` and `proxy_protocol`.
    pub fronts: Fronts,
    /// For how long browsers are told to use https alone; nothing is said if there is none.
    pub hsts: Option<Duration>,
    /// The gateway host's own URL, as browsers see it.
    pub url: Origin,
    /// DOMAIN: codespaces are at `NAME.DOMAIN` and `NAME-PORT.DOMAIN`.
    pub domain: String,
    /// The directory of the store, the sockets and, in the `process` runtime, the codespaces.
    pub data: PathBuf,
    /// The key that encrypts what people keep; in the data directory without one.
    pub belongings_key_file: Option<PathBuf>,
    /// Whether `domain` may be of the same site as `url`'s host (DOM-1).
    pub allow_same_site: bool,
    /// The runtime of new codespaces.
    pub runtime: RuntimeKind,
    /// How the `docker` runtime makes containers.
    pub docker: crate::runtime::docker::Options,
    /// An editor's program, instead of the one that is found.
    pub editor: Option<PathBuf>,
    pub tls: Tls,
    /// Certificates by ACME, for the names that no other certificate is named for.
    pub acme: acme::Options,
    pub limits: Limits,
    /// `[codespaces]`: how they start, sleep and end.
    pub life: crate::lifecycle::Rules,
    pub log: Log,
    pub sessions: SessionLimits,
    /// How long audit events are kept.
    pub audit_retention: Duration,
    pub sharing: Sharing,
    pub sign_in: SignIn,
    /// How providers and the authority are reached: `proxy` and `no_proxy`.
    pub outbound: Outbound,
}

/// `[sharing]`: how far owners may share, and what strangers are told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sharing {
    pub ceiling: Ceiling,
    /// What strangers may cost in a minute.
    pub strangers: StrangerCaps,
    /// A web or mail address for reports of abuse.
    pub abuse: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RuntimeKind {
    Process,
    Docker,
}

/// The certificates with which the gateway speaks TLS itself; without any, and without `[acme]`, it speaks plain HTTP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// Certificate chains in PEM, one file for each certificate.
    pub certificates: Vec<PathBuf>,
    /// Their private keys in PEM, in the same order.
    pub keys: Vec<PathBuf>,
    /// Whether the gateway signs a certificate for itself, for development.
    pub local: bool,
    /// The secret of session tickets that several gateways share; without one, each has its own in its store.
    pub ticket_key_file: Option<PathBuf>,
}

/// Bounds of what one client, codespace or exchange may take (decision 12, LIM-1, TO-1).
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections at once, all together.
    pub connections: usize,
    /// Connections at once from one address (an IPv6 /64 is one); loopback is not counted.
    pub connections_per_address: usize,
    /// From a connection's or request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// How long a kept-alive connection may be idle.
    pub idle_timeout: Duration,
    /// How long a request's body may stand still.
    pub body_timeout: Duration,
    /// How long a client may take no byte of an answer.
    pub write_timeout: Duration,
    /// How long opening a stream to an app may take.
    pub connect_timeout: Duration,
    /// How long exchanges may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// After how many idle minutes a codespace stops, unless it says otherwise: 5 to 240.
    pub idle_minutes: u16,
    /// Codespaces that one user may have.
    pub codespaces_per_user: usize,
    /// Personal access tokens that one user may have.
    pub tokens_per_user: usize,
    /// Sockets at once of one user, to one codespace, and from one address of those who did not sign in.
    pub sockets_per_user: usize,
    pub sockets_per_codespace: usize,
    pub sockets_per_address: usize,
    /// How often a wrong password may be tried, of one account, from one address and all together.
    pub attempts: AttemptLimits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter, for instance `info` or `portico=debug,info`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How long login sessions last (SESS-2).
#[derive(Clone, Debug, PartialEq)]
pub struct SessionLimits {
    pub idle: Duration,
    pub absolute: Duration,
}

impl Config {
    /// Fewest and most idle minutes that a codespace can have.
    pub const IDLE_MINUTES: std::ops::RangeInclusive<u16> = 5..=240;

    /// Puts the layers together: defaults, then the file, then `PORTICO_…` variables, then flags; the later wins.
    ///
    /// The file is the one that `overrides` or `PORTICO_CONFIG` names; without either none is read.
    pub fn gather(overrides: Overrides, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        gather::gather(overrides, environment)
    }

    /// Whether codespaces are of the gateway's own site, which must have been allowed (DOM-1).
    pub fn is_same_site(&self) -> bool {
        site::is_same_site(self)
    }

    /// Whom to take for proxies, and where codespaces are.
    pub fn fronts(&self) -> Fronts {
        let containers = (self.runtime == RuntimeKind::Docker).then_some(self.docker.networks);
        Fronts {
            codespaces: containers.into_iter().collect(),
            ..self.fronts.clone()
        }
    }

    /// The hosts that `url` and `domain` make.
    pub fn sites(&self) -> Sites {
        Sites::new(self.url.clone(), &self.domain)
    }

    /// Whether the gateway speaks TLS itself.
    pub fn speaks_tls(&self) -> bool {
        !self.tls.certificates.is_empty() || self.tls.local || self.acme.accept_terms
    }

    /// The certificates' files with their keys', in the order in which they are preferred.
    pub fn pairs(&self) -> Vec<Pair> {
        let named = self.tls.certificates.iter().cloned().zip(self.tls.keys.iter().cloned());
        let named = named.map(|(certificate, key)| Pair {
            certificate,
            key,
            source: Source::Files,
        });
        let local = self.tls.local.then(|| local::Files::of(&self.data)).map(|files| Pair {
            certificate: files.certificate,
            key: files.key,
            source: Source::Local,
        });
        let acme = acme::files(&self.data).into_iter().filter(|_| self.acme.accept_terms);
        let acme = acme.map(|file| Pair {
            certificate: file.clone(),
            key: file,
            source: Source::Acme,
        });
        named.chain(local).chain(acme).collect()
    }

    /// The file of the key that encrypts what people keep.
    pub fn belongings_key(&self) -> PathBuf {
        let beside = || self.data.join("belongings.key");
        self.belongings_key_file.clone().unwrap_or_else(beside)
    }

    /// What is wrong with it on this machine, the worst first. Looks at sockets, the disk and the search path.
    pub fn problems(&self) -> Vec<Problem> {
        problems::find(self)
    }
}

impl RuntimeKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }
}
