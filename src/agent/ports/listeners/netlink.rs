//! The kernel's list over netlink: `sock_diag(7)`, written and read by hand.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use super::Listener;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// The state "listen" as a bit.
const LISTEN: u32 = 1 << 10;
/// Attribute: one byte, whether a socket leaves IPv4 alone.
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Lengths of `nlmsghdr` and `inet_diag_msg`.
const HEADER: usize = 16;
const ENTRY: usize = 72;
/// Most datagrams of an answer that are read; each is up to 32 KiB.
const MAX_DATAGRAMS: usize = 1_000;

/// Lists listening sockets of both families.
pub(super) fn list(port: Option<u16>) -> io::Result<Vec<Listener>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(1)))?;
    let mut found = Vec::new();
    for (sequence, family) in [(1, AF_INET), (2, AF_INET6)] {
        dump(&socket, family, sequence, port.unwrap_or(0), &mut found)?;
    }
    Ok(found)
}

fn dump(socket: &OwnedFd, family: u8, sequence: u32, port: u16, found: &mut Vec<Listener>) -> io::Result<()> {
    // Without an address the message goes to the kernel.
    send(socket, &request(family, sequence, port), SendFlags::empty())?;
    let mut buffer = vec![0; 32 * 1024];
    for _ in 0..MAX_DATAGRAMS {
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        if read(&buffer[..length.min(32 * 1024)], sequence, found)? {
            // A kernel that ignores the wish for one port says all.
            found.retain(|listener| port == 0 || listener.port == port);
            return Ok(());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn request(family: u8, sequence: u32, port: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(LISTEN.to_ne_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.resize(72, 0);
    bytes
}

/// Reads a datagram of messages; whether it held the last one.
fn read(mut datagram: &[u8], sequence: u32, found: &mut Vec<Listener>) -> io::Result<bool> {
    while datagram.len() >= HEADER {
        let length = u32::from_ne_bytes(array(datagram, 0)) as usize;
        let kind = u16::from_ne_bytes(array(datagram, 4));
        if length < HEADER || length > datagram.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let body = &datagram[HEADER..length];
        if u32::from_ne_bytes(array(datagram, 8)) == sequence {
            match kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => return Err(io::ErrorKind::Unsupported.into()),
                SOCK_DIAG_BY_FAMILY if body.len() >= ENTRY => found.extend(entry(body)),
                _ => {}
            }
        }
        datagram = &datagram[align(length).min(datagram.len())..];
    }
    Ok(false)
}

fn entry(body: &[u8]) -> Option<Listener> {
    let address = match body[0] {
        AF_INET => IpAddr::from(Ipv4Addr::from(array::<4>(body, 8))),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(array::<16>(body, 8))),
        _ => return None,
    };
    Some(Listener {
        port: u16::from_be_bytes(array(body, 4)),
        address,
        v6_only: v6_only(&body[ENTRY..]),
        inode: u64::from(u32::from_ne_bytes(array(body, 68))),
    })
}

fn v6_only(mut attributes: &[u8]) -> bool {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(array(attributes, 0)));
        if length < 4 || length > attributes.len() {
            return false;
        }
        if u16::from_ne_bytes(array(attributes, 2)) == INET_DIAG_SKV6ONLY {
            return attributes[4..length].first().is_some_and(|flag| *flag != 0);
        }
        attributes = &attributes[align(length).min(attributes.len())..];
    }
    false
}

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Some bytes at a place that the caller knows to be inside.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn junk_is_no_panic(length in 0_u32..200, kind in prop_oneof![Just(2_u16), Just(3), Just(20), any::<u16>()], rest in vec(any::<u8>(), 0..200)) {
            let mut datagram = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0, 0], &1_u32.to_ne_bytes(), &[0; 4]].concat();
            datagram.extend(rest);
            let _ = read(&datagram, 1, &mut Vec::new());
        }
    }
}
