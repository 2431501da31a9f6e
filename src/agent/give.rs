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
pub fn give(path: &Path, from: u32, user: u32, group: u32) -> io::Result<()> {
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

/// Reads `FROM:USER:GROUP`.
pub fn parse(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split(':').map(|number| number.parse().ok());
    let parsed = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(parsed)
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
        assert_eq!(parse("0:1000:1001"), Some([0, 1000, 1001]));
        for bad in ["", "0", "0:1", "0:1:2:3", "a:b:c", "-1:0:0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
