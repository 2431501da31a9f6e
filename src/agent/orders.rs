//! The agent's orders, read from the file that only it may read.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use thiserror::Error;

use crate::protocol::bootstrap::Bootstrap;

/// Largest file in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why there are no orders.
#[derive(Debug, Error)]
pub enum OrdersError {
    #[error("the file could not be read")]
    Io(#[from] io::Error),
    #[error("the file holds a secret, but others may read it; its mode must be 0600")]
    Readable,
    #[error("the file is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the file does not hold orders")]
    Json(#[from] serde_json::Error),
}

/// Reads the orders; refuses a file that anybody but its owner can read or write.
pub fn read(path: &Path) -> Result<Bootstrap, OrdersError> {
    let file = File::open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(OrdersError::Readable);
    }
    let mut bytes = Vec::new();
    let length = file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if length as u64 > MAX_BYTES {
        return Err(OrdersError::TooLong);
    }
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn orders_that_others_can_read_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("bootstrap.json");
        let orders = Bootstrap {
            codespace: "amber-otter-x7k2".into(),
            ..Bootstrap::default()
        };
        fs::write(&path, serde_json::to_vec(&orders).expect("JSON")).expect("it is written");
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            assert_eq!(read(&path).is_ok(), good, "{mode:o}");
        }
    }
}
