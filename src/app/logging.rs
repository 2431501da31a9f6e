//! Where log records go, and in which form.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Libraries that write what they carry into their own records below this level: an agent's key, a browser's headers (LOG-1).
const TALKATIVE: [&str; 3] = ["tungstenite=warn", "tokio_tungstenite=warn", "h2=warn"];

/// Starts logging to standard error. Once in a process; a second call does nothing.
pub fn start(log: &Log) {
    let filter = filter(&log.level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
    };
    drop(started);
}

/// Reads the configured filter; no filter makes the talkative ones talk.
fn filter(level: &str) -> EnvFilter {
    let wanted = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let directives = TALKATIVE.iter().filter_map(|directive| directive.parse().ok());
    directives.fold(wanted, EnvFilter::add_directive)
}
