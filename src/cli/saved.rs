//! What `portico login` keeps: a token for each gateway, in a file that its owner alone can read.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::place;
use crate::route::Origin;

/// Longest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// The sign-ins of this command line.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Saved {
    /// The gateway that commands talk to where nothing else says.
    #[serde(default)]
    pub current: Option<String>,
    #[serde(default)]
    pub gateways: BTreeMap<String, SignIn>,
}

/// A sign-in to one gateway.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub struct SignIn {
    pub user: String,
    pub token: String,
    pub scope: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Saved {
    /// Reads the file; nothing is saved where there is none.
    pub fn read() -> anyhow::Result<Self> {
        match file() {
            Some(path) => Self::read_from(&path),
            None => Ok(Self::default()),
        }
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self) -> anyhow::Result<()> {
        let path = file().context("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for the token")?;
        self.write_to(&path)
    }

    /// The sign-in to a gateway.
    pub fn at(&self, gateway: &Origin) -> Option<&SignIn> {
        self.gateways.get(&gateway.to_string())
    }

    /// The gateway in use, with its sign-in.
    pub fn current(&self) -> Option<(Origin, &SignIn)> {
        let name = self.current.as_ref()?;
        Some((name.parse().ok()?, self.gateways.get(name)?))
    }

    /// Keeps a sign-in, and uses its gateway from now on.
    pub fn keep(&mut self, gateway: &Origin, sign_in: SignIn) {
        self.gateways.insert(gateway.to_string(), sign_in);
        self.current = Some(gateway.to_string());
    }

    /// Forgets a sign-in; the gateway in use is then another one that is left, if any is.
    pub fn forget(&mut self, gateway: &str) -> Option<SignIn> {
        let forgotten = self.gateways.remove(gateway);
        if self.current.as_deref() == Some(gateway) {
            self.current = self.gateways.keys().next().cloned();
        }
        forgotten
    }

    fn read_from(path: &Path) -> anyhow::Result<Self> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            bail!("others can read {0}, which holds tokens. Run: chmod 600 {0}", path.display());
        }
        anyhow::ensure!(metadata.len() <= MAX_BYTES, "{} is too long to be ours", path.display());
        let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged; remove it and sign in again", path.display()))
    }

    fn write_to(&self, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("{} cannot be written", path.display());
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .with_context(failed)?;
        }
        let early = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&early)
            .with_context(failed)?;
        let text = serde_json::to_vec_pretty(self)?;
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&early, path));
        if written.is_err() {
            drop(fs::remove_file(&early));
        }
        written.with_context(failed)
    }
}

/// Where it is: in the user's configuration directory.
pub fn file() -> Option<PathBuf> {
    let named = place::variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = named.or_else(|| Some(PathBuf::from(place::variable("HOME")?).join(".config")))?;
    Some(base.join("portico").join("credentials.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_ins_are_kept_for_their_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("portico/credentials.json");
        assert_eq!(Saved::read_from(&path).expect("none yet"), Saved::default());
        let sign_in = |user: &str| SignIn {
            user: user.into(),
            token: "pt_canary".into(),
            scope: "all".into(),
            expires_at: None,
        };
        let (one, two): (Origin, Origin) = ("https://a.example".parse().expect("one"), "https://b.example".parse().expect("two"));
        let mut saved = Saved::default();
        saved.keep(&one, sign_in("ada"));
        saved.keep(&two, sign_in("bob"));
        saved.write_to(&path).expect("written");
        saved.write_to(&path).expect("written again");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a directory"))), (0o600, 0o700));
        let mut read = Saved::read_from(&path).expect("read");
        assert_eq!(read, saved);
        assert_eq!(read.current().map(|(_, sign_in)| sign_in.user.as_str()), Some("bob"));
        assert!(!format!("{read:?}").contains("pt_canary"));
        assert!(read.forget(&two.to_string()).is_some() && read.at(&two).is_none());
        assert_eq!(read.current().map(|(origin, _)| origin), Some(one));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let refused = Saved::read_from(&path).expect_err("others can read it").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
