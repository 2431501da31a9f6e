//! How long a login session lasts, on a clock that a test moves on (SESS-2).

use std::{fs, path::Path, process::Command};

use serde_json::json;

use super::{
    browser::set_cookie,
    gateway::{PASSWORD, run},
    lone::Lone,
    wire::Call,
};

/// What makes a program see another time of day: the library that the program `faketime` puts in front of the system's.
fn library() -> String {
    let output = Command::new("faketime").args(["-f", "+0s", "printenv", "LD_PRELOAD"]).output();
    let output = output.expect("faketime is installed (Debian: faketime)");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Says how many seconds the gateway's time of day is ahead.
fn set(clock: &Path, seconds: u32) {
    let fresh = clock.with_extension("new");
    fs::write(&fresh, format!("+{seconds}\n")).expect("written");
    fs::rename(fresh, clock).expect("the directory is ours");
}

#[test]
fn sess_2_a_session_ends_unused_after_its_idle_time_and_used_after_its_absolute_one() {
    const MINUTE: u32 = 60;
    let directory = tempfile::tempdir().expect("a directory");
    let clock = directory.path().join("clock");
    set(&clock, 0);
    let (library, place) = (library(), clock.display().to_string());
    let gateway = Lone::start(
        "http://portico.localhost",
        &[
            ("PORTICO_SESSIONS_IDLE", "5m"),
            ("PORTICO_SESSIONS_ABSOLUTE", "12m"),
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", &place),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ],
    );
    run(
        gateway.data.path(),
        &["user", "create", "ada", "--admin", "--password-stdin"],
        PASSWORD,
    );
    let sign_in = || {
        let body = json!({ "name": "ada", "password": PASSWORD });
        let reply = Call::post(gateway.host(), "/api/v1/sign-in").json(&body).at(gateway.address).send();
        set_cookie(&reply, "_session")
    };
    let asks = |cookie: &str| {
        let call = Call::get(gateway.host(), "/api/v1/user").cookie(cookie).at(gateway.address);
        call.send().status()
    };
    let (used, left) = (sign_in(), sign_in());
    assert_eq!((asks(&used), asks(&left)), (200, 200));
    set(&clock, 4 * MINUTE);
    assert_eq!(asks(&used), 200);
    // Seven minutes after the one was used last, and three after the other.
    set(&clock, 7 * MINUTE);
    assert_eq!((asks(&used), asks(&left)), (200, 401));
    // What is over stays so, when the time is set back too.
    set(&clock, 11 * MINUTE);
    assert_eq!((asks(&used), asks(&left)), (200, 401));
    let last = sign_in();
    set(&clock, 12 * MINUTE + 30);
    assert_eq!((asks(&used), asks(&last)), (401, 200), "used a moment ago, and over all the same");
    // A gateway that is started anew knows no better.
    gateway.restart();
    assert_eq!((asks(&used), asks(&left), asks(&last)), (401, 401, 200));
    set(&clock, 18 * MINUTE);
    assert_eq!(asks(&last), 401);
}
