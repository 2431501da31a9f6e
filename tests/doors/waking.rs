//! A codespace that sleeps: who wakes it, with which requests, and what everybody else is told.
//!
//! Each test has a codespace of its own, so that no other finds its asleep.

use std::{fs::OpenOptions, io::Write, process::Command, thread};

use serde_json::json;

use super::{
    browser::{NAVIGATION, redeem, set_cookie},
    gateway::{Gateway, Person, create, eventually, gateway, run},
    lone::Lone,
    secrecy::faceless,
    wire::{Call, Reply},
};

const APP: u16 = 28_472;
const LED: [(&str, &str); 4] = [
    ("Sec-Fetch-Site", "cross-site"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept", "text/html"),
];

/// A codespace of ada's that is stopped.
fn sleeper(gateway: &'static Gateway, what: &str) -> Sleeper {
    let project = gateway.data.join(format!("project-{what}"));
    let made = Command::new("git").args(["init", "-q", "-b", "main"]).arg(&project).status();
    assert!(made.expect("git is installed").success());
    let codespace = create(gateway.address, &gateway.ada.token, &project.display().to_string());
    let mut names = OpenOptions::new().append(true).open(gateway.data.join("names")).expect("a file");
    writeln!(names, "{codespace}").expect("written");
    let person = Person {
        token: gateway.ada.token.clone(),
        codespace,
    };
    let sleeper = Sleeper { gateway, person };
    sleeper.stop();
    sleeper
}

struct Sleeper {
    gateway: &'static Gateway,
    person: Person,
}

impl Sleeper {
    fn api(&self, method: &'static str, rest: &str) -> Call {
        let path = format!("/api/v1/codespaces/{}{rest}", self.person.codespace);
        Call::new(method, self.gateway.host(), &path).field("Authorization", format!("Bearer {}", self.person.token))
    }

    fn state(&self) -> String {
        self.api("GET", "").send().json()["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Stops it, if it runs by now.
    fn stop(&self) {
        eventually("it runs or is stopped", || {
            matches!(&*self.state(), "running" | "stopped").then_some(())
        });
        assert_eq!(self.api("POST", "/stop").send().status(), 202);
        eventually("it is stopped", || (self.state() == "stopped").then_some(()));
    }

    /// Sends it while it is stopped; tells whether that woke it, and stops it again.
    fn wakes(&self, call: &Call) -> (bool, Reply) {
        let reply = call.send();
        let woke = self.state() != "stopped";
        if woke {
            self.stop();
        }
        (woke, reply)
    }

    fn editor(&self) -> String {
        self.gateway.editor(&self.person)
    }

    fn port(&self) -> String {
        self.gateway.port(&self.person, APP)
    }

    /// The cookies of its owner at its editor's and its port's host.
    fn cookies(&self) -> (String, String) {
        let editor = self.gateway.editor_cookie(&self.gateway.session("ada"), &self.person);
        let port = self.gateway.port_cookie(&editor, &self.person, APP);
        (editor, port)
    }

    fn starts(&self) -> usize {
        let path = format!("/api/v1/audit?event=codespace.started&codespace={}", self.person.codespace);
        let call = Call::get(self.gateway.host(), &path).field("Authorization", format!("Bearer {}", self.person.token));
        let reply = call.send();
        let events = reply.json();
        events.as_array().unwrap_or_else(|| panic!("{}", reply.text)).len()
    }
}

/// What a browser sends when the button on a host's page is pressed.
fn button(host: &str, cookie: &str) -> Call {
    posted(host, cookie, "navigate")
}

fn posted(host: &str, cookie: &str, mode: &str) -> Call {
    Call::post(host.to_owned(), "/.portico/wake")
        .cookie(cookie)
        .field("Origin", format!("http://{host}"))
        .fields(&[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", mode),
            ("Sec-Fetch-Dest", "document"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ])
        .body("next=%2Fa%3Fb%3Dc".into())
}

#[test]
fn resume_1_only_who_may_start_it_wakes_it() {
    let gateway = gateway();
    let sleeper = sleeper(gateway, "strangers");
    let (host, editor) = (sleeper.port(), sleeper.editor());
    let visit = |host: &str| Call::get(host.to_owned(), "/").fields(&NAVIGATION);
    // To a stranger it is what a codespace is that never was.
    let nowhere = |host: &str| host.replace(&sleeper.person.codespace, "amber-nobody-x");
    let names = [sleeper.person.codespace.as_str(), "amber-nobody-x"];
    let bob = gateway.bob.token.as_str();
    for host in [&host, &editor] {
        for call in [
            |call: Call, _: &str| call,
            |call: Call, bob: &str| call.token(bob),
            |call: Call, _: &str| call.token("pt_wrong"),
            |call: Call, _: &str| call.socket().field("Origin", "http://evil.example"),
        ] {
            let (woke, reply) = sleeper.wakes(&call(visit(host), bob));
            let missing = call(visit(&nowhere(host)), bob).send();
            assert!(!woke, "{}", reply.text);
            assert_eq!(faceless(&reply, &names), faceless(&missing, &names));
        }
    }
    // A token for the port opens what runs, and starts nothing.
    let scope = format!("port:{}:{APP}", sleeper.person.codespace);
    let narrow = run(&gateway.data, &["token", "create", "--user", "ada", "--scope", &scope], "");
    let (woke, reply) = sleeper.wakes(&Call::get(host.clone(), "/").token(&narrow));
    assert_eq!((woke, reply.status()), (false, 503), "{}", reply.text);
    assert_eq!(reply.json()["type"], "urn:portico:codespace-stopped");

    // A guest is told whom to ask, a visitor too, until the owner lets them.
    let set = |body: serde_json::Value| {
        let reply = sleeper.api("PATCH", &format!("/ports/{APP}")).json(&body).send();
        assert_eq!(reply.status(), 200, "{}", reply.text);
    };
    set(json!({ "users": ["bob"] }));
    let guest = visit(&host).token(bob);
    let (woke, reply) = sleeper.wakes(&guest);
    assert_eq!((woke, reply.status()), (false, 503), "{}", reply.text);
    assert!(
        reply.body().contains("ada can start it") && !reply.body().contains("wake"),
        "{}",
        reply.text
    );
    set(json!({ "users": [], "visibility": "public" }));
    let visitor = visit(&host).field("X-Portico-Skip-Warning", "1");
    let (woke, reply) = sleeper.wakes(&visitor);
    assert_eq!((woke, reply.status()), (false, 503), "{}", reply.text);
    assert!(reply.body().contains("ada can start it"), "{}", reply.text);
    let allowed = sleeper.api("PATCH", "").json(&json!({ "woken_by": "everyone" })).send();
    assert_eq!(
        (allowed.status(), &allowed.json()["woken_by"]),
        (200, &json!("everyone")),
        "{}",
        allowed.text
    );
    assert!(
        !sleeper.wakes(&Call::get(host.clone(), "/")).0,
        "a program without a token is nobody"
    );
    let (woke, reply) = sleeper.wakes(&visitor);
    assert!(woke && reply.body().contains("codespace-starting"), "{}", reply.text);

    // What is said of a port counts there, in both directions, until it is taken back.
    set(json!({ "woken_by": "owner" }));
    assert!(!sleeper.wakes(&visitor).0, "the port's own word counts");
    let narrowed = sleeper.api("PATCH", "").json(&json!({ "woken_by": "owner" })).send();
    assert_eq!(narrowed.status(), 200, "{}", narrowed.text);
    set(json!({ "woken_by": "everyone" }));
    assert!(sleeper.wakes(&visitor).0, "the port's own word counts");
    set(json!({ "woken_by": null }));
    assert!(!sleeper.wakes(&visitor).0, "the codespace's word counts again");
    let refused = sleeper
        .api("PATCH", &format!("/ports/{APP}"))
        .json(&json!({ "woken_by": "nobody" }))
        .send();
    assert_eq!(refused.status(), 422, "{}", refused.text);
}

#[test]
fn resume_2_only_a_persons_own_step_a_button_or_a_token_wakes() {
    let gateway = gateway();
    let sleeper = sleeper(gateway, "manners");
    let (at_editor, at_port) = sleeper.cookies();
    for (host, cookie) in [(sleeper.editor(), &at_editor), (sleeper.port(), &at_port)] {
        let own = format!("http://{host}");
        let fetched = |site: &str, mode: &str, dest: &str| {
            let call = Call::get(host.clone(), "/a?b=c").cookie(cookie).field("Origin", &*own);
            call.fields(&[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)])
        };
        let page = |site: &str, dest: &str| {
            let call = Call::get(host.clone(), "/a?b=c").cookie(cookie);
            call.fields(&[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", dest)])
        };
        for call in [
            fetched("same-origin", "cors", "empty"),
            fetched("same-origin", "same-origin", "empty"),
            fetched("same-origin", "no-cors", "image"),
            page("same-origin", "iframe"),
            page("none", "empty"),
            page("none", "document").field("Sec-Purpose", "prefetch;prerender"),
            Call::get(host.clone(), "/").cookie(cookie).field("Accept", "text/html"),
            Call::post(host.clone(), "/").cookie(cookie).field("Origin", &*own),
            Call::new("HEAD", host.clone(), "/").cookie(cookie).field("Origin", &*own),
            // The button, pressed by a script.
            posted(&host, cookie, "cors"),
        ] {
            let (woke, reply) = sleeper.wakes(&call);
            assert!(!woke, "{call:?}");
            assert!(matches!(reply.status(), 403 | 503), "{call:?} {}", reply.text);
        }
        // By another page, and by one that hides which it is.
        for (from, site) in [
            ("http://evil.example", "cross-site"),
            ("null", "cross-site"),
            ("null", "same-origin"),
        ] {
            let call = Call::post(host.clone(), "/.portico/wake").cookie(cookie).body("next=%2F".into());
            let (woke, reply) = sleeper.wakes(&call.field("Origin", from).field("Sec-Fetch-Site", site));
            assert_eq!((woke, reply.status()), (false, 403), "{from} {site} {}", reply.text);
        }
        // First, because the sign-in of a moment ago began with a step of the person's: that counts once more.
        let (woke, reply) = sleeper.wakes(&page("none", "document").field("Accept", "text/html"));
        assert_eq!((woke, reply.status()), (true, 503), "{}", reply.text);
        assert!(reply.body().contains("codespace-starting"), "{}", reply.text);
        // Led there from elsewhere: one button, which comes back to what was asked for.
        for site in ["cross-site", "same-site"] {
            let (woke, reply) = sleeper.wakes(&page(site, "document").field("Accept", "text/html"));
            assert_eq!((woke, reply.status()), (false, 503), "{}", reply.text);
            assert!(reply.body().contains("action=\"/.portico/wake\""), "{}", reply.text);
            assert!(reply.body().contains("value=\"/a?b=c\""), "{}", reply.text);
            assert_eq!(reply.fields("referrer-policy"), ["same-origin"]);
        }
        let (woke, reply) = sleeper.wakes(&button(&host, cookie));
        assert_eq!((woke, reply.status()), (true, 303), "{}", reply.text);
        assert_eq!(reply.fields("location"), [format!("{own}/a?b=c")]);
        let program = Call::get(host.clone(), "/").token(&gateway.ada.token);
        let (woke, reply) = sleeper.wakes(&program);
        assert_eq!(
            (woke, reply.status(), reply.fields("retry-after")),
            (true, 503, vec!["2"]),
            "{}",
            reply.text
        );
        assert_eq!(reply.json()["type"], "urn:portico:codespace-starting");
    }
    // A WebSocket of somebody with a permit hears that it may try again; it wakes nothing.
    let host = sleeper.port();
    let socket = Call::get(host.clone(), "/")
        .cookie(&at_port)
        .field("Origin", format!("http://{host}"));
    let (woke, reply) = sleeper.wakes(&socket.socket().field("Sec-WebSocket-Protocol", "vite-hmr, other"));
    assert_eq!((woke, reply.status()), (false, 101), "{}", reply.text);
    assert_eq!(reply.fields("sec-websocket-protocol"), ["vite-hmr"]);
    assert!(reply.body().contains("The codespace is not running"), "{}", reply.text);
}

/// Our own sign-in brings the browser back with a step of the same host: that must not make a foreign link a step of the
/// person's.
#[test]
fn resume_2_a_foreign_link_wakes_nothing_by_way_of_sign_in() {
    let gateway = gateway();
    let sleeper = sleeper(gateway, "hop");
    let session = gateway.session("ada");
    for (marks, expected) in [(&LED, false), (&NAVIGATION, true)] {
        let start = Call::get(sleeper.editor(), "/").fields(marks).send();
        let location = start.fields("location")[0].to_owned();
        let path = &location[location.find("/authorize").expect("a path")..];
        let page = Call::get(gateway.host(), path).fields(marks).cookie(&session).send();
        let ticket = page
            .body()
            .split("name=\"ticket\" value=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let redeemed = redeem(sleeper.editor(), ticket.unwrap_or_else(|| panic!("{}", page.text)));
        let redeemed = redeemed.cookie(&set_cookie(&start, "_nonce_")).send();
        let cookie = set_cookie(&redeemed, "_access");
        let back = Call::get(sleeper.editor(), "/").cookie(&cookie).fields(&[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ]);
        let (woke, reply) = sleeper.wakes(&back);
        assert_eq!((woke, reply.status()), (expected, 503), "{}", reply.text);
    }
}

#[test]
fn resume_3_a_hundred_visits_at_once_wake_it_once() {
    let gateway = gateway();
    let sleeper = sleeper(gateway, "hundred");
    let (at_editor, at_port) = sleeper.cookies();
    let before = sleeper.starts();
    let (editor, port) = (sleeper.editor(), sleeper.port());
    thread::scope(|scope| {
        let visits: Vec<_> = (0..100)
            .map(|index| {
                let (host, cookie) = if index % 2 == 0 { (&editor, &at_editor) } else { (&port, &at_port) };
                let call = Call::get(host.clone(), "/").cookie(cookie).fields(&NAVIGATION);
                scope.spawn(move || call.send())
            })
            .collect();
        for visit in visits {
            let reply = visit.join().expect("answered");
            // The last ones may find it up already.
            assert!(matches!(reply.status(), 200 | 302 | 502 | 503), "{}", reply.text);
        }
    });
    eventually("it runs", || (sleeper.state() == "running").then_some(()));
    let starts = eventually("the audit log tells it", || {
        Some(sleeper.starts()).filter(|starts| *starts > before)
    });
    assert_eq!(starts - before, 1);
}

#[test]
fn resume_3_so_many_starts_a_minute() {
    let lone = Lone::start("http://portico.localhost", &[("PORTICO_CODESPACES_STARTS_PER_MINUTE", "1")]);
    let data = lone.data.path();
    run(
        data,
        &["user", "create", "ada", "--admin", "--password-stdin"],
        "correct horse battery",
    );
    let token = run(data, &["token", "create", "--user", "ada", "--scope", "all"], "");
    let project = data.join("project");
    let made = Command::new("git").args(["init", "-q"]).arg(&project).status();
    assert!(made.expect("git is installed").success());
    let name = create(lone.address, &token, &project.display().to_string());
    let host = format!("portico.localhost:{}", lone.address.port());
    let call = |method, rest: &str| {
        let call = Call::new(method, host.clone(), &format!("/api/v1/codespaces/{name}{rest}")).at(lone.address);
        call.field("Authorization", format!("Bearer {token}")).send()
    };
    let is = |wanted: &str| eventually(wanted, || (call("GET", "").json()["state"] == wanted).then_some(()));
    let stopped = || {
        assert_eq!(call("POST", "/stop").status(), 202);
        is("stopped");
    };
    stopped();
    assert_eq!(call("POST", "/start").status(), 202);
    // What is under way may be asked for as often as anybody likes.
    assert_eq!(call("POST", "/start").status(), 202);
    is("running");
    stopped();
    let visit = Call::get(format!("{name}-{APP}.codespaces.localhost:{}", lone.address.port()), "/");
    for reply in [call("POST", "/start"), visit.at(lone.address).token(&token).send()] {
        assert_eq!(reply.status(), 429, "{}", reply.text);
        assert_eq!(reply.json()["type"], "urn:portico:too-many-starts");
        let seconds: u64 = reply.fields("retry-after")[0].parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{}", reply.text);
    }
    is("stopped");
    run(data, &["codespace", "delete", "--force", &name], "");
}
