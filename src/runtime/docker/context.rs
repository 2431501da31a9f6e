//! A build's context: an archive of a directory, made into one that an engine builds from.
//!
//! What is ignored is left out, pipes and devices too; the Dockerfile is put in under a name of ours, since it may stand
//! outside of the context. Blocking, a piece at a time: a context can be larger than memory.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bytes::{Buf as _, Bytes};
use tar::{Archive, Builder, EntryType, Header, HeaderMode};
use tokio::sync::mpsc;

use super::ignore::Ignored;

/// The Dockerfile in the archive.
pub const DOCKERFILE: &str = ".portico.Dockerfile";
/// Largest context in bytes.
const MAX_CONTEXT: u64 = 2 << 30;
/// Most entries of the directory, those that are left out among them.
const MAX_ENTRIES: usize = 500_000;
/// Largest directory that is unpacked on this machine, in bytes, and most entries of it.
const MAX_UNPACKED: u64 = 32 << 20;
const MAX_UNPACKED_ENTRIES: usize = 5_000;
/// Largest context that is packed in memory, in bytes.
const MAX_PACKED: u64 = 128 << 20;
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

/// Unpacks a directory of a repository into one of this machine: files and directories alone, since a link would be
/// followed by whoever reads it here.
pub fn unpack(archive: impl Read, into: &Path) -> io::Result<()> {
    let mut size = 0_u64;
    fs::create_dir_all(into)?;
    for (count, entry) in Archive::new(archive).entries()?.enumerate() {
        let mut entry = entry?;
        size = size.saturating_add(entry.size());
        if count > MAX_UNPACKED_ENTRIES || size > MAX_UNPACKED {
            let most = MAX_UNPACKED >> 20;
            return Err(io::Error::other(format!(
                "it is larger than {most} MiB, or has more than {MAX_UNPACKED_ENTRIES} files"
            )));
        }
        let Some(path) = below(&entry.path_bytes()) else { continue };
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(into.join(path))?,
            EntryType::Regular => {
                let file = into.join(path);
                fs::create_dir_all(file.parent().unwrap_or(into))?;
                let mode = if entry.header().mode()? & 0o100 == 0 { 0o600 } else { 0o700 };
                let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
                io::copy(&mut entry, &mut file)?;
            }
            _ => return Err(io::Error::other(format!("{path} is no plain file"))),
        }
    }
    Ok(())
}

/// Packs a directory of this machine as a context, links as links. In memory, and bounded for that.
pub fn pack(directory: &Path, dockerfile: &str) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    builder.mode(HeaderMode::Deterministic);
    builder.follow_symlinks(false);
    let mut left = vec![PathBuf::new()];
    let mut count = 0;
    while let Some(below) = left.pop() {
        for entry in fs::read_dir(directory.join(&below))? {
            let entry = entry?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            count += 1;
            let size = if kind.is_file() { entry.metadata()?.len() } else { 0 };
            if count > MAX_ENTRIES || builder.get_ref().len() as u64 + size > MAX_PACKED {
                return Err(io::Error::other(format!("they are larger than {} MiB", MAX_PACKED >> 20)));
            }
            if kind.is_dir() {
                builder.append_dir(&path, entry.path())?;
                left.push(path);
            } else if kind.is_file() || kind.is_symlink() {
                builder.append_path_with_name(entry.path(), &path)?;
            }
        }
    }
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    builder.append_data(&mut header, DOCKERFILE, dockerfile.as_bytes())?;
    builder.into_inner()
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
    fn features_are_plain_files_here_and_a_context_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let into = directory.path().join("tool");
        let plain = archive(&[
            ("tool", EntryType::Directory, ""),
            ("tool/deep/install.sh", EntryType::Regular, "#!/bin/sh"),
        ]);
        unpack(&plain[..], &into).expect("unpacked");
        std::os::unix::fs::symlink("/etc/passwd", into.join("made-by-the-program")).expect("made");
        let packed = pack(&into, "FROM x\n").expect("packed");
        let mut found: Vec<String> = names(&packed).iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
        found.sort();
        assert_eq!(found, [DOCKERFILE, "deep", "deep/install.sh", "made-by-the-program"]);
        let mut again = Archive::new(&packed[..]);
        let link = again
            .entries()
            .expect("an archive")
            .flatten()
            .find(|entry| entry.path_bytes().ends_with(b"program"));
        assert_eq!(
            link.expect("it is there").header().entry_type(),
            EntryType::Symlink,
            "what it leads to stays here"
        );
        for bad in [
            ("tool/link", EntryType::Symlink, "/etc/passwd"),
            ("tool/hard", EntryType::Link, "tool/x"),
            ("tool/pipe", EntryType::Fifo, ""),
        ] {
            assert!(unpack(&archive(&[bad])[..], &directory.path().join("bad")).is_err(), "{bad:?}");
        }
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
