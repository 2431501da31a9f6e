//! Which hosts are of the same site, as browsers see it (DOM-1).

use std::net::IpAddr;

use super::Config;

/// Tells whether codespace hosts are of the same site as the gateway host: then pages of codespaces can set and evict its
/// cookies.
pub(super) fn is_same_site(config: &Config) -> bool {
    // A domain that is itself a public suffix makes each host under it a site of its own.
    site(&config.url.host) == site(&format!("x.{}", config.domain))
}

/// The registrable domain of a host; the host itself where it has none. Each name under `localhost` is its own site,
/// because `localhost` counts as a top-level domain.
fn site(host: &str) -> &str {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address { host } else { psl::domain_str(host).unwrap_or(host) }
}

#[cfg(test)]
mod tests {
    use super::super::keys::defaults;
    use super::*;

    #[test]
    fn dom_1_same_site() {
        #[track_caller]
        fn check(host: &str, domain: &str, expected: bool) {
            let mut config = defaults();
            config.url.host = host.into();
            config.domain = domain.into();
            assert_eq!(is_same_site(&config), expected, "{host} {domain}");
        }
        check("portico.localhost", "codespaces.localhost", false);
        check("portico.localhost", "portico.localhost", true);
        check("portico.localhost", "cs.portico.localhost", true);
        check("localhost", "codespaces.localhost", false);
        check("portico.example.com", "cs.example.com", true);
        check("portico.example.com", "example.com", true);
        check("portico.example.com", "example.net", false);
        check("portico.example.co.uk", "cs.other.co.uk", false);
        check("portico.example.co.uk", "cs.example.co.uk", true);
        check("example.com", "github.io", false);
        check("me.github.io", "you.github.io", false);
        check("127.0.0.1", "codespaces.localhost", false);
        check("[::1]", "codespaces.localhost", false);
        check("192.168.0.1", "0.1.example.com", false);
    }
}
