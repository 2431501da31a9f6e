//! Who an agent is, by its credential alone, and for how long (AGT-1, AGT-4, AGT-6, AGT-7).

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use portico::auth::hash_secret;
use serde_json::{Value, json};

use super::{
    gateway::{BOBS, Gateway, PASSWORD, Person, eventually, gateway, run},
    lone::Lone,
    tunnel::{Heard, Stolen, answers, audit, hello, page, port},
    wire::Call,
};

/// Ports of codespaces whose agents are not theirs: nothing of this machine listens there.
const TAKEN: u16 = 28_480;
const NEWEST: u16 = 28_481;
const ENDED: u16 = 28_482;

fn api(gateway: &Gateway, person: &Person, method: &'static str, rest: &str, body: &Value) -> Value {
    let call = Call::new(method, gateway.host(), &format!("/api/v1/codespaces/{}{rest}", person.codespace)).json(body);
    let reply = call.field("Authorization", format!("Bearer {}", person.token)).send();
    assert!(matches!(reply.status(), 200..=204), "{method} {rest}: {}", reply.text);
    reply.json()
}

fn bob_answers(gateway: &Gateway) {
    let reply = Call::get(gateway.port(&gateway.bob, BOBS), "/").token(&gateway.bob.token).send();
    assert_eq!(reply.stamps("BOB"), 1, "{}", reply.text);
}

#[test]
fn agt_1_an_agent_that_speaks_for_another_is_cut_off_and_told_of() {
    let gateway = gateway();
    let eve = gateway.newcomer("agt-one");
    let stolen = Stolen::of(gateway, &eve);
    let bob = &gateway.bob.codespace;
    let before = api(gateway, &gateway.bob, "GET", "", &json!({}));
    let told = || {
        let query = format!("codespace={}&event=agent.disconnected", eve.codespace);
        let of_it = |event: &Value| event["detail"] == "the agent spoke for another than itself";
        audit(gateway, &query).into_iter().filter(of_it).collect::<Vec<_>>()
    };
    let foreign = [
        json!({ "type": "prepared", "codespace": bob }),
        json!({ "type": "prepared", "codespace_id": bob }),
        json!({ "type": "prepared", "generation": 77 }),
        json!({ "type": "step", "name": "clone", "state": "failed", "detail": "x", "user": "bob" }),
        json!({ "type": "ports", "ports": [{ "port": BOBS, "addresses": ["127.0.0.1"], "codespace": bob }] }),
        json!({ "type": "ports", "ports": [{ "port": 80, "addresses": [], "host": "169.254.169.254" }] }),
        json!({ "type": "configured", "configured": { "changed": true, "owner": "bob" } }),
        json!({ "type": "renewed", "address": "192.0.2.1" }),
    ];
    for (number, message) in foreign.iter().enumerate() {
        let mut link = stolen.connect();
        link.say(message);
        assert_eq!(link.ends(), Some(1008), "{message}");
        eventually("it is in the audit log", || (told().len() > number).then_some(()));
    }
    for claim in [
        json!({ "codespace": bob }),
        json!({ "generation": 77 }),
        json!({ "user_id": "bob" }),
    ] {
        let mut hello = hello();
        hello
            .as_object_mut()
            .expect("an object")
            .extend(claim.as_object().expect("an object").clone());
        let before = told().len();
        let code = eventually("it connects", || {
            let mut link = stolen.shake_hands(&stolen.credential()?).ok()?;
            link.say(&hello);
            Some(link.ends())
        });
        assert_eq!(code, Some(1008), "{claim}");
        eventually("it is in the audit log", || (told().len() > before).then_some(()));
    }
    for event in told() {
        assert_eq!(
            (event["actor"].as_str(), event["target"].as_str(), event["address"].as_str()),
            (Some(&*format!("agent:{}", eve.codespace)), Some(&*eve.codespace), Some("127.0.0.1")),
            "{event}"
        );
        assert!(event["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{event}");
    }
    // What it says of itself, truly, is no harm.
    let mut link = stolen.connect();
    let detail = "of itself alone";
    link.say(&json!({ "type": "step", "name": "history", "state": "running", "detail": detail, "codespace": eve.codespace }));
    eventually("it is heard", || {
        let steps = api(gateway, &eve, "GET", "", &json!({}))["steps"].clone();
        let steps = steps.as_array().expect("steps").iter();
        steps.into_iter().any(|step| step["detail"] == detail).then_some(())
    });
    let after = api(gateway, &gateway.bob, "GET", "", &json!({}));
    for part in ["state", "connected", "steps", "repository", "notices"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    bob_answers(gateway);
}

/// Every file below a directory that holds these bytes.
fn holders(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(holders(&path, bytes));
        } else if kind.is_file() {
            let text = fs::read(&path).unwrap_or_default();
            if text.windows(bytes.len()).any(|window| window == bytes) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The first credential of a codespace's first start, read before it is replaced: whoever made the orders knew it.
fn first_credential(codespaces: &Path) -> Option<String> {
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until {
        let entry = fs::read_dir(codespaces).ok().and_then(|mut entries| entries.next()?.ok());
        let orders = entry.and_then(|entry| fs::read(entry.path().join("state/bootstrap.json")).ok());
        let orders: Option<Value> = orders.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(credential) = orders.and_then(|orders| Some(orders["credential"].as_str()?.to_owned())) {
            return Some(credential);
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Sends a signal to a codespace's agent.
fn signal(gateway: &Lone, codespace: &str, name: &str) {
    let path = gateway.data.path().join("codespaces").join(codespace).join("state/agent.pid");
    let agent: Value = serde_json::from_slice(&fs::read(path).expect("a process")).expect("JSON");
    let sent = Command::new("kill").args(["-s", name, &agent["pid"].to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn agt_4_a_first_credential_is_replaced_and_the_one_before_is_good_until_the_next_is_used() {
    let gateway = Lone::start("http://portico.localhost", &[]);
    let data = gateway.data.path();
    run(data, &["user", "create", "ada", "--admin", "--password-stdin"], PASSWORD);
    let codespaces = data.join("codespaces");
    let reader = thread::spawn(move || first_credential(&codespaces));
    let ada = gateway.person("ada");
    let codespace = &ada.person.codespace;
    let first = reader.join().expect("no panic").expect("it was started");
    let stolen = Stolen::new(gateway.address, data, codespace);
    let events = |event: &str| {
        let told = run(data, &["audit", "--event", event, "--codespace", codespace, "--lines"], "");
        told.lines().count()
    };
    eventually("it is renewed", || (events("agent.renewed") > 0).then_some(()));
    let second = stolen.credential().expect("orders");
    assert_ne!(first, second, "what it was started with is replaced at once");
    // A stream that it was opening at that moment has its time; then the first is worth nothing, from whomever.
    eventually("the first is over", || (stolen.worth(&first) == 401).then_some(()));
    assert_eq!(stolen.shake_hands(&first).err(), Some(401));
    assert_eq!(stolen.worth(&second), 404);
    eventually("a copy of it is told of", || (events("agent.rejected") > 0).then_some(()));

    // Another gateway process tells whoever comes a fresh one. The real agent sleeps meanwhile.
    signal(&gateway, codespace, "STOP");
    gateway.restart();
    let mut link = stolen.shake_hands(&second).expect("it is good over a restart");
    let mut takes = hello();
    takes["renews"] = json!(true);
    link.say(&takes);
    let third = loop {
        let Heard::Message(message) = link.hear() else { panic!("it ended") };
        if message["type"] == "credential" {
            break message["credential"].as_str().expect("text").to_owned();
        }
    };
    assert!(third != second && third != first);
    // It never came to keep it: what it has is good still, again and again.
    drop(link);
    for _ in 0..3 {
        let mut link = stolen.shake_hands(&second).expect("nobody is locked out");
        link.say(&hello());
        assert_eq!(link.hear().message()["type"], "welcome");
    }
    assert_eq!(stolen.worth(&third), 404, "it is good too, and used now");
    eventually("the second is over", || (stolen.worth(&second) == 401).then_some(()));
    assert_eq!((stolen.shake_hands(&second).err(), stolen.worth(&third)), (Some(401), 404));

    // Of each the gateway keeps a hash alone; the agent's own orders are the agent's.
    let (orders, data) = (stolen.orders().display().to_string(), gateway.data.path());
    assert_eq!(holders(data, first.as_bytes()), Vec::<String>::new());
    assert_eq!(holders(data, second.as_bytes()), [orders]);
    assert_eq!(holders(data, third.as_bytes()), Vec::<String>::new());
    eventually("the search finds what is there", || {
        (!holders(data, &hash_secret(&third)).is_empty()).then_some(())
    });
    signal(&gateway, codespace, "CONT");
}

/// Asks for a port and gives who answered.
fn answered(gateway: &Gateway, person: &Person, number: u16) -> String {
    let reply = Call::get(gateway.port(person, number), "/").token(&person.token).send();
    reply.body().to_owned()
}

#[test]
fn agt_6_the_newest_agent_alone_has_the_streams_and_those_before_cannot_come_back() {
    let gateway = gateway();
    let eve = gateway.newcomer("agt-six");
    let stolen = Stolen::of(gateway, &eve);
    let stamped = |stamp: &'static str| move |stream: TcpStream, _| answers(stream, |_| page(stamp));
    let first = stolen.connect();
    let old = first.credential.clone();
    let first = first.serve(stamped("first"));
    eventually("it serves", || (answered(gateway, &eve, NEWEST) == "first").then_some(()));
    // A second one of the same start: from its welcome on, the first has nothing.
    let mut second = stolen.connect();
    let ids = second.ids();
    assert_eq!(first.ends(), Some(4001), "it is told why");
    let mut streams: Vec<TcpStream> = ids
        .iter()
        .map(|id| stolen.stream(&second.credential, id).expect("its own"))
        .collect();
    let serving = streams.drain(..).map(|mut stream| {
        thread::spawn(move || {
            let mut open = [0; 4];
            if stream.read_exact(&mut open).is_ok() {
                answers(stream, |_| page("second"));
            }
        })
    });
    let serving: Vec<_> = serving.collect();
    let second = second.serve(stamped("second"));
    for _ in 0..20 {
        assert_eq!(answered(gateway, &eve, NEWEST), "second");
    }
    // One that was let in before the next start and says hello after it.
    let mut late = stolen.shake_hands(&old).expect("it is current");
    let began = Instant::now();
    api(gateway, &eve, "POST", "/stop", &json!({}));
    assert_eq!(second.ends(), Some(4002), "the codespace was stopped");
    serving
        .into_iter()
        .for_each(|thread| thread.join().expect("its stream ends with it"));
    eventually("it stopped", || {
        (api(gateway, &eve, "GET", "", &json!({}))["state"] == "stopped").then_some(())
    });
    assert_eq!((stolen.worth(&old), stolen.shake_hands(&old).err()), (410, Some(410)));
    api(gateway, &eve, "POST", "/start", &json!({}));
    late.say(&hello());
    let code = late.ends();
    assert!(code == Some(4001) || began.elapsed() > Duration::from_secs(9), "{code:?}");
    let third = eventually("the next start has a credential of its own", || {
        let credential = stolen.credential().filter(|credential| *credential != old)?;
        (stolen.worth(&credential) == 404).then_some(stolen.connect())
    });
    let third = third.serve(stamped("third"));
    for _ in 0..20 {
        assert_eq!((stolen.worth(&old), stolen.shake_hands(&old).err()), (410, Some(410)));
        assert_eq!(answered(gateway, &eve, NEWEST), "third");
    }
    eventually("who came back is told of", || {
        let events = audit(gateway, &format!("codespace={}&event=agent.rejected", eve.codespace));
        let earlier = |event: &Value| event["detail"] == "it is of an earlier start";
        events.iter().any(earlier).then_some(())
    });
    third.hang_up();
}

#[test]
fn agt_7_each_stream_is_authorized_on_its_own() {
    let gateway = gateway();
    let (eve, mal) = (gateway.newcomer("agt-seven"), gateway.newcomer("agt-seven-too"));
    let (eves, mals) = (Stolen::of(gateway, &eve), Stolen::of(gateway, &mal));
    let (mut link, mut other) = (eves.connect(), mals.connect());
    let (ids, others) = (link.ids(), other.ids());
    let (own, theirs) = (link.credential.clone(), other.credential.clone());
    let status = |call: Call| call.send().status();
    for (what, call, expected) in [
        ("another's id", eves.call(&own, &others[0]), 404),
        ("an id with another's credential", eves.call(&theirs, &ids[0]), 404),
        ("an invented id", eves.call(&own, "AAAAAAAAAAAAAAAAAAAAAAAA"), 404),
        ("no id", eves.call(&own, ""), 404),
        (
            "an id and more",
            eves.call(&own, &format!("{}&codespace={}", ids[0], mal.codespace)),
            404,
        ),
        ("an id twice", eves.call(&own, &format!("{}&id={}", ids[0], others[0])), 404),
        ("a long id", eves.call(&own, &"A".repeat(4000)), 404),
        ("no credential", eves.call("", &ids[0]), 401),
        ("a user's token", eves.call(&eve.token, &ids[0]), 401),
        (
            "a page",
            eves.call(&own, &ids[0]).field("Origin", format!("http://{}", gateway.host())),
            403,
        ),
    ] {
        assert_eq!(status(call), expected, "{what}");
    }
    let plain = Call::get(gateway.host(), &format!("/api/v1/agent/stream?id={}", ids[0]));
    assert_eq!(status(plain.field("Authorization", format!("Bearer {own}"))), 400, "no upgrade");
    // None of that used the id up: it is good, once.
    let mut stream = eves.stream(&own, &ids[0]).expect("its own");
    assert_eq!(eves.stream(&own, &ids[0]).err(), Some(404), "an id twice");
    assert!(mals.stream(&theirs, &others[0]).is_ok(), "nor the other's");

    // What a stream leads to is what whoever asked was permitted at that moment.
    let share = |visibility: &str| {
        drop(api(
            gateway,
            &eve,
            "PATCH",
            &format!("/ports/{TAKEN}"),
            &json!({ "visibility": visibility }),
        ))
    };
    share("public");
    let host = gateway.port(&eve, TAKEN);
    let stranger = {
        let host = host.clone();
        thread::spawn(move || Call::get(host, "/").send())
    };
    let mut open = [0; 4];
    stream.read_exact(&mut open).expect("the first that is ready");
    assert_eq!(open, port(TAKEN));
    stream.write_all(&[0]).expect("it is open");
    super::tunnel::take_head(&mut stream).expect("a request");
    stream.write_all(&page("shared")).expect("it is open");
    assert_eq!(stranger.join().expect("no panic").body(), "shared");
    let serving = link.serve(|stream, _| answers(stream, |_| page("more")));
    share("private");
    for _ in 0..5 {
        assert_eq!(Call::get(host.clone(), "/").send().status(), 401);
        assert_eq!(Call::get(host.clone(), "/").token(&mal.token).send().status(), 404);
        assert_eq!(Call::get(gateway.port(&eve, ENDED), "/").send().status(), 401);
    }
    assert_eq!(serving.asked(), Vec::<[u8; 4]>::new(), "the agent heard nothing of them");
    // The stream that the stranger's request came by is not theirs to go on with either.
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
    let mut rest = [0; 16];
    let more = stream.read(&mut rest);
    assert!(!matches!(more, Ok(1..)), "{more:?}");
    drop(stream);
    let own = Call::get(host, "/").token(&eve.token);
    let reply = eventually("its owner is served", || {
        let reply = own.send();
        (reply.status() == 200).then_some(reply)
    });
    assert_eq!(reply.body(), "more");
    serving.hang_up();
    bob_answers(gateway);
}
