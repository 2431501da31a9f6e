//! A build's context: an archive of a directory, made into one that an engine builds from.
//!
//! What is ignored is left out, pipes and devices too; the Dockerfile is put in under a name of ours, since it may stand
//! outside of the context. Blocking, a piece at a time: a context can be larger than memory.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::ignore::Ignored;

/// The Dockerfile in the archive.
pub const DOCKERFILE: &str = ".portico.Dockerfile";
/// Largest context in bytes.
const MAX_CONTEXT: u64 = 2 << 30;
/// Most entries of the directory, those that are left out among them.
const MAX_ENTRIES: usize = 500_000;
/// Longest path in bytes: each pattern is tried on each of its parts.
const MAX_PATH: usize = 1024;

/// Reads what an asynchronous sender sends.
pub struct Bridge {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

/// Sends what is written.
struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Bridge {
    pub fn new(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            receiver,
            piece: Bytes::new(),
        }
    }
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Write for Sender {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(buffer)));
        sent.map(|()| buffer.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Filters an archive into another; what goes wrong is told to the receiver too, so that it takes no half for the whole.
pub fn filter(archive: impl Read, sender: mpsc::Sender<io::Result<Bytes>>, dockerfile: &str, ignored: &Ignored) -> io::Result<()> {
    let failure = sender.clone();
    let buffered = io::BufWriter::with_capacity(64 * 1024, Sender(sender));
    let filtered = repack(archive, buffered, dockerfile, ignored);
    if let Err(error) = &filtered {
        // Nobody may be there any more.
        let _ = failure.blocking_send(Err(io::Error::other(error.to_string())));
    }
    filtered
}

fn repack(archive: impl Read, out: impl Write, dockerfile: &str, ignored: &Ignored) -> io::Result<()> {
    let mut builder = Builder::new(out);
    let mut size = 0_u64;
    for (count, entry) in Archive::new(archive).entries()?.enumerate() {
        let entry = entry?;
        if count > MAX_ENTRIES {
            return Err(io::Error::other(format!(
                "there are more than {MAX_ENTRIES} files in its directory"
            )));
        }
        size = size.saturating_add(entry.size());
        let path = below(&entry.path_bytes());
        let (Some(path), true) = (path, is_taken(entry.header().entry_type())) else {
            continue;
        };
        if path.len() > MAX_PATH {
            return Err(io::Error::other(format!("a path in it is longer than {MAX_PATH} bytes")));
        }
        if ignored.leaves_out(&path) {
            size -= entry.size();
            continue;
        }
        if size > MAX_CONTEXT {
            return Err(io::Error::other(format!(
                "it is larger than {} MiB. Name what it does not need in .dockerignore",
                MAX_CONTEXT >> 20
            )));
        }
        let mut header = entry.header().clone();
        match (header.entry_type(), entry.link_name_bytes()) {
            (EntryType::Link, Some(to)) => {
                let to = below(&to).ok_or_else(|| io::Error::other(format!("{path} is a link to what is not in it")))?;
                builder.append_link(&mut header, &path, to)?;
            }
            (EntryType::Symlink, Some(to)) => {
                let to = String::from_utf8_lossy(&to).into_owned();
                builder.append_link(&mut header, &path, to)?;
            }
            _ => builder.append_data(&mut header, &path, entry)?,
        }
    }
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    builder.append_data(&mut header, DOCKERFILE, dockerfile.as_bytes())?;
    builder.into_inner()?.flush()
}

fn is_taken(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link
    )
}

/// A path without the directory that the archive is of; none for that itself, and for one that leaves it.
fn below(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?.trim_end_matches('/');
    let (_, rest) = path.split_once('/')?;
    let plain = !rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    plain.then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_size(0);
                builder.append_link(&mut header, path, content).expect("added");
            } else {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_bytes()).expect("added");
            }
        }
        builder.into_inner().expect("packed")
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = Archive::new(bytes);
        let entries = archive.entries().expect("an archive").map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| String::from_utf8_lossy(&entry.path_bytes()).into_owned())
            .collect()
    }

    #[test]
    fn what_belongs_to_a_context() {
        let long = format!("app/{}/file", "d".repeat(150));
        let before = archive(&[
            ("app", EntryType::Directory, ""),
            ("app/main.rs", EntryType::Regular, "fn main() {}"),
            ("app/target/debug", EntryType::Regular, "big"),
            ("app/link", EntryType::Symlink, "/etc/passwd"),
            ("app/hard", EntryType::Link, "app/main.rs"),
            ("app/pipe", EntryType::Fifo, ""),
            (&long, EntryType::Regular, "x"),
        ]);
        let mut after = Vec::new();
        repack(&before[..], &mut after, "FROM x\n", &Ignored::read("target")).expect("packed");
        assert_eq!(names(&after), ["main.rs", "link", "hard", &long[4..], DOCKERFILE]);
        let deep = archive(&[(&format!("app/{}x", "d/".repeat(600)), EntryType::Regular, "x")]);
        assert!(
            repack(&deep[..], Vec::new(), "", &Ignored::read("**/x")).is_err(),
            "paths are bounded"
        );
        let mut cut_off = Vec::new();
        assert!(
            repack(&before[..600], &mut cut_off, "", &Ignored::default()).is_err(),
            "a half is no whole"
        );
    }

    #[test]
    fn paths_that_leave_it() {
        for (path, expected) in [
            ("app/a/b", Some("a/b")),
            ("app/", None),
            ("app", None),
            ("app/../x", None),
            ("app//x", None),
            ("/x", Some("x")),
        ] {
            assert_eq!(below(path.as_bytes()).as_deref(), expected, "{path}");
        }
        assert_eq!(below(b"app/\xff"), None);
    }

    #[test]
    fn pieces_pass_through_and_failures_are_told() {
        let bytes = archive(&[("app", EntryType::Directory, ""), ("app/a", EntryType::Regular, "content")]);
        let run = |pieces: Vec<io::Result<Bytes>>| {
            let (raw, unpacked) = mpsc::channel(1);
            let (packed, mut body) = mpsc::channel(1);
            let filtering = std::thread::spawn(move || filter(Bridge::new(unpacked), packed, "FROM x", &Ignored::default()));
            let feeding = std::thread::spawn(move || pieces.into_iter().for_each(|piece| drop(raw.blocking_send(piece))));
            let got: Vec<_> = std::iter::from_fn(|| body.blocking_recv()).collect();
            feeding.join().expect("fed");
            (filtering.join().expect("filtered"), got)
        };
        let pieces = bytes.chunks(100).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let (filtered, got) = run(pieces);
        filtered.expect("it is whole");
        let whole: Vec<u8> = got.into_iter().flat_map(|piece| piece.expect("a piece").to_vec()).collect();
        assert_eq!(names(&whole), ["a", DOCKERFILE]);
        let (filtered, got) = run(vec![Ok(Bytes::copy_from_slice(&bytes[..300])), Err(io::Error::other("gone"))]);
        assert!(filtered.is_err() && got.last().is_some_and(Result::is_err));
    }
}
