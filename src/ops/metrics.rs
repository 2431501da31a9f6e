//! What the gateway counts, in Prometheus' text form.

use std::{collections::BTreeMap, sync::Arc};

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

/// The gateway's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    exchanges: Family<ExchangeLabels, Counter>,
    connections: Gauge,
    closed: Family<ReasonLabel, Counter>,
    codespaces: Family<PhaseLabel, Gauge>,
    /// One reader at a time, so that the numbers of one answer belong together.
    reading: Mutex<()>,
}

/// What an exchange was, in few words: labels must stay few, so no host, name or path is among them.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ExchangeLabels {
    /// `gateway`, `editor`, `port` or `none`.
    target: &'static str,
    /// `1xx` to `5xx`.
    status: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabel {
    reason: &'static str,
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
        let codespaces = Family::<PhaseLabel, Gauge>::default();
        registry.register("exchanges", "Requests answered, upgraded ones included", exchanges.clone());
        registry.register("connections_open", "Client connections that are open", connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed before their first request",
            closed.clone(),
        );
        registry.register("codespaces", "Codespaces by state", codespaces.clone());
        Self {
            inner: Arc::new(Inner {
                registry,
                exchanges,
                connections,
                closed,
                codespaces,
                reading: Mutex::new(()),
            }),
        }
    }

    /// Counts an exchange that has ended. `target` is `gateway`, `editor`, `port` or `none`.
    pub fn exchange(&self, target: &'static str, status: u16) {
        let status = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.inner.exchanges.get_or_create(&ExchangeLabels { target, status }).inc();
    }

    /// Counts a connection that is closed before its first request; the reason is one of few words.
    pub fn closed(&self, reason: &'static str) {
        self.inner.closed.get_or_create(&ReasonLabel { reason }).inc();
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
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted() {
        let metrics = Metrics::new();
        metrics.exchange("port", 101);
        metrics.exchange("port", 200);
        metrics.exchange("port", 204);
        let open = metrics.connection();
        drop(metrics.connection());
        let text = metrics.text([Phase::Running, Phase::Running, Phase::Failed].into_iter());
        for line in [
            "portico_exchanges_total{target=\"port\",status=\"2xx\"} 2",
            "portico_exchanges_total{target=\"port\",status=\"1xx\"} 1",
            "portico_connections_open 1",
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
