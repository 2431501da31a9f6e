//! The two consistent worlds in which an app can live behind the gateway (`product.md` §5).

use crate::{
    domain::{CodespaceName, Port},
    route::{Origin, Route, Scheme, Sites},
};

/// How the app is addressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum World {
    /// As at home: Host `localhost:PORT`, Origin and Referer to match, no forwarded host or scheme.
    Localhost,
    /// As the browser sees it, with `X-Forwarded-Host` and `-Proto`.
    Preserve,
}

/// Translates origins between what the browser knows and what an app in the localhost world knows.
#[derive(Clone, Copy, Debug)]
pub struct Translation<'a> {
    pub sites: &'a Sites,
    pub name: &'a CodespaceName,
    /// What the app itself speaks, for the origins it knows.
    pub app_scheme: Scheme,
}

impl Translation<'_> {
    /// The origin or URL as the app would see it at home, if it belongs to this codespace's ports.
    pub fn inward(&self, url: &str) -> Option<String> {
        let (origin, rest) = split_url(url)?;
        match self.sites.route_of_origin(origin)? {
            Route::Port(name, port) if name == *self.name => Some(format!("{}://localhost:{port}{rest}", self.app_scheme.as_str())),
            _ => None,
        }
    }

    /// The origin or URL as the browser must see it, if it names a loopback port.
    pub fn outward(&self, url: &str) -> Option<String> {
        if url.starts_with("//") {
            return self.outward(&format!("{}:{url}", self.app_scheme.as_str()));
        }
        let (origin, rest) = split_url(url)?;
        let origin: Origin = origin.to_ascii_lowercase().parse().ok()?;
        let loopback = matches!(origin.host.as_str(), "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0");
        let port = Port::new(origin.port).filter(|_| loopback)?;
        Some(format!("{}{rest}", self.sites.port(self.name, port)))
    }
}

/// Splits a URL into its origin and what follows it.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    Some(url.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translations() {
        let sites = Sites::new("https://portico.example".parse().expect("an origin"), "apps.example.net");
        let name = "amber-x".parse().expect("a name");
        let world = Translation {
            sites: &sites,
            name: &name,
            app_scheme: Scheme::Http,
        };
        assert_eq!(
            world.inward("https://amber-x-3000.apps.example.net").as_deref(),
            Some("http://localhost:3000")
        );
        assert_eq!(
            world.inward("https://amber-x-3000.apps.example.net/a?b").as_deref(),
            Some("http://localhost:3000/a?b")
        );
        for other in [
            "https://other-y-3000.apps.example.net",
            "https://amber-x.apps.example.net",
            "http://amber-x-3000.apps.example.net",
            "null",
            "https://evil.com",
        ] {
            assert_eq!(world.inward(other), None, "{other}");
        }
        assert_eq!(
            world.outward("http://localhost:3000/login?next=1").as_deref(),
            Some("https://amber-x-3000.apps.example.net/login?next=1")
        );
        assert_eq!(
            world.outward("http://127.0.0.1:8000").as_deref(),
            Some("https://amber-x-8000.apps.example.net")
        );
        for own in [
            "//localhost:3000/",
            "HTTP://LocalHost:3000/",
            "http://[::1]:3000/",
            "http://0.0.0.0:3000/",
            "https://127.0.0.1:3000/",
        ] {
            assert_eq!(
                world.outward(own).as_deref(),
                Some("https://amber-x-3000.apps.example.net/"),
                "{own}"
            );
        }
        for other in [
            "/relative",
            "https://evil.com/",
            "http://localhost:0/",
            "///localhost:3000/",
            "//evil.com/http://localhost:3000/",
            "http://localhost:3000@evil.com/",
            "http://localhost.evil.com:3000/",
        ] {
            assert_eq!(world.outward(other), None, "{other}");
        }
    }
}
