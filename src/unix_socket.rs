//! Unix sockets of ours: at paths of any length, for their owner alone.
//!
//! Owns the way around the 107 bytes that a socket's path may have (unix(7)): the directory is opened and the socket
//! named through it. Refuses to know what is said over a socket.

use std::{
    fs::Permissions,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// Longest path that a socket's address holds, in bytes.
const MAX_PATH_BYTES: usize = 107;

/// Listens at a path, mode 0600, in place of what a process that ended left there.
///
/// Must be called within a tokio runtime.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&ShortPath::of(path)?.path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Makes the same socket be at another path too, in a directory that anybody may enter, and lets anybody connect. What keeps
/// people out is the directory above.
pub fn share(path: &Path, shared: &Path) -> io::Result<()> {
    if let Some(directory) = shared.parent() {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    match std::fs::remove_file(shared) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    std::fs::hard_link(path, shared)
}

/// Connects to the socket at a path. Never waits for a peer that does not accept: that is an error.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(path)?;
    UnixStream::connect(&short.path).await
}

/// A path that fits a socket's address, good while this lives.
struct ShortPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a socket's path names a file in a directory",
            ));
        };
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let directory = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_long_path_works_like_a_short_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let deep = directory.path().join("a".repeat(120));
        std::fs::create_dir(&deep).expect("created");
        for path in [directory.path().join("short.sock"), deep.join("long.sock")] {
            let listener = bind(&path).expect("bound");
            let again = bind(&path).expect("bound in place of the first");
            drop(listener);
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let mut client = connect(&path).await.expect("connected");
            let (mut server, _) = again.accept().await.expect("accepted");
            server.write_all(b"x").await.expect("written");
            assert_eq!(client.read_u8().await.expect("read"), b'x');
        }
    }
}
