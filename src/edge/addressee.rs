//! What a host addresses, worked out once and remembered by the connection that keeps asking for it.
//!
//! Everything here follows from the text of the authority alone: nothing of a codespace's state is remembered.

use std::sync::Arc;

use crate::{
    domain::Port,
    forward::request::HostTexts,
    route::{Authority, AuthorityError, Origin, Route, Sites},
};

/// A host that was asked for.
#[derive(Debug)]
pub(super) struct Addressee {
    /// As the client wrote it.
    written: Box<str>,
    /// The same, lower-cased.
    pub authority: Authority,
    pub route: Route,
    /// None for hosts that are not ours.
    pub origin: Option<Arc<Origin>>,
    /// The same as pages of it write it.
    origin_text: Option<Box<str>>,
    /// How an app may be addressed under this host.
    pub texts: HostTexts,
}

impl Addressee {
    pub(super) fn parse(written: &str, sites: &Sites) -> Result<Self, AuthorityError> {
        let authority: Authority = written.parse()?;
        let route = sites.route(&authority);
        let origin = sites.origin(&route).map(Arc::new);
        Ok(Self {
            origin_text: origin.as_ref().map(|origin| origin.to_string().into()),
            written: written.into(),
            texts: HostTexts::new(authority.as_str(), origin.as_deref(), port_of(&route)),
            authority,
            route,
            origin,
        })
    }

    /// The host of ours that an `Origin` names: nearly always this one.
    pub(super) fn named_by(&self, origin: &str, sites: &Sites) -> Option<Route> {
        if self.origin_text.as_deref() == Some(origin) {
            return Some(self.route.clone());
        }
        sites.route_of_origin(origin)
    }

    pub(super) fn is_written(&self, text: &str) -> bool {
        *self.written == *text
    }
}

fn port_of(route: &Route) -> Option<Port> {
    match route {
        Route::Port(_, port) => Some(*port),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_names_what_it_would_name_without_memory() {
        let sites = Sites::new("https://portico.example:8443".parse().expect("an origin"), "apps.example.net");
        for host in [
            "amber-x-3000.apps.example.net:8443",
            "AMBER-X.apps.example.net:8443",
            "portico.example:8443",
            "evil.com",
        ] {
            let asked = Addressee::parse(host, &sites).expect("a host");
            for origin in [
                "https://amber-x-3000.apps.example.net:8443",
                "https://amber-x.apps.example.net:8443",
                "https://portico.example:8443",
                "http://amber-x-3000.apps.example.net:8443",
                "https://amber-x-3000.apps.example.net",
                "https://beryl-y-3000.apps.example.net:8443",
                "null",
                "",
            ] {
                assert_eq!(asked.named_by(origin, &sites), sites.route_of_origin(origin), "{host} {origin}");
            }
        }
    }
}
