//! The hosts of one gateway: which authority addresses what, and the URL of each thing.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use thiserror::Error;

use super::Authority;
use crate::domain::{CodespaceName, Port};

/// What a request's authority addresses.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Route {
    /// The gateway host: dashboard, API, sign-in.
    Gateway,
    /// The editor of a codespace.
    Editor(CodespaceName),
    /// A port of a codespace.
    Port(CodespaceName, Port),
    /// Under DOMAIN, but no name that a codespace can have: answered like a codespace that does not exist.
    NoSuchCodespace,
    /// Not ours at all: 421.
    Foreign,
}

impl Route {
    /// The codespace it belongs to, if it is the host of one.
    pub fn codespace(&self) -> Option<&CodespaceName> {
        match self {
            Self::Editor(name) | Self::Port(name, _) => Some(name),
            Self::Gateway | Self::NoSuchCodespace | Self::Foreign => None,
        }
    }

    /// The port that it leads to, if it is the host of one.
    pub fn port(&self) -> Option<Port> {
        match self {
            Self::Port(_, port) => Some(*port),
            Self::Editor(_) | Self::Gateway | Self::NoSuchCodespace | Self::Foreign => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that URLs of this scheme leave out.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A web origin (RFC 6454), as it stands in an `Origin` header.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    pub scheme: Scheme,
    /// Lower-cased, without the port.
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// The host with the port where the scheme does not imply it: what a browser sends as `Host`.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether its host is an address, not a name.
    pub fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    /// Parses `http://host[:port]` with at most a single `/` behind it.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err(OriginError),
        };
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| OriginError)?;
        Ok(Self {
            scheme,
            host: authority.host().to_owned(),
            port: authority.port().unwrap_or(scheme.default_port()),
        })
    }
}

/// A text that is no origin.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("it must be http://HOST[:PORT] or https://HOST[:PORT], without a path")]
pub struct OriginError;

/// The hosts of one gateway, from `--url` and `--domain`.
///
/// Hosts under DOMAIN share scheme and port with the gateway's own URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sites {
    gateway: Origin,
    domain: String,
}

impl Sites {
    /// Puts the two together; `domain` is lower-cased.
    pub fn new(gateway: Origin, domain: &str) -> Self {
        Self {
            gateway,
            domain: domain.to_ascii_lowercase(),
        }
    }

    /// The gateway host's origin.
    pub fn gateway(&self) -> &Origin {
        &self.gateway
    }

    /// DOMAIN, without a port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Decides what an authority addresses; case and port number do not matter (HOST-2).
    pub fn route(&self, authority: &Authority) -> Route {
        let host = authority.host();
        if host == self.gateway.host {
            return Route::Gateway;
        }
        match host.strip_suffix(self.domain.as_str()).and_then(|rest| rest.strip_suffix('.')) {
            Some(label) => route_of_label(label),
            None if host == self.domain => Route::NoSuchCodespace,
            None if host.strip_suffix('.').is_some_and(|host| host.ends_with(&self.domain)) => Route::NoSuchCodespace,
            None => Route::Foreign,
        }
    }

    /// The origin of a codespace's editor.
    pub fn editor(&self, name: &CodespaceName) -> Origin {
        self.under(name.as_str())
    }

    /// The origin of a codespace's port.
    pub fn port(&self, name: &CodespaceName, port: Port) -> Origin {
        self.under(&format!("{name}-{port}"))
    }

    /// The origin of a route's host; none for hosts that are not ours.
    pub fn origin(&self, route: &Route) -> Option<Origin> {
        match route {
            Route::Gateway => Some(self.gateway.clone()),
            Route::Editor(name) => Some(self.editor(name)),
            Route::Port(name, port) => Some(self.port(name, *port)),
            Route::NoSuchCodespace | Route::Foreign => None,
        }
    }

    /// Reads an `Origin` header; none unless it is exactly one of our origins as browsers write them (RFC 6454 §6.1):
    /// lower-cased, with the port exactly where the scheme does not imply it.
    pub fn route_of_origin(&self, text: &str) -> Option<Route> {
        let authority = text.strip_prefix(self.gateway.scheme.as_str())?.strip_prefix("://")?;
        let host = if self.gateway.port == self.gateway.scheme.default_port() {
            authority
        } else {
            let (host, port) = authority.rsplit_once(':')?;
            (port.parse() == Ok(self.gateway.port) && !port.starts_with(['+', '0'])).then_some(host)?
        };
        if host == self.gateway.host {
            return Some(Route::Gateway);
        }
        let label = host.strip_suffix(self.domain.as_str())?.strip_suffix('.')?;
        let route = route_of_label(label);
        route.codespace().is_some().then_some(route)
    }

    /// DOMAIN with the port where the scheme does not imply it, for environment variables that build URLs.
    pub fn domain_authority(&self) -> String {
        Origin {
            host: self.domain.clone(),
            ..self.gateway.clone()
        }
        .authority()
    }

    fn under(&self, label: &str) -> Origin {
        Origin {
            host: format!("{label}.{}", self.domain),
            ..self.gateway.clone()
        }
    }
}

/// Reads a label under DOMAIN: the last segment is a port exactly if it is all digits (HOST-8).
fn route_of_label(label: &str) -> Route {
    let split = label
        .rsplit_once('-')
        .filter(|(_, last)| last.bytes().all(|byte| byte.is_ascii_digit()));
    let route = match split {
        Some((name, port)) => name.parse().ok().zip(port.parse().ok()).map(|(name, port)| Route::Port(name, port)),
        None => label.parse().ok().map(Route::Editor),
    };
    route.unwrap_or(Route::NoSuchCodespace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sites() -> Sites {
        Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost")
    }

    #[test]
    fn routes() {
        #[track_caller]
        fn check(host: &str, expected: &str) {
            let authority: Authority = host.parse().expect("an authority");
            let route = match sites().route(&authority) {
                Route::Gateway => "gateway".to_owned(),
                Route::Editor(name) => format!("editor {name}"),
                Route::Port(name, port) => format!("port {name} {port}"),
                Route::NoSuchCodespace => "no such codespace".to_owned(),
                Route::Foreign => "foreign".to_owned(),
            };
            assert_eq!(route, expected, "{host}");
        }
        check("portico.localhost:8080", "gateway");
        check("PORTICO.localhost", "gateway");
        check("amber-otter.codespaces.localhost:1", "editor amber-otter");
        check("amber-otter-3000.codespaces.localhost", "port amber-otter 3000");
        check("Amber-Otter-3000.Codespaces.Localhost:8080", "port amber-otter 3000");
        for label in [
            "amber-0",
            "amber-03000",
            "amber-65536",
            "amber--3000",
            "3000",
            "-3000",
            "amber_x",
            "xn--caf-dma",
            "a.b",
            "a.b-3000",
        ] {
            check(&format!("{label}.codespaces.localhost"), "no such codespace");
        }
        check("amber.codespaces.localhost.", "no such codespace");
        check("codespaces.localhost", "no such codespace");
        for foreign in [
            "localhost",
            "evil.com",
            "portico.localhost.evil.com",
            "xcodespaces.localhost",
            "127.0.0.1:8080",
            "[::1]:8080",
        ] {
            check(foreign, "foreign");
        }
    }

    #[test]
    fn origins_are_ours_only_exactly() {
        let sites = sites();
        assert_eq!(sites.route_of_origin("http://portico.localhost:8080"), Some(Route::Gateway));
        for other in [
            "null",
            "https://portico.localhost:8080",
            "http://portico.localhost",
            "http://portico.localhost:8080/",
            "http://a.codespaces.localhost",
            "http://evil.com",
            "http://portico.localhost:08080",
            "http://portico.localhost:+8080",
            "http://PORTICO.localhost:8080",
            "http://x@a.codespaces.localhost:8080",
            "http://codespaces.localhost:8080",
            "http://a.b.codespaces.localhost:8080",
            "",
        ] {
            assert_eq!(sites.route_of_origin(other), None, "{other}");
        }
        assert!(matches!(
            sites.route_of_origin("http://a-3000.codespaces.localhost:8080"),
            Some(Route::Port(..))
        ));
    }

    proptest! {
        #[test]
        fn host_8_every_name_and_port_round_trips(name in "[a-z0-9]{1,6}(-[a-z0-9]{1,6}){0,3}", number in 1u16..) {
            let Ok(name) = name.parse::<CodespaceName>() else { return Ok(()) };
            let port = Port::new(number).expect("not zero");
            let sites = sites();
            for route in [Route::Editor(name.clone()), Route::Port(name, port)] {
                let host = sites.origin(&route).expect("ours").authority();
                prop_assert_eq!(sites.route(&host.parse().expect("an authority")), route);
            }
        }
    }
}
