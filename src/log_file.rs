//! A log in a file that does not grow without end: a part of it, and the part before.
//!
//! Owns when a part is full and how the next is begun. Refuses what others keep: a journal's, a terminal's, an engine's.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// An agent's log, beside its orders.
pub const AGENTS: &str = "agent.log";
/// Bytes of a part; what is kept is no more than twice as much.
const PART: u64 = 8_000_000;
/// What a part says first if there was another before it.
const GOES_ON: &[u8] = b"this log goes on from the file beside it that ends with .old\n";

/// Opens a log for a program that is about to write to it; one that is full is begun anew.
pub fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| found.len() >= PART) {
        return begin_anew(path);
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Puts what is there aside, in place of what was put aside before.
fn begin_anew(path: &Path) -> io::Result<File> {
    fs::rename(path, path.with_extension("log.old"))?;
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(GOES_ON)?;
    Ok(file)
}

/// A log that its own writer keeps short, record by record.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    file: File,
    part: u64,
    /// Whether this process prints to it, too: what dies in a panic says so there.
    standard: bool,
}

impl Kept {
    /// Keeps the file at `path`, if it is what this process has as standard error.
    pub fn standard_error(path: &Path) -> Option<Self> {
        let own = rustix::fs::fstat(rustix::stdio::stderr()).ok()?;
        let file = OpenOptions::new().append(true).open(path).ok()?;
        let found = file.metadata().ok()?;
        let same = found.is_file() && (found.dev(), found.ino()) == (own.st_dev, own.st_ino);
        same.then(|| Self {
            path: path.to_owned(),
            file,
            part: PART,
            standard: true,
        })
    }

    fn turn(&mut self) {
        match begin_anew(&self.path) {
            Ok(file) => {
                if self.standard {
                    // Descriptors that are there can be replaced; if not, they go on to the part before.
                    let _ = rustix::stdio::dup2_stdout(&file);
                    let _ = rustix::stdio::dup2_stderr(&file);
                }
                self.file = file;
            }
            // Bounded in any case: somebody took the file away, or the disk is full.
            Err(_) => drop(self.file.set_len(0)),
        }
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Asked each time: a panic writes there, too, and so may what the agent started.
        if self.file.metadata()?.len() + bytes.len() as u64 > self.part {
            self.turn();
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes records of 100 bytes, and gives the log and the part before it.
    fn written(records: u32) -> (tempfile::TempDir, String, String) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(AGENTS);
        let mut kept = Kept {
            file: open(&path).expect("it opens"),
            path: path.clone(),
            part: 1000,
            standard: false,
        };
        for number in 0..records {
            writeln!(kept, "{number:099}").expect("written");
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let both = (text(&path), text(&path.with_extension("log.old")));
        (directory, both.0, both.1)
    }

    #[test]
    fn a_part_and_the_one_before_it_are_kept() {
        let (_directory, now, before) = written(10);
        assert_eq!((now.len(), before.len()), (1000, 0), "what fits is one part");
        let (_directory, now, before) = written(12);
        assert_eq!(before.lines().count(), 10);
        assert_eq!(now.lines().count(), 3, "{now}");
        assert!(now.as_bytes().starts_with(GOES_ON) && now.ends_with("11\n"));
        let (_directory, now, before) = written(200);
        assert!(now.len() <= 1000 && before.len() <= 1000, "{} {}", now.len(), before.len());
        assert!(
            now.ends_with("199\n") && before.as_bytes().starts_with(GOES_ON),
            "what was lost shows"
        );
    }

    #[test]
    fn a_log_that_was_taken_away_stays_bounded() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(AGENTS);
        let file = open(&path).expect("it opens");
        let seen = file.try_clone().expect("another");
        let mut kept = Kept {
            path: path.clone(),
            file,
            part: 1000,
            standard: false,
        };
        fs::remove_file(&path).expect("removed");
        for _ in 0..1000 {
            kept.write_all(&[b'x'; 100]).expect("written");
        }
        assert!(seen.metadata().expect("it is open").len() <= 1000);
        assert!(Kept::standard_error(&path).is_none(), "this process prints elsewhere");
    }

    #[test]
    fn a_full_log_is_begun_anew_by_whoever_opens_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(AGENTS);
        open(&path).expect("it opens").write_all(b"first\n").expect("written");
        let again = open(&path).expect("it opens");
        assert_eq!(again.metadata().expect("it is open").len(), 6);
        again.set_len(PART).expect("grown");
        let anew = open(&path).expect("it opens");
        assert_eq!(anew.metadata().expect("it is open").len(), GOES_ON.len() as u64);
        assert_eq!(fs::metadata(path.with_extension("log.old")).expect("kept").len(), PART);
    }
}
