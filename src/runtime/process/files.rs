//! Where a codespace's files are, and how they are made and removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{domain::RepositorySource, log_file};

/// The directory of one codespace.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// Where the repository of this URL is checked out: a directory of its name, which editors and prompts show.
    pub fn workspace(&self, repository: Option<&str>) -> PathBuf {
        // Codespaces of before have it here, and it must not move.
        let earlier = self.0.join("workspace");
        if earlier.is_dir() {
            return earlier;
        }
        let source = repository.and_then(|url| url.parse::<RepositorySource>().ok());
        let name = source.map_or_else(|| "workspace".into(), |source| source.directory_name());
        self.0.join("workspaces").join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub fn bootstrap(&self) -> PathBuf {
        self.state().join("bootstrap.json")
    }

    pub fn socket(&self) -> PathBuf {
        self.state().join("agent.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.state().join(log_file::AGENTS)
    }

    /// What the agent's process is.
    pub fn instance(&self) -> PathBuf {
        self.state().join("agent.pid")
    }

    pub fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Makes the directories, for their owner alone.
    pub fn make(&self) -> io::Result<()> {
        [self.home(), self.state()].iter().try_for_each(|path| make_private(path))
    }

    /// What every process inside carries; made once.
    pub fn mark(&self) -> io::Result<String> {
        if let Some(mark) = self.known_mark() {
            return Ok(mark);
        }
        let mark = format!("{:032x}", rand::random::<u128>());
        write_private(&self.state().join("mark"), mark.as_bytes())?;
        Ok(mark)
    }

    /// The mark, if one was made. Anything else in its place is no mark: what it matches would be killed.
    pub fn known_mark(&self) -> Option<String> {
        let mark = fs::read_to_string(self.state().join("mark")).ok()?;
        (mark.len() == 32 && mark.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(mark)
    }

    /// Removes everything, directories that nobody may write to included.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => open_up(&self.0),
        }
        fs::remove_dir_all(&self.0)
    }
}

/// Makes a directory and what is missing above it, for their owner alone.
pub fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Lets the owner into all directories below; links are not followed. What cannot be changed shows at the removal.
fn open_up(root: &Path) {
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let _ = fs::set_permissions(&directory, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        waiting.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
}

/// Writes a file whole or not at all, for its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// The last bytes of a file, as text; nothing of one that is not there.
pub fn tail(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let start = file.metadata()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(bytes).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
