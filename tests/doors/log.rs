//! The request log of a port: off until its owner turns it on, without secrets, for its owner alone, gone with the process.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    browser::set_cookie,
    gateway::{PASSWORD, PORTICO, create, empty_repository, eventually, free_address, run},
    wire::{Call, Reply},
};

const PORT: u16 = 28_471;
const CANARY: &str = "C4N4RY";

/// A gateway that can be started again, with one codespace of bob's.
struct House {
    address: SocketAddr,
    data: tempfile::TempDir,
    process: Child,
    /// A member, whose codespace it is.
    bob: String,
    /// An admin.
    ada: String,
    /// A member.
    eve: String,
    codespace: String,
}

fn serve(address: SocketAddr, data: &std::path::Path) -> Child {
    let process = Command::new(PORTICO)
        .args(["serve", "--listen", &address.to_string(), "--data"])
        .arg(data)
        .args(["--url", &format!("http://portico.localhost:{}", address.port())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the gateway");
    eventually("the gateway listens", || data.join("listen").exists().then_some(()));
    process
}

impl House {
    fn start() -> Self {
        let (data, address) = (tempfile::tempdir().expect("a directory"), free_address());
        let process = serve(address, data.path());
        let token = |name: &str, more: &[&str]| {
            run(
                data.path(),
                &[&["user", "create", name, "--password-stdin"], more].concat(),
                PASSWORD,
            );
            run(data.path(), &["token", "create", "--user", name, "--scope", "all"], "")
        };
        let (ada, bob, eve) = (token("ada", &["--admin"]), token("bob", &[]), token("eve", &[]));
        let codespace = create(address, &bob, &empty_repository());
        let house = Self {
            address,
            data,
            process,
            bob,
            ada,
            eve,
            codespace,
        };
        house.serve_app();
        house
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PORTICO);
        command
            .args(arguments)
            .env("PORTICO_URL", format!("http://{}", self.host()))
            .env("PORTICO_TOKEN", &self.bob)
            .stdin(Stdio::null());
        command
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the command line");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the app inside, in a session of its own, so that it outlives the gateway.
    fn serve_app(&self) {
        let program = std::env::current_exe().expect("this program");
        let script = format!(
            "DOOR_PORT={PORT} DOOR_STAMP=LOGGED setsid '{}' app::serve --exact --ignored </dev/null >/dev/null 2>&1 &",
            program.display()
        );
        self.said(&["codespace", "exec", &self.codespace, "--", "sh", "-c", &script]);
        eventually("the app answers", || {
            self.app_call("GET", "/").send().text.contains("LOGGED").then_some(())
        });
    }

    fn host(&self) -> String {
        format!("portico.localhost:{}", self.address.port())
    }

    fn app_host(&self) -> String {
        format!("{}-{PORT}.codespaces.localhost:{}", self.codespace, self.address.port())
    }

    fn strangers_call(&self, method: &'static str, path: &str) -> Call {
        Call::new(method, self.app_host(), path).at(self.address)
    }

    fn app_call(&self, method: &'static str, path: &str) -> Call {
        self.strangers_call(method, path).token(&self.bob)
    }

    fn api(&self, token: &str, method: &'static str, rest: &str) -> Call {
        let path = format!("/api/v1/codespaces/{}/ports/{PORT}{rest}", self.codespace);
        let call = Call::new(method, self.host(), &path).at(self.address);
        call.field("Authorization", format!("Bearer {token}"))
    }

    /// Bob's login session, as a cookie.
    fn session(&self) -> String {
        let body = json!({ "name": "bob", "password": PASSWORD });
        let signed_in = Call::post(self.host(), "/api/v1/sign-in").at(self.address).json(&body).send();
        set_cookie(&signed_in, "_session")
    }

    fn get(&self, rest: &str) -> Reply {
        self.api(&self.bob, "GET", rest).send()
    }

    fn log(&self) -> Vec<Value> {
        let reply = self.get("/log");
        assert_eq!(reply.status(), 200, "{}", reply.text);
        reply.json().as_array().expect("a list").clone()
    }

    fn set(&self, change: &Value) -> Value {
        let reply = self.api(&self.bob, "PATCH", "").json(change).send();
        assert_eq!(reply.status(), 200, "{}", reply.text);
        reply.json()
    }

    /// The newest entry, once it has ended.
    fn newest(&self) -> Value {
        eventually("the exchange ends", || {
            self.log().first().filter(|entry| !entry["took_ms"].is_null()).cloned()
        })
    }

    fn detail(&self, entry: &Value) -> Reply {
        self.get(&format!("/log/{}", entry["id"]))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.command(&["codespace", "delete", "--force", &self.codespace]).output());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn a_ports_log_is_its_owners_alone_and_keeps_no_secret() {
    let mut house = House::start();
    it_is_off_until_its_owner_turns_it_on(&house);
    no_secret_is_in_it(&house);
    bodies_and_entries_are_bounded(&house);
    a_replay_reaches_the_app_once(&house);
    what_came_from_outside_stays_text(&house);
    a_socket_is_one_entry(&house);
    visits_are_counted_by_kind(&house);
    a_restart_keeps_the_switch_and_nothing_else(&mut house);
}

fn it_is_off_until_its_owner_turns_it_on(house: &House) {
    assert_eq!(house.app_call("GET", "/before").send().status(), 200);
    assert_eq!((house.log(), house.get("/visits").json()), (Vec::new(), json!([])));
    let inside = house.said(&["codespace", "exec", &house.codespace, "--", "printenv", "PORTICO_TOKEN"]);
    house.set(&json!({ "users": ["eve"] }));
    for (who, expected) in [
        (house.eve.as_str(), 404),
        (&house.ada, 403),
        (inside.trim(), 403),
        ("pt_wrong", 401),
    ] {
        for (method, rest) in [
            ("GET", "/log"),
            ("GET", "/log/1"),
            ("GET", "/visits"),
            ("DELETE", "/log"),
            ("POST", "/log/1/replay"),
            ("PATCH", ""),
        ] {
            let reply = house.api(who, method, rest).json(&json!({ "log_entries": 5 })).send();
            assert_eq!(reply.status(), expected, "{method} {rest}: {}", reply.text);
        }
    }
    for bad in [json!(0), json!(1001)] {
        assert_eq!(
            house
                .api(&house.bob, "PATCH", "")
                .json(&json!({ "log_entries": bad }))
                .send()
                .status(),
            422
        );
    }
    assert_eq!(house.set(&json!({ "label": "mine" }))["log_entries"], json!(null));
    assert!(house.log().is_empty());
    assert_eq!(house.set(&json!({ "log_entries": 5 }))["log_entries"], 5);
    eventually("the audit log tells it", || {
        let told = run(house.data.path(), &["audit", "--event", "port.log-on", "--json"], "");
        (told.contains("the last 5 exchanges") && told.contains("\"bob\"")).then_some(())
    });
}

fn no_secret_is_in_it(house: &House) {
    let body = json!({ "access_token": CANARY, "ok": true }).to_string();
    let answer = format!(
        "HTTP/1.1 201 Made\r\nSet-Cookie: sid={CANARY}; Path=/\r\nX-Auth-Token: {CANARY}\r\nLocation: /cb?code={CANARY}\r\nX-Plain: seen\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = house
        .app_call("POST", &format!("/sign-in?token={CANARY}&page=2"))
        .fields(&[
            ("Cookie", &format!("sid={CANARY}; __Host-portico_access={CANARY}")),
            ("Authorization", &format!("Bearer {CANARY}")),
            ("X-Api-Key", CANARY),
            ("X-Forwarded-For", CANARY),
            ("Referer", &format!("http://{}/x?session={CANARY}", house.app_host())),
            ("X-Answer", &BASE64_STANDARD.encode(answer)),
        ])
        .json(&json!({ "password": CANARY, "user": "kim" }))
        .send();
    assert_eq!(sent.status(), 201, "{}", sent.text);
    let entry = house.newest();
    let detail = house.detail(&entry);
    for shown in [house.get("/log").text, detail.text.clone()] {
        assert!(
            !shown.contains(CANARY) && !shown.contains(&house.bob) && !shown.contains("__Host-portico"),
            "{shown}"
        );
    }
    let detail = detail.json();
    assert_eq!(
        (
            &detail["method"],
            &detail["status"],
            &detail["target"],
            &detail["kind"],
            &detail["who"]
        ),
        (
            &json!("POST"),
            &json!(201),
            &json!("/sign-in?token=REMOVED&page=2"),
            &json!("owner"),
            &json!("bob")
        ),
    );
    assert!(
        detail["first_byte_ms"].as_f64() <= detail["took_ms"].as_f64() && detail["address"] == "127.0.0.1",
        "{detail}"
    );
    let field = |part: &str, name: &str| {
        let fields = detail[part]["fields"].as_array().expect("a list");
        fields
            .iter()
            .find(|field| field["name"] == name)
            .map(|field| (field["value"].clone(), field["removed"].clone()))
    };
    assert_eq!(field("request", "cookie"), Some((json!("sid=REMOVED"), json!(true))));
    assert_eq!(field("response", "set-cookie"), Some((json!("sid=REMOVED; Path=/"), json!(true))));
    assert_eq!(field("response", "x-plain"), Some((json!("seen"), json!(false))));
    assert_eq!(
        detail["request"]["body"],
        json!({ "password": "REMOVED", "user": "kim" }).to_string()
    );
    assert!(detail["not_replayable"].as_str().expect("a reason").contains("address"), "{detail}");
    let curl = house.said(&[
        "ports",
        "log",
        &PORT.to_string(),
        "--curl",
        &entry["id"].to_string(),
        "-c",
        &house.codespace,
    ]);
    assert!(
        curl.contains("'X-Portico-Token: YOUR_TOKEN'") && curl.contains(&house.app_host()) && !curl.contains(CANARY),
        "{curl}"
    );
    assert_eq!(
        house
            .api(&house.bob, "POST", &format!("/log/{}/replay", entry["id"]))
            .json(&json!({}))
            .send()
            .status(),
        409
    );
}

fn bodies_and_entries_are_bounded(house: &House) {
    for number in 0..6 {
        let body = format!("{number}{}", "x".repeat(100_000));
        let sent = house
            .app_call("POST", "/large")
            .field("Content-Type", "text/plain")
            .body(body)
            .send();
        assert_eq!(sent.status(), 200);
    }
    let entry = house.newest();
    assert_eq!(house.log().len(), 5);
    assert_eq!((&entry["target"], &entry["sent_bytes"]), (&json!("/large"), &json!(100_001)));
    let detail = house.detail(&entry).json();
    for part in ["request", "response"] {
        assert_eq!(detail[part]["body"].as_str().map(str::len), Some(16 * 1024), "{part}");
        assert_eq!(detail[part]["body_cut"], true);
    }
    assert!(detail["not_replayable"].is_string());
    house
        .app_call("POST", "/bytes")
        .field("Content-Type", "application/octet-stream")
        .body("binary".into())
        .send();
    let detail = house.detail(&house.newest()).json();
    assert_eq!((&detail["request"]["body"], &detail["sent_bytes"]), (&json!(null), &json!(6)));
}

fn a_replay_reaches_the_app_once(house: &House) {
    let tally = |step: &str| {
        let reply = house
            .app_call("POST", "/tally")
            .fields(&[("X-Tally", step), ("Content-Type", "text/plain")]);
        reply.body("body".into()).send().body().parse::<usize>().expect("a count")
    };
    let session = house.session();
    assert_eq!(tally("1"), 0);
    let first = house.newest();
    assert_eq!(house.detail(&first).json()["not_replayable"], json!(null));
    let path = format!("/api/v1/codespaces/{}/ports/{PORT}/log/{}/replay", house.codespace, first["id"]);
    let replay = |origin: &str| {
        let call = Call::post(house.host(), &path).at(house.address).cookie(&session);
        call.field("Origin", origin).json(&json!({})).send()
    };
    // A page of another site may not, with whatever cookie.
    for origin in ["http://evil.example".to_owned(), format!("http://{}", house.app_host())] {
        assert_eq!(replay(&origin).status(), 403, "{origin}");
    }
    let made = replay(&format!("http://{}", house.host()));
    assert_eq!((made.status(), &made.json()["replay_of"]), (201, &first["id"]), "{}", made.text);
    let replayed = house.newest();
    assert_eq!(replayed["id"], made.json()["id"]);
    assert_eq!(tally("0"), 2, "the app was asked once more");
    assert_eq!(
        (&replayed["status"], &replayed["kind"], &replayed["sent_bytes"]),
        (&json!(200), &json!("owner"), &json!(4))
    );
    let fields = house.detail(&replayed).json()["request"]["fields"].to_string();
    assert!(fields.contains("x-tally"), "{fields}");
    assert_eq!(
        house.api(&house.bob, "POST", "/log/999999/replay").json(&json!({})).send().status(),
        404
    );
}

fn what_came_from_outside_stays_text(house: &House) {
    let hostile = "/\"onload=\"alert(1)'{}?q='%3Cimg%20src=x%20onerror=alert(1)%3E";
    house.app_call("GET", hostile).field("X-Odd", "<b>\u{9b}31m</b>").send();
    let shown = house.detail(&house.newest());
    assert_eq!(shown.fields("content-type"), ["application/json"]);
    assert_eq!(shown.fields("x-content-type-options"), ["nosniff"]);
    assert_eq!(shown.json()["target"], hostile);
    let printed = house.said(&[
        "ports",
        "log",
        &PORT.to_string(),
        "--show",
        &shown.json()["id"].to_string(),
        "-c",
        &house.codespace,
    ]);
    assert!(!printed.contains(|char: char| char.is_control() && char != '\n'), "{printed:?}");
}

fn a_socket_is_one_entry(house: &House) {
    let mut stream = TcpStream::connect(house.address).expect("the gateway");
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        house.app_host(),
        house.bob
    );
    stream.write_all(head.as_bytes()).expect("written");
    let mut heard = Vec::new();
    while !heard.ends_with(b"LOGGED") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        heard.push(byte[0]);
    }
    let open = house.log().remove(0);
    assert_eq!(
        (&open["websocket"], &open["status"], &open["took_ms"]),
        (&json!(true), &json!(101), &json!(null))
    );
    stream.write_all(b"12345").expect("written");
    stream.shutdown(Shutdown::Write).expect("shut");
    drop(stream.read_to_end(&mut heard));
    let ended = house.newest();
    assert_eq!(
        (&ended["id"], &ended["sent_bytes"], &ended["received_bytes"]),
        (&open["id"], &json!(5), &json!(11))
    );
    assert!(house.detail(&ended).json()["not_replayable"].is_string());
}

fn visits_are_counted_by_kind(house: &House) {
    house.set(&json!({ "visibility": "public" }));
    for _ in 0..2 {
        assert_eq!(house.strangers_call("GET", "/seen").send().status(), 200);
    }
    assert_eq!(house.strangers_call("GET", "/seen").token(&house.eve).send().status(), 200);
    house.set(&json!({ "visibility": "private" }));
    let visits = house.get("/visits");
    assert!(!visits.text.contains("127.0.0.1"), "no address is kept: {}", visits.text);
    let hours = visits.json();
    let sum = |name: &str| {
        hours
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|hour| hour[name].as_u64())
            .sum::<u64>()
    };
    // The hour may have turned in between.
    assert!(sum("requests") == 3 && (1..=2).contains(&sum("strangers")), "{hours}");
    assert!(visits.text.contains(r#""name":"eve","requests":1"#), "{}", visits.text);
}

fn a_restart_keeps_the_switch_and_nothing_else(house: &mut House) {
    assert!(!house.log().is_empty());
    let stopped = Command::new("kill").arg(house.process.id().to_string()).status().expect("kill");
    assert!(stopped.success() && house.process.wait().is_ok());
    house.process = serve(house.address, house.data.path());
    eventually("the app answers again", || {
        house.app_call("GET", "/again").send().text.contains("LOGGED").then_some(())
    });
    let log = house.log();
    assert!(!log.is_empty() && log.iter().all(|entry| entry["target"] == "/again"), "{log:?}");
    assert_eq!(house.get("/visits").json(), json!([]));
    assert_eq!(house.api(&house.bob, "DELETE", "/log").json(&json!({})).send().status(), 204);
    assert!(house.log().is_empty());
    house.app_call("GET", "/kept").send();
    assert_eq!(house.log().len(), 1);
    assert_eq!(house.set(&json!({ "log_entries": null }))["log_entries"], json!(null));
    house.app_call("GET", "/after").send();
    house.set(&json!({ "log_entries": 5 }));
    assert!(house.log().is_empty(), "what was forgotten stays forgotten");
}
