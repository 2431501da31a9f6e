//! A gateway of one test's own, for what would be in the way of the others: no people, no codespaces.

use std::{
    fs::File,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use super::gateway::{PORTICO, Person, create, empty_repository, eventually, free_address, run, serve_app};

/// What it logs is in the file `log` below its data.
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
            .stderr(File::create(data.path().join("log")).expect("a log"))
            .spawn()
            .expect("the gateway");
        eventually("the gateway listens", || data.path().join("listen").exists().then_some(()));
        Self { address, data, process }
    }

    /// The gateway host, as browsers write it.
    pub fn host(&self) -> String {
        format!("portico.localhost:{}", self.address.port())
    }

    pub fn port(&self, person: &Person, port: u16) -> String {
        format!("{}-{port}.codespaces.localhost:{}", person.codespace, self.address.port())
    }

    pub fn token(&self, name: &str) -> String {
        run(self.data.path(), &["token", "create", "--user", name, "--scope", "all"], "")
    }

    /// A codespace of somebody whose account is there.
    pub fn person(&self, name: &str) -> Made<'_> {
        let token = self.token(name);
        let codespace = create(self.address, &token, &empty_repository());
        Made {
            gateway: self,
            person: Person { token, codespace },
            apps: Vec::new(),
        }
    }
}

/// Somebody with a codespace, which is deleted with all that runs in it however its test ends.
pub struct Made<'a> {
    gateway: &'a Lone,
    pub person: Person,
    apps: Vec<Child>,
}

impl Made<'_> {
    /// Runs the app in it; its host.
    pub fn serve_app(&mut self, port: u16, stamp: &str) -> String {
        self.apps.push(serve_app(self.gateway.address, &self.person, port, stamp));
        self.gateway.port(&self.person, port)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for app in &mut self.apps {
            drop(app.kill());
            drop(app.wait());
        }
        if !std::thread::panicking() {
            run(
                self.gateway.data.path(),
                &["codespace", "delete", "--force", &self.person.codespace],
                "",
            );
        }
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
