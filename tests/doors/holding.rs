//! What the gateway holds for strangers: by its resident memory, while very many of them stop in the middle (LIM-2).

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::{
    gateway::eventually,
    lone::Lone,
    tls::{HOST, Speaking, client},
};

/// So many strangers at once: what one of them costs is told apart from what a gateway needs anyhow.
const STRANGERS: usize = 500;
const KIB: usize = 1024;
/// What may be held for one who has said next to nothing, beyond what waits in the system's own buffers. A build without
/// optimisation has larger futures.
const MOST: usize = if cfg!(debug_assertions) { 76 * KIB } else { 64 * KIB };
/// Nobody's head takes its time here: all of them stand still for as long as is looked.
const PATIENT: [(&str, &str); 2] = [
    ("PORTICO_LIMITS_HEADER_TIMEOUT", "200s"),
    ("PORTICO_LIMITS_CONNECTIONS_PER_ADDRESS", "5000"),
];

/// A line of `/proc/PID/status`, in bytes.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * KIB
}

/// How much of what was sent to a port waits in the system, and how many connections it has.
fn unread(port: u16) -> (usize, usize) {
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|line| line[1].ends_with(&format!(":{port:04X}")) && line[3] == "01");
    ours.fold((0, 0), |(bytes, count), line| {
        let queue = line[4].split_once(':').map_or("0", |(_, read)| read);
        (bytes + usize::from_str_radix(queue, 16).expect("a number"), count + 1)
    })
}

/// What is held of each of so many who say this in pieces and no more.
fn held<S: Write>(process: u32, address: SocketAddr, open: impl Fn() -> S, pieces: &[Vec<u8>]) -> usize {
    // What is made once, or kept for the next, is nobody's.
    drop((0..STRANGERS / 10).map(|_| open()).collect::<Vec<S>>());
    eventually("they are gone", || (unread(address.port()).1 == 0).then_some(()));
    let before = resident(process);
    let mut strangers: Vec<S> = (0..STRANGERS).map(|_| open()).collect();
    for piece in pieces {
        for stranger in &mut strangers {
            stranger.write_all(piece).expect("it is taken");
            stranger.flush().expect("it is taken");
        }
    }
    let settled = eventually("all of it was read", || {
        let last = resident(process);
        let (bytes, count) = unread(address.port());
        std::thread::sleep(std::time::Duration::from_millis(300));
        (bytes == 0 && count >= STRANGERS && resident(process).abs_diff(last) < 200 * KIB).then(|| resident(process))
    });
    settled.saturating_sub(before) / STRANGERS
}

/// A head that goes on, in pieces of so many bytes; none of them ends it.
fn head(fields: usize, piece: usize) -> Vec<Vec<u8>> {
    let fields: String = (0..fields).map(|index| format!("X-{index}: {}\r\n", "x".repeat(15_000))).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}");
    head.as_bytes().chunks(piece).map(<[u8]>::to_vec).collect()
}

/// A frame of HTTP/2.
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, stream], payload].concat()
}

/// The same head in HTTP/2, whose fields are literals.
fn head_of_http_2(fields: usize) -> Vec<Vec<u8>> {
    let mut block = vec![0x82, 0x87, 0x84, 0x41, 1, b'a'];
    for index in 0..fields {
        // 15,000 as 127 and three groups of seven bits, the lowest first (RFC 7541 §5.1).
        block.extend([0, 3, b'x', b'-', b'a' + u8::try_from(index).expect("few"), 0x7f]);
        block.extend([0x99, 0x74]);
        block.extend(vec![b'x'; 15_000]);
    }
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, b"")].concat();
    let parts = block.chunks(16_000).enumerate();
    let frames = parts.map(|(index, part)| frame(if index == 0 { 1 } else { 9 }, 1, part));
    std::iter::once(preface).chain(frames).collect()
}

#[test]
fn lim_2_what_is_held_for_a_stranger_who_stops_is_bounded() {
    let sent = |pieces: &[Vec<u8>]| pieces.iter().map(Vec::len).sum::<usize>();
    let check = |what: &str, pieces: &[Vec<u8>], held: usize| {
        // A head may have 64 KiB (HDR-9), and a buffer that grows is twice as large as what is in it; what it was before
        // is not given back to the system at once.
        let most = MOST + if sent(pieces) > 4 * KIB { 3 * sent(pieces) } else { 0 };
        println!("{what}: {} bytes sent, {} KiB held of each", sent(pieces), held / KIB);
        assert!(held <= most, "{what}: {} bytes sent, {held} held of each", sent(pieces));
    };
    for (what, pieces) in [
        ("HTTP/1.1, a head begun", head(0, 100)),
        ("HTTP/1.1, 60 KB of a head", head(4, 100_000)),
        ("HTTP/1.1, the same in pieces", head(4, 6_000)),
    ] {
        let gateway = Lone::start("http://portico.localhost", &PATIENT);
        let open = || TcpStream::connect(gateway.address).expect("connected");
        check(what, &pieces, held(gateway.process(), gateway.address, open, &pieces));
    }
    for (what, protocol, pieces) in [
        ("TLS, no more than a handshake", "http/1.1", vec![]),
        ("TLS, a head begun", "http/1.1", head(0, 100)),
        ("TLS, 60 KB of a head", "http/1.1", head(4, 100_000)),
        ("HTTP/2, a head begun", "h2", head_of_http_2(0)),
        ("HTTP/2, 60 KB of a head", "h2", head_of_http_2(4)),
    ] {
        let settings = PATIENT.map(|(name, value)| (name, Path::new(value)));
        let gateway = Speaking::start(&settings);
        let mut config = (*client(&[&gateway])).clone();
        config.alpn_protocols = vec![protocol.into()];
        let config = Arc::new(config);
        let open = || {
            let name = ServerName::try_from(HOST).expect("a name");
            let connection = ClientConnection::new(Arc::clone(&config), name).expect("a client");
            let mut stream = StreamOwned::new(connection, gateway.connect());
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock).expect("a handshake");
            }
            assert_eq!(stream.conn.alpn_protocol(), Some(protocol.as_bytes()));
            stream
        };
        check(what, &pieces, held(gateway.process(), gateway.address, open, &pieces));
    }
}
