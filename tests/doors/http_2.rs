//! What a client of HTTP/2 may send in vain, over real TLS and in frames written by hand (H2-1).

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned};

use super::{
    lone::Lone,
    wire::{Trust, Way},
};

const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const UNKNOWN: u8 = 0xbb;
const ENHANCE_YOUR_CALM: u32 = 11;

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    host: String,
    got: Vec<u8>,
    ended: bool,
}

impl Connection {
    fn open(gateway: &Lone) -> Self {
        let config = Trust::read(gateway.data.path()).speaking("h2");
        let client = ClientConnection::new(config, Way::name("portico.localhost")).expect("a connection");
        let socket = TcpStream::connect(gateway.address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
        let mut connection = Self {
            stream: StreamOwned::new(client, socket),
            host: format!("portico.localhost:{}", gateway.address.port()),
            got: Vec::new(),
            ended: false,
        };
        connection.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, b"")[..]].concat());
        connection
    }

    fn send(&mut self, bytes: &[u8]) {
        self.ended |= self.stream.write_all(bytes).is_err();
    }

    /// Takes what there is by now; at the end also what was said before it, which a stream that still wants to write would
    /// not give.
    fn read(&mut self) {
        let StreamOwned { conn, sock } = &mut self.stream;
        loop {
            let ended = match conn.read_tls(sock) {
                Ok(count) => count == 0,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => return,
                Err(_) => true,
            };
            let broken = conn.process_new_packets().is_err();
            // What is there is read; that there is no more now is told as an error.
            let _ = conn.reader().read_to_end(&mut self.got);
            if ended || broken {
                self.ended = true;
                return;
            }
        }
    }

    /// The frames that came: type and payload.
    fn frames(&self) -> Vec<(u8, &[u8])> {
        let (mut frames, mut rest) = (Vec::new(), &self.got[..]);
        while let [a, b, c, kind, _, _, _, _, _, tail @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some((payload, next)) = tail.split_at_checked(length) else {
                break;
            };
            frames.push((*kind, payload));
            rest = next;
        }
        frames
    }

    fn count(&self, kind: u8) -> usize {
        self.frames().iter().filter(|(of, _)| *of == kind).count()
    }

    /// The reason of the last GOAWAY.
    fn goaway(&self) -> Option<u32> {
        let frames = self.frames();
        let (_, payload) = frames.iter().rfind(|(kind, _)| *kind == GOAWAY)?;
        Some(u32::from_be_bytes(payload[4..8].try_into().expect("four bytes")))
    }

    /// Sends again and again until the gateway has enough.
    fn flood(&mut self, what: &str, mut next: impl FnMut(&Self, usize) -> Vec<u8>) {
        for round in 0..500 {
            let bytes = next(self, round);
            self.send(&bytes);
            self.read();
            if self.ended {
                return assert_eq!(self.goaway(), Some(ENHANCE_YOUR_CALM), "{what} after {round} rounds");
            }
        }
        panic!("{what}: served to its end");
    }

    /// A head of a request that names nothing in any table; `more` fields of which there may be too many.
    fn head(&self, stream: u32, more: usize) -> Vec<u8> {
        let fields: Vec<_> = (0..more).map(|number| (format!("x-{number}"), "v".to_owned())).collect();
        self.head_with(stream, &fields)
    }

    fn head_with(&self, stream: u32, fields: &[(String, String)]) -> Vec<u8> {
        let pseudo = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", &self.host),
            (":path", "/api/v1/setup"),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut block = Vec::new();
        for (name, value) in pseudo.iter().chain(fields) {
            block.push(0x10);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("short"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        frame(HEADERS, 0x5, stream, &block)
    }

    /// The first byte of an answer's head but for changes of the table's size: its status, where it is a usual one (RFC 7541,
    /// appendix A).
    fn status(&self) -> Option<u8> {
        let frames = self.frames();
        let (_, block) = frames.iter().find(|(kind, _)| *kind == HEADERS)?;
        block.iter().copied().find(|byte| byte & 0xe0 != 0x20)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn h2_1_floods_end_in_goaway_and_nobody_else_notices() {
    let gateway = Lone::start("https://portico.localhost", &[("PORTICO_TLS_LOCAL", "true")]);
    let mut beside = Connection::open(&gateway);
    for (what, flood) in [
        ("PING", frame(PING, 0, 0, b"abuseabu")),
        ("answers to no PING", frame(PING, 1, 0, b"abuseabu")),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("PRIORITY", frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 3])),
        ("unknown frames", frame(UNKNOWN, 0, 0, b"grease")),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        let rounds = if what == "WINDOW_UPDATE" { 10_000 } else { 1_000 };
        Connection::open(&gateway).flood(what, |_, _| flood.repeat(rounds));
    }
    Connection::open(&gateway).flood("resets of a stream that is done", |connection, round| match round {
        0 => connection.head(1, 0),
        _ => frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).repeat(1_000),
    });
    Connection::open(&gateway).flood("heads that are refused", |connection, round| {
        let streams = (0..50).map(|index| u32::try_from(round * 100 + index * 2 + 1).expect("a stream"));
        streams.flat_map(|stream| connection.head(stream, 120)).collect()
    });
    beside.send(&beside.head(1, 0));
    while beside.count(HEADERS) == 0 {
        beside.read();
        assert!(!beside.ended, "{:?}", beside.goaway());
    }
}

/// Goes on until everything was answered.
fn until(connection: &mut Connection, done: impl Fn(&Connection) -> bool) {
    while !done(connection) {
        connection.read();
        assert!(!connection.ended, "{:?}", connection.goaway());
    }
    assert_eq!(connection.goaway(), None);
}

#[test]
fn h2_1_a_busy_client_is_no_flood() {
    let gateway = Lone::start("https://portico.localhost", &[("PORTICO_TLS_LOCAL", "true")]);
    let mut connection = Connection::open(&gateway);
    for round in 0..20 {
        // As browsers do with a page of many parts, and programs that measure each round trip; three times as much as any.
        connection.send(&frame(PRIORITY, 0, 1001, &[0, 0, 0, 0, 3]).repeat(300));
        connection.send(&frame(PING, 0, 0, b"measured").repeat(150));
        connection.send(&connection.head(round * 2 + 1, 60));
        connection.read();
    }
    until(&mut connection, |connection| {
        connection.count(HEADERS) >= 20 && connection.count(PING) >= 3_000
    });
}

#[test]
fn h2_1_who_leaves_a_page_of_many_files_again_and_again_is_no_flood() {
    let gateway = Lone::start("https://portico.localhost", &[("PORTICO_TLS_LOCAL", "true")]);
    let mut connection = Connection::open(&gateway);
    // Thirty pages of a hundred files each: half of the files came when the browser leaves.
    for page in 0..30 {
        let streams: Vec<u32> = (0..100).map(|file| (page * 100 + file) * 2 + 1).collect();
        for stream in &streams {
            connection.send(&connection.head(*stream, 0));
            connection.send(&frame(UNKNOWN, 0, 0, b"another order").repeat(3));
        }
        let wanted = connection.count(HEADERS) + 50;
        until(&mut connection, |connection| connection.count(HEADERS) >= wanted);
        for stream in &streams {
            connection.send(&frame(RST_STREAM, 0, *stream, &[0, 0, 0, 8]));
            connection.send(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 100]));
        }
    }
    connection.send(&frame(PING, 0, 0, b"the last"));
    until(&mut connection, |connection| connection.count(PING) >= 1);
}

#[test]
fn smug_10_what_is_no_field_of_http_1_is_refused() {
    let gateway = Lone::start("https://portico.localhost", &[("PORTICO_TLS_LOCAL", "true")]);
    // What comes of a head with this field besides: a status (8 is 200, 12 is 400), or a stream or a connection that ends.
    let ask = |name: &str, value: &str| {
        let mut connection = Connection::open(&gateway);
        connection.send(&connection.head_with(1, &[(name.to_owned(), value.to_owned())]));
        while connection.status().is_none() && connection.count(RST_STREAM) == 0 && connection.goaway().is_none() && !connection.ended {
            connection.read();
        }
        connection.status()
    };
    assert_eq!(ask("x-plain", "a b"), Some(0x88));
    for (name, value) in [
        ("X-Upper", "v"),
        ("x y", "v"),
        ("x:y", "v"),
        ("x\ny", "v"),
        ("", "v"),
        ("x-lines", "a\r\nx-more: b"),
        ("x-line", "a\nb"),
        ("x-nothing", "a\0b"),
        ("x-before", " v"),
        ("x-after", "v\t"),
        (":method", "POST"),
        (":path", "/healthz"),
        (":x", "v"),
        (":status", "200"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("host", "evil.example"),
    ] {
        let status = ask(name, value);
        assert!(matches!(status, None | Some(0x8c)), "{name:?}: {value:?}: {status:?}");
    }
}
