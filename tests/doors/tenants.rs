//! A fuzz target against the real binary: whole sequences of requests of two tenants, good ones, broken ones and hostile
//! ones on the same connections. Each request carries a mark that its tenant's app sends back with its own stamp.
//!
//! No app may answer a mark of the other tenant, nor one that was hidden in somebody's body.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use regex::Regex;

use super::{
    driver::fuzz,
    gateway::{BOBS, Gateway, SIBLING, gateway},
};

const THREADS: usize = 6;

/// What a sequence is made of: an input's bytes, one for each choice, two for one among many; then always the first.
pub struct Choices<'a>(pub std::slice::Iter<'a, u8>);

impl Choices<'_> {
    pub fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        let low = usize::from(self.byte());
        let high = if sides > 256 { usize::from(self.byte()) } else { 0 };
        (low + 256 * high) % sides
    }
}

/// One request of a tenant; `mark` names tenant and connection.
fn request(gateway: &Gateway, dice: &mut Choices<'_>, mark: &str) -> Vec<u8> {
    let tenants = [
        ("ADA", gateway.app(), &gateway.ada.token),
        ("SIBLING", gateway.port(&gateway.ada, SIBLING), &gateway.ada.token),
        ("BOB", gateway.port(&gateway.bob, BOBS), &gateway.bob.token),
    ];
    let (tenant, host, token) = &tenants[dice.roll(3)];
    let (_, other, stolen) = &tenants[dice.roll(3)];
    let path = format!("/{tenant}-{mark}");
    let head = format!("HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: {token}\r\n");
    let hidden = format!("GET /HIDDEN-{mark} HTTP/1.1\r\nHost: {other}\r\nX-Portico-Token: {stolen}\r\n\r\n");
    let answers = [
        format!("HTTP/1.1 200 S\r\nContent-Length: 2\r\n\r\nok{tenant}\nGET /HIDDEN-{mark}"),
        format!(
            "HTTP/1.1 200 S\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 S\r\nContent-Length: 40\r\n\r\n{tenant}\nGET /HIDDEN-{mark}"
        ),
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 S\r\nContent-Length: 90\r\n\r\nshort".to_owned(),
    ];
    let text = match dice.roll(12) {
        0 => format!("POST {path} {head}Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
        1 => format!("POST {path} {head}Content-Length: {}\r\n\r\n{hidden}", hidden.len() / 2),
        2 => format!(
            "POST {path} {head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ),
        3 => format!("POST {path} {head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        4 => format!(
            "GET {path} {head}X-Answer: {}\r\n\r\n",
            BASE64_STANDARD.encode(&answers[dice.roll(answers.len())])
        ),
        5 => format!(
            "GET {path} {head}Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        6 => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Portico-Token: pt_wrong\r\n\r\n"),
        7 => format!("GET http://{other}{path} {head}\r\n"),
        _ => format!("GET {path} {head}\r\n"),
    };
    text.into_bytes()
}

/// Changes a few bytes of what a client says; the answer that the raw app is told to give stays as it is, because a broken
/// head of one may lawfully make its surplus a part of its body.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Choices<'_>) {
    const ANSWER: &[u8] = b"X-Answer";
    for _ in 0..=dice.roll(3) {
        let end = bytes
            .windows(ANSWER.len())
            .position(|window| window == ANSWER)
            .unwrap_or(bytes.len());
        let at = dice.roll(end);
        match dice.roll(3) {
            0 => bytes[at] = dice.byte(),
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, b"\r\n :;,x0"[dice.roll(8)]),
        }
    }
}

/// Whether an app's answer belongs to a connection: its mark was sent there, and as long as nothing was mutated, to that
/// app and not inside of a body. A mutated length makes an honest request of what was a body, and that is fine.
fn is_own(stamp: &str, asked: &str, sent: &str, mutated: bool) -> bool {
    sent.contains(asked) && (mutated || asked.starts_with(&format!("{stamp}-")))
}

/// Sends a sequence and gives what comes back until nothing does.
fn converse(gateway: &Gateway, sequence: &[Vec<u8>]) -> String {
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    for bytes in sequence {
        if stream.write_all(bytes).is_err() {
            break;
        }
    }
    let (mut got, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        got.extend_from_slice(&buffer[..count]);
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
    }
    String::from_utf8_lossy(&got).into_owned()
}

/// Of which kind what came back is: the statuses in their order, and whose apps answered.
fn kind(text: &str, answers: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let statuses = text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12));
    let apps = answers.iter().map(|(stamp, _)| (*stamp).to_owned());
    (statuses.map(str::to_owned).collect(), apps.collect())
}

#[test]
fn pool_1_no_tenant_sees_anothers_answer() {
    let gateway = gateway();
    let answered = Regex::new(r"(ADA|BOB|SIBLING)\n[A-Z]+ (?:http://[^/ ]*)?/([A-Z]+-[0-9]+x[0-9]+x)").expect("a pattern");
    let (sent, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let converses = |input: &[u8]| {
        let mut choices = Choices(input.iter());
        let mark = format!("{}x{}x", choices.byte(), sent.fetch_add(1, Relaxed));
        let mutated = choices.roll(2) == 0;
        let mut sequence: Vec<_> = (0..=choices.roll(6)).map(|_| request(gateway, &mut choices, &mark)).collect();
        sequence
            .iter_mut()
            .filter(|_| mutated)
            .for_each(|bytes| mutate(bytes, &mut choices));
        let text = converse(gateway, &sequence);
        let all = String::from_utf8_lossy(&sequence.concat()).into_owned();
        let answers: Vec<_> = answered
            .captures_iter(&text)
            .map(|found| found.extract::<2>().1)
            .map(|[stamp, asked]| (stamp, asked))
            .collect();
        for (stamp, asked) in &answers {
            assert!(is_own(stamp, asked, &all, mutated), "{stamp} {asked} came back for {all}: {text}");
            checked.fetch_add(1, Relaxed);
        }
        kind(&text, &answers)
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let thread = thread::Builder::new().name(format!("tenants {number}"));
            thread.spawn_scoped(scope, || fuzz("tenants", &[], converses)).expect("a thread");
        }
    });
    eprintln!(
        "tenants: {} sequences, {} answers of apps checked, 0 foreign",
        sent.load(Relaxed),
        checked.load(Relaxed)
    );
    assert!(checked.load(Relaxed) > 0, "apps answered");
}
