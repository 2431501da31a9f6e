//! Where log records go, in which form, and which of them no filter lets out.

mod access;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _, stderr},
    path::Path,
    sync::Mutex,
};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    filter::{FilterFn, filter_fn},
    fmt::writer::BoxMakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub(super) use self::access::Writer;
use crate::{
    clock::SharedClock,
    config::{Log, LogFormat},
    edge::{ACCESS_LOG_TARGET, AccessLog, Form},
    log_file::Kept,
    ops::Metrics,
};

/// Crates whose records were read, and what they may write at most. All others may warn: libraries write what they carry into
/// their finer records, such as an agent's key, a browser's cookies, what a container is made with (LOG-1).
const TRUSTED: [(&str, Level); 2] = [("portico", Level::TRACE), ("rustls", Level::DEBUG)];

/// Starts logging to standard error. Once in a process; a second call does nothing.
pub fn start(log: &Log) {
    start_to(log, BoxMakeWriter::new(stderr));
}

/// Starts logging to standard error; where that is `file`, it is kept short.
pub fn start_agents(log: &Log, file: &Path) {
    let writer = Kept::standard_error(file).map(|kept| BoxMakeWriter::new(Mutex::new(kept)));
    start_to(log, writer.unwrap_or_else(|| BoxMakeWriter::new(stderr)));
}

fn start_to(log: &Log, writer: BoxMakeWriter) {
    let filter = filter(&log.level);
    let told = filter.to_string();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match log.format {
        LogFormat::Json => {
            let subscriber = builder.json().flatten_event(true).with_current_span(false).finish();
            subscriber.with(veto()).try_init()
        }
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).finish().with(veto()).try_init(),
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

/// Reads the configured filter, which says what is wanted.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Holds back what no log may have, whatever is wanted: it is asked for each record beside the filter, not a part of it.
fn veto() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| may_be_written(metadata.target(), *metadata.level()))
}

/// Decides it by who writes; a crate writes under its name and those of its modules.
fn may_be_written(target: &str, level: Level) -> bool {
    let writer = target.split("::").next().unwrap_or_default();
    let trusted = TRUSTED.iter().find(|(name, _)| *name == writer);
    level <= trusted.map_or(Level::WARN, |(_, most)| *most)
}
