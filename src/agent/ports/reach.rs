//! Which loopback addresses lead to this codespace's own sockets; pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::listeners::Listener;

/// The addresses to dial for one port, best first.
///
/// An address counts only if every socket that might receive the connection is ours: with `SO_REUSEPORT` the kernel
/// picks one, and a closed socket leaves its connections to a wider one.
pub(super) fn reachable(listeners: &[Listener], ours: impl Fn(&Listener) -> bool) -> Vec<IpAddr> {
    let mut candidates: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut bound: Vec<IpAddr> = listeners.iter().map(|listener| listener.address.to_canonical()).collect();
    bound.sort();
    for address in bound {
        if address.is_loopback() && !candidates.contains(&address) {
            candidates.push(address);
        }
    }
    candidates.retain(|address| {
        let mut receivers = listeners.iter().filter(|listener| listener.receives(*address)).peekable();
        receivers.peek().is_some() && receivers.all(&ours)
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sockets as `ADDRESS` (ours) or `!ADDRESS` (someone else's); `::6` is `::` without IPv4.
    fn check(sockets: &[&str], expected: &[&str]) {
        let listeners: Vec<_> = sockets
            .iter()
            .map(|text| {
                let address = text.trim_start_matches('!');
                let v6_only = address == "::6";
                let address = if v6_only { "::" } else { address }.parse().expect("an address");
                Listener {
                    port: 3000,
                    address,
                    v6_only,
                    inode: u64::from(text.starts_with('!')),
                }
            })
            .collect();
        let reached: Vec<_> = reachable(&listeners, |listener| listener.inode == 0)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(reached, expected, "{sockets:?}");
    }

    #[test]
    fn addresses() {
        check(&[], &[]);
        check(&["127.0.0.1"], &["127.0.0.1"]);
        check(&["::1"], &["::1"]);
        check(&["0.0.0.0"], &["127.0.0.1"]);
        check(&["::"], &["127.0.0.1", "::1"]);
        check(&["::6"], &["::1"]);
        check(&["::ffff:127.0.0.1"], &["127.0.0.1"]);
        check(&["127.0.0.5", "127.0.0.5"], &["127.0.0.5"]);
        check(&["192.168.1.2", "169.254.169.254"], &[]);
        check(&["!127.0.0.1"], &[]);
        check(&["127.0.0.1", "!127.0.0.1"], &[]);
        check(&["127.0.0.1", "!::1"], &["127.0.0.1"]);
        check(&["127.0.0.1", "!0.0.0.0"], &[]);
        check(&["127.0.0.1", "::1", "!::"], &[]);
        check(&["127.0.0.1", "::1", "!::6"], &["127.0.0.1"]);
    }
}
