//! The app inside a codespace: this very test program, told to serve. It answers with the bytes that it received.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::stamped::Asked;

/// How much was added by requests that say so.
static TALLY: AtomicUsize = AtomicUsize::new(0);

/// Serves for ever on the port that the environment names; not a test.
#[test]
#[ignore = "run inside a codespace by the other tests"]
fn serve() {
    let variable = |name| std::env::var(name).expect("set by whoever runs it");
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("DOOR_PORT"))).expect("a free port");
    let stamp = variable("DOOR_STAMP");
    for stream in listener.incoming().flatten() {
        let stamp = stamp.clone();
        thread::spawn(move || converse(stream, &stamp));
    }
}

fn converse(mut stream: TcpStream, stamp: &str) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let end = until(&mut stream, &mut read, 0, b"\r\n\r\n")?;
        let asked = Asked::read(&read[..end], stamp);
        if let Some(asked) = &asked {
            asked.answer_early(&mut stream)?;
        }
        let request = take_request(&mut stream, &mut read)?;
        if let Some(asked) = asked {
            asked.answer_late(&mut stream, &request)?;
            continue;
        }
        let head = String::from_utf8_lossy(&request).into_owned();
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
        };
        if let Some(milliseconds) = field("x-wait") {
            thread::sleep(std::time::Duration::from_millis(milliseconds.parse().ok()?));
        }
        if let Some(answer) = field("x-answer") {
            stream.write_all(&BASE64_STANDARD.decode(answer).ok()?).ok()?;
            if field("x-hang-up").is_some() {
                return None;
            }
            continue;
        }
        if let Some(key) = field("sec-websocket-key").filter(|_| head.starts_with("GET /socket ")) {
            let accept = derive_accept_key(key.as_bytes());
            write!(
                stream,
                "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n{stamp}"
            )
            .ok()?;
            return std::io::copy(&mut stream.try_clone().ok()?, &mut stream).ok().map(|_| ());
        }
        if let Some(step) = field("x-tally") {
            let count = TALLY.fetch_add(step.parse().ok()?, Relaxed);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{count}",
                count.to_string().len()
            )
            .ok()?;
            continue;
        }
        let body = [stamp.as_bytes(), b"\n", &request].concat();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .ok()?;
        stream.write_all(&body).ok()?;
    }
}

/// Takes one request off a connection, head and body as they came.
fn take_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut end = until(stream, read, 0, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        end += length.parse::<usize>().ok()?;
        while read.len() < end {
            fill(stream, read)?;
        }
    } else if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        end = chunks(stream, read, end)?;
    }
    Some(read.drain(..end).collect())
}

/// Reads chunks to their end, by their sizes: what is inside one may look like the end, a token on `0` before an empty line.
fn chunks(stream: &mut TcpStream, read: &mut Vec<u8>, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let line = until(stream, read, at, b"\r\n")?;
        let size = std::str::from_utf8(&read[at..line - 2]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            at = line;
            break;
        }
        at = line + size + 2;
        while read.len() < at {
            fill(stream, read)?;
        }
    }
    // Trailers, and the empty line.
    loop {
        let line = until(stream, read, at, b"\r\n")?;
        if line == at + 2 {
            return Some(line);
        }
        at = line;
    }
}

fn until(stream: &mut TcpStream, read: &mut Vec<u8>, from: usize, mark: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = read[from..].windows(mark.len()).position(|window| window == mark) {
            return Some(from + at + mark.len());
        }
        fill(stream, read)?;
    }
}

fn fill(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 * 1024];
    let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
    read.extend_from_slice(&buffer[..count]);
    Some(())
}
