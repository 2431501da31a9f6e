//! Where log records go, and in which form.

mod access;

use std::io::{self, IsTerminal as _, stderr};

use tracing::Level;
use tracing_subscriber::EnvFilter;

pub(super) use self::access::Writer;
use crate::{
    clock::SharedClock,
    config::{Log, LogFormat},
    edge::{ACCESS_LOG_TARGET, AccessLog, Form},
    ops::Metrics,
};

/// Libraries that write what they carry into their own records below this level: an agent's key, a browser's headers (LOG-1).
const TALKATIVE: [&str; 3] = ["tungstenite=warn", "tokio_tungstenite=warn", "h2=warn"];

/// Starts logging to standard error. Once in a process; a second call does nothing.
pub fn start(log: &Log) {
    let filter = filter(&log.level);
    let told = filter.to_string();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
    };
    drop(started);
    // Whoever looks for what is not in a log sees whether it would have been.
    tracing::debug!(filter = told, "the log is filtered");
}

/// Starts the access log, in the form of all records; none if the log's level leaves it out.
pub(super) fn start_access(log: &Log, clock: SharedClock, metrics: Metrics) -> io::Result<Option<(AccessLog, Writer)>> {
    if !tracing::enabled!(target: ACCESS_LOG_TARGET, Level::INFO) {
        return Ok(None);
    }
    let form = match log.format {
        LogFormat::Json => Form::Json,
        LogFormat::Text if stderr().is_terminal() => Form::Colours,
        LogFormat::Text => Form::Text,
    };
    let log = AccessLog::new(form, clock, metrics);
    let writer = Writer::start(log.clone(), stderr())?;
    Ok(Some((log, writer)))
}

/// Reads the configured filter; no filter makes the talkative ones talk.
fn filter(level: &str) -> EnvFilter {
    let wanted = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let directives = TALKATIVE.iter().filter_map(|directive| directive.parse().ok());
    directives.fold(wanted, EnvFilter::add_directive)
}
