//! A wire between two network namespaces: what is at one end gets no further than what is at the other lets it.
//!
//! A build's namespace has this wire and nothing else; at its other end is a namespace of the runtime's, which forwards and
//! whose routes are the fence. So no right that a build has in its own namespace, raw sockets least of all, leads past it.
//! Owns the two ends. Refuses to know what is fenced.

use std::{io, net::Ipv4Addr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};
use thiserror::Error;

use super::netlink::{self, CREATE, EXCLUSIVE, Message, REPLACE};

/// The end in the build's namespace, named as programs expect it.
const INNER: &str = "eth0";
/// The end in the other one, whose own interface has that name already.
const OUTER: &str = "portico0";

const AF_INET: u8 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFF_UP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
/// The next hop is on the wire, whatever the routes say.
const RTNH_F_ONLINK: u32 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// The first process of the other container, in the process namespace that is shared with it.
const FIRST: u32 = 1;

/// Why there is no wire.
#[derive(Debug, Error)]
#[error("{what} could not be made: {source}")]
pub struct LinkError {
    what: &'static str,
    source: io::Error,
}

/// Lays the wire from this network namespace to that of process 1, with an address at this end, and sends everything
/// over it to the other end's address.
pub fn lay(address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), LinkError> {
    did("the wire", netlink::ask(None, [wire()]))?;
    let index = did("the wire", index(INNER))?;
    did("its address", netlink::ask(None, [addressed(index, address)]))?;
    did("its route", netlink::ask(None, [route(index, None, Some(gateway))]))
}

/// Has what comes back for an address sent over the wire, in the namespace at its other end.
pub fn let_back(address: Ipv4Addr) -> Result<(), LinkError> {
    let index = did("the way back", index(OUTER))?;
    did("the way back", netlink::ask(None, [up(index)]))?;
    did("the way back", netlink::ask(None, [route(index, Some(address), None)]))
}

fn did<T>(what: &'static str, done: io::Result<T>) -> Result<T, LinkError> {
    done.map_err(|source| LinkError { what, source })
}

fn index(name: &str) -> io::Result<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(&socket, name)?)
}

/// A pair of `veth(4)`, this end up. The other cannot be yet: it has no peer while it is made.
fn wire() -> Message {
    Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, &interface(0, IFF_UP))
        .attribute(IFLA_IFNAME, &text(INNER))
        .nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth").nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.fixed(&interface(0, 0))
                        .attribute(IFLA_IFNAME, &text(OUTER))
                        .attribute(IFLA_NET_NS_PID, &FIRST.to_ne_bytes())
                })
            })
        })
        .acknowledged()
}

fn up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &interface(index, IFF_UP)).acknowledged()
}

/// `struct ifinfomsg`: which interface, and the flags that it is to have.
fn interface(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn addressed(index: u32, address: Ipv4Addr) -> Message {
    let [a, b, c, d] = index.to_ne_bytes();
    Message::new(RTM_NEWADDR, CREATE | REPLACE, &[AF_INET, 32, 0, RT_SCOPE_UNIVERSE, a, b, c, d])
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets())
        .acknowledged()
}

/// To one address, or to all; over a next hop on the wire, or straight onto it.
fn route(index: u32, to: Option<Ipv4Addr>, over: Option<Ipv4Addr>) -> Message {
    let scope = if over.is_some() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let prefix = if to.is_some() { 32 } else { 0 };
    let [a, b, c, d] = if over.is_some() { RTNH_F_ONLINK } else { 0 }.to_ne_bytes();
    let fixed = [AF_INET, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, a, b, c, d];
    let mut route = Message::new(RTM_NEWROUTE, CREATE | REPLACE, &fixed).attribute(RTA_OIF, &index.to_ne_bytes());
    for (kind, address) in [(RTA_DST, to), (RTA_GATEWAY, over)] {
        if let Some(address) = address {
            route = route.attribute(kind, &address.octets());
        }
    }
    route.acknowledged()
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_the_kernel() {
        let bytes = netlink::bytes_of(route(7, None, Some(Ipv4Addr::new(10, 213, 0, 2))));
        assert_eq!(bytes.len(), 16 + 12 + 8 + 8);
        assert_eq!(bytes[16..28], [&[2, 0, 0, 0, 254, 4, 0, 1][..], &4_u32.to_ne_bytes()].concat());
        assert_eq!(bytes[40..], [10, 213, 0, 2]);
        let bytes = netlink::bytes_of(route(7, Some(Ipv4Addr::new(10, 213, 0, 14)), None));
        assert_eq!(bytes[16..28], [2, 32, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[40..], [10, 213, 0, 14]);
        let bytes = netlink::bytes_of(wire());
        assert_eq!(bytes.len(), 16 + 16 + 12 + 60);
    }
}
