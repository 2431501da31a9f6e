//! The agent's orders, read from the file that only it may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt as _},
    path::Path,
};

use thiserror::Error;

use crate::protocol::bootstrap::{Bootstrap, Secret};

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
    #[error("the file holds another agent's orders")]
    Anothers,
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

/// Writes a fresh credential into the orders, whole or not at all; refuses where they hold another than the agent had,
/// because then they are a newer agent's.
pub fn replace_credential(path: &Path, before: &Secret, fresh: Secret) -> Result<(), OrdersError> {
    let mut orders = read(path)?;
    if orders.credential != *before {
        return Err(OrdersError::Anothers);
    }
    orders.credential = fresh;
    let early = path.with_extension("renewed");
    let _ = fs::remove_file(&early);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&early)?;
    let written = serde_json::to_writer(&file, &orders).map_err(OrdersError::from);
    let written = written.and_then(|()| Ok(file.flush().and_then(|()| file.sync_all())?));
    let written = written.and_then(|()| Ok(fs::rename(&early, path)?));
    if written.is_err() {
        let _ = fs::remove_file(&early);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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

    #[test]
    fn agt_4_a_fresh_credential_is_kept_whole_and_in_ones_own_orders() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("bootstrap.json");
        let secret = |text: &str| Secret(text.to_owned());
        let orders = Bootstrap {
            codespace: "amber-otter-x7k2".into(),
            credential: secret("first"),
            ..Bootstrap::default()
        };
        fs::write(&path, serde_json::to_vec(&orders).expect("JSON")).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        replace_credential(&path, &secret("first"), secret("second")).expect("kept");
        let kept = read(&path).expect("for its owner alone");
        assert_eq!((kept.credential, kept.codespace), (secret("second"), orders.codespace));
        let refused = replace_credential(&path, &secret("first"), secret("third"));
        assert!(matches!(refused, Err(OrdersError::Anothers)), "{refused:?}");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).expect("it is ours");
        let kept_out = replace_credential(&path, &secret("second"), secret("third"));
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
        // Whoever runs the tests as root may write everywhere.
        let expected = if kept_out.is_ok() { "third" } else { "second" };
        assert_eq!(read(&path).expect("whole").credential, secret(expected));
        assert_eq!(
            fs::read_dir(directory.path()).expect("a directory").count(),
            1,
            "nothing is left beside it"
        );
    }
}
