//! Files of the agent's own in places where anything inside can put something else first.
//!
//! Refuses to open what stands there: a pipe would hold the agent up, a link lead elsewhere.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

/// Writes a file in place of whatever stands there, a directory excepted.
pub fn write(file: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::File::create_new(file)?.write_all(bytes.as_ref()),
    }
}
