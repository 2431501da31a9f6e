//! The key that encrypts what people keep, in a file of its own: a copy of the store alone opens nothing.
//!
//! Refuses to make another key while something is kept that needs the one that is gone.
//! AES-256-GCM with a random nonce for each value (NIST SP 800-38D §8.2.2), by aws-lc.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use thiserror::Error;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// How it was sealed; the first byte.
const VERSION: u8 = 1;
/// What sealing adds to a value.
pub(super) const SEAL_BYTES: usize = 1 + NONCE_LEN + TAG_BYTES;

/// Seals and opens values.
pub struct Vault {
    key: RandomizedNonceKey,
}

/// Why the key cannot be used; `Display` is for the operator.
#[derive(Debug, Error)]
pub enum VaultError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} may be read by others; its mode must be 0600", .0.display())]
    Readable(PathBuf),
    #[error(
        "{} is not there, and people keep what was encrypted with it. Restore it from a backup, or say with belongings_key_file where it is. If it is lost, have what they keep forgotten: portico secret forget --all", .0.display()
    )]
    Missing(PathBuf),
    #[error("{} holds no key of {KEY_BYTES} bytes. Restore it from a backup. If it is lost, move this file away and have what people keep forgotten: portico secret forget --all", .0.display())]
    Damaged(PathBuf),
}

impl Vault {
    /// Reads the key from its file; makes it where there is none, unless something is kept already.
    pub fn at(path: &Path, is_needed: bool) -> Result<Self, VaultError> {
        let failed = |source| VaultError::Io {
            path: path.to_owned(),
            source,
        };
        let damaged = || VaultError::Damaged(path.to_owned());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_needed => return Err(VaultError::Missing(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return make(path).map_err(failed)?.ok_or_else(damaged),
            Err(error) => return Err(failed(error)),
        };
        let about = file.metadata().map_err(failed)?;
        if about.mode() & refused(about.uid(), rustix::process::geteuid().as_raw()) != 0 {
            return Err(VaultError::Readable(path.to_owned()));
        }
        let mut key = Vec::new();
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key).map_err(failed)?;
        Self::of(&key).ok_or_else(damaged)
    }

    /// A vault with a key that nobody keeps.
    pub fn forgetful() -> Option<Self> {
        Self::of(&rand::random::<[u8; KEY_BYTES]>())
    }

    fn of(key: &[u8]) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
        Some(Self { key })
    }

    /// Encrypts a value, bound to what it is of.
    pub(super) fn seal(&self, of: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut text = value.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(of), &mut text).ok()?;
        let mut sealed = Vec::with_capacity(SEAL_BYTES + value.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Some(sealed)
    }

    /// Decrypts what was sealed for just that; none if it was changed, moved or sealed with another key.
    pub(super) fn open(&self, of: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (&VERSION, rest) = sealed.split_first()? else { return None };
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(of), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

/// The rights on a key's file that are too many. systemd keeps a service's credentials as root and lets the service read
/// them by a list of access, which shows as a right of the group (systemd.exec(5)).
fn refused(owner: u32, own: u32) -> u32 {
    if owner == 0 && own != 0 { 0o037 } else { 0o077 }
}

/// Makes a key and its file, whole or not at all.
fn make(path: &Path) -> io::Result<Option<Vault>> {
    let key = rand::random::<[u8; KEY_BYTES]>();
    let early = path.with_extension("new");
    match fs::remove_file(&early) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&early)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&early, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(Vault::of(&key))
}
