//! The thread that writes the access log.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::edge::{ACCESS_LOG_TARGET, AccessLog, Taken};

/// How long the end waits for the last records, if nobody reads the log.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much room for records is kept from one batch to the next, in bytes.
const KEPT: usize = 256 * 1024;

/// Writes the access log until dropped, which waits for the last record.
pub(in crate::app) struct Writer {
    log: AccessLog,
    ended: mpsc::Receiver<()>,
}

impl Writer {
    /// Starts the thread.
    pub(in crate::app) fn start(log: AccessLog, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (end, ended) = mpsc::sync_channel(1);
        let writing = log.clone();
        thread::Builder::new().name("access-log".into()).spawn(move || {
            write(&writing, out);
            drop(end);
        })?;
        Ok(Self { log, ended })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.close();
        // Nothing is ever sent: the thread's end is what is waited for.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

fn write(log: &AccessLog, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let Taken { lost, last } = log.take(&mut batch);
        // A log that cannot be written has nowhere to say so.
        drop(out.write_all(&batch));
        batch.clear();
        batch.shrink_to(KEPT);
        if lost > 0 {
            tracing::warn!(target: ACCESS_LOG_TARGET, lost, "access-log records found no room: whatever reads the log is too slow");
        }
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        clock::SystemClock,
        edge::{Form, Record},
        ops::Metrics,
    };

    #[test]
    fn the_end_waits_for_the_last_record() {
        let (mut read, out) = io::pipe().expect("a pipe");
        let log = AccessLog::new(Form::Text, Arc::new(SystemClock), Metrics::new());
        let page = log.page();
        let writer = Writer::start(log, out).expect("a thread");
        page.write(
            &Record {
                id: "last-words",
                client: [127, 0, 0, 1].into(),
                method: "GET",
                host: "",
                path: "/",
                to: None,
                account: "",
                status: 200,
                sent: 0,
                received: 0,
                cut_short: false,
                note: "",
                took: Duration::ZERO,
            },
            Instant::now(),
        );
        drop(writer);
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).expect("the thread has closed its end");
        assert!(text.ends_with('\n') && text.contains("id=\"last-words\""), "{text}");
    }
}
