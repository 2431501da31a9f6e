//! What the gateway counts, in Prometheus' text form.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::domain::Phase;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PHASES: [Phase; 7] = [
    Phase::Creating,
    Phase::Starting,
    Phase::Running,
    Phase::Stopping,
    Phase::Stopped,
    Phase::Failed,
    Phase::Deleting,
];

/// The labels of [`Purpose`], in its order.
const PURPOSES: [&str; 4] = ["gateway", "editor", "port", "none"];

/// The labels of status codes.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The gateway's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    exchanges: Family<ExchangeLabels, Counter>,
    /// What each thread counted.
    tallies: Mutex<Vec<Tally>>,
    unlogged: Counter,
    narrowed: Counter,
    same_site: Gauge,
    connections: Gauge,
    closed: Family<ReasonLabel, Counter>,
    certificates: Family<HostsLabel, Gauge>,
    certificates_next: Family<HostsLabel, Gauge>,
    certificates_failing: Family<HostsLabel, Gauge>,
    acme_failures: Counter,
    codespaces: Family<PhaseLabel, Gauge>,
    /// One reader at a time, so that the numbers of one answer belong together.
    reading: Mutex<()>,
}

/// What an exchange was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    Gateway,
    Editor,
    Port,
    /// For no host of ours.
    None,
}

/// The exchanges of one thread: it counts where no other core writes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: Arc<[[AtomicU64; CLASSES.len()]; PURPOSES.len()]>,
    narrowed: Arc<AtomicU64>,
}

/// What an exchange was, in few words: labels must stay few, so no host, name or path is among them.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ExchangeLabels {
    target: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabel {
    reason: &'static str,
}

/// Whose certificate: `gateway` or `codespaces`.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct HostsLabel {
    hosts: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PhaseLabel {
    state: &'static str,
}

/// One open connection; counted until dropped.
pub struct ConnectionGuard(Gauge);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portico");
        let exchanges = Family::<ExchangeLabels, Counter>::default();
        let connections = Gauge::default();
        let closed = Family::<ReasonLabel, Counter>::default();
        let certificates = Family::<HostsLabel, Gauge>::default();
        let certificates_next = Family::<HostsLabel, Gauge>::default();
        let certificates_failing = Family::<HostsLabel, Gauge>::default();
        let acme_failures = Counter::default();
        let codespaces = Family::<PhaseLabel, Gauge>::default();
        registry.register("exchanges", "Requests answered, upgraded ones included", exchanges.clone());
        let unlogged = Counter::default();
        registry.register("access_log_lost", "Access-log records that found no room", unlogged.clone());
        let narrowed = Counter::default();
        registry.register(
            "cookies_narrowed",
            "Cookies of apps that lost their Domain or were taken away",
            narrowed.clone(),
        );
        let same_site = Gauge::default();
        registry.register(
            "same_site",
            "1 if codespaces are of the gateway's own site because allow_same_site says so: their pages can meddle with its cookies",
            same_site.clone(),
        );
        registry.register("connections_open", "Client connections that are open", connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed before their first request",
            closed.clone(),
        );
        registry.register(
            "certificate_expires_seconds",
            "When the certificate that is shown expires, in seconds since 1970; 0 if there is none",
            certificates.clone(),
        );
        registry.register(
            "certificate_next_try_seconds",
            "When the gateway renews the certificate by itself or tries again, in seconds since 1970; 0 if it does not",
            certificates_next.clone(),
        );
        registry.register(
            "certificate_failing",
            "1 while the certificate's last renewal failed or its files cannot be read",
            certificates_failing.clone(),
        );
        registry.register("acme_failures", "Certificates that ACME did not give", acme_failures.clone());
        registry.register("codespaces", "Codespaces by state", codespaces.clone());
        Self {
            inner: Arc::new(Inner {
                registry,
                exchanges,
                tallies: Mutex::default(),
                unlogged,
                narrowed,
                same_site,
                connections,
                closed,
                certificates,
                certificates_next,
                certificates_failing,
                acme_failures,
                codespaces,
                reading: Mutex::new(()),
            }),
        }
    }

    /// A tally for one thread.
    pub fn tally(&self) -> Tally {
        let tally = Tally::default();
        self.inner.tallies.lock().push(tally.clone());
        tally
    }

    /// Counts an access-log record that was not written.
    pub fn unlogged(&self) {
        self.inner.unlogged.inc();
    }

    /// Notes whether codespaces are of the gateway's own site (DOM-1).
    pub fn same_site(&self, is_same: bool) {
        self.inner.same_site.set(is_same.into());
    }

    /// Counts a connection that is closed before its first request; the reason is one of few words.
    pub fn closed(&self, reason: &'static str) {
        self.inner.closed.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Notes when the certificate of the `gateway` or of the `codespaces` expires and is tried next, in seconds since 1970,
    /// and whether something is wrong with it.
    pub fn certificate(&self, hosts: &'static str, expires: i64, next: i64, failing: bool) {
        let label = HostsLabel { hosts };
        self.inner.certificates.get_or_create(&label).set(expires);
        self.inner.certificates_next.get_or_create(&label).set(next);
        self.inner.certificates_failing.get_or_create(&label).set(failing.into());
    }

    /// Counts a failure to get a certificate.
    pub fn acme_failed(&self) {
        self.inner.acme_failures.inc();
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> ConnectionGuard {
        self.inner.connections.inc();
        ConnectionGuard(self.inner.connections.clone())
    }

    /// Writes everything as text; the states of all codespaces come from whoever knows them.
    pub fn text(&self, phases: impl Iterator<Item = Phase>) -> String {
        let _reading = self.inner.reading.lock();
        let mut counts: BTreeMap<Phase, i64> = PHASES.iter().map(|phase| (*phase, 0)).collect();
        for phase in phases {
            *counts.entry(phase).or_default() += 1;
        }
        for (phase, count) in counts {
            let state = phase.as_str();
            self.inner.codespaces.get_or_create(&PhaseLabel { state }).set(count);
        }
        self.sum_up();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }

    /// Brings together what the threads counted; what never happened has no line.
    fn sum_up(&self) {
        let tallies = self.inner.tallies.lock();
        let narrowed = tallies.iter().map(|tally| tally.narrowed.load(Relaxed)).sum();
        self.inner.narrowed.inner().store(narrowed, Relaxed);
        for (purpose, target) in PURPOSES.into_iter().enumerate() {
            for (class, status) in CLASSES.into_iter().enumerate() {
                let sum = tallies.iter().map(|tally| tally.counts[purpose][class].load(Relaxed)).sum();
                if sum > 0 {
                    let counter = self.inner.exchanges.get_or_create_owned(&ExchangeLabels { target, status });
                    counter.inner().store(sum, Relaxed);
                }
            }
        }
    }
}

impl Tally {
    /// Counts cookies of an app that were meant for other hosts too (HDR-7).
    pub fn narrowed(&self, cookies: u64) {
        self.narrowed.fetch_add(cookies, Relaxed);
    }

    /// Counts an exchange that has ended.
    pub fn exchange(&self, purpose: Purpose, status: u16) {
        let class = match status {
            100..=499 => status / 100 - 1,
            _ => 4,
        };
        self.counts[purpose as usize][usize::from(class)].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dom_1_hdr_7_what_happened_is_counted() {
        let metrics = Metrics::new();
        let (one, other) = (metrics.tally(), metrics.tally());
        one.exchange(Purpose::Port, 101);
        one.exchange(Purpose::Port, 200);
        other.exchange(Purpose::Port, 204);
        other.exchange(Purpose::None, 0);
        one.narrowed(2);
        other.narrowed(1);
        metrics.same_site(true);
        metrics.unlogged();
        let open = metrics.connection();
        drop(metrics.connection());
        let text = metrics.text([Phase::Running, Phase::Running, Phase::Failed].into_iter());
        for line in [
            "portico_exchanges_total{target=\"port\",status=\"2xx\"} 2",
            "portico_exchanges_total{target=\"port\",status=\"1xx\"} 1",
            "portico_exchanges_total{target=\"none\",status=\"5xx\"} 1",
            "portico_access_log_lost_total 1",
            "portico_connections_open 1",
            "portico_cookies_narrowed_total 3",
            "portico_same_site 1",
            "portico_codespaces{state=\"running\"} 2",
            "portico_codespaces{state=\"stopped\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        drop(open);
        assert!(metrics.text(std::iter::empty()).contains("portico_connections_open 0"));
    }
}
