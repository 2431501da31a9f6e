//! Listening TCP sockets of this network namespace, from the kernel.
//!
//! Owns where the list comes from: netlink `sock_diag`, else `/proc/net/tcp{,6}`. Refuses to know: whose they are.

mod netlink;
mod proc_net;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

/// Where Docker answers a container's questions for names: nobody inside listens there.
const DOCKER_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// A listening socket.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Listener {
    pub port: u16,
    pub address: IpAddr,
    /// Whether a socket on `::` leaves IPv4 alone.
    pub v6_only: bool,
    pub inode: u64,
}

/// Lists listening sockets: all, or those of one port.
pub(super) fn list(port: Option<u16>) -> io::Result<Vec<Listener>> {
    let mut found = netlink::list(port).or_else(|_| proc_net::list(port))?;
    found.retain(|listener| listener.address != DOCKER_RESOLVER);
    Ok(found)
}

impl Listener {
    /// Whether a connection to `address` and this port may arrive here.
    pub fn receives(&self, address: IpAddr) -> bool {
        match self.address.to_canonical() {
            own if own == address => true,
            IpAddr::V4(own) => own.is_unspecified() && address.is_ipv4(),
            IpAddr::V6(own) => own.is_unspecified() && (address.is_ipv6() || !self.v6_only),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn both_sources_see_real_sockets() {
        let four = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let port = four.local_addr().expect("it is bound").port();
        let six = TcpListener::bind(("::1", port)).ok();
        for (source, list) in [("netlink", netlink::list(Some(port))), ("proc", proc_net::list(Some(port)))] {
            let list = list.expect(source);
            let mut addresses: Vec<_> = list.iter().map(|listener| listener.address.to_string()).collect();
            addresses.sort();
            let expected: &[&str] = if six.is_some() { &["127.0.0.1", "::1"] } else { &["127.0.0.1"] };
            assert_eq!(addresses, expected, "{source}");
            assert!(
                list.iter().all(|listener| listener.port == port && listener.inode != 0),
                "{source}: {list:?}"
            );
        }
        let all = netlink::list(None).expect("netlink");
        assert!(all.iter().any(|listener| listener.port == port));
    }
}
