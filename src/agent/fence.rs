//! What a codespace cannot reach: routes that refuse, in its own network namespace, and a filter for what goes round routes.
//!
//! Owns putting them up, for which a container of the runtime's has the right, and seeing that the routes stand, without
//! which an agent does not begin. Refuses to know which networks these are: the runtime says.

mod filter;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use thiserror::Error;

use super::netlink::{self, Message};
use crate::domain::Network;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTM_NEWROUTE: u16 = 24;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
/// The narrowest scope: wider ones are passed over for packets that shall take no gateway (SO_DONTROUTE).
const RT_SCOPE_HOST: u8 = 254;
/// Packets are refused with "administratively prohibited", so that programs fail at once.
const RTN_PROHIBIT: u8 = 8;
const RTA_DST: u16 = 1;
/// In `/proc/net/route`: a route that refuses.
const RTF_REJECT: u32 = 0x200;

/// How long an agent waits for its fence.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no fence.
#[derive(Debug, Error)]
pub enum FenceError {
    #[error("{0:?} is no network")]
    Network(String),
    #[error("{network} could not be put out of reach")]
    Route { network: Network, source: io::Error },
    #[error("this codespace's network was not closed off: {0} can be reached")]
    Open(Network),
    #[error(
        "the kernel has no nftables ({0}), without which a program gets past the fence by naming its interface; load nf_tables, or say \
         docker.fence_without_filter = true"
    )]
    Filter(io::Error),
}

/// Puts networks out of reach. IPv6 ones are passed over where there is no IPv6. The routes come last: where they stand, so does
/// the filter, unless it need not.
pub fn put_up(networks: &[String], needs_filter: bool) -> Result<(), FenceError> {
    let networks = parse(networks)?;
    match filter::put_up(&networks) {
        Err(error) if needs_filter => return Err(FenceError::Filter(error)),
        Err(error) => tracing::warn!(%error, "there is no filter"),
        Ok(()) => {}
    }
    for network in &networks {
        match netlink::ask(None, [request(network)]) {
            Ok(()) => {}
            Err(error) if network.first().is_ipv6() && error.raw_os_error() != Some(1) => {
                tracing::debug!(%network, %error, "passed over");
            }
            Err(source) => return Err(FenceError::Route { network: *network, source }),
        }
    }
    Ok(())
}

/// Waits until IPv4 networks are out of reach.
pub async fn wait(networks: &[String]) -> Result<(), FenceError> {
    let networks = parse(networks)?;
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let mut open = networks
            .iter()
            .filter(|network| network.first().is_ipv4() && !is_refused(&routes, network));
        let Some(open) = open.next() else { return Ok(()) };
        if tokio::time::Instant::now() > until {
            return Err(FenceError::Open(*open));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn parse(networks: &[String]) -> Result<Vec<Network>, FenceError> {
    let parse = |text: &String| text.parse().map_err(|_| FenceError::Network(text.clone()));
    networks.iter().map(parse).collect()
}

/// Whether `/proc/net/route` shows a route for just this network that refuses.
fn is_refused(routes: &str, network: &Network) -> bool {
    routes.lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let hex = |at: usize| fields.get(at).and_then(|text| u32::from_str_radix(text, 16).ok());
        // Addresses are written as the machine holds them.
        let (Some(first), Some(flags), Some(mask)) = (hex(1), hex(3), hex(7)) else {
            return false;
        };
        let first = Ipv4Addr::from(first.to_ne_bytes());
        let prefix = u32::from_ne_bytes(mask.to_ne_bytes()).count_ones();
        flags & RTF_REJECT != 0 && IpAddr::V4(first) == network.first() && prefix == u32::from(network.prefix())
    })
}

/// A route that refuses, as `rtnetlink(7)` says.
fn request(network: &Network) -> Message {
    let (family, address) = octets(network.first());
    let fixed = [
        family,
        network.prefix(),
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        RT_SCOPE_HOST,
        RTN_PROHIBIT,
        0,
        0,
        0,
        0,
    ];
    let route = Message::new(RTM_NEWROUTE, netlink::CREATE | netlink::REPLACE, &fixed);
    route.attribute(RTA_DST, &address).acknowledged()
}

/// The kernel's number of an address's family, and its bytes.
fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().into()),
        IpAddr::V6(address) => (AF_INET6, address.octets().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_refuse_are_known() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100D50A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000D50A\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0\n\
            *\t0100D50A\t00000000\t0205\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
            *\t0000FEA9\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        #[track_caller]
        fn check(routes: &str, network: &str, expected: bool) {
            assert_eq!(is_refused(routes, &network.parse().expect("a network")), expected, "{network}");
        }
        check(routes, "169.254.0.0/16", true);
        check(routes, "10.213.0.1/32", true);
        check(routes, "10.213.0.0/28", false);
        check(routes, "169.254.0.0/17", false);
        check(routes, "10.0.0.0/8", false);
        check("", "10.0.0.0/8", false);
        check("x\ny z\n", "10.0.0.0/8", false);
    }

    #[test]
    fn what_is_asked_of_the_kernel() {
        let network = "169.254.0.0/16".parse().expect("a network");
        let bytes = netlink::bytes_of(request(&network));
        assert_eq!(bytes.len(), 36);
        assert_eq!(bytes[16..24], [2, 16, 0, 0, 254, 4, 254, 8]);
        assert_eq!(bytes[32..], [169, 254, 0, 0]);
        assert!(put_up(&["somewhere".into()], true).is_err());
    }
}
