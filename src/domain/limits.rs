//! What the owner of a port lets through; nothing is limited until they say so.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

use super::Network;

/// Most ranges of addresses.
const MAX_RANGES: usize = 64;

/// Limits of one port. Its text is `rate=10 connections=5 body=1048576 from=10.0.0.0/8,192.0.2.7/32`; empty for none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PortLimits {
    /// Requests a second, all clients together; as many may come at once.
    pub rate: Option<u32>,
    /// Requests and sockets under way at once.
    pub connections: Option<u32>,
    /// Bytes of a request's body.
    pub body: Option<u64>,
    /// Where clients may come from; empty for anywhere.
    pub from: Vec<Network>,
}

/// The limit that a request ran into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exceeded {
    Rate(u32),
    Connections(u32),
    Body(u64),
    Address,
}

impl PortLimits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether clients may come from an address.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|range| range.contains(address))
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(
                f,
                "it takes at most {rate} {} a second",
                if *rate == 1 { "request" } else { "requests" }
            ),
            Self::Connections(count) => write!(f, "it takes at most {count} at once, requests and sockets together"),
            Self::Body(bytes) => write!(f, "it takes at most {bytes} bytes in a request"),
            Self::Address => f.write_str("it takes requests from certain addresses only, and yours is not one of them"),
        }
    }
}

impl fmt::Display for PortLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from: Vec<String> = self.from.iter().map(Network::to_string).collect();
        let parts = [
            self.rate.map(|rate| format!("rate={rate}")),
            self.connections.map(|count| format!("connections={count}")),
            self.body.map(|bytes| format!("body={bytes}")),
            (!from.is_empty()).then(|| format!("from={}", from.join(","))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for PortLimits {
    type Err = PortLimitsError;

    fn from_str(text: &str) -> Result<Self, PortLimitsError> {
        let mut limits = Self::default();
        for part in text.split_ascii_whitespace() {
            let (name, value) = part.split_once('=').ok_or(PortLimitsError)?;
            match name {
                "rate" => limits.rate = Some(above_zero(value)?),
                "connections" => limits.connections = Some(above_zero(value)?),
                "body" => limits.body = Some(value.parse().map_err(|_| PortLimitsError)?),
                "from" => {
                    let ranges: Result<Vec<Network>, _> = value.split(',').map(str::parse).collect();
                    limits.from = ranges.map_err(|_| PortLimitsError)?;
                }
                _ => return Err(PortLimitsError),
            }
        }
        if limits.from.len() > MAX_RANGES {
            Err(PortLimitsError)
        } else {
            Ok(limits)
        }
    }
}

fn above_zero(text: &str) -> Result<u32, PortLimitsError> {
    text.parse().ok().filter(|number| *number > 0).ok_or(PortLimitsError)
}

/// A text that holds no limits.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "a rate and a number of connections are above 0, a body is a number of bytes, and addresses are at most 64 ranges such as 10.0.0.0/8"
)]
pub struct PortLimitsError;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    #[test]
    fn grammar() {
        for text in [
            "",
            "rate=1",
            "connections=5 body=0",
            "rate=10 connections=5 body=1048576 from=10.0.0.0/8,192.0.2.7/32",
        ] {
            assert_eq!(text.parse::<PortLimits>().map(|limits| limits.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "rate",
            "rate=0",
            "rate=-1",
            "connections=0",
            "body=x",
            "from=",
            "from=10.1.2.3/8",
            "speed=1",
            "rate=4294967296",
        ] {
            assert_eq!(text.parse::<PortLimits>(), Err(PortLimitsError), "{text}");
        }
        let many = vec!["10.0.0.1/32"; 65].join(",");
        assert_eq!(format!("from={many}").parse::<PortLimits>(), Err(PortLimitsError));
    }

    #[test]
    fn addresses() {
        let limits: PortLimits = "from=10.0.0.0/8,2001:db8::/32".parse().expect("limits");
        let admits = |address: &str| limits.admits(address.parse().expect("an address"));
        assert!(admits("10.1.2.3") && admits("::ffff:10.1.2.3") && admits("2001:db8::1"));
        assert!(!admits("11.0.0.1") && !admits("::1"));
        assert!(PortLimits::default().admits(IpAddr::from([1, 2, 3, 4])));
    }

    proptest! {
        #[test]
        fn text_and_back(rate in option::of(1_u32..), connections in option::of(1_u32..), body in option::of(any::<u64>()), from in vec(any::<[u8; 4]>(), 0..4)) {
            let from = from.into_iter().map(|address| IpAddr::from(address).to_string().parse().expect("an address")).collect();
            let limits = PortLimits { rate, connections, body, from };
            prop_assert_eq!(limits.to_string().parse::<PortLimits>(), Ok(limits));
        }
    }
}
