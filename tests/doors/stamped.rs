//! Answers of which every byte bears the stamp of the app that made it and the target that was asked for: the app's side, and
//! what its clients expect.
//!
//! A target is `/stamped/MARK/KIND/LINES`; the kind says how the app behaves.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// How long an app that says half of its answer waits for its client to leave.
const HELD: Duration = Duration::from_millis(40);

/// So many lines, each with stamp, target and number.
pub fn lines(stamp: &str, target: &str, count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|line| format!("{stamp} {target} {line}\n").into_bytes())
        .collect()
}

/// An unmasked frame of text, or of its end.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short one");
    let head = match u8::try_from(length) {
        Ok(short @ ..126) => vec![first, short],
        _ => [&[first, 126], &length.to_be_bytes()[..]].concat(),
    };
    [&head, payload].concat()
}

/// What was asked of this app.
pub struct Asked {
    stamp: String,
    target: String,
    kind: String,
    count: usize,
    key: Option<String>,
}

impl Asked {
    pub fn read(head: &[u8], stamp: &str) -> Option<Self> {
        let head = String::from_utf8_lossy(head);
        let target = head.split(' ').nth(1)?;
        let mut parts = target.strip_prefix("/stamped/")?.split('/').skip(1);
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        Some(Self {
            stamp: stamp.to_owned(),
            target: target.to_owned(),
            kind: parts.next()?.to_owned(),
            count: parts.next()?.parse().ok()?,
            key: key.map(str::to_owned),
        })
    }

    /// Answers before the body came, if that is how it behaves.
    pub fn answer_early(&self, stream: &mut TcpStream) -> Option<()> {
        if self.kind == "deaf" {
            stream.write_all(&self.answer(b"")).ok()?;
        }
        Some(())
    }

    /// Answers a whole request; the connection ends with nothing.
    pub fn answer_late(&self, stream: &mut TcpStream, request: &[u8]) -> Option<()> {
        if let Some(key) = &self.key {
            return self.echo(stream, key);
        }
        let answer = self.answer(&body(request)?);
        let half = answer.len() / 2;
        match self.kind.as_str() {
            "deaf" => Some(()),
            "surplus" => stream.write_all(&answer.repeat(2)).ok(),
            "closing" => stream.write_all(&answer).ok().and(None),
            "early" => stream.write_all(&answer[..half]).ok().and(None),
            "held" => {
                stream.write_all(&answer[..half]).ok()?;
                stream.set_read_timeout(Some(HELD)).ok()?;
                let left = stream.peek(&mut [0]);
                stream.set_read_timeout(None).ok()?;
                match left {
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        stream.write_all(&answer[half..]).ok()
                    }
                    _ => None,
                }
            }
            _ => stream.write_all(&answer).ok(),
        }
    }

    fn answer(&self, body: &[u8]) -> Vec<u8> {
        let Self { stamp, target, .. } = self;
        let body = [&lines(stamp, target, self.count), body].concat();
        let head = format!("HTTP/1.1 200 S\r\nX-Stamp: {stamp} {target}\r\nSet-Cookie: s={stamp}{target}\r\n");
        if self.kind == "chunked" {
            let chunks = body
                .chunks(100)
                .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            return [
                format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes(),
                chunks.collect::<Vec<_>>().concat(),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat();
        }
        [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
    }

    /// Says its lines in a frame, and then before everything that it is told.
    fn echo(&self, stream: &mut TcpStream, key: &str) -> Option<()> {
        let (own, accept) = (lines(&self.stamp, &self.target, self.count), derive_accept_key(key.as_bytes()));
        let head = format!(
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\nX-Stamp: {} {}\r\n\r\n",
            self.stamp, self.target
        );
        stream.write_all(&[head.as_bytes(), &frame(0x82, &own)].concat()).ok()?;
        loop {
            let mut head = [0; 2];
            stream.read_exact(&mut head).ok()?;
            let mut length = usize::from(head[1] & 0x7f);
            if length == 126 {
                let mut long = [0; 2];
                stream.read_exact(&mut long).ok()?;
                length = usize::from(u16::from_be_bytes(long));
            }
            let mut rest = vec![0; 4 + length];
            stream.read_exact(&mut rest).ok()?;
            let (mask, payload) = rest.split_at(4);
            let said: Vec<_> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            if head[0] == 0x88 {
                return stream.write_all(&frame(0x88, &said)).ok().and(None);
            }
            stream.write_all(&frame(0x82, &[&own[..], &said].concat())).ok()?;
        }
    }
}

/// The body of a whole request.
fn body(request: &[u8]) -> Option<Vec<u8>> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let (head, mut rest) = request.split_at(end);
    if !String::from_utf8_lossy(head)
        .to_ascii_lowercase()
        .contains("\r\ntransfer-encoding: chunked\r\n")
    {
        return Some(rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}
