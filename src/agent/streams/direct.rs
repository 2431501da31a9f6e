//! Streams that the gateway dials: a Unix socket of ours, and a key that only the gateway was told.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use subtle::ConstantTimeEq;
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
    time::{sleep, timeout},
};

use super::Streams;
use crate::{protocol::tunnel::DIRECT_KEY_BYTES, unix_socket};

/// How long the key may be in coming.
const KEY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when there is no descriptor for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The key of this agent process.
#[derive(Clone)]
pub struct DirectKey([u8; DIRECT_KEY_BYTES]);

/// The socket on which the gateway dials.
pub struct DirectListener {
    listener: UnixListener,
    key: DirectKey,
}

impl DirectKey {
    /// Makes a new random key.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The key as the gateway is told it.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn is(&self, other: &[u8; DIRECT_KEY_BYTES]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl fmt::Debug for DirectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectKey(…)")
    }
}

impl DirectListener {
    /// Listens at `path`, with mode 0600 from the first moment on. An older agent's socket there is replaced, and
    /// never removed at the end: it may be a newer agent's by then.
    pub fn bind(path: &Path, key: DirectKey) -> io::Result<Self> {
        let mut early = path.as_os_str().to_owned();
        early.push(format!(".{}", std::process::id()));
        let early = PathBuf::from(early);
        let listener = unix_socket::bind(&early)?;
        fs::rename(&early, path)?;
        Ok(Self { listener, key })
    }

    /// Accepts and serves streams for ever.
    pub async fn run(self, streams: Streams) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a dialled stream could not be accepted");
                    sleep(EXHAUSTED).await;
                    continue;
                }
            };
            let Some(permit) = streams.permit() else { continue };
            let (serving, key) = (streams.clone(), self.key.clone());
            streams.running.spawn(async move {
                if let Some(stream) = admit(stream, &key).await {
                    serving.serve(stream.into(), permit).await;
                }
            });
        }
    }
}

async fn admit(mut stream: UnixStream, key: &DirectKey) -> Option<UnixStream> {
    let mut offered = [0; DIRECT_KEY_BYTES];
    timeout(KEY_TIMEOUT, stream.read_exact(&mut offered)).await.ok()?.ok()?;
    if key.is(&offered) {
        return Some(stream);
    }
    tracing::warn!("somebody dialled without the key");
    None
}
