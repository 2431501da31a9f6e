//! What leaves the gateway, read by seven servers: `tests/suites/corpora` in small, with mutations of our own alone.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{
    gateway::{PORTICO, gateway},
    wire::Call,
};

/// The first of the ports on which the requests arrive.
const FIRST_PORT: u16 = 28_640;
/// How many ports take requests at a time, as `capture.py` says.
const LANES: u16 = 12;
const MUTATIONS: &str = "500";
const SEED: &str = "9";

#[test]
fn smug_9_judges_agree_on_what_leaves() {
    let judges = judges();
    let python = judges.join("bin/python");
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suites/parts");
    let gateway = gateway();
    let (captured, ada) = (gateway.data.join("captured"), &gateway.ada);
    let portico = |arguments: &[&str]| {
        let mut command = Command::new(PORTICO);
        command.args(arguments).env("PORTICO_URL", format!("http://{}", gateway.host()));
        command.env("PORTICO_TOKEN", &ada.token);
        command
    };
    let public: Vec<String> = (FIRST_PORT..FIRST_PORT + LANES).map(|port| format!("{port}:public")).collect();
    done(portico(&["ports", "visibility", "-c", &ada.codespace]).args(public));
    let capture = portico(&["codespace", "exec", &ada.codespace, "--"])
        .arg(&python)
        .arg(parts.join("capture.py"))
        .arg(&captured)
        .args(["http1", &gateway.address.port().to_string(), "-"])
        .arg(format!("{}-{{}}.{}", ada.codespace, gateway.domain()))
        .args([&FIRST_PORT.to_string(), SEED, MUTATIONS])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    assert_done(&capture.expect("the command line"));
    let judged = Command::new(&python)
        .arg(parts.join("corpora.py"))
        .args([&judges, &captured])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let said = assert_done(&judged.expect("a judge"));
    assert!(
        said.contains("disagreements: 0") && !said.contains(": 0 requests"),
        "nothing was judged: {said}"
    );
}

#[test]
fn smug_9_an_expectation_goes_with_a_body_alone() {
    let gateway = gateway();
    let call = Call::get(gateway.app(), "/")
        .token(&gateway.ada.token)
        .field("Expect", "100-continue");
    let bare = call.send();
    assert!(bare.stamps("ADA") == 1 && !bare.text.contains("expect: "), "{}", bare.text);
    let with_body = call.body("hello".into()).send();
    assert!(with_body.text.contains("expect: 100-continue\r\n"), "{}", with_body.text);
}

/// Where `tests/suites/fetch` keeps them.
fn judges() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let judges = cache.expect("a home").join("portico-tests/judges");
    assert!(
        judges.join("go-http").exists(),
        "the judges are not in {}: `tests/run judges` fetches them",
        judges.display()
    );
    judges
}

fn done(command: &mut Command) {
    assert_done(&command.output().expect("the command line"));
}

#[track_caller]
fn assert_done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
