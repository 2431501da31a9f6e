//! A gateway of one test's own, for what would be in the way of the others: no people, no codespaces.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use super::gateway::{PORTICO, eventually, free_address};

pub struct Lone {
    pub address: SocketAddr,
    pub data: tempfile::TempDir,
    process: Child,
}

impl Lone {
    /// Starts it with more settings, by the names of their variables; `url` has its port added.
    pub fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let address = free_address();
        let process = Command::new(PORTICO)
            .args([
                "serve",
                "--listen",
                &address.to_string(),
                "--url",
                &format!("{url}:{}", address.port()),
                "--data",
            ])
            .arg(data.path())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the gateway");
        eventually("the gateway listens", || data.path().join("listen").exists().then_some(()));
        Self { address, data, process }
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
