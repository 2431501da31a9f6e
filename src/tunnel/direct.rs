//! The direct way: the gateway dials the agent's Unix socket.

use std::{io, os::fd::AsRawFd, path::PathBuf, time::Duration};

use rustix::fs::{FileType, Mode, OFlags};
use tokio::{io::AsyncWriteExt, net::UnixStream, time::timeout};

use super::stream::Held;
use crate::protocol::tunnel::DIRECT_KEY_BYTES;

/// How long a connect to a socket of this machine may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where an agent listens, as its runtime says, and the key that it asks for.
pub struct Direct {
    path: PathBuf,
    key: [u8; DIRECT_KEY_BYTES],
}

impl Direct {
    /// Takes the key as the agent wrote it, in hex; none if it is no key.
    pub fn new(path: PathBuf, key: &str) -> Option<Self> {
        let mut bytes = [0; DIRECT_KEY_BYTES];
        if key.len() != 2 * DIRECT_KEY_BYTES || !key.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&key[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self { path, key: bytes })
    }

    /// Connects and shows the key.
    pub async fn connect(&self) -> io::Result<Held> {
        // The codespace can write where its socket is: a link there could name any socket of this machine, so the last
        // part is not followed. Going through /proc also passes the limit of 107 bytes on a socket's path (unix(7)).
        let socket = rustix::fs::open(&self.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode);
        if kind != FileType::Socket {
            return Err(io::Error::other("the agent's socket is no socket"));
        }
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let mut stream = timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await??;
        stream.write_all(&self.key).await?;
        Ok(Held::Unix(stream))
    }
}
