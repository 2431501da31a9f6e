//! A gateway of one test's own, for what would be in the way of the others: no people, no codespaces.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::gateway::{PORTICO, Person, create, empty_repository, eventually, free_address, run, serve_app};

/// What it logs is in the file `log` below its data.
pub struct Lone {
    pub address: SocketAddr,
    pub data: tempfile::TempDir,
    url: String,
    settings: Vec<(String, String)>,
    process: Mutex<Child>,
}

impl Lone {
    /// Starts it with more settings, by the names of their variables; `url` has its port added.
    pub fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let address = free_address();
        let url = format!("{url}:{}", address.port());
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let process = Mutex::new(serve(address, &url, &settings, data.path()));
        Self {
            address,
            data,
            url,
            settings,
            process,
        }
    }

    /// Ends it as a crash does, and starts it again.
    pub fn restart(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        drop(process.kill());
        drop(process.wait());
        drop(fs::remove_file(self.data.path().join("listen")));
        *process = serve(self.address, &self.url, &self.settings, self.data.path());
    }

    /// Ends it as an operator does, and waits until it has ended.
    pub fn stop(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let id = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is ours");
        assert!(process.wait().expect("it ends").success());
    }

    pub fn process(&self) -> u32 {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).id()
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
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(process.kill());
        drop(process.wait());
    }
}

fn serve(address: SocketAddr, url: &str, settings: &[(String, String)], data: &Path) -> Child {
    let log = File::options().create(true).append(true).open(data.join("log"));
    let process = Command::new(PORTICO)
        .args(["serve", "--listen", &address.to_string(), "--url", url, "--data"])
        .arg(data)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("a log"))
        .spawn()
        .expect("the gateway");
    eventually("the gateway listens", || data.join("listen").exists().then_some(()));
    process
}
