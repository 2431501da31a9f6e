//! From what SQLite reports to what a caller can act on.

use sqlx::error::ErrorKind;

use crate::store::StoreError;

/// SQLite's primary result codes (<https://sqlite.org/rescode.html>).
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CORRUPT: i32 = 11;
const NOTADB: i32 = 26;
const READONLY: i32 = 8;
const BUSY: i32 = 5;

/// Reads an error; a row that breaks a rule is the caller's business, the rest the operator's.
pub(super) fn fault(error: sqlx::Error) -> StoreError {
    let sqlx::Error::Database(database) = &error else {
        return StoreError::Failed(Box::new(error));
    };
    match database.kind() {
        ErrorKind::UniqueViolation => return StoreError::Conflict,
        ErrorKind::ForeignKeyViolation => return StoreError::Missing,
        _ => {}
    }
    // The low byte of an extended code is the primary one.
    let code = database.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(FULL) => StoreError::Full,
        Some(CORRUPT | NOTADB) => {
            StoreError::Unusable("it is damaged or no database of Portico. Restore a backup, or move it away to start afresh".into())
        }
        Some(CANTOPEN) => StoreError::Unusable("it cannot be opened. See that its directory exists and is yours".into()),
        Some(READONLY) => StoreError::Unusable("it cannot be written. See that the file and its directory are yours".into()),
        Some(BUSY) => StoreError::Unusable("another process keeps it locked. Is another gateway running on this data directory?".into()),
        _ => StoreError::Failed(Box::new(error)),
    }
}

/// An error about a value that no version of ours wrote.
pub(super) fn damaged(what: &'static str) -> StoreError {
    StoreError::Failed(format!("a row holds no {what}").into())
}
