//! The logs of a gateway, and of its agent, whose operator wants to read everything that libraries know.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    gateway::{PASSWORD, PORTICO, create, empty_repository, eventually, run},
    lone::Lone,
    wire::Call,
};

/// Names the libraries, their modules, spans and fields, one by one.
const EVERYTHING: &str = "trace,tungstenite=trace,tungstenite::handshake=trace,tungstenite::handshake::client=trace,tokio_tungstenite=trace,\
     h2=trace,h2::codec=trace,[FramedWrite::buffer]=trace,hyper=trace,hyper_util=trace,rustls=trace,bollard=trace,sqlx=trace,axum=trace";

struct House {
    gateway: Lone,
    token: String,
    codespace: String,
}

impl House {
    fn start() -> Self {
        let gateway = Lone::start("http://portico.localhost", &[("PORTICO_LOG_LEVEL", EVERYTHING)]);
        let data = gateway.data.path();
        run(data, &["user", "create", "ada", "--admin", "--password-stdin"], PASSWORD);
        let token = run(data, &["token", "create", "--user", "ada", "--scope", "all"], "");
        let codespace = create(gateway.address, &token, &empty_repository());
        Self { gateway, token, codespace }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    fn state(&self, file: &str) -> PathBuf {
        self.gateway
            .data
            .path()
            .join("codespaces")
            .join(&self.codespace)
            .join("state")
            .join(file)
    }

    /// Asks for a port that nobody listens on, which the agent refuses and logs.
    fn rouse(&self) {
        let host = format!("{}-9.codespaces.localhost:{}", self.codespace, self.address().port());
        Call::get(host, "/").token(&self.token).at(self.address()).send();
    }
}

/// Its agent ends before its gateway does, however the test ends.
impl Drop for House {
    fn drop(&mut self) {
        let mut delete = Command::new(PORTICO);
        delete
            .args(["codespace", "delete", "--force", &self.codespace])
            .env("PORTICO_URL", format!("http://{}", self.gateway.host()))
            .env("PORTICO_TOKEN", &self.token)
            .stdin(Stdio::null());
        drop(delete.output());
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a log")).into_owned()
}

#[test]
fn log_1_no_directive_makes_libraries_write_what_they_carry() {
    let house = House::start();
    house.rouse();
    eventually("the agent refuses", || {
        text(&house.state("agent.log")).contains("a stream was refused").then_some(())
    });
    let orders: serde_json::Value = serde_json::from_slice(&fs::read(house.state("bootstrap.json")).expect("orders")).expect("JSON");
    let credential = orders["credential"].as_str().expect("text");
    for log in [house.gateway.data.path().join("log"), house.state("agent.log")] {
        let log = text(&log);
        assert!(
            log.contains("tungstenite::handshake::client=trace"),
            "the filter is in force: {log}"
        );
        for (what, secret) in [("agent's credential", credential), ("token", &house.token), ("password", PASSWORD)] {
            assert!(!log.contains(secret), "the {what} is in the log");
        }
        // How tungstenite names what it prints, of which an upgrade is the least.
        for word in ["tungstenite::", " h2::", "hyper::", "bollard::", "sqlx::"] {
            let wrote = log
                .lines()
                .find(|line| line.contains(word) && !line.contains("the log is filtered"));
            assert_eq!(wrote, None, "{word}");
        }
    }
}

#[test]
fn log_1_an_agents_log_does_not_fill_the_disk() {
    let house = House::start();
    let log = house.state("agent.log");
    let full = File::options().write(true).open(&log).expect("a log");
    full.set_len(8_000_000).expect("grown");
    eventually("the log is begun anew", || {
        house.rouse();
        text(&log).starts_with("this log goes on").then_some(())
    });
    assert!(text(&house.state("agent.log.old")).contains("the log is filtered"));
    let agent: serde_json::Value = serde_json::from_slice(&fs::read(house.state("agent.pid")).expect("a process")).expect("JSON");
    for stream in [1, 2] {
        let place = fs::read_link(format!("/proc/{}/fd/{stream}", agent["pid"])).expect("it is open");
        assert_eq!(place, log, "what the agent prints goes on there");
    }
    // Once more: two parts are kept, not three.
    File::options()
        .write(true)
        .open(&log)
        .expect("a log")
        .set_len(8_000_000)
        .expect("grown");
    eventually("the log is begun anew", || {
        house.rouse();
        text(&house.state("agent.log.old")).starts_with("this log goes on").then_some(())
    });
    let names = fs::read_dir(log.parent().expect("a directory")).expect("it can be read");
    let parts = names
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("agent.log"));
    assert_eq!(parts.count(), 2);
}

/// What a gateway prints of a configuration that holds secrets, right and wrong ones.
#[test]
fn log_3_no_secret_of_the_configuration_is_printed() {
    const SECRET: &str = "C4N4RY-s3cr3t";
    let encoded = BASE64_STANDARD.encode(format!("ada:{SECRET}"));
    let proxy = format!("http://ada:{SECRET}@127.0.0.1:1");
    let right = [
        ("PORTICO_PROXY", proxy.as_str()),
        ("PORTICO_PROVIDER_COMPANY_KIND", "oidc"),
        ("PORTICO_PROVIDER_COMPANY_ISSUER", "https://id.example"),
        ("PORTICO_PROVIDER_COMPANY_CLIENT_ID", "portico"),
        ("PORTICO_PROVIDER_COMPANY_CLIENT_SECRET", SECRET),
        ("PORTICO_LOG_LEVEL", "trace"),
        ("RUST_BACKTRACE", "full"),
    ];
    let gateway = Lone::start("http://portico.localhost", &right);
    // The provider is asked, through the proxy, which is not there: that is logged.
    let begins = Call::get(gateway.host(), "/sign-in/with/company").at(gateway.address);
    let answer = begins.send();
    let log = eventually("the log tells of it", || {
        let log = text(&gateway.data.path().join("log"));
        log.contains("id.example").then_some(log)
    });
    for told in [log, answer.text] {
        assert!(
            !told.contains(SECRET) && !told.contains(&encoded) && !told.contains("panicked"),
            "{told}"
        );
    }
    // Wrong ones are named by their key, and a value that is told with it is not a secret's.
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("portico.toml");
    let table =
        |keys: &str| format!("[provider.company]\nkind = \"oidc\"\nissuer = \"https://id.example\"\nclient_id = \"portico\"\n{keys}\n");
    for (written, key) in [
        (format!("proxy = \"ftp://ada:{SECRET}@127.0.0.1\""), "proxy"),
        (format!("proxy = \"http://ada:{SECRET}@\""), "proxy"),
        (table(&format!("client_secrets = \"{SECRET}\"")), "client_secret"),
        (table(&format!("client_secret = [\"{SECRET}\"]")), "client_secret"),
        (table(&format!("client_secret = \"{SECRET}\"\nscope = 1")), "scope"),
        (table(&format!("client_secret = {SECRET}")), "portico.toml"),
        (table(&format!("client_secret = \"{SECRET}")), "portico.toml"),
        (
            table(&format!("client_secret = \"{SECRET}\"\nclient_secret = \"{SECRET}\"")),
            "duplicate key",
        ),
    ] {
        fs::write(&file, &written).expect("written");
        for command in ["check", "serve"] {
            let output = Command::new(PORTICO)
                .args([command, "--config"])
                .arg(&file)
                .args(["--listen", "127.0.0.1:0", "--data"])
                .arg(data.path())
                .envs([("RUST_BACKTRACE", "full"), ("PORTICO_LOG_LEVEL", "trace")])
                .stdin(Stdio::null())
                .output();
            let output = output.expect("it runs");
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success() && said.contains(key), "{command} of {written}: {said}");
            assert!(!said.contains(SECRET), "{command} of {written}: {said}");
        }
    }
}
