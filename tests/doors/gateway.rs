//! The gateway that all tests share, with its people and their codespaces.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::wire::{Call, Reply, Trust, Way};

pub const PORTICO: &str = env!("CARGO_BIN_EXE_portico");
pub const PASSWORD: &str = "correct horse battery";
/// The ports of ada's two apps and of bob's: the `process` runtime shares the machine's.
pub const PORT: u16 = 28_461;
pub const SIBLING: u16 = 28_462;
pub const BOBS: u16 = 28_463;
/// How much higher they are behind the gateway that speaks TLS.
pub const SECURE: u16 = 30;

pub struct Gateway {
    pub address: SocketAddr,
    tls: Option<Trust>,
    pub data: PathBuf,
    pub ada: Person,
    pub bob: Person,
    /// Held open: when this program ends, the shell at its other end sweeps up.
    _running: Child,
    /// What runs inside, until its codespace is deleted.
    pub apps: Vec<Child>,
}

pub struct Person {
    pub token: String,
    pub codespace: String,
}

/// The shared gateway, started by whoever comes first.
pub fn gateway() -> &'static Gateway {
    static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| Gateway::start(false));
    &GATEWAY
}

/// The same with TLS, which HTTP/2 needs.
pub fn secure() -> &'static Gateway {
    static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| Gateway::start(true));
    &GATEWAY
}

/// Runs the gateway until its own input ends, then takes away all that it made, agents too.
const SHELL: &str = r#"
trap '' INT
"$PORTICO" serve --data "$DATA" --listen "$ADDRESS" --url "$URL" 2>"$DATA/log" &
gateway=$!
cat >/dev/null
while read -r name; do "$PORTICO" codespace delete --force "$name" --data "$DATA"; done <"$DATA/names"
kill $gateway; wait $gateway; rm -rf "$DATA"
"#;

impl Gateway {
    fn start(secure: bool) -> Self {
        let data = tempfile::tempdir().expect("a directory").keep();
        let address = free_address();
        let running = Command::new("sh")
            .args(["-c", SHELL])
            .env("PORTICO", PORTICO)
            .env("DATA", &data)
            .env("ADDRESS", address.to_string())
            .env("URL", url(secure, address))
            .env("PORTICO_TLS_LOCAL", secure.to_string())
            .env("PORTICO_LOG_LEVEL", "trace")
            .env("PORTICO_LOG_FORMAT", "json")
            .env("PORTICO_LIMITS_HEADER_TIMEOUT", "8s")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        eventually("the gateway listens", || data.join("listen").exists().then_some(()));
        let tls = secure.then(|| Trust::read(&data));
        let (way, first) = (Way { address, tls: tls.clone() }, if secure { SECURE } else { 0 });
        let command = |arguments: &[&str], input: &str| run(&data, arguments, input);
        command(&["user", "create", "ada", "--admin", "--password-stdin"], PASSWORD);
        command(&["user", "create", "bob", "--password-stdin"], PASSWORD);
        let project = data.join("project");
        git(&["init", "-q", "-b", "main", &project.display().to_string()]);
        let repository = empty_repository();
        let mut gateway = Self {
            address,
            tls,
            ada: person(&data, &way, "ada", &project.display().to_string()),
            bob: person(&data, &way, "bob", &repository),
            data: data.clone(),
            _running: running,
            apps: Vec::new(),
        };
        gateway.apps = vec![
            gateway.serve_app(&gateway.ada, first + PORT, "ADA"),
            gateway.serve_app(&gateway.ada, first + SIBLING, "SIBLING"),
            gateway.serve_app(&gateway.bob, first + BOBS, "BOB"),
        ];
        gateway
    }

    /// Somebody of one test's own, with a codespace that is deleted in the end.
    pub fn newcomer(&self, name: &str) -> Person {
        run(&self.data, &["user", "create", name, "--password-stdin"], PASSWORD);
        person(&self.data, &self.way(), name, &empty_repository())
    }

    /// Runs the app inside a codespace and waits until it answers through the gateway.
    pub fn serve_app(&self, person: &Person, port: u16, stamp: &str) -> Child {
        serve_app(self.way(), person, port, stamp)
    }

    /// The same with an app that outlives the command and its person's rights, until the codespace is deleted.
    pub fn leave_app(&self, person: &Person, port: u16, stamp: &str) {
        let apart = ["sh", "-c", "setsid -f \"$@\" </dev/null >/dev/null 2>&1", "apart"];
        let mut left = run_app(&self.way(), person, &apart, port, stamp);
        assert!(left.wait().expect("asked").success());
    }

    pub fn way(&self) -> Way {
        Way {
            address: self.address,
            tls: self.tls.clone(),
        }
    }

    /// What a browser calls a host as the origin of a request.
    pub fn origin(&self, host: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    /// The gateway host, as browsers write it.
    pub fn host(&self) -> String {
        format!("portico.localhost:{}", self.address.port())
    }

    pub fn domain(&self) -> String {
        format!("codespaces.localhost:{}", self.address.port())
    }

    pub fn editor(&self, person: &Person) -> String {
        format!("{}.{}", person.codespace, self.domain())
    }

    pub fn port(&self, person: &Person, port: u16) -> String {
        format!("{}-{port}.{}", person.codespace, self.domain())
    }

    /// The host of ada's app.
    pub fn app(&self) -> String {
        self.port(&self.ada, PORT)
    }
}

/// What a gateway is called, by its programs too.
fn url(secure: bool, address: SocketAddr) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://portico.localhost:{}", address.port())
}

/// Makes a token and a codespace for somebody, to be deleted when all is over.
fn person(data: &Path, way: &Way, name: &str, source: &str) -> Person {
    let token = run(data, &["token", "create", "--user", name, "--scope", "all"], "");
    let codespace = create(way.clone(), &token, source);
    let names = fs::OpenOptions::new().append(true).create(true).open(data.join("names"));
    writeln!(names.expect("a file"), "{codespace}").expect("written");
    Person { token, codespace }
}

/// The app is a command of the person's, and ends with its socket.
pub fn serve_app(way: impl Into<Way>, person: &Person, port: u16, stamp: &str) -> Child {
    run_app(&way.into(), person, &[], port, stamp)
}

fn run_app(way: &Way, person: &Person, by: &[&str], port: u16, stamp: &str) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut exec = Command::new(PORTICO);
    exec.args(["codespace", "exec", &person.codespace, "--"])
        .args(by)
        .arg("env")
        .args([format!("DOOR_PORT={port}"), format!("DOOR_STAMP={stamp}")])
        .arg(program)
        .args(["app::serve", "--exact", "--ignored"])
        .env("PORTICO_URL", url(way.tls.is_some(), way.address))
        .env("PORTICO_TOKEN", &person.token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(trust) = &way.tls {
        exec.env("SSL_CERT_FILE", &trust.authority);
    }
    let app = exec.spawn().expect("the command line");
    let host = format!("{}-{port}.codespaces.localhost:{}", person.codespace, way.address.port());
    eventually("the app answers", || {
        let reply = Call::get(host.clone(), "/").token(&person.token).at(way.clone()).send();
        reply.text.contains(stamp).then_some(())
    });
    app
}

pub fn create(way: impl Into<Way>, token: &str, source: &str) -> String {
    let way = way.into();
    let host = format!("portico.localhost:{}", way.address.port());
    let call = |call: Call| call.at(way.clone()).field("authorization", format!("Bearer {token}")).send();
    let body = serde_json::json!({ "repository": source });
    let made = call(Call::post(host.clone(), "/api/v1/codespaces").json(&body));
    let name = made.json()["name"].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_owned();
    eventually("the codespace runs", || {
        let seen: Reply = call(Call::get(host.clone(), &format!("/api/v1/codespaces/{name}")));
        (seen.json()["state"] == "running" && seen.json()["connected"] == true).then_some(())
    });
    name
}

pub fn run(data: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(PORTICO)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command line");
    // One that reads nothing may have ended by now.
    drop(child.stdin.take().expect("piped").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("ended");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn git(arguments: &[&str]) {
    let done = Command::new("git").args(arguments).status().expect("git is installed");
    assert!(done.success());
}

/// Serves an empty repository over HTTP, for a member, who may not name a path of the machine.
pub fn empty_repository() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let body = "001e# service=git-upload-pack\n00000000";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    format!("http://{address}/empty.git")
}

/// An address that nobody else gets: below those that the system gives to outgoing connections, and each but once.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 5000).expect("it is small");
    loop {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Relaxed)) % 8000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("an address");
        }
    }
}

/// Asks again until there is an answer, for two minutes: the machine may be busy.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        thread::sleep(Duration::from_millis(50));
    }
}
