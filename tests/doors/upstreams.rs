//! What an agent answers, or does not: it is passed on or refused, never obeyed, and costs nobody else anything (AGT-3,
//! AGT-8, AGT-10, LIM-3).

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    gateway::{BOBS, Gateway, PASSWORD, eventually, gateway, run},
    lone::Lone,
    tunnel::{Canary, Stolen, answers, hello, page, port, take_head},
    wire::{Call, Reply},
};

/// Ports of codespaces whose agents are not theirs: nothing of this machine listens there.
const ODD: u16 = 28_485;
const SILENT: u16 = 28_486;
const WIDE: u16 = 28_487;

fn bob_answers(gateway: &Gateway) -> Duration {
    let began = Instant::now();
    let reply = Call::get(gateway.port(&gateway.bob, BOBS), "/").token(&gateway.bob.token).send();
    assert_eq!(reply.stamps("BOB"), 1, "{}", reply.text);
    began.elapsed()
}

/// What an agent answers, and whether a client gets it: the status that arrives.
fn odd_answers(canary: &Canary, gateway: &Gateway) -> Vec<(String, u16)> {
    let (canary, own) = (canary.address, gateway.host());
    let body = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let orders = r#"{"type":"open","ids":["A"],"host":"169.254.169.254"}"#;
    let mut odd = vec![
        (body(&format!("302 F\r\nLocation: http://{canary}/"), ""), 302),
        (body(&format!("301 F\r\nLocation: http://{canary}/"), ""), 301),
        (body(&format!("307 F\r\nLocation: http://{canary}/"), ""), 307),
        (body(&format!("308 F\r\nLocation: //{canary}/"), ""), 308),
        (body(&format!("303 F\r\nLocation: http://{own}/api/v1/sign-out"), ""), 303),
        (body("305 F\r\nLocation: /", ""), 305),
        (body(&format!("300 F\r\nLocation: http://{canary}/"), ""), 300),
        (
            body(
                &format!("201 F\r\nLocation: http://{canary}/\r\nContent-Location: http://{canary}/"),
                "x",
            ),
            201,
        ),
        (body(&format!("200 S\r\nRefresh: 0;url=http://{canary}/"), "x"), 200),
        (body(&format!("200 S\r\nLink: <http://{canary}/>; rel=preload"), "x"), 200),
        (
            body(
                &format!("200 S\r\nX-Accel-Redirect: /internal\r\nX-Sendfile: /etc/passwd\r\nX-Original-URL: http://{canary}/"),
                "x",
            ),
            200,
        ),
        (
            body(
                "200 S\r\nX-Portico-Codespace: other\r\nX-Portico-User: ada\r\nX-Portico-Token: x",
                orders,
            ),
            200,
        ),
        (body("200 S\r\nContent-Type: application/json", orders), 200),
        (body("401 U\r\nWWW-Authenticate: Basic realm=x", ""), 401),
        (body("425 E\r\nRetry-After: 0", ""), 425),
        (body("421 M", ""), 421),
        (body("408 T", ""), 408),
        (body("503 U\r\nRetry-After: 0", ""), 503),
        (body("599 S", ""), 599),
        (body("999 S", ""), 999),
        (
            format!(
                "HTTP/1.1 103 E\r\nLink: <http://{canary}/>; rel=preload\r\n\r\n{}",
                body("200 S", "x")
            ),
            200,
        ),
        (body("101 S\r\nUpgrade: websocket\r\nConnection: upgrade", orders), 502),
        (body("101 S\r\nUpgrade: portico-stream\r\nConnection: upgrade", ""), 502),
        (format!("{}{}", "HTTP/1.1 103 E\r\n\r\n".repeat(40), body("200 S", "x")), 502),
        (body("000 S", ""), 502),
        (body("99 S", ""), 502),
        (body("1000 S", ""), 502),
        ("HTTP/1.1 200 S\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxxx".into(), 502),
        ("HTTP/1.1 200 S\r\nContent-Length: -1\r\n\r\n".into(), 502),
        ("HTTP/1.1 200 S\r\nTransfer-Encoding: gzip, nonsense\r\n\r\nxxx".into(), 502),
        ("HTTP/1.1 200 S\r\n X: folded\r\nno colon\r\n\r\n".into(), 502),
        ("HTTP/2.0 200 S\r\n\r\n".into(), 502),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 502),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 502),
        (format!("{orders}\n\r\n\r\n"), 502),
        ("\u{81}\u{1}{\r\n\r\n".into(), 502),
        (String::new(), 502),
    ];
    odd.push((
        format!("HTTP/1.1 200 S\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(600_000)),
        502,
    ));
    odd
}

#[test]
fn agt_3_nothing_that_an_agent_answers_is_followed_or_obeyed() {
    let (gateway, canary) = (gateway(), Canary::new());
    let eve = gateway.newcomer("agt-three");
    let stolen = Stolen::of(gateway, &eve);
    let odd = Arc::new(odd_answers(&canary, gateway));
    let requests = Arc::new(AtomicUsize::new(0));
    let (answering, counting) = (Arc::clone(&odd), Arc::clone(&requests));
    let serving = stolen.connect().serve(move |mut stream, open| {
        if open != port(ODD) {
            return agents_own_answer(stream);
        }
        if stream.write_all(&[0]).is_err() {
            return;
        }
        // One request on each, and the end after it.
        let Some(head) = take_head(&mut stream) else { return };
        let number: Option<usize> = head.split(['/', ' ']).find_map(|word| word.parse().ok());
        // What the gateway asks by itself, to say what was wrong, is no visitor's request.
        let Some((answer, _)) = number.map(|number| &answering[number]) else {
            return;
        };
        counting.fetch_add(1, SeqCst);
        drop(stream.write_all(answer.as_bytes()));
        drop(stream.shutdown(Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let host = gateway.port(&eve, ODD);
    for (number, (answer, expected)) in odd.iter().enumerate() {
        let before = requests.load(SeqCst);
        let reply = Call::post(host.clone(), &format!("/{number}")).token(&eve.token).send();
        let short: String = answer.chars().take(80).collect();
        assert_eq!(reply.status(), *expected, "{short}: {}", reply.text);
        assert_eq!(requests.load(SeqCst) - before, 1, "it is asked once: {short}");
        assert!(!reply.text.contains("CANARY"), "{short}: {}", reply.text);
        if let Some((_, body)) = answer
            .split_once("\r\n\r\n")
            .filter(|_| *expected == 200 && !answer.contains(" 103 "))
        {
            assert_eq!(reply.body(), body, "{short}");
        }
        for name in ["x-portico-token", "x-portico-user", "x-portico-codespace", "upgrade"] {
            assert!(reply.fields(name).is_empty(), "{short}: {}", reply.text);
        }
    }
    // The same of what the gateway itself asks an agent.
    let api = |rest: &str| {
        let call = Call::get(gateway.host(), &format!("/api/v1/codespaces/{}{rest}", eve.codespace));
        call.field("Authorization", format!("Bearer {}", eve.token)).send()
    };
    for _ in 0..5 {
        let reply = api("/terminals");
        assert_eq!(reply.status(), 502, "{}", reply.text);
        assert!(
            reply.fields("location").is_empty() && reply.fields("set-cookie").is_empty(),
            "{}",
            reply.text
        );
    }
    assert_eq!(canary.met(), 0);
    for open in serving.asked() {
        assert!(open == port(ODD) || open == [1, 3, 0, 0], "{open:?}");
    }
    for said in serving.said() {
        assert!(
            said["type"] == "open" && said.as_object().is_some_and(|said| said.len() == 2),
            "{said}"
        );
    }
    let seen = api("").json();
    assert_eq!((&seen["state"], &seen["connected"]), (&json!("running"), &json!(true)), "{seen}");
    bob_answers(gateway);
    serving.hang_up();
}

/// The agent's own API, answered with what a browser would follow or keep.
fn agents_own_answer(stream: TcpStream) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    answers(stream, |_| {
        let heads = [
            "302 F\r\nLocation: /api/v1/users",
            "200 S\r\nSet-Cookie: __Host-portico_session=x; Path=/; Secure\r\nContent-Type: text/html",
            "401 U\r\nClear-Site-Data: \"cookies\"",
            "101 S\r\nUpgrade: websocket\r\nConnection: upgrade",
            "200 S\r\nAccess-Control-Allow-Origin: *\r\nLocation: http://127.0.0.2/",
        ];
        let head = heads[NEXT.fetch_add(1, SeqCst) % heads.len()];
        format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes()
    });
}

/// A client's frame with a mask of zeros, whatever length it says.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let said = match u8::try_from(length) {
        Ok(short @ ..126) => vec![0x80 | short],
        _ => [&[0x80 | 127][..], &length.to_be_bytes()].concat(),
    };
    [&[first][..], &said, &[0; 4], payload].concat()
}

#[test]
fn agt_8_an_agents_noise_ends_its_own_tunnel_and_nothing_else() {
    let gateway = gateway();
    let eve = gateway.newcomer("agt-eight");
    let stolen = Stolen::of(gateway, &eve);
    let text = |text: &str| frame(0x81, text.len() as u64, text.as_bytes());
    let long = "x".repeat(70_000);
    let part = vec![b'x'; 60_000];
    let over = Arc::new(AtomicBool::new(false));
    let beside = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut served = 0;
            while !over.load(SeqCst) {
                bob_answers(gateway);
                served += 1;
            }
            served
        }
    });
    for (what, bytes, expected) in [
        ("half of a message", text("{"), Some(1002)),
        ("no message", text(r#"{"type":"nonsense"}"#), Some(1002)),
        ("a second hello", text(&hello().to_string()), Some(1002)),
        ("what the gateway says", text(r#"{"type":"open","ids":["x"]}"#), Some(1002)),
        (
            "a port that is none",
            text(r#"{"type":"ports","ports":[{"port":99999,"addresses":[]}]}"#),
            Some(1002),
        ),
        ("deep brackets", text(&"[".repeat(60_000)), Some(1002)),
        ("bytes", frame(0x82, 3, b"abc"), Some(1002)),
        ("too long a message", text(&long), Some(1009)),
        ("too long a frame, to come", frame(0x81, 1 << 62, b""), Some(1009)),
        (
            "a message in pieces without end",
            [frame(0x01, 60_000, &part), frame(0x00, 60_000, &part)].concat(),
            Some(1009),
        ),
        ("no text", frame(0x81, 2, b"\xff\xfe"), None),
        ("a frame of no kind", frame(0x8f, 0, b""), None),
        ("reserved bits", frame(0xf1, 0, b""), None),
        ("a frame without its mask", b"\x81\x02{}".to_vec(), None),
        ("a long control frame", frame(0x89, 60_000, &part), None),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100), None),
    ] {
        let mut link = stolen.connect();
        link.ids();
        drop(link.line.write_all(&bytes));
        let code = link.ends();
        assert!(expected.is_none() || code == expected, "{what}: {code:?}");
    }
    // One that never stops talking is read no faster than it may talk, and nothing of it is kept.
    for message in [text(r#"{"type":"prepared"}"#), frame(0x89, 4, b"ping"), frame(0x8a, 4, b"pong")] {
        let link = stolen.connect();
        let mut line = &link.line;
        line.set_write_timeout(Some(Duration::from_secs(2))).expect("set");
        let (many, mut sent) = (message.repeat(4096), 0);
        let stopped = loop {
            match line.write(&many) {
                Ok(count) => sent += count,
                Err(error) => break error.kind(),
            }
            assert!(sent < 256 * 1024 * 1024, "it is read as fast as it talks");
        };
        assert!(matches!(stopped, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped}");
    }
    // Streams that nobody asked for, and answers on streams that are none.
    let link = stolen.connect();
    let own = link.credential.clone();
    for number in 0..300 {
        assert_eq!(stolen.stream(&own, &format!("x{number}")).err(), Some(404));
    }
    let serving = link.serve(|mut stream, open| drop(stream.write_all(&[open[1], 255, 7, 9])));
    for _ in 0..10 {
        let reply = Call::get(gateway.port(&eve, ODD), "/").token(&eve.token).send();
        assert!(matches!(reply.status(), 502 | 503), "{}", reply.text);
    }
    serving.hang_up();
    over.store(true, SeqCst);
    let served = beside.join().expect("bob was served all the while");
    assert!(served > 10, "{served}");
    let log = fs::read_to_string(gateway.data.join("log")).expect("a log");
    assert!(!log.contains("panicked"));
}

#[test]
fn agt_10_an_agent_that_takes_nothing_stalls_nobody_else() {
    const VISITS: usize = 60;
    let gateway = gateway();
    let eve = gateway.newcomer("agt-ten");
    let stolen = Stolen::of(gateway, &eve);
    // One that reads nothing more, neither what it is told nor what it is asked for; and one that opens streams and leaves
    // it at that.
    for opens in [false, true] {
        let mut link = stolen.connect();
        let ids = link.ids();
        let own = link.credential.clone();
        let held: Vec<_> = ids
            .iter()
            .filter(|_| opens)
            .map(|id| stolen.stream(&own, id).expect("its own"))
            .collect();
        let host = gateway.port(&eve, SILENT);
        let visits: Vec<_> = (0..VISITS)
            .map(|_| {
                let call = Call::get(host.clone(), "/").token(&eve.token);
                thread::spawn(move || call.send().status())
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            slowest = slowest.max(bob_answers(gateway));
        }
        let statuses: Vec<u16> = visits.into_iter().map(|visit| visit.join().expect("no panic")).collect();
        assert!(statuses.iter().all(|status| matches!(status, 502..=504)), "{statuses:?}");
        // The limit is what the gateway gives a stream to open: whoever waits behind another would have waited that long.
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        drop((held, link));
    }
}

fn memory(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Takes a request's head, then counts what of its body comes, and answers when so much came.
fn swallow(mut stream: TcpStream, counted: &AtomicUsize, most: usize) {
    drop(stream.write_all(&[0]));
    if take_head(&mut stream).is_none() {
        return;
    }
    let (mut got, mut buffer) = (0, vec![0; 64 * 1024]);
    while got < most {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => got += count,
            _ => return,
        }
        counted.store(got, SeqCst);
    }
    drop(stream.write_all(&page("all of it")));
}

#[test]
fn lim_3_and_agt_10_bodies_are_bounded_at_the_gateway_and_pass_to_apps_without_being_held() {
    const MIB: usize = 1024 * 1024;
    const BODY: usize = 96 * MIB;
    let gateway = Lone::start("http://portico.localhost", &[]);
    run(
        gateway.data.path(),
        &["user", "create", "ada", "--admin", "--password-stdin"],
        PASSWORD,
    );
    let ada = gateway.person("ada");
    let to_gateway = |call: Call| -> Reply { call.at(gateway.address).send() };
    let long = json!({ "name": "x".repeat(MIB + 1) });
    let api = |call: Call| call.field("Authorization", format!("Bearer {}", ada.person.token));
    for path in ["codespaces", "tokens", "sign-in"] {
        let call = Call::post(gateway.host(), &format!("/api/v1/{path}"));
        assert_eq!(to_gateway(api(call.json(&long))).status(), 413, "{path}");
        let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", MIB + 1, "x".repeat(MIB + 1));
        let head = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
            gateway.host(),
            ada.person.token
        );
        let mut stream = TcpStream::connect(gateway.address).expect("it listens");
        drop(stream.write_all(&[head.as_bytes(), chunked.as_bytes()].concat()));
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("answered");
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 413", "{path}");
    }

    // An app that takes nothing: so does the gateway, soon. Then it takes all, and all passes.
    let stolen = Stolen::new(gateway.address, gateway.data.path(), &ada.person.codespace);
    let (counted, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counts, waits) = (Arc::clone(&counted), Arc::clone(&go));
    let serving = stolen.connect().serve(move |stream, _| {
        while !waits.load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        swallow(stream, &counts, BODY);
    });
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nX-Portico-Token: {}\r\nContent-Encoding: gzip\r\nContent-Length: {BODY}\r\n\r\n",
        gateway.port(&ada.person, WIDE),
        ada.person.token
    );
    let before = memory(gateway.process());
    let mut client = TcpStream::connect(gateway.address).expect("it listens");
    client.write_all(head.as_bytes()).expect("written");
    client.set_write_timeout(Some(Duration::from_secs(1))).expect("set");
    let (part, mut sent) = (vec![b'x'; 64 * 1024], 0);
    while let Ok(count) = client.write(&part) {
        sent += count;
        assert!(sent < BODY, "nothing held it up");
    }
    assert_eq!(counted.load(SeqCst), 0, "the app took nothing yet");
    let after = memory(gateway.process());
    assert!(after.saturating_sub(before) < 8 * MIB, "{before} {after}");
    assert_eq!(Call::get(gateway.host(), "/healthz").at(gateway.address).send().status(), 200);
    go.store(true, SeqCst);
    client.set_write_timeout(Some(Duration::from_secs(60))).expect("set");
    while sent < BODY {
        let next = part.len().min(BODY - sent);
        client.write_all(&part[..next]).expect("it goes on");
        sent += next;
    }
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let answer = take_head(&mut client).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(counted.load(SeqCst), BODY, "as it was sent, whatever it says that it is");
    let most = memory(gateway.process());
    assert!(most.saturating_sub(before) < 16 * MIB, "{before} {most}");
    serving.hang_up();
    eventually("the gateway has its own agent again", || {
        let call = Call::get(gateway.host(), &format!("/api/v1/codespaces/{}", ada.person.codespace)).at(gateway.address);
        (to_gateway(api(call)).json()["connected"] == true).then_some(())
    });
}
