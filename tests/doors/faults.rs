//! A gateway whose configuration or store is no good: it does not begin to serve, lets nobody in, and says what to do (FAIL-1).

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use super::{
    gateway::{PASSWORD, PORTICO, eventually, run},
    lone::Lone,
    wire::Call,
};

/// Starts it on a directory, which it must refuse to do; what it says.
fn refused(data: &Path, configuration: Option<&Path>) -> String {
    let mut serve = Command::new(PORTICO);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    if let Some(configuration) = configuration {
        serve.arg("--config").arg(configuration);
    }
    let mut child = serve
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let (listen, mut ended) = (data.join("listen"), None);
    eventually("it ends, or serves", || {
        let mut over = listen.exists();
        if let Some(status) = child.try_wait().expect("asked") {
            (ended, over) = (Some(status), true);
        }
        over.then_some(())
    });
    if ended.is_none() {
        drop(child.kill());
        drop(child.wait());
        panic!("it serves");
    }
    let output = child.wait_with_output().expect("ended");
    assert!(!output.status.success() && output.status.code().is_some(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn fail_1_a_configuration_that_is_no_good_lets_nobody_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("portico.toml");
    let provider = "[provider.x]\nissuer = \"https://id.example\"\nclient_id = \"p\"\n";
    let of_provider = |more: &str| format!("{provider}{more}\n").into_bytes();
    for (bytes, wanted) in [
        (b"[provider.x\n".to_vec(), "line 1: that is no TOML"),
        (b"\xff\xfe\x00[provider".to_vec(), "cannot read the configuration"),
        (of_provider("allowed_domain = [\"a.example\"]"), "Did you mean allowed_domains?"),
        (of_provider("allowed_domains = [\"a@b\"]"), "a list of domains of e-mail addresses"),
        (of_provider("allowed_domains = true"), "a list of domains of e-mail addresses"),
        (
            of_provider("client_secret_file = \"/nowhere/at/all\""),
            "the path of a file that holds the secret",
        ),
        (of_provider("allowed_groups = [\"eng\"]"), "no groups_claim that lists them"),
        (of_provider("sign_up = \"perhaps\"\nown_ways = \"perhaps\""), "true or false"),
        (
            b"[provider.x]\nclient_id = \"p\"\n".to_vec(),
            "needs an issuer that begins with https://",
        ),
        (
            b"[provider.x]\nissuer = \"http://id.example\"\nclient_id = \"p\"\n".to_vec(),
            "needs an issuer that begins with https://",
        ),
        (b"[trusted_header]\nuser = \"x-user\"\n".to_vec(), "needs proxies"),
        (
            b"[trusted_header]\nuser = \"x-user\"\nproxies = [\"0.0.0.0/0\"]\n".to_vec(),
            "believes everybody",
        ),
        (b"password_sign_in = false\n".to_vec(), "leaves no way to sign in"),
    ] {
        fs::write(&file, &bytes).expect("written");
        let said = refused(directory.path(), Some(&file));
        assert!(said.contains(wanted), "{}: {said}", String::from_utf8_lossy(&bytes));
    }
    fs::remove_file(&file).expect("removed");
    let said = refused(directory.path(), Some(&file));
    assert!(
        said.contains("cannot read the configuration") && said.contains("No such file"),
        "{said}"
    );
}

#[test]
fn fail_1_a_store_that_is_no_good_lets_nobody_in() {
    for (what, wanted) in [
        ("no database", "Restore a backup"),
        ("a directory", "See that its directory exists and is yours"),
        ("cut off within its first page", "Restore a backup"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = directory.path().join("portico.db");
        match what {
            "a directory" => fs::create_dir(&store).expect("made"),
            "no database" => fs::write(&store, vec![0x5a; 100_000]).expect("written"),
            _ => fs::write(&store, b"SQLite format 3\0\x10\0\x02\x02").expect("written"),
        }
        let said = refused(directory.path(), None);
        assert!(said.contains("portico.db") && said.contains(wanted), "{what}: {said}");
    }
}

#[test]
fn fail_1_a_store_that_is_spoilt_under_a_running_gateway_lets_nobody_in() {
    let gateway = Lone::start("http://portico.localhost", &[]);
    run(gateway.data.path(), &["user", "create", "ada", "--password-stdin"], PASSWORD);
    let sign_in = || {
        let call = Call::post(gateway.host(), "/api/v1/sign-in").at(gateway.address);
        call.json(&json!({ "name": "ada", "password": PASSWORD })).send()
    };
    let well = sign_in();
    assert_eq!((well.status(), well.fields("set-cookie").len()), (204, 1), "{}", well.text);
    for end in ["", "-wal", "-shm"] {
        let file = gateway.data.path().join(format!("portico.db{end}"));
        let length = fs::metadata(&file).expect("it is there").len();
        // In place: the gateway has the file open.
        let spoilt = vec![0x5a; usize::try_from(length).expect("it is small")];
        fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &spoilt))
            .expect("written");
    }
    let denied = sign_in();
    assert!(
        (500..600).contains(&denied.status()) && denied.fields("set-cookie").is_empty(),
        "{}",
        denied.text
    );
    assert_eq!(Call::get(gateway.host(), "/api/v1/user").at(gateway.address).send().status(), 401);
}

/// Who copies one file of a gateway that has ended has everything.
#[test]
fn a_store_is_one_file_once_its_gateway_has_ended() {
    let gateway = Lone::start("http://portico.localhost", &[]);
    run(gateway.data.path(), &["user", "create", "ada", "--password-stdin"], PASSWORD);
    gateway.stop();
    let copy = tempfile::tempdir().expect("a directory");
    fs::copy(gateway.data.path().join("portico.db"), copy.path().join("portico.db")).expect("copied");
    assert!(!gateway.data.path().join("portico.db-wal").exists());
    let users = run(copy.path(), &["user", "list"], "");
    assert!(users.contains("ada"), "{users}");
}
