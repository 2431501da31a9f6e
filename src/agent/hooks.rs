//! The repository's lifecycle commands: run in order, their output kept, a failure told.
//!
//! Owns which of them run at this start and what becomes of the others. Refuses to know: what they do. They run as the
//! codespace's user does, beside everything else inside, and take as long as they take.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command as Process,
};

use super::{environment::Environment, folder::Folder, log::Log, report::Reporter};
use crate::{
    devcontainer::{Command, Hook, Run, Stage, expand_inside},
    domain::{StepName, StepState},
    protocol::tunnel::ActivityKind,
};

/// How much of a failed command's output its step shows, in bytes.
const LAST_WORDS: usize = 600;
/// Longest line that gets its command's name in front, in bytes; longer ones are cut in pieces.
const MAX_LINE: usize = 8 * 1024;

/// Runs hooks.
pub struct Hooks {
    environment: Environment,
    folder: Folder,
    /// Which hooks ran to their end in this container; a new one has no such file.
    done: PathBuf,
    log: Log,
    reporter: Reporter,
}

/// How one command ended.
struct Ended {
    name: String,
    status: std::io::Result<ExitStatus>,
    last: String,
}

impl Hooks {
    pub fn new(environment: Environment, folder: Folder, state_dir: &std::path::Path, log: Log, reporter: Reporter) -> Self {
        Self {
            environment,
            folder,
            done: state_dir.join("hooks-done"),
            log,
            reporter,
        }
    }

    /// Says what is to come.
    pub fn announce(&self, hooks: &[Hook]) {
        let done = self.done();
        for hook in hooks {
            let (state, detail) = match hook.stage {
                stage if stage.is_once() && done.contains(stage.key()) => (StepState::Skipped, "it ran when the container was new"),
                Stage::PostAttach => (StepState::Pending, "it runs when the editor is opened"),
                _ => (StepState::Pending, ""),
            };
            self.reporter.step(step(hook.stage), state, detail);
        }
    }

    /// Runs them one after the other until one fails; false if one did.
    pub async fn run(&self, hooks: &[Hook]) -> bool {
        let mut left = hooks;
        while let Some(first) = left.first() {
            let count = left.iter().take_while(|hook| hook.stage == first.stage).count();
            let (stage, rest) = left.split_at(count);
            if !self.run_stage(first.stage, stage).await {
                self.skip(rest, "a command before it failed");
                return false;
            }
            left = rest;
        }
        true
    }

    /// Says of hooks that they do not run, and why.
    pub fn skip(&self, hooks: &[Hook], why: &str) {
        hooks
            .iter()
            .for_each(|hook| self.reporter.step(step(hook.stage), StepState::Skipped, why));
    }

    /// Runs what belongs to one stage: what the image brought before what the repository says.
    async fn run_stage(&self, stage: Stage, hooks: &[Hook]) -> bool {
        let name = step(stage);
        if stage.is_once() && self.done().contains(stage.key()) {
            return true;
        }
        self.reporter.step(name, StepState::Running, "");
        let mut failures: Vec<String> = Vec::new();
        for hook in hooks {
            let ended = join_all(hook.commands.iter().map(|command| self.command(stage, command))).await;
            failures.extend(ended.iter().filter_map(Ended::failure));
            if !failures.is_empty() {
                break;
            }
        }
        if failures.is_empty() {
            self.remember(stage);
            self.reporter.step(name, StepState::Done, "");
            return true;
        }
        let told = failures.join("; ");
        self.log.line(format_args!("== {stage} failed: {told}"));
        let again = if stage.is_once() { " It runs again at the next start." } else { "" };
        let detail = format!("{told}\nThe codespace can be used all the same; its log has the whole output.{again}");
        self.reporter.step(name, StepState::Failed, detail);
        false
    }

    async fn command(&self, stage: Stage, command: &Command) -> Ended {
        let value = |name: &str| self.environment.value(name).map(|value| value.to_string_lossy().into_owned());
        let expand = |text: &String| expand_inside(text, value);
        let words: Vec<String> = match &command.run {
            Run::Shell(text) => vec!["/bin/sh".into(), "-c".into(), expand(text)],
            Run::Program(words) => words.iter().map(expand).collect(),
        };
        let label = if command.name.is_empty() {
            String::new()
        } else {
            format!(" ({})", command.name)
        };
        let shown: String = words
            .iter()
            .skip(if words[0] == "/bin/sh" { 2 } else { 0 })
            .map(|word| format!(" {word}"))
            .collect();
        self.log.line(format_args!(
            "== {stage}{label}:{}",
            shown.get(..shown.floor_char_boundary(300)).unwrap_or_default()
        ));
        let last = Log::default();
        let status = self.spawn_and_follow(&words, &command.name, &last).await;
        let last = last.last(LAST_WORDS);
        Ended {
            name: command.name.clone(),
            status,
            last: last.trim().to_owned(),
        }
    }

    async fn spawn_and_follow(&self, words: &[String], name: &str, last: &Log) -> std::io::Result<ExitStatus> {
        let mut child = Process::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .envs(self.environment.iter())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = async { tokio::join!(self.follow(stdout, name, last), self.follow(stderr, name, last)) };
        let mut output = std::pin::pin!(output);
        let mut read = false;
        let status = tokio::select! {
            status = child.wait() => status,
            _ = &mut output => {
                read = true;
                child.wait().await
            }
        };
        if !read {
            // A server that it left behind holds its output open.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), output).await;
        }
        status
    }

    /// Copies output into the logs, with the command's name before each line where several run.
    async fn follow(&self, stream: Option<impl AsyncRead + Unpin>, name: &str, last: &Log) {
        let Some(mut stream) = stream else { return };
        let (mut buffer, mut line) = (vec![0; 4096], Vec::new());
        while let Ok(count) = stream.read(&mut buffer).await
            && count > 0
        {
            self.reporter.activity(ActivityKind::Exec);
            last.write(&buffer[..count]);
            if name.is_empty() {
                self.log.write(&buffer[..count]);
                continue;
            }
            for byte in &buffer[..count] {
                line.push(*byte);
                if *byte == b'\n' || line.len() >= MAX_LINE {
                    self.write_line(name, &line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.write_line(name, &line);
        }
    }

    fn write_line(&self, name: &str, line: &[u8]) {
        let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
        self.log.write(&[format!("[{name}] ").as_bytes(), line, end].concat());
    }

    fn done(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.done).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn remember(&self, stage: Stage) {
        if !stage.is_once() {
            return;
        }
        let mut done = self.done();
        done.insert(stage.key().to_owned());
        let text: String = done.iter().map(|key| format!("{key}\n")).collect();
        if let Err(error) = fs::write(&self.done, text) {
            tracing::warn!(%error, "it could not be written down which hooks ran");
        }
    }
}

impl Ended {
    /// Why it failed, if it did.
    fn failure(&self) -> Option<String> {
        let why = match &self.status {
            Ok(status) if status.success() => return None,
            Ok(status) => format!("it ended with {status}"),
            Err(error) => format!("it could not be started: {error}"),
        };
        let name = if self.name.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.name)
        };
        let last = if self.last.is_empty() {
            String::new()
        } else {
            format!(". At last it said:\n{}", self.last)
        };
        Some(format!("{name}{why}{last}"))
    }
}

fn step(stage: Stage) -> StepName {
    match stage {
        Stage::OnCreate => StepName::OnCreate,
        Stage::UpdateContent => StepName::UpdateContent,
        Stage::PostCreate => StepName::PostCreate,
        Stage::PostStart => StepName::PostStart,
        Stage::PostAttach => StepName::PostAttach,
    }
}

#[cfg(test)]
mod tests;
