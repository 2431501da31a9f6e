//! The PROXY protocol, versions 1 and 2: a balancer's first words, which say whose connection it passes on.
//!
//! Read only from addresses that the operator named; there it must be. Nothing behind it is touched. The specification is
//! HAProxy's `proxy-protocol.txt`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
};

/// The first bytes of version 2; version 1 has at least as many.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included.
const MAX_LINE: usize = 107;
/// Most bytes behind the fixed part of version 2 that are read: addresses, and additions that balancers like to make.
const MAX_REST: usize = 4096;

/// Why a connection from a balancer is closed.
#[derive(Debug, Error)]
pub(super) enum HeaderError {
    #[error("it does not begin with a PROXY header of version 1 or 2")]
    Malformed,
    #[error("its PROXY header is longer than {MAX_REST} bytes")]
    TooLong,
    #[error("it ended within its PROXY header: {0}")]
    Broken(#[from] io::Error),
}

/// Reads the header and nothing behind it; none if it is the balancer's own connection, a check of our health for instance.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<IpAddr>, HeaderError> {
    let mut line = [0; MAX_LINE];
    let (start, _) = line.split_at_mut(SIGNATURE.len());
    stream.read_exact(start).await?;
    if start == SIGNATURE {
        return read_2(stream).await;
    }
    let mut length = SIGNATURE.len();
    loop {
        // Looked at before it is taken, so that what is behind the line stays where it is.
        let seen = stream.peek(&mut line[length..]).await?;
        let fresh = &line[length..length + seen];
        let end = fresh.iter().position(|byte| *byte == b'\n').map(|at| length + at + 1);
        let taken = end.unwrap_or(length + seen);
        if taken == length || !line.starts_with(b"PROXY ") {
            return Err(HeaderError::Malformed);
        }
        stream.read_exact(&mut line[length..taken]).await?;
        length = taken;
        if end.is_some() {
            return parse_1(&line[..length]).ok_or(HeaderError::Malformed);
        }
    }
}

async fn read_2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, HeaderError> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_REST {
        return Err(HeaderError::TooLong);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    parse_2(command, family, &rest).ok_or(HeaderError::Malformed)
}

/// Reads a line of version 1 with its end. The outer one is none if it is malformed.
#[expect(
    clippy::option_option,
    reason = "the outer one is about the text, the inner one about who it names"
)]
fn parse_1(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let rest = line.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = rest.split(' ');
    let (family, source, target) = (words.next()?, words.next()?, words.next()?);
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port.to_string() == text);
    let ports = is_port(words.next()?) && is_port(words.next()?);
    if !ports || words.next().is_some() {
        return None;
    }
    match family {
        "TCP4" => target
            .parse::<Ipv4Addr>()
            .ok()
            .and_then(|_| source.parse::<Ipv4Addr>().ok())
            .map(IpAddr::V4),
        "TCP6" => target
            .parse::<Ipv6Addr>()
            .ok()
            .and_then(|_| source.parse::<Ipv6Addr>().ok())
            .map(IpAddr::V6),
        _ => None,
    }
    .map(|address| Some(address.to_canonical()))
}

/// Reads what is behind the signature of version 2. The outer one is none if it is malformed.
#[expect(
    clippy::option_option,
    reason = "the outer one is about the bytes, the inner one about who they name"
)]
fn parse_2(command: u8, family: u8, rest: &[u8]) -> Option<Option<IpAddr>> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const TCP_4: u8 = 0x11;
    const TCP_6: u8 = 0x21;
    let source = match (command, family) {
        (LOCAL, _) => return Some(None),
        (PROXY, TCP_4) => rest.get(..12)?.first_chunk::<4>().copied().map(IpAddr::from),
        (PROXY, TCP_6) => rest.get(..36)?.first_chunk::<16>().copied().map(IpAddr::from),
        // Unix sockets, datagrams and what is not specified: passed on, from nobody who has an address.
        (PROXY, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => return Some(None),
        _ => return None,
    };
    source.map(|address| Some(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    #[test]
    fn lines_of_version_1() {
        #[track_caller]
        fn check(line: &str, expected: Option<Option<&str>>) {
            let expected = expected.map(|address| address.map(|address| address.parse().expect("an address")));
            assert_eq!(parse_1(line.as_bytes()), expected, "{line:?}");
        }
        check("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", Some(Some("192.0.2.7")));
        check("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", Some(Some("2001:db8::7")));
        check("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", Some(Some("192.0.2.7")));
        check("PROXY UNKNOWN\r\n", Some(None));
        check("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(None));
        for line in [
            "",
            "PROXY\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 \r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 x 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn headers_of_version_2() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 220, 4, 1, 187];
        let source = "192.0.2.7".parse().expect("an address");
        assert_eq!(parse_2(0x21, 0x11, &four), Some(Some(source)));
        assert_eq!(
            parse_2(0x21, 0x11, &[&four[..], &[3, 0, 4, 1, 2, 3, 4]].concat()),
            Some(Some(source)),
            "additions"
        );
        let six = [&[0; 10][..], &[255, 255, 192, 0, 2, 7], &[0; 20]].concat();
        assert_eq!(parse_2(0x21, 0x21, &six), Some(Some(source)));
        for (command, family, rest) in [
            (0x20, 0x11, &four[..]),
            (0x20, 0x00, &[]),
            (0x21, 0x00, &[]),
            (0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(parse_2(command, family, rest), Some(None));
        }
        for (command, family, rest) in [
            (0x21, 0x11, &four[..11]),
            (0x21, 0x21, &six[..35]),
            (0x11, 0x11, &four),
            (0x22, 0x11, &four),
            (0x21, 0x13, &four),
        ] {
            assert_eq!(parse_2(command, family, rest), None, "{command:x} {family:x}");
        }
    }

    /// Sends bytes in pieces of a size, ends, and tells what was read and what was left.
    async fn sent(bytes: &[u8], piece: usize) -> (Result<Option<IpAddr>, HeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            let mut client = TcpStream::connect(address).await.expect("connected");
            client.set_nodelay(true).expect("set");
            for piece in bytes.chunks(piece) {
                // It is closed early if what was sent is refused.
                if client.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let read = read(&mut stream).await;
        let mut left = Vec::new();
        drop(stream.read_to_end(&mut left).await);
        (read, left)
    }

    fn version_2(source: Ipv4Addr, rest: usize) -> Vec<u8> {
        let length = u16::try_from(12 + rest).expect("short").to_be_bytes();
        [
            &SIGNATURE[..],
            &[0x21, 0x11],
            &length,
            &source.octets(),
            &[10, 0, 0, 1, 220, 4, 1, 187],
            &vec![0; rest],
        ]
        .concat()
    }

    #[tokio::test]
    async fn what_is_behind_a_header_stays_there() {
        let source = Ipv4Addr::new(192, 0, 2, 7);
        let body = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let line = format!("PROXY TCP4 {source} 10.0.0.1 56324 443\r\n").into_bytes();
        for header in [line, version_2(source, 0), version_2(source, 4000)] {
            for piece in [1, 7, 10_000] {
                let (read, left) = sent(&[&header[..], body].concat(), piece).await;
                assert_eq!(read.expect("a header"), Some(source.into()), "{piece}");
                assert_eq!(left, body, "{piece}");
            }
        }
    }

    #[tokio::test]
    async fn endless_and_broken_headers_are_refused() {
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 500]].concat();
        assert!(matches!(sent(&endless, 50).await.0, Err(HeaderError::Malformed)));
        assert!(matches!(
            sent(&version_2(Ipv4Addr::LOCALHOST, 5000), 50).await.0,
            Err(HeaderError::TooLong)
        ));
        assert!(matches!(sent(b"GET / HTTP/1.1\r\n\r\n", 50).await.0, Err(HeaderError::Malformed)));
        assert!(matches!(sent(b"PROXY", 50).await.0, Err(HeaderError::Broken(_))));
        assert!(matches!(sent(b"PROXY TCP4 1.2.3.4", 50).await.0, Err(HeaderError::Malformed)));
        assert!(matches!(
            sent(&version_2(Ipv4Addr::LOCALHOST, 0)[..20], 50).await.0,
            Err(HeaderError::Broken(_))
        ));
    }

    proptest! {
        #[test]
        fn anything_is_a_header_or_not(bytes: Vec<u8>, command: u8, family: u8) {
            parse_1(&bytes);
            parse_2(command, family, &bytes);
        }

        #[test]
        fn addresses_come_back(source: IpAddr, port: u16) {
            let source = source.to_canonical();
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {source} {source} {port} 1\r\n");
            prop_assert_eq!(parse_1(line.as_bytes()), Some(Some(source)));
        }
    }
}
