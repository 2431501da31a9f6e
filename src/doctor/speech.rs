//! What a server speaks, by the first bytes that it says.

/// What was heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speech {
    /// HTTP/1.0 or HTTP/1.1.
    Http,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// TLS (RFC 8446 §5.1).
    Tls,
    /// Something that has a name and is no HTTP.
    Named(&'static str),
    /// Bytes that mean nothing here.
    Unknown,
    /// Nothing at all: it closed, or waits.
    Nothing,
}

/// Tells by the first bytes after an HTTP/1.1 request, or before one.
pub fn of_first_bytes(bytes: &[u8]) -> Speech {
    match bytes {
        [] => Speech::Nothing,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', ..] => Speech::Http,
        // A record of an alert or a handshake, of any version 3.x.
        [0x15 | 0x16, 3, ..] => Speech::Tls,
        // A frame of SETTINGS or GOAWAY on stream 0.
        [_, _, _, 4 | 7, _, 0, 0, 0, 0, ..] => Speech::Http2,
        // MySQL's greeting: a packet of number 0 with protocol version 10.
        [_, _, 0, 0, 10, ..] => Speech::Named("MySQL"),
        _ => NAMED
            .iter()
            .find(|(start, _)| bytes.starts_with(start))
            .map_or(Speech::Unknown, |(_, name)| Speech::Named(name)),
    }
}

/// How other servers begin.
const NAMED: &[(&[u8], &str)] = &[
    (b"SSH-", "SSH"),
    (b"-ERR ", "Redis"),
    (b"-NOAUTH", "Redis"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"RFB ", "VNC"),
    (b"AMQP", "AMQP"),
    (b"INFO {", "NATS"),
    (b"It looks like you are trying to access MongoDB", "MongoDB"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_first_bytes() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Speech) {
            assert_eq!(of_first_bytes(bytes), expected, "{bytes:?}");
        }
        check(b"", Speech::Nothing);
        check(b"HTTP/1.0 400 Bad Request\r\n", Speech::Http);
        check(b"\x15\x03\x01\x00\x02\x02\x46", Speech::Tls);
        check(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", Speech::Http2);
        check(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00", Speech::Http2);
        check(b"\x4a\x00\x00\x00\x0a8.4.0", Speech::Named("MySQL"));
        check(b"SSH-2.0-OpenSSH_9.6\r\n", Speech::Named("SSH"));
        check(b"-ERR unknown command", Speech::Named("Redis"));
        check(b"hello", Speech::Unknown);
        check(b"\x15", Speech::Unknown);
    }
}
