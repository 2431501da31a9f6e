//! The editor's process: started on a Unix socket, watched, started again.
//!
//! Owns its command line, its settings, Portico's own extension of it, its readiness. Refuses to know what is said over its socket.

mod companion;
mod elf;
mod program;
mod settings;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

pub use self::program::install_arguments;
use self::program::{Paths, arguments};
use super::{
    environment::Environment,
    folder::Folder,
    log::Log,
    ports::Ports,
    processes::{self, Doomed},
    program::follow,
    report::Reporter,
};
use crate::{
    domain::{StepName, StepState},
    protocol::{
        bootstrap::{Bootstrap, EditorProgram},
        personal::settings_object,
        tunnel::{EditorState, Refusal},
    },
};

/// Longest path that a Unix socket may have, with some room for what editors append.
const MAX_SOCKET_PATH: usize = 100;
/// Deaths within [`DEATHS_WITHIN`] after which it is left alone.
const MAX_DEATHS: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_secs(60);
/// How often to look whether it answers.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to answer before it counts as dead.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// Largest file of settings that is changed, in bytes.
const MAX_SETTINGS: u64 = 1024 * 1024;

type Settings = serde_json::Map<String, serde_json::Value>;

/// The settings that a new user of the editor starts with.
const SETTINGS: &str = r#"{
    "chat.disableAIFeatures": true,
    "files.autoSave": "afterDelay",
    "remote.autoForwardPorts": false,
    "security.workspace.trust.enabled": false,
    "telemetry.telemetryLevel": "off",
    "terminal.integrated.defaultProfile.linux": "bash",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
    "workbench.welcomePage.walkthroughs.openOnInstall": false
}
"#;

/// What an editor's end means whose program wants a newer C library.
const TOO_OLD: &str = "this image's C library is too old for the editor. ";

/// How much of an ended editor's output the codespace's log keeps, in bytes.
const LAST_WORDS: usize = 4096;

/// The editor of one codespace.
pub struct Editor {
    program: Option<EditorProgram>,
    state_dir: PathBuf,
    folder: Folder,
    home: PathBuf,
    /// Whether the codespace is one that the gateway stops, of which the editor warns.
    warns: bool,
    environment: Environment,
    log: Log,
    ports: Ports,
    reporter: Reporter,
    now: Mutex<(EditorState, Option<PathBuf>)>,
}

impl Editor {
    pub fn new(bootstrap: &Bootstrap, folder: Folder, environment: Environment, log: Log, ports: Ports, reporter: Reporter) -> Self {
        let state = if bootstrap.editor.is_some() {
            EditorState::Starting
        } else {
            EditorState::Absent
        };
        reporter.editor(state);
        Self {
            program: bootstrap.editor.clone(),
            state_dir: bootstrap.state_dir.clone(),
            folder,
            home: bootstrap.home.clone(),
            warns: !bootstrap.own_machine,
            environment,
            log,
            ports,
            reporter,
            now: Mutex::new((state, None)),
        }
    }

    /// Where the editor listens, once it does.
    pub fn socket(&self) -> Result<PathBuf, Refusal> {
        let now = self.now.lock();
        match (now.0, &now.1) {
            (EditorState::Ready, Some(socket)) => Ok(socket.clone()),
            (EditorState::Ready | EditorState::Starting, _) => Err(Refusal::EditorStarting),
            (EditorState::Absent, _) => Err(Refusal::EditorAbsent),
            (EditorState::Failed, _) => Err(Refusal::EditorFailed),
        }
    }

    /// Says that there will be no editor, since there is nothing to edit.
    pub fn skip(&self) {
        self.reporter.step(StepName::Editor, StepState::Skipped, "");
        self.set(
            if self.program.is_some() {
                EditorState::Failed
            } else {
                EditorState::Absent
            },
            None,
        );
    }

    /// Keeps the editor running until it failed for good.
    pub async fn run(&self) {
        let Some(program) = &self.program else {
            return self.reporter.step(StepName::Editor, StepState::Skipped, "no editor is installed");
        };
        self.reporter.step(StepName::Editor, StepState::Running, "");
        // Before anything is waited for: others install extensions meanwhile.
        if self.warns
            && let Err(error) = companion::put(&program::extensions(&program.kind, &self.home))
        {
            self.log
                .line(format_args!("the editor will not say when the codespace is about to stop: {error}"));
        }
        self.end_leftover().await;
        let fits = program.command.first().map_or(Ok(()), |program| elf::fits(program.as_ref()));
        let outcome = match fits {
            Ok(()) => self.keep_running(program).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.log.line(format_args!("the editor: {error}"));
            self.set(EditorState::Failed, None);
            self.reporter.step(StepName::Editor, StepState::Failed, error.to_string());
        }
    }

    async fn keep_running(&self, program: &EditorProgram) -> io::Result<()> {
        let rooms = Rooms::make(&self.state_dir)?;
        self.put_settings(program)?;
        let mut deaths: Vec<Instant> = Vec::new();
        loop {
            self.set(EditorState::Starting, None);
            let outcome = self.run_once(program, &rooms).await;
            self.ports.editor_is(None);
            let told = outcome.map_or_else(|error| error.to_string(), |status| format!("it ended ({status})"));
            self.log.line(format_args!("the editor: {told}"));
            deaths.retain(|death| death.elapsed() < DEATHS_WITHIN);
            deaths.push(Instant::now());
            if told.starts_with(TOO_OLD) {
                return Err(io::Error::other(told));
            }
            if deaths.len() >= MAX_DEATHS {
                return Err(io::Error::other(format!(
                    "the editor ended {MAX_DEATHS} times within a minute; its log says why. At last: {told}"
                )));
            }
            sleep(Duration::from_millis(250 << deaths.len())).await;
        }
    }

    /// Starts it, waits until it answers, and then until it ends.
    async fn run_once(&self, program: &EditorProgram, rooms: &Rooms) -> io::Result<std::process::ExitStatus> {
        let _ = fs::remove_file(&rooms.socket);
        let mut child = self.start(program, rooms)?;
        let process = child.id();
        self.ports.editor_is(process);
        if let Some(process) = process {
            let _ = fs::write(self.state_dir.join("editor.pid"), process.to_string());
        }
        // What an editor prints while it is well would bury the checkout's words; its last words are kept.
        let output = Log::default();
        let printed = tokio::spawn(follow(child.stdout.take(), output.clone()));
        let complained = tokio::spawn(follow(child.stderr.take(), output.clone()));
        let status = self.attend(&mut child, rooms).await;
        if let (Err(_), Some(process)) = (&status, process) {
            processes::end(Doomed {
                groups: [process].into(),
                ..Doomed::default()
            })
            .await;
        }
        // Helpers of a dead editor may hold its output open.
        let _ = timeout(Duration::from_secs(1), async { tokio::join!(printed, complained) }).await;
        let last = output.last(LAST_WORDS);
        self.log.write(last.as_bytes());
        if elf::is_too_old(&last) {
            return Err(io::Error::other(format!("{}{}", TOO_OLD, elf::WHAT_TO_DO)));
        }
        status
    }

    async fn attend(&self, child: &mut Child, rooms: &Rooms) -> io::Result<std::process::ExitStatus> {
        tokio::select! {
            status = child.wait() => return status,
            ready = timeout(START_PATIENCE, answers(&rooms.socket)) => ready.map_err(|_| io::Error::other("it did not answer"))?,
        }
        self.set(EditorState::Ready, Some(rooms.socket.clone()));
        self.reporter.step(StepName::Editor, StepState::Done, "");
        child.wait().await
    }

    fn start(&self, program: &EditorProgram, rooms: &Rooms) -> io::Result<Child> {
        let paths = Paths {
            socket: &rooms.socket,
            session: &rooms.session,
            home: &self.home,
            workspace: self.folder.path(),
        };
        let mut command: Vec<String> = program.command.clone();
        command.extend(
            arguments(&program.kind, &paths)
                .ok_or_else(|| io::Error::other(format!("{} is no editor that Portico knows", program.kind)))?,
        );
        if let Some(setpriv) = self.environment.which("setpriv") {
            // The editor must not outlive its agent.
            command.splice(
                0..0,
                [
                    setpriv.to_string_lossy().into_owned(),
                    "--pdeathsig".into(),
                    "TERM".into(),
                    "--".into(),
                ],
            );
        }
        let (name, rest) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = std::process::Command::new(name);
        command
            .args(rest)
            .env_clear()
            .envs(self.environment.iter())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Command::from(command).kill_on_drop(true).spawn()
    }

    /// Writes settings where there are none; else, what changed of the person's own since they were last written.
    fn put_settings(&self, program: &EditorProgram) -> io::Result<()> {
        let file = program::settings(&program.kind, &self.home);
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let own = self.own_settings();
        match fs::File::create_new(&file) {
            Ok(mut file) => io::Write::write_all(&mut file, all_settings(own.as_ref()).as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let Some(own) = &own else { return Ok(()) };
                if let Err(why) = self.follow_settings(&file, own) {
                    self.log
                        .line(format_args!("the editor's settings stay as they are, whatever yours say: {why}"));
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        fs::write(
            self.written_settings(),
            serde_json::Value::Object(own.unwrap_or_default()).to_string(),
        )
    }

    fn follow_settings(&self, file: &Path, own: &Settings) -> Result<(), String> {
        let before = settings_in(&self.written_settings())
            .ok()
            .and_then(|text| settings_object(&text).ok());
        match settings::followed(&settings_in(file)?, &before.unwrap_or_default(), own)? {
            Some(text) => fs::write(file, text).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Where it is kept what was last written of the person's own settings.
    fn written_settings(&self) -> PathBuf {
        self.state_dir.join("editor-settings.json")
    }

    /// The person's own; none if they cannot be read.
    fn own_settings(&self) -> Option<Settings> {
        let told = self.environment.personal().now();
        match told.editor_settings.as_deref().map_or(Ok(Settings::new()), settings_object) {
            Ok(own) => Some(own),
            Err(why) => {
                self.log.line(format_args!("the editor starts without your settings: {why}"));
                None
            }
        }
    }

    /// Ends an editor that an agent left behind that was killed.
    async fn end_leftover(&self) {
        let file = self.state_dir.join("editor.pid");
        let Some(process) = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok()) else {
            return;
        };
        let _ = fs::remove_file(&file);
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let ours = |part: &[u8]| part == self.folder.path().as_os_str().as_encoded_bytes();
        if line.split(|byte| *byte == 0).any(ours) {
            processes::end(Doomed {
                groups: [process].into(),
                ..Doomed::default()
            })
            .await;
        }
    }

    fn set(&self, state: EditorState, socket: Option<PathBuf>) {
        *self.now.lock() = (state, socket);
        self.reporter.editor(state);
    }
}

/// The text of a file that anything inside could have put there: one that never ends would hold the agent up.
fn settings_in(file: &Path) -> Result<String, String> {
    let there = fs::metadata(file).map_err(|error| error.to_string())?;
    if !there.is_file() || there.len() > MAX_SETTINGS {
        return Err(format!("{} is no file, or too large", file.display()));
    }
    fs::read_to_string(file).map_err(|error| error.to_string())
}

/// Ours, with the person's own above them.
fn all_settings(own: Option<&Settings>) -> String {
    let own = own.filter(|own| !own.is_empty());
    let (Ok(mut all), Some(own)) = (settings_object(SETTINGS), own) else {
        return SETTINGS.into();
    };
    all.extend(own.clone());
    format!("{:#}\n", serde_json::Value::Object(all))
}

/// Where the editor's sockets are; a short directory made for it goes with this.
struct Rooms {
    socket: PathBuf,
    session: PathBuf,
    made: Option<PathBuf>,
}

impl Rooms {
    fn make(state_dir: &Path) -> io::Result<Self> {
        let made = if state_dir.as_os_str().len() + "/editor-session.sock".len() > MAX_SOCKET_PATH {
            let directory = PathBuf::from("/tmp").join(format!("portico-{:016x}", rand::random::<u64>()));
            DirBuilder::new().mode(0o700).create(&directory)?;
            Some(directory)
        } else {
            fs::create_dir_all(state_dir)?;
            None
        };
        let directory = made.as_deref().unwrap_or(state_dir);
        Ok(Self {
            socket: directory.join("editor.sock"),
            session: directory.join("editor-session.sock"),
            made,
        })
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        if let Some(directory) = &self.made {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// Waits until something answers HTTP on the socket.
async fn answers(socket: &Path) {
    while !timeout(Duration::from_secs(5), answers_now(socket))
        .await
        .is_ok_and(|answer| answer.is_ok())
    {
        sleep(LOOK).await;
    }
}

async fn answers_now(socket: &Path) -> io::Result<()> {
    let mut stream = crate::unix_socket::connect(socket).await?;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut start = [0; 5];
    stream.read_exact(&mut start).await?;
    if &start == b"HTTP/" {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests;
