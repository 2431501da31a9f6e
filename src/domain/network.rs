//! Ranges of addresses: whom the operator named.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use thiserror::Error;

/// A range of addresses in CIDR notation (RFC 4632), or one address. IPv4 is IPv4 however it is written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    /// How many bits its addresses have in common.
    prefix: u8,
}

impl Network {
    /// The IPv4 range with this first address; bits behind the prefix are dropped.
    pub fn v4(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let first = masked(address.into(), prefix).unwrap_or(address.into());
        Self { first, prefix }
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses have in common.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether two have an address in common: then one is inside of the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.prefix <= other.prefix {
            self.contains(other.first)
        } else {
            other.contains(self.first)
        }
    }

    /// The ranges of this prefix in it, in order; none of IPv6, and none that would be larger.
    pub fn parts(&self, prefix: u8) -> impl Iterator<Item = Self> + use<> {
        let first = match self.first {
            IpAddr::V4(address) if self.prefix <= prefix && prefix <= 32 => Some(u64::from(address.to_bits())),
            _ => None,
        };
        let (count, step) = (1_u64 << prefix.saturating_sub(self.prefix).min(32), 1_u64 << (32 - prefix.min(32)));
        let starts = first
            .into_iter()
            .flat_map(move |first| (0..count).map(move |part| first + part * step));
        starts.filter_map(move |start| Some(Self::v4(u32::try_from(start).ok()?.into(), prefix)))
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix).is_some_and(|first| first == self.first)
    }
}

/// One customer is one key: an IPv6 /64, an IPv4 address.
pub fn subnet(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

/// Ranges, of which an address needs to be in one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether it is everybody, so that naming it names nobody.
    pub fn is_everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix == 0)
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// A text that is no range.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("it must be an address or a range such as 10.0.0.0/8, without bits behind the prefix")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse().map_err(|_| NetworkError)?,
            Some(_) => return Err(NetworkError),
            None => bits(address),
        };
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) => (IpAddr::V4(mapped), u8::checked_sub(prefix, 96).ok_or(NetworkError)?),
            (address, _) => (address, prefix),
        };
        let first = masked(address, prefix).ok_or(NetworkError)?;
        // 10.1.2.3/8 is a slip of the pen for something narrower.
        if first == address {
            Ok(Self { first, prefix })
        } else {
            Err(NetworkError)
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first address of the range; none if there are fewer bits than the prefix has.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let rest = u32::from(bits(address).checked_sub(prefix)?);
    Some(match address {
        IpAddr::V4(address) => IpAddr::V4(u32::MAX.checked_shl(rest).map_or(0, |mask| address.to_bits() & mask).into()),
        IpAddr::V6(address) => IpAddr::V6(u128::MAX.checked_shl(rest).map_or(0, |mask| address.to_bits() & mask).into()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_is_in_a_range() {
        #[track_caller]
        fn check(network: &str, inside: &[&str], outside: &[&str]) {
            let network: Network = network.parse().expect("a range");
            for (addresses, expected) in [(inside, true), (outside, false)] {
                for address in addresses {
                    let address: IpAddr = address.parse().expect("an address");
                    assert_eq!(network.contains(address), expected, "{network} {address}");
                }
            }
        }
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            &["11.0.0.0", "9.255.255.255", "::1", "::10.0.0.1"],
        );
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        check("0.0.0.0/0", &["1.2.3.4"], &["::1"]);
        check("::/0", &["::1", "2001:db8::"], &["1.2.3.4", "::ffff:1.2.3.4"]);
        check("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::"]);
        check("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.0"]);
        check("127.0.0.0/31", &["127.0.0.1"], &["127.0.0.2"]);
    }

    #[test]
    fn what_is_no_range() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "host",
            "10.0.0.0/8/8",
            "::ffff:0.0.0.0/95",
            "[::1]",
            " ::1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text:?}");
        }
    }

    #[test]
    fn ranges_inside_of_ranges() {
        let network = |text: &str| text.parse::<Network>().expect("a range");
        let parts: Vec<_> = network("10.0.0.0/26").parts(28).map(|part| part.to_string()).collect();
        assert_eq!(parts, ["10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/28", "10.0.0.48/28"]);
        assert_eq!(network("255.255.255.240/28").parts(28).count(), 1);
        assert_eq!(network("10.0.0.0/28").parts(24).count(), 0);
        assert_eq!(network("fd00::/8").parts(28).count(), 0);
        assert_eq!(network("0.0.0.0/0").parts(28).nth(1), Some(network("0.0.0.16/28")));
        for (one, other, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.0.0.0/28", "10.0.0.16/28", false),
            ("10.0.0.0/8", "fd00::/8", false),
        ] {
            assert_eq!(network(one).overlaps(&network(other)), expected, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn ranges_round_trip(address: IpAddr, prefix in 0..=128_u8) {
            let address = address.to_canonical();
            let Some(first) = masked(address, prefix) else { return Ok(()) };
            let network: Network = format!("{first}/{prefix}").parse().expect("a range");
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert!(network.contains(address));
        }

        #[test]
        fn anything_is_a_range_or_not(text: String) {
            let _ = text.parse::<Network>();
        }
    }
}
