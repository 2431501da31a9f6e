//! That the codespace is about to stop by itself, for the editor to say where people are looking.
//!
//! Owns the file that tells it to Portico's extension of the editor, and who may put it off: whoever is warned, and only then.
//! Refuses to know the idle rule, the gateway's.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::Serialize;
use thiserror::Error;
use time::OffsetDateTime;

use super::{anew, report::Reporter};
use crate::protocol::tunnel::Stopping;

/// What was told last; cheap to clone.
#[derive(Clone)]
pub struct Warning {
    told: Arc<Mutex<Option<Stopping>>>,
    file: Arc<PathBuf>,
    reporter: Reporter,
}

/// Why nothing is put off.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KeepError {
    #[error("the codespace is not about to stop")]
    NotStopping,
    #[error("nothing puts off this stop: the codespace has run for as long as the operator lets one run")]
    Anyway,
}

/// What the extension reads.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Words {
    /// It stops at this time of this machine's clock, in milliseconds, and whether nothing puts that off.
    Stops { at: i64, anyway: bool },
}

impl Warning {
    /// Nothing was told yet. The directory that the extension watches is made here.
    pub fn new(state_dir: &Path, reporter: Reporter) -> Self {
        let room = room(state_dir);
        if let Err(error) = fs::create_dir_all(&room) {
            tracing::warn!(%error, "the editor will not say when the codespace is about to stop");
        }
        let warning = Self {
            told: Arc::default(),
            file: Arc::new(room.join("stopping.json")),
            reporter,
        };
        warning.write(None);
        warning
    }

    /// Takes what the gateway tells, in place of what it told before.
    pub fn learn(&self, told: Option<Stopping>, now: OffsetDateTime) {
        *self.told.lock() = told;
        let clock = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        let words = told.map(|told| Words::Stops {
            at: clock.saturating_add_unsigned(told.after),
            anyway: told.anyway,
        });
        self.write(words.as_ref());
    }

    /// Puts the stop off, as somebody wants who was warned of it.
    pub fn keep(&self) -> Result<(), KeepError> {
        match *self.told.lock() {
            None => Err(KeepError::NotStopping),
            Some(Stopping { anyway: true, .. }) => Err(KeepError::Anyway),
            Some(_) => {
                self.reporter.kept();
                Ok(())
            }
        }
    }

    fn write(&self, words: Option<&Words>) {
        let written = match words {
            Some(words) => replace(&self.file, words),
            None => match fs::remove_file(&*self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = written {
            tracing::debug!(%error, "the editor was not told whether the codespace is about to stop");
        }
    }
}

/// The directory that the extension watches; it finds it beside the agent's socket.
fn room(state_dir: &Path) -> PathBuf {
    state_dir.join("editor-notice")
}

/// Whole or not at all: somebody reads as soon as it changes.
fn replace(file: &Path, words: &Words) -> io::Result<()> {
    let early = file.with_extension("new");
    anew::write(&early, serde_json::to_vec(words)?)?;
    fs::rename(early, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_editor_reads_what_the_gateway_tells_and_only_who_is_warned_puts_it_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("editor-notice/stopping.json");
        let read = || fs::read_to_string(&file).ok();
        let reporter = Reporter::new();
        let warning = Warning::new(directory.path(), reporter.clone());
        let told = |after, anyway| Some(Stopping { after, anyway });
        let now = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(60);
        assert_eq!((warning.keep(), read()), (Err(KeepError::NotStopping), None));

        warning.learn(told(5_000, true), now);
        assert_eq!(warning.keep(), Err(KeepError::Anyway));
        assert_eq!(read().as_deref(), Some(r#"{"stops":{"at":65000,"anyway":true}}"#));

        warning.learn(told(7_000, false), now);
        assert_eq!(read().as_deref(), Some(r#"{"stops":{"at":67000,"anyway":false}}"#));
        warning.keep().expect("it is about to stop");
        reporter.urgent().await;
        assert_eq!(reporter.happened().await, [crate::protocol::tunnel::ActivityKind::Kept]);
        assert_eq!(
            read().as_deref(),
            Some(r#"{"stops":{"at":67000,"anyway":false}}"#),
            "the gateway says what holds"
        );

        warning.learn(None, now);
        assert_eq!(read(), None);
        // What anything inside puts in its way is neither waited for nor followed.
        let (early, elsewhere) = (file.with_extension("new"), directory.path().join("elsewhere"));
        fs::write(&elsewhere, "kept").expect("it is ours");
        std::os::unix::fs::symlink(&elsewhere, &early).expect("it is ours");
        let pipe = |path: &Path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0);
        pipe(&file).expect("it is ours");
        warning.learn(told(7_000, false), now);
        assert_eq!(read().as_deref(), Some(r#"{"stops":{"at":67000,"anyway":false}}"#));
        pipe(&early).expect("it is ours");
        warning.learn(told(8_000, false), now);
        assert_eq!(read().as_deref(), Some(r#"{"stops":{"at":68000,"anyway":false}}"#));
        assert_eq!(fs::read_to_string(&elsewhere).expect("it is there"), "kept");
        drop(Warning::new(directory.path(), reporter));
        assert_eq!(read(), None, "what an agent of before left is gone");
    }
}
