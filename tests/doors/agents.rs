//! An agent that means harm: a real codespace's credential in hostile hands (AGT-1, AGT-2, AGT-5, AGT-7).

use std::{
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    gateway::{BOBS, Gateway, PASSWORD, create, empty_repository, eventually, gateway, run},
    wire::{Call, Connection},
};

/// As many as the gateway reads at once; after that it reads slowly.
const PER_LINK: usize = 190;
/// How many links go by between two looks at what must not change.
const LINKS_PER_LOOK: usize = 20;

/// Somebody whose codespace was taken over.
struct Mallory {
    token: String,
    codespace: String,
}

impl Mallory {
    fn new(gateway: &Gateway) -> Self {
        run(&gateway.data, &["user", "create", "mallory", "--password-stdin"], PASSWORD);
        let token = run(&gateway.data, &["token", "create", "--user", "mallory", "--scope", "all"], "");
        let codespace = create(gateway.address, &token, &empty_repository());
        let names = fs::OpenOptions::new().append(true).open(gateway.data.join("names"));
        writeln!(names.expect("a file"), "{codespace}").expect("written");
        Self { token, codespace }
    }

    /// What was stolen; read anew each time, since it is renewed and replaced.
    fn credential(&self, gateway: &Gateway) -> Option<String> {
        let orders = gateway.data.join("codespaces").join(&self.codespace).join("state/bootstrap.json");
        let orders: Value = serde_json::from_slice(&fs::read(orders).ok()?).ok()?;
        orders["credential"].as_str().map(str::to_owned)
    }

    fn view(&self, gateway: &Gateway) -> Value {
        view(gateway, &self.token, &self.codespace)
    }
}

fn api(gateway: &Gateway, token: &str, path: &str) -> Value {
    let call = Call::get(gateway.host(), &format!("/api/v1/{path}"));
    let reply = call.field("Authorization", format!("Bearer {token}")).send();
    assert_eq!(reply.status(), 200, "{path}: {}", reply.text);
    reply.json()
}

fn view(gateway: &Gateway, token: &str, codespace: &str) -> Value {
    api(gateway, token, &format!("codespaces/{codespace}"))
}

/// All that an agent's word could change of somebody else's.
fn others(gateway: &Gateway) -> Value {
    let mut seen = Vec::new();
    for person in [&gateway.ada, &gateway.bob] {
        let listed = api(gateway, &person.token, "codespaces");
        let mut names: Vec<_> = listed.as_array().into_iter().flatten().map(|one| one["name"].clone()).collect();
        // Of ada's, other tests make some and take them away meanwhile.
        names.retain(|name| person.codespace == gateway.bob.codespace || *name == *person.codespace);
        let space = view(gateway, &person.token, &person.codespace);
        let parts = [
            "state",
            "connected",
            "editor",
            "steps",
            "display_name",
            "repository",
            "idle_timeout_minutes",
            "recovery",
            "notices",
        ];
        let parts: Vec<_> = parts.iter().map(|part| space[part].clone()).collect();
        let settings = |port: &Value| json!([port["port"], port["visibility"], port["label"], port["users"], port["expires_at"]]);
        let mut ports: Vec<_> = space["ports"].as_array().into_iter().flatten().map(settings).collect();
        // Other tests share and name them meanwhile; what nobody else does is make one or take one away.
        ports.retain(|port| port[0].as_u64() == Some(BOBS.into()));
        seen.push(json!([names, parts, ports]));
    }
    json!(seen)
}

/// A text frame, masked as a client's must be.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short enough");
    let mut bytes = vec![0x81, 0x80 | 126];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn pick<'t>(&mut self, texts: &'t [String]) -> &'t str {
        &texts[self.roll(texts.len())]
    }
}

/// Something that an agent may say, with everything in it that could name somebody else's.
fn message(dice: &mut Dice, theirs: &[String]) -> Value {
    let mut said = match dice.roll(8) {
        6 => json!({ "type": "awaits" }),
        7 => {
            json!({ "type": "configured", "configured": { "changed": true, "recovery": dice.pick(theirs), "notices": [{ "key": dice.pick(theirs), "reason": dice.pick(theirs) }] } })
        }
        0 => json!({ "type": "prepared" }),
        1 => json!({ "type": "step", "name": dice.pick(theirs), "state": dice.pick(theirs), "detail": dice.pick(theirs) }),
        2 => json!({ "type": "editor", "state": "ready" }),
        3 => json!({ "type": "activity", "kinds": ["exec", "file_change"] }),
        4 => json!({ "type": "renewed" }),
        _ => json!({ "type": "ports", "ports": [{
            "port": 1 + dice.roll(65_535), "addresses": [dice.pick(theirs), "169.254.169.254"], "pid": 1,
            "process": dice.pick(theirs), "command": dice.pick(theirs), "scheme": dice.pick(theirs), "path": dice.pick(theirs),
            "visibility": "public", "label": dice.pick(theirs),
        }] }),
    };
    // Those of `claim` would end the link.
    let names = ["name", "id", "ids", "credential", "link", "direct_key", "visibility", "target"];
    for _ in 0..dice.roll(4) {
        let name = names[dice.roll(names.len())];
        let value = match dice.roll(4) {
            0 => json!([dice.pick(theirs)]),
            1 => json!(dice.roll(10)),
            2 => json!({ "name": dice.pick(theirs) }),
            _ => json!(dice.pick(theirs)),
        };
        said.as_object_mut().expect("an object").entry(name).or_insert(value);
    }
    said
}

/// Something that an agent may say, said for another than itself (AGT-1).
fn claim(dice: &mut Dice, theirs: &[String]) -> String {
    let names = ["codespace", "generation", "owner", "user", "host"];
    let mut said = message(dice, theirs);
    said[names[dice.roll(names.len())]] = json!(dice.pick(theirs));
    said.to_string()
}

/// What is no message, and ends the link that it comes on.
fn broken(dice: &mut Dice, theirs: &[String]) -> String {
    match dice.roll(12) {
        0 => json!({ "type": "open", "ids": [dice.pick(theirs)] }).to_string(),
        1 => json!({ "type": "hello", "version": 1, "direct_key": null, "codespace": dice.pick(theirs) }).to_string(),
        2 => json!({ "type": "welcome" }).to_string(),
        3 => json!({ "type": "credential", "credential": dice.pick(theirs) }).to_string(),
        4 => format!("{{\"type\":\"step\",\"name\":\"{}", dice.pick(theirs)),
        5..10 => claim(dice, theirs),
        _ => json!([dice.pick(theirs)]).to_string(),
    }
}

/// Connects as the codespace's agent, claiming to be others wherever a claim could be made.
fn connect(gateway: &Gateway, mallory: &Mallory, victim: &str) -> Option<Connection> {
    let credential = mallory.credential(gateway)?;
    let call = Call::get(gateway.host(), &format!("/api/v1/agent/connect?codespace={victim}&id={victim}"))
        .socket()
        .field("Authorization", format!("Bearer {credential}"))
        .fields(&[
            ("X-Portico-Codespace", victim),
            ("X-Codespace", victim),
            ("X-Portico-Generation", "99"),
        ]);
    let mut connection = Connection::open();
    if connection.exchange(&call).status() != 101 {
        return None;
    }
    let hello = json!({ "type": "hello", "version": 1, "direct_key": null, "renews": false, "id": victim });
    connection.write(&frame(&hello.to_string()));
    Some(connection)
}

#[test]
fn agt_2_and_5_a_flood_of_an_agents_messages_does_nothing_to_others() {
    let gateway = gateway();
    let seconds = std::env::var("PORTICO_FUZZ_SECONDS").map_or(2.0, |text| text.parse().expect("a number"));
    let least = std::env::var("PORTICO_FUZZ_MESSAGES").map_or(1, |text| text.parse().expect("a number"));
    let seed: u64 = std::env::var("PORTICO_FUZZ_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a number"));
    eprintln!("PORTICO_FUZZ_SEED={seed}");
    let mallory = Mallory::new(gateway);
    let bob = &gateway.bob.codespace;
    let user = api(gateway, &gateway.bob.token, "user");
    let text = |text: &str| text.to_owned();
    let theirs = [
        bob.clone(),
        gateway.ada.codespace.clone(),
        gateway.port(&gateway.bob, BOBS),
        text(user["id"].as_str().expect("an id")),
        format!("{bob}:{BOBS}"),
        format!("../{bob}"),
        text("bob"),
        text("127.0.0.1"),
        text("clone"),
        text("failed"),
        text("\u{202e}\0\u{1b}[2J"),
        text(""),
    ];
    let before = others(gateway);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut dice, mut sent, mut links, mut held) = (Dice(seed), 0, 0, Vec::new());
    while Instant::now() < until || sent < least {
        let victim = dice.pick(&theirs[..2]).to_owned();
        let mut link = eventually("the stolen credential connects", || connect(gateway, &mallory, &victim));
        // The one before goes only now: an agent that is away for long is started anew.
        held.clear();
        let mut bytes = frame(r#"{"type":"prepared"}"#);
        for _ in 0..PER_LINK {
            bytes.extend(frame(&message(&mut dice, &theirs).to_string()));
        }
        let mark = format!("link {links}");
        bytes.extend(frame(
            &json!({ "type": "step", "name": "history", "state": "running", "detail": mark }).to_string(),
        ));
        link.write(&bytes);
        // Each of them was read, and its own codespace is where it told.
        eventually("its own codespace hears it", || {
            let view = mallory.view(gateway);
            let steps = view["steps"].as_array().cloned().unwrap_or_default();
            steps.iter().any(|step| step["detail"] == mark.as_str()).then_some(())
        });
        let credential = mallory.credential(gateway).expect("orders");
        for id in [&victim, dice.pick(&theirs)] {
            let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
            let stream = Call::get(gateway.host(), &format!("/api/v1/agent/stream?id={id}"));
            let stream = stream.fields(&[
                ("Upgrade", "portico-stream"),
                ("Connection", "upgrade"),
                ("X-Portico-Codespace", &victim),
            ]);
            let status = stream.field("Authorization", format!("Bearer {credential}")).send().status();
            assert!(matches!(status, 404 | 401 | 410), "a stream that nobody asked for: {status}");
        }
        if dice.roll(8) == 0 {
            link.write(&frame(&broken(&mut dice, &theirs)));
            sent += 1;
        }
        held.push(link);
        (sent, links) = (sent + PER_LINK + 2, links + 1);
        if links % LINKS_PER_LOOK == 1 {
            assert_eq!(others(gateway), before, "after {sent} messages");
        }
    }
    drop(held);
    assert_eq!(others(gateway), before, "after {sent} messages");
    let answer = Call::get(gateway.port(&gateway.bob, BOBS), "/").token(&gateway.bob.token).send();
    assert!(answer.stamps("BOB") > 0, "bob's app still answers: {}", answer.text);
    // The log that only grows has nothing of it under another's name.
    let events = api(gateway, &gateway.ada.token, &format!("audit?codespace={bob}&limit=1000"));
    let foreign = events.as_array().expect("events").iter().filter(|event| {
        let actor = event["actor"].as_str().unwrap_or_default();
        actor.contains("mallory") || actor.contains(&mallory.codespace)
    });
    assert_eq!(foreign.count(), 0);
    eprintln!("agents: {sent} messages over {links} links, 0 effects on others");
}
