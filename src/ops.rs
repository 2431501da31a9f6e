//! Whether the gateway is well, and how much it does: `/healthz`, `/readyz`, Prometheus metrics.
//!
//! Owns the answers and the registry. Refuses to know: who listens where; metrics belong on a listener of their own,
//! never on the gateway's hosts (SSRF-2).

mod health;
mod metrics;

pub use health::{Readiness, is_probe, router};
pub use metrics::{CONTENT_TYPE, ConnectionGuard, Metrics, Purpose, Tally};
