//! What can be typed after `portico ports`.

use std::net::IpAddr;

use clap::Args;

use super::{Where, Which};
use crate::domain::{Port, PortError};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico ports forward 5432:5432                  then: psql -h 127.0.0.1 -p 5432
  portico ports forward 5432:15432 80:8080 -c amber-otter-x7k2
  portico ports forward 6379:0 --json              any free local port; the output says which

The codespace's port comes first, as with `gh codespace ports forward`. Whoever may open a port may forward it: its owner, the people \
that it is shared with, and a token of scope port:NAME:PORT.")]
pub struct PortsForward {
    /// PORT:LOCAL, or PORT for the same on both sides; LOCAL 0 takes any free port.
    #[arg(required = true, value_name = "PORT:LOCAL", value_parser = port_mapping)]
    pub mappings: Vec<PortMapping>,
    /// The address of this machine to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

/// One `5432:15432`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortMapping {
    /// 0 for any.
    pub local: u16,
    pub remote: Port,
}

#[derive(Args, Debug)]
#[command(
    after_help = "A repository asks with customizations.portico.ports in its devcontainer.json. Nothing is shared before you accept."
)]
pub struct PortsOffer {
    /// Share all of it.
    #[arg(long, conflicts_with = "dismiss")]
    pub accept: bool,
    /// Share none of it, and do not ask again.
    #[arg(long)]
    pub dismiss: bool,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico ports limit 3000 --rate 20 --connections 50
  portico ports limit 3000 --body 10485760 --from 10.0.0.0/8,192.0.2.7
  portico ports limit 3000 --none

The limits that are given replace those before. They hold for everybody, yourself included, and count what begins from now on.")]
pub struct PortsLimit {
    /// The port's number.
    pub port: Port,
    /// Requests a second, all clients together.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..), required_unless_present_any = ["connections", "body", "from", "none"])]
    pub rate: Option<u32>,
    /// Requests and sockets at once.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: Option<u32>,
    /// Bytes of a request's body.
    #[arg(long, value_name = "BYTES")]
    pub body: Option<u64>,
    /// Where clients may come from.
    #[arg(long, value_name = "RANGES", value_delimiter = ',')]
    pub from: Vec<crate::domain::Network>,
    /// Limit nothing.
    #[arg(long, conflicts_with_all = ["rate", "connections", "body", "from"])]
    pub none: bool,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

fn port_mapping(text: &str) -> Result<PortMapping, String> {
    let (remote, local) = text.split_once(':').unwrap_or((text, text));
    let remote: Port = remote.parse().map_err(|error: PortError| error.to_string())?;
    let local = match local {
        "0" | "" => 0,
        local => local
            .parse::<Port>()
            .map_err(|error| format!("{error}, or 0 on the local side"))?
            .number(),
    };
    Ok(PortMapping { local, remote })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        for (text, expected) in [
            ("5432:5432", Some((5432, 5432))),
            ("5432:15432", Some((15432, 5432))),
            ("5432", Some((5432, 5432))),
            ("5432:0", Some((0, 5432))),
            ("5432:", Some((0, 5432))),
            ("0:5432", None),
            (":5432", None),
            ("1:2:3", None),
            ("80:70000", None),
            ("80:x", None),
            ("", None),
        ] {
            let found = port_mapping(text).ok().map(|mapping| (mapping.local, mapping.remote.number()));
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
