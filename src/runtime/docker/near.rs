//! What of the network is near: this machine, and what the operator puts out of codespaces' reach.
//!
//! Owns how that is told of a host: by its address in any spelling that some program reads as one, by the addresses that this
//! machine's interfaces have, and by where its name leads. What a repository names is fetched with this machine's way to the network, and never from there.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio::{net::lookup_host, time::timeout};

use super::{Options, allowed, fence};

/// How long a name may take to be looked up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a host says by itself that it is near, or is a number in a spelling that only some programs read.
pub fn is_spelt(options: &Options, host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.parse() {
        Ok(address) => is_address(options, address),
        // `127.1`, `0x7f.1` and `2130706433` are addresses to the C library, and no names to anybody.
        Err(_) => host.contains([':', '%']) || host.rsplit('.').next().is_some_and(is_number),
    }
}

/// Whether an address is near.
pub fn is_address(options: &Options, address: IpAddr) -> bool {
    let address = plain(address);
    let is_own = address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_interface(address);
    is_own
        || matches!(address, IpAddr::V4(address) if address.octets()[0] == 0 || address.is_broadcast())
        || is_local_translation(address)
        || fence::is_fenced(options, address)
}

/// Whether an interface of this machine has the address now, its first one or a later one. Nothing is sent.
fn is_interface(address: IpAddr) -> bool {
    let from = match address {
        // To a later address of an interface the kernel sends from the first, but a socket may have it for its own. Where any may
        // be had (ip_nonlocal_bind), one that is not this machine's cannot be sent from.
        IpAddr::V4(_) => address,
        // What goes to an address of this machine is sent from that very one (RFC 6724, rule 1).
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

/// Whether it is for a network's own translation to IPv4 (RFC 8215), which may lead anywhere near.
fn is_local_translation(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[..3] == [0x64, 0xff9b, 1])
}

/// Where a name leads; nothing where that cannot be told from here.
pub async fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    }
}

/// Why a host is not to be asked, from how it is spelt and from where it leads.
pub fn refusal(options: &Options, host: &str, found: &[SocketAddr]) -> Option<String> {
    let is_near = is_spelt(options, host) || found.iter().any(|address| is_address(options, address.ip()));
    is_near.then(|| format!("{host} is this machine itself, or where codespaces do not reach"))
}

/// Why a host is not to be asked by way of a proxy, which looks its name up for itself, when this machine cannot.
pub fn unknown(options: &Options, host: &str) -> String {
    format!(
        "where {host} leads cannot be looked up here, and a proxy could be led to this machine or its network. {}",
        allowed::advice(options)
    )
}

/// `HOST[:PORT]` in its parts; the port of HTTPS without one.
pub fn parts(authority: &str) -> (&str, u16) {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let split = authority[bracket..]
        .find(':')
        .map(|at| (&authority[..bracket + at], &authority[bracket + at + 1..]));
    match split {
        // A port that is none makes the whole a host that is none.
        Some((host, port)) => port.parse().map_or((authority, 443), |port| (host, port)),
        None => (authority, 443),
    }
}

fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The address of IPv4 that one of IPv6 stands for: mapped (RFC 4291), translated (RFC 2765, RFC 6052), 6to4 (RFC 3056).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(whole) = address else { return address };
    let bytes = whole.octets();
    let four = |at: usize| IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    match whole.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => four(12),
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => four(12),
        [0x2002, ..] => four(2),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn options() -> Options {
        Options {
            unreachable: vec!["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")],
            ..Options::default()
        }
    }

    #[test]
    fn spellings_of_what_is_near() {
        for host in [
            "",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "169.254.169.254",
            "10.9.9.9",
            "10.213.0.1",
            "::1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::ffff:0:127.0.0.1]",
            "[::ffff:0:a9fe:a9fe]",
            "[64:ff9b:1::]",
            "[64:ff9b:1:7f00:0:100::]",
            "[64:ff9b:1:fffe::a09:909]",
            "[fe80::1]",
            "fe80::1%eth0",
            "[fd12::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "255.255.255.255",
            "example.0x7f",
            "1.2.3",
            "1.2.3.4.5",
        ] {
            assert!(is_spelt(&options(), host), "{host}");
        }
        for host in [
            "ghcr.io",
            "registry.example.com",
            "192.0.2.1",
            "168.63.129.17",
            "[2001:db8::1]",
            "[64:ff9b::192.0.2.1]",
            "[64:ff9b:2::1]",
            "[::ffff:0:192.0.2.1]",
            "8.example",
            "0x7f.example",
            "host1",
            "a1.b2",
        ] {
            assert!(!is_spelt(&options(), host), "{host}");
        }
    }

    #[test]
    fn what_this_machines_interfaces_have_is_near() {
        let table = std::fs::read_to_string("/proc/net/fib_trie").expect("this kernel has one");
        let lines: Vec<&str> = table.lines().map(str::trim).collect();
        let own = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
        let own: Vec<IpAddr> = own.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok()).collect();
        assert!(own.contains(&Ipv4Addr::LOCALHOST.into()), "{table}");
        for address in own {
            assert!(is_address(&Options::default(), address), "{address}");
        }
        // Of the loopback interface all but the first are such as the kernel sends nothing from by itself.
        for address in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert!(is_interface(address.parse().expect("an address")), "{address}");
        }
        assert!(!is_interface("2001:db8::1".parse().expect("an address")));
        assert!(!is_interface(Ipv4Addr::new(192, 0, 2, 1).into()));
    }

    #[test]
    fn where_a_name_leads() {
        let found = |address: &str| [address.parse().expect("an address"), "192.0.2.1:443".parse().expect("an address")];
        for near in ["127.0.0.1:443", "10.1.2.3:443", "[::1]:443", "[::ffff:169.254.169.254]:80"] {
            let why = refusal(&options(), "rebound.example", &found(near)).expect("it is refused");
            assert!(why.starts_with("rebound.example is"), "{why}");
        }
        assert_eq!(refusal(&options(), "ghcr.io", &found("140.82.121.34:443")), None);
        assert_eq!(refusal(&options(), "unknown.example", &[]), None);
    }

    #[test]
    fn hosts_and_ports() {
        for (text, expected) in [
            ("ghcr.io", ("ghcr.io", 443)),
            ("ghcr.io:5000", ("ghcr.io", 5000)),
            ("[::1]:80", ("[::1]", 80)),
            ("[::1]", ("[::1]", 443)),
            ("a:b", ("a:b", 443)),
            ("a:1:2", ("a:1:2", 443)),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }
}
