//! Which host is asked, and that nothing else decides it.

use std::{collections::VecDeque, process::Command, time::Duration};

use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{
    browser::{NAVIGATION, path_of},
    driver::{Dice, seed},
    gateway::{BOBS, Gateway, PORT, PORTICO, SECURE, SIBLING, gateway, secure},
    secrecy::{NOBODYS, faceless},
    secure::{Client, nothing},
    wire::{Call, Connection, Reply},
};

#[test]
fn dom_1_one_site_for_both_is_refused_unless_allowed() {
    let data = tempfile::tempdir().expect("a directory");
    let check = |allowed: &str| {
        let output = Command::new(PORTICO)
            .args([
                "check",
                "--url",
                "http://portico.localhost:8080",
                "--domain",
                "apps.portico.localhost",
                "--data",
            ])
            .arg(data.path())
            .env("PORTICO_ALLOW_SAME_SITE", allowed)
            .output();
        let output = output.expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (fine, said) = check("false");
    assert!(!fine && said.contains("allow_same_site"), "{said}");
    let (fine, said) = check("true");
    assert!(fine && said.contains("allow_same_site"), "allowed, with a warning: {said}");
}

#[test]
fn host_2_and_6_one_spelling_is_a_codespace_and_no_other() {
    let gateway = gateway();
    let ada = &gateway.ada.codespace;
    let label = |label: &str| {
        Call::get(format!("{label}.{}", gateway.domain()), "/")
            .token(&gateway.ada.token)
            .send()
    };
    assert_eq!(
        label(&format!("{}-{PORT}", ada.to_uppercase())).stamps("ADA"),
        1,
        "case and port number do not matter"
    );
    let other_port = Call::get(gateway.app().replace(&gateway.address.port().to_string(), "1"), "/");
    assert_eq!(other_port.token(&gateway.ada.token).send().stamps("ADA"), 1);
    let missing = label(&format!("{NOBODYS}-{PORT}"));
    assert_eq!(missing.status(), 404, "{}", missing.text);
    for wrong in [
        format!("{ada}-0{PORT}"),
        format!("{ada}-{PORT}."),
        format!("{ada}.-{PORT}"),
        format!("{ada}--{PORT}"),
        format!("{ada}_{PORT}"),
        format!("{ada}-0"),
        format!("{ada}-65536"),
        format!("{ada}-93997"),
        format!("{ada}-{PORT}-{PORT}"),
        format!("{ada}-{PORT}--ada"),
        format!("ada-{ada}-{PORT}"),
        format!("x.{ada}-{PORT}"),
        format!("-{ada}"),
        format!("xn--{ada}-{PORT}"),
        format!("{ada}-0x6f2d"),
        "a".repeat(64),
        PORT.to_string(),
    ] {
        let reply = label(&wrong);
        assert_eq!(
            (reply.status(), reply.stamps("ADA"), reply.fields("location").len()),
            (404, 0, 0),
            "{wrong}: {}",
            reply.text
        );
    }
    for broken in ["%61", "a@b", "\u{e9}", "a b", "a/b", "[::1", "a:b", "a-+3000"] {
        assert_eq!(label(broken).status(), 400, "{broken}");
    }
    let dotted = Call::get(format!("{ada}-{PORT}.codespaces.localhost."), "/")
        .token(&gateway.ada.token)
        .send();
    assert_eq!(dotted.status(), 404, "{}", dotted.text);
    for foreign in [
        "localhost",
        "127.0.0.1",
        "xcodespaces.localhost",
        "portico.localhost.evil.example",
        "[::1]",
    ] {
        let reply = Call::get(foreign.into(), "/").token(&gateway.ada.token).send();
        assert_eq!((reply.status(), reply.stamps("ADA")), (421, 0), "{foreign}: {}", reply.text);
    }
}

#[test]
fn host_8_the_last_number_is_the_port_and_nothing_else_is() {
    let (gateway, person) = (gateway(), &gateway().ada);
    let asked = |label: String| Call::get(format!("{label}.{}", gateway.domain()), "/").token(&person.token).send();
    let name = &person.codespace;
    for (port, stamp, other) in [(PORT, "ADA", "SIBLING"), (SIBLING, "SIBLING", "ADA")] {
        let reply = asked(format!("{name}-{port}"));
        assert_eq!((reply.stamps(stamp), reply.stamps(other)), (1, 0), "{}", reply.text);
    }
    // A name that would end like a port is nobody's.
    for label in [
        format!("{name}-{PORT}-{SIBLING}"),
        format!("{name}-{SIBLING}-{PORT}"),
        format!("{name}-1-{PORT}"),
    ] {
        let reply = asked(label);
        assert_eq!(
            (reply.status(), reply.stamps("ADA"), reply.stamps("SIBLING")),
            (404, 0, 0),
            "{}",
            reply.text
        );
    }
}

#[test]
fn host_3_no_other_header_names_the_host() {
    let gateway = gateway();
    let evil = gateway.port(&gateway.bob, BOBS);
    type Asked<'a> = (String, &'a str, &'a [(&'a str, &'a str)]);
    let routes: [Asked<'_>; 6] = [
        (gateway.host(), "/", &NAVIGATION),
        (gateway.host(), "/api/v1/user", &[]),
        (gateway.host(), "/authorize?state=x", &NAVIGATION),
        (gateway.editor(&gateway.ada), "/a", &NAVIGATION),
        (gateway.app(), "/a", &NAVIGATION),
        (gateway.app(), "/a", &[("X-Portico-Token", &gateway.ada.token)]),
    ];
    for (host, path, fields) in routes {
        let plain = faceless(&Call::get(host.clone(), path).fields(fields).send(), &[]);
        for name in [
            "X-Forwarded-Host",
            "X-Host",
            "X-Original-Host",
            "X-Forwarded-Server",
            "X-HTTP-Host-Override",
            "X-Original-URL",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "Forwarded",
        ] {
            let value = if name == "Forwarded" {
                format!("host={evil};proto=https")
            } else {
                evil.clone()
            };
            let reply = Call::get(host.clone(), path).fields(fields).field(name, value).send();
            // What is not ours an app may see, and believe at its own risk.
            let text = faceless(&reply, &[]).replace(&format!("{}: {evil}\r\n", name.to_ascii_lowercase()), "");
            assert_eq!(text, plain, "{name} at {host}{path}");
        }
    }
}

#[test]
fn host_5_each_request_of_a_connection_goes_its_own_way() {
    let gateway = gateway();
    let mut connection = Connection::open();
    for round in 0..1000 {
        let (person, port, own, other) = match round % 2 {
            0 => (&gateway.ada, PORT, "ADA", "BOB"),
            _ => (&gateway.bob, BOBS, "BOB", "ADA"),
        };
        let path = format!("/{round}");
        let reply = connection.exchange(&Call::get(gateway.port(person, port), &path).token(&person.token));
        assert_eq!((reply.stamps(own), reply.stamps(other)), (1, 0), "{}", reply.text);
        assert!(reply.text.contains(&format!("GET {path} HTTP/1.1")), "{}", reply.text);
        // What was allowed a moment ago on this connection is not allowed to somebody else on it.
        if round % 100 == 0 {
            let stolen = connection.exchange(&Call::get(gateway.port(&gateway.bob, BOBS), "/").token(&gateway.ada.token));
            assert_eq!((stolen.status(), stolen.stamps("BOB")), (404, 0), "{}", stolen.text);
            assert_eq!(connection.exchange(&Call::get(gateway.app(), "/")).status(), 401);
        }
    }
}

#[test]
fn redir_2_a_redirect_leads_to_a_host_that_was_parsed() {
    let gateway = gateway();
    let [home, editor, app] = [gateway.host(), gateway.editor(&gateway.ada), gateway.app()];
    let own = gateway.address.port().to_string();
    let start = |host: String, path: &str| Call::get(host, path).fields(&NAVIGATION).send();
    // However a host is spelled, and whatever port it says: the next one is made from what was read.
    for (host, next) in [
        (&app, format!("http://{editor}/.portico/authorize?state=")),
        (&editor, format!("http://{home}/authorize?state=")),
    ] {
        let name = host.split(':').next().expect("a name");
        for spelled in [
            host.clone(),
            host.to_uppercase(),
            name.to_owned(),
            format!("{name}:1"),
            format!("{name}:65535"),
        ] {
            for path in [
                "/",
                "/?next=//evil.example/",
                "//evil.example/",
                "/%2f%2fevil.example",
                "/a@evil.example",
            ] {
                let reply = start(spelled.clone(), path);
                let location = reply.fields("location");
                assert!(
                    location.len() == 1 && location[0].starts_with(&next),
                    "{spelled}{path}: {}",
                    reply.text
                );
                let rest = &location[0][next.len()..];
                assert!(
                    rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
                    "{spelled}{path}: {rest}"
                );
            }
        }
    }
    for evil in [
        "evil.example".to_owned(),
        format!("{}.evil.example", gateway.domain().replace(&format!(":{own}"), "")),
        format!("x.{home}"),
        format!("evil.example.{home}"),
        "127.0.0.1".into(),
        "[::1]".into(),
    ] {
        let reply = start(evil.clone(), "/authorize?state=x");
        assert_eq!((reply.status(), reply.fields("location").len()), (421, 0), "{evil}: {}", reply.text);
    }

    // A state leads where it was sealed for, and nowhere once a letter of it is another.
    let session = gateway.session("ada");
    let begun = start(editor.clone(), "/a");
    let path = path_of(&begun).to_owned();
    let carried = Call::get(home.clone(), &path).fields(&NAVIGATION).cookie(&session).send();
    assert!(
        carried.body().contains(&format!("action=\"http://{editor}/.portico/arrive\"")),
        "{}",
        carried.text
    );
    for at in (path.find('=').expect("a state") + 1..path.len()).step_by(9) {
        let letter = if &path[at..=at] == "A" { "B" } else { "A" };
        let changed = [&path[..at], letter, &path[at + 1..]].concat();
        let reply = Call::get(home.clone(), &changed).fields(&NAVIGATION).cookie(&session).send();
        assert!(
            reply.fields("location").is_empty() && !reply.body().contains("/.portico/arrive"),
            "{changed}: {}",
            reply.text
        );
    }
    let cookie = gateway.editor_cookie(&session, &gateway.ada);
    let bobs = start(gateway.port(&gateway.bob, BOBS), "/");
    let crossed = Call::get(editor, path_of(&bobs)).fields(&NAVIGATION).cookie(&cookie).send();
    assert_eq!((crossed.status(), crossed.fields("location").len()), (400, 0), "{}", crossed.text);
}

/// A request that some host answers in its own way.
#[derive(Clone, Debug)]
struct Ask {
    host: String,
    path: &'static str,
    fields: Vec<(&'static str, String)>,
}

impl Ask {
    /// What is answered, but for what is random and the mark that the request bore.
    async fn answer(self, mut client: Client, mark: String) -> String {
        let request = client.request(&self.host, &format!("{}?{mark}", self.path));
        let request = self
            .fields
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, value));
        let answer = async {
            let response = client.send(request.body(nothing()).expect("a request")).await.expect("an answer");
            let (head, body) = response.into_parts();
            (head, body.collect().await.expect("a body").to_bytes())
        };
        let (head, body) = timeout(Duration::from_secs(60), answer).await.expect("an answer in time");
        let mut text = format!("HTTP/1.1 {}\r\n", head.status);
        for (name, value) in &head.headers {
            text += &format!("{name}: {}\r\n", value.to_str().expect("text"));
        }
        let text = format!("{text}\r\n{}", String::from_utf8_lossy(&body)).replace(&mark, "MARK");
        faceless(&Reply { text, closed: false }, &[])
    }
}

/// Every kind of host, each asked by everybody.
fn asks(gateway: &Gateway) -> Vec<Ask> {
    let (ada, bob, port) = (&gateway.ada, &gateway.bob, SECURE + PORT);
    let editor = gateway.editor_cookie(&gateway.session("ada"), ada);
    let cookie = gateway.port_cookie(&editor, ada, port);
    let who = |cookies: &str| vec![("cookie", cookies.to_owned()), ("sec-fetch-site", "none".to_owned())];
    let people = [
        vec![],
        NAVIGATION.map(|(name, value)| (name, value.to_owned())).to_vec(),
        vec![
            ("x-portico-token", ada.token.clone()),
            ("authorization", format!("Bearer {}", ada.token)),
        ],
        vec![
            ("x-portico-token", bob.token.clone()),
            ("authorization", format!("Bearer {}", bob.token)),
        ],
        who(&editor),
        who(&cookie),
    ];
    let hosts = [
        gateway.host(),
        gateway.editor(ada),
        gateway.editor(bob),
        gateway.port(ada, port),
        gateway.port(ada, SECURE + SIBLING),
        gateway.port(bob, SECURE + BOBS),
        format!("{NOBODYS}-{PORT}.{}", gateway.domain()),
        "evil.example".to_owned(),
        format!("localhost:{}", gateway.address.port()),
    ];
    let mut asks = Vec::new();
    for host in hosts {
        for path in ["/", "/api/v1/user"] {
            asks.extend(people.clone().map(|fields| Ask {
                host: host.clone(),
                path,
                fields,
            }));
        }
    }
    asks
}

#[test]
fn host_5_each_stream_of_a_connection_goes_its_own_way() {
    const STREAMS: usize = 1000;
    let (gateway, seed) = (secure(), seed());
    let asks = asks(gateway);
    let converse = async {
        for name in [gateway.port(&gateway.ada, SECURE + PORT), gateway.host()] {
            let mut alone = Vec::new();
            for ask in &asks {
                let client = Client::connect(gateway, &name, "h2").await;
                alone.push(ask.clone().answer(client, "alone".into()).await);
            }
            for status in ["200", "303", "401", "404", "421"] {
                let start = format!("HTTP/1.1 {status}");
                assert!(
                    alone.iter().any(|text| text.starts_with(&start)) || name == gateway.host(),
                    "{status} is among them"
                );
            }
            let (client, mut dice, mut open) = (Client::connect(gateway, &name, "h2").await, Dice(seed), VecDeque::new());
            for stream in 0..STREAMS {
                let at = dice.roll(asks.len());
                let ask = asks[at].clone().answer(client.share().expect("HTTP/2"), format!("x{stream}x"));
                open.push_back((at, tokio::spawn(ask)));
                while open.len() > dice.roll(40) || stream + 1 == STREAMS {
                    let Some((at, answer)) = open.pop_front() else { break };
                    let answer = answer.await.expect("an answer");
                    assert_eq!(answer, alone[at], "of PORTICO_FUZZ_SEED={seed}, by {name}: {:?}", asks[at]);
                }
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(converse);
}
