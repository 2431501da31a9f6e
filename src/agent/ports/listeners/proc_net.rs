//! The kernel's list as text, where netlink is not to be had: `/proc/net/tcp{,6}`, see proc(5).

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Listener;

/// The state "listen" in these files.
const LISTEN: &str = "0A";

/// Lists listening sockets of both families; `v6_only` is unknown here and stays false.
pub(super) fn list(port: Option<u16>) -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.ends_with('6') => continue,
            file => file?,
        };
        for line in BufReader::new(file).lines() {
            found.extend(parse(&line?).filter(|listener| port.is_none_or(|port| listener.port == port)));
        }
    }
    Ok(found)
}

fn parse(line: &str) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Listener {
        port: u16::from_str_radix(port, 16).ok()?,
        address: parse_address(address)?,
        v6_only: false,
        inode,
    })
}

/// Reads groups of eight digits, each a word in the machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123456 1 0000 100 0 0 10 0";
        let listener = parse(line).expect("a listening socket");
        assert_eq!(
            (listener.port, listener.inode, listener.address.to_string().as_str()),
            (8080, 123_456, "127.0.0.1")
        );
        assert_eq!(parse(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse_address("00000000000000000000000001000000"), Some(Ipv6Addr::LOCALHOST.into()));
        for junk in ["", "sl local_address", "0: x:y", "0: 0100007F", "0: é:0 0 0A"] {
            assert_eq!(parse(junk), None);
        }
    }
}
