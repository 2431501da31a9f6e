//! The agent's process: how it is started, and how it is known again after a restart of the gateway.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{
    environment,
    files::{self, Place},
    processes,
};
use crate::{log_file, protocol::bootstrap::MARK_VARIABLE};

/// A running agent.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Agent {
    pid: u32,
    /// In clock ticks since the boot.
    started: u64,
}

impl Agent {
    /// Starts the agent. It makes a session of its own, so that it outlives the gateway and its terminal.
    pub fn start(place: &Place, program: Option<&Path>, mark: &str) -> io::Result<()> {
        let program = match program {
            Some(program) => program.to_owned(),
            // The file may have been replaced by an upgrade; what this process runs is still there.
            None => std::env::current_exe()
                .ok()
                .filter(|path| path.is_file())
                .unwrap_or_else(|| "/proc/self/exe".into()),
        };
        let log = log_file::open(&place.log())?;
        let mut command = Command::new(program);
        command
            .arg("agent")
            .arg("--bootstrap")
            .arg(place.bootstrap())
            .current_dir(place.state())
            .env_clear()
            .envs(environment::passed())
            .envs(environment::toolchains())
            .env("HOME", place.home())
            .env(MARK_VARIABLE, mark)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = tokio::process::Command::from(command).spawn()?;
        // Dropped without being killed; tokio buries it when it ends.
        let pid = child.id().unwrap_or_default();
        let started = processes::started_at(pid).ok_or_else(|| io::Error::other("the agent ended at once; its log says why"))?;
        let text = serde_json::to_vec(&Self { pid, started }).map_err(io::Error::other)?;
        files::write_private(&place.instance(), &text)
    }

    /// The agent that was started last, if it still lives.
    pub fn find(place: &Place) -> Option<Self> {
        let agent: Self = serde_json::from_slice(&fs::read(place.instance()).ok()?).ok()?;
        let command = fs::read(format!("/proc/{}/cmdline", agent.pid)).ok()?;
        let bootstrap = place.bootstrap();
        let ours = command
            .split(|byte| *byte == 0)
            .any(|word| word == bootstrap.as_os_str().as_encoded_bytes());
        (ours && agent.lives()).then_some(agent)
    }

    pub fn lives(&self) -> bool {
        processes::started_at(self.pid) == Some(self.started)
    }

    /// Asks it to end with everything that it started.
    pub fn terminate(&self) {
        processes::send(self.pid, self.started, Signal::TERM);
    }
}
