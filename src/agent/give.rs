//! Gives files to another user: those of a codespace whose container was made anew for one.
//!
//! Runs in a container of its own that holds the volume and no part of the image. Follows no links, and leaves alone what
//! belongs to others.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::Path,
};

/// Gives all below `path`, and `path` itself, that belongs to `from` to another user and group.
fn give(path: &Path, from: u32, user: u32, group: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.uid() == from && lchown(path, Some(user), Some(group)).is_err() {
        tracing::warn!(path = %path.display(), "it keeps its owner");
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if let Err(error) = give(&path, from, user, group) {
                tracing::warn!(path = %path.display(), %error, "it keeps its owner");
            }
        }
    }
    Ok(())
}

/// Whose files go to which user and group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owners {
    /// None for whoever the directory belongs to.
    from: Option<u32>,
    user: u32,
    group: u32,
}

impl Owners {
    /// Reads `FROM:USER:GROUP`, of which the first may be empty.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let from = parts.next().filter(|from| !from.is_empty()).map(str::parse).transpose().ok()?;
        let (user, group) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { from, user, group })
    }

    /// Gives all of a directory, and the directory, as [`give`] does.
    pub fn settle(self, directory: &Path) -> io::Result<()> {
        let from = match self.from {
            Some(from) => from,
            None => fs::symlink_metadata(directory)?.uid(),
        };
        give(directory, from, self.user, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_stay_theirs() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("deep/file");
        fs::create_dir_all(file.parent().expect("it has one")).expect("made");
        fs::write(&file, "").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).expect("made");
        let own = fs::metadata(&file).expect("it is there");
        give(directory.path(), own.uid() + 1, 0, 0).expect("nothing of theirs is there");
        assert_eq!(fs::metadata(&file).expect("it is there").uid(), own.uid());
        give(directory.path(), own.uid(), own.uid(), own.gid()).expect("given");
        let whoever = format!(":{}:{}", own.uid(), own.gid());
        let whoever = Owners::parse(&whoever).expect("owners");
        whoever.settle(directory.path()).expect("given");
        assert!(whoever.settle(&directory.path().join("nothing")).is_err());
    }

    #[test]
    fn owners_are_numbers() {
        let of = |from| {
            let (user, group) = (1000, 1001);
            Some(Owners { from, user, group })
        };
        assert_eq!(Owners::parse("0:1000:1001"), of(Some(0)));
        assert_eq!(Owners::parse(":1000:1001"), of(None));
        for bad in ["", ":", "::", "0", "0:1", "0:1:2:3", "a:b:c", "-1:0:0", "0::0", ":0:"] {
            assert_eq!(Owners::parse(bad), None, "{bad}");
        }
    }
}
