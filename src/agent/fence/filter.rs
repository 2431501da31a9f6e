//! The fence's filter: drops what goes round its routes.
//!
//! A socket that is bound to an interface (SO_BINDTODEVICE, IP_PKTINFO) asks the routes no more: the kernel takes
//! every address for a neighbour's then, and this machine's side of a network answers as one. IPv6's link-local addresses
//! have no other way at all. Both pass nftables' output hook, where a table of ours drops them. What is not sent, but put
//! onto the wire (AF_PACKET), passes no hook; codespaces lack the right to it.

use std::io;

use rustix::net::netlink::NETFILTER;

use super::octets;
use crate::{
    agent::netlink::{self, APPEND, CREATE, Message, Nest},
    domain::Network,
};

/// The table's name, and its only chain's.
const NAME: &[u8] = b"portico\0";

// From linux/netfilter/nfnetlink.h and nf_tables.h.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

/// Packets of this machine's own programs, on their way out.
const OUTPUT: u32 = 3;
const REGISTER: u32 = 1;
const REGISTER_OF_VERDICT: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// Where the network header begins, and where the destination is in it.
const NETWORK_HEADER: u32 = 1;
const DESTINATION_V4: u32 = 16;
const DESTINATION_V6: u32 = 24;
/// The interface that a packet leaves by; the first of a namespace is its loopback.
const OUT_INTERFACE: u32 = 5;
const LOOPBACK: u32 = 1;

/// Drops what is sent there; an error where the kernel has no nftables. Where it has no IPv6, nothing can be sent over that.
pub(super) fn put_up(networks: &[Network]) -> io::Result<()> {
    for is_v6 in [false, true] {
        let of_family: Vec<_> = networks.iter().filter(|network| network.first().is_ipv6() == is_v6).collect();
        match table(is_v6, &of_family) {
            Err(_) if is_v6 && !has_v6() => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether any interface has an address of IPv6, as all have on a kernel that knows it.
fn has_v6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|addresses| !addresses.trim().is_empty())
}

fn table(is_v6: bool, networks: &[&Network]) -> io::Result<()> {
    let family = if is_v6 { 10 } else { 2 };
    let of = |kind, flags| Message::new(kind, flags, &[family, 0, 0, 0]);
    let whole = || of(NEW_TABLE, CREATE).attribute(TABLE_NAME, NAME);
    // One that was there goes: deleted, once it is sure to be there.
    let mut messages = vec![
        bound(BATCH_BEGIN),
        whole(),
        of(DELETE_TABLE, 0).attribute(TABLE_NAME, NAME),
        whole(),
    ];
    messages.push(
        of(NEW_CHAIN, CREATE)
            .attribute(CHAIN_TABLE, NAME)
            .attribute(CHAIN_NAME, NAME)
            .nested(CHAIN_HOOK, |hook| {
                hook.attribute(HOOK_NUMBER, &OUTPUT.to_be_bytes())
                    .attribute(HOOK_PRIORITY, &0_u32.to_be_bytes())
            })
            .attribute(CHAIN_TYPE, b"filter\0"),
    );
    let rule = |expressions: &dyn for<'a> Fn(Nest<'a>) -> Nest<'a>| {
        of(NEW_RULE, CREATE | APPEND)
            .attribute(RULE_TABLE, NAME)
            .attribute(RULE_CHAIN, NAME)
            .nested(RULE_EXPRESSIONS, expressions)
    };
    // What stays in this namespace never leaves it, whatever its address.
    messages.push(rule(&|list| verdict(on_loopback(list), ACCEPT)));
    messages.extend(
        networks
            .iter()
            .map(|network| rule(&|list| verdict(destination(list, network), DROP))),
    );
    // The last one alone: errors are told in any case, and before it.
    let last = messages.pop().map(Message::acknowledged);
    messages.extend(last);
    messages.push(bound(BATCH_END));
    netlink::ask(Some(NETFILTER), messages)
}

fn bound(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, &[0, 0, high, low])
}

fn expression<'a>(list: Nest<'a>, name: &[u8], data: impl FnOnce(Nest<'_>) -> Nest<'_>) -> Nest<'a> {
    list.nested(LIST_ELEMENT, |element| {
        element.attribute(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, data)
    })
}

fn is_equal<'a>(list: Nest<'a>, value: &[u8]) -> Nest<'a> {
    expression(list, b"cmp\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &0_u32.to_be_bytes())
            .nested(3, |value_of| value_of.attribute(DATA_VALUE, value))
    })
}

fn on_loopback(list: Nest<'_>) -> Nest<'_> {
    let list = expression(list, b"meta\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &OUT_INTERFACE.to_be_bytes())
    });
    is_equal(list, &LOOPBACK.to_ne_bytes())
}

fn destination<'a>(list: Nest<'a>, network: &Network) -> Nest<'a> {
    let (_, address) = octets(network.first());
    let length = u32::try_from(address.len()).unwrap_or_default().to_be_bytes();
    let offset = if network.first().is_ipv6() {
        DESTINATION_V6
    } else {
        DESTINATION_V4
    };
    let mask = mask(network.prefix(), address.len());
    let list = expression(list, b"payload\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &NETWORK_HEADER.to_be_bytes())
            .attribute(3, &offset.to_be_bytes())
            .attribute(4, &length)
    });
    let list = expression(list, b"bitwise\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &REGISTER.to_be_bytes())
            .attribute(3, &length)
            .nested(4, |value| value.attribute(DATA_VALUE, &mask))
            .nested(5, |value| value.attribute(DATA_VALUE, &vec![0; address.len()]))
    });
    is_equal(list, &address)
}

fn verdict(list: Nest<'_>, code: u32) -> Nest<'_> {
    expression(list, b"immediate\0", |data| {
        data.attribute(1, &REGISTER_OF_VERDICT.to_be_bytes()).nested(2, |value| {
            value.nested(DATA_VERDICT, |verdict| verdict.attribute(VERDICT_CODE, &code.to_be_bytes()))
        })
    })
}

/// As many ones as the prefix is long, in an address's bytes.
fn mask(prefix: u8, length: usize) -> Vec<u8> {
    let ones = |at: usize| usize::from(prefix).saturating_sub(8 * at).min(8);
    (0..length)
        .map(|at| !u8::try_from(0xff_usize >> ones(at)).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(mask(16, 4), [255, 255, 0, 0]);
        assert_eq!(mask(28, 4), [255, 255, 255, 240]);
        assert_eq!(mask(0, 4), [0; 4]);
        assert_eq!(mask(10, 16)[..3], [255, 192, 0]);
        assert_eq!(mask(128, 16), [255; 16]);
    }
}
