//! From plain HTTP to https: on hosts of ours only, each made again from what was understood of it (REDIR-2).

use http::{HeaderValue, Response, StatusCode, Uri, header};

use crate::route::{Route, Scheme, Sites};

/// Where a request for one of our hosts belongs; none if it is no host of ours, or we have no https.
pub(super) fn location(sites: &Sites, route: &Route, target: &Uri) -> Option<HeaderValue> {
    if sites.gateway().scheme != Scheme::Https {
        return None;
    }
    let origin = match route {
        Route::Gateway => sites.gateway().clone(),
        route => sites.origin(route)?,
    };
    let path = target
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .strip_prefix('/')
        .unwrap_or_default();
    HeaderValue::from_str(&format!("{origin}/{path}")).ok()
}

/// Sends there, with method and body as they are (RFC 9110 §15.4.9).
pub(super) fn to<B: Default>(location: HeaderValue) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    // A permanent answer is kept for ever, and an operator may change their mind.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Authority;

    #[test]
    fn redir_2_only_to_hosts_of_ours() {
        let sites = |url: &str| Sites::new(url.parse().expect("an origin"), "codespaces.example");
        let found = |url: &str, host: &str, target: &str| {
            let sites = sites(url);
            let authority: Authority = host.parse().expect("an authority");
            let found = location(&sites, &sites.route(&authority), &target.parse().expect("a target"));
            found.map(|location| location.to_str().expect("text").to_owned())
        };
        let standard = |host: &str, target: &str| found("https://portico.test", host, target);
        assert_eq!(standard("portico.test", "/").as_deref(), Some("https://portico.test/"));
        assert_eq!(
            standard("PORTICO.test:80", "/a//b?c=%0d").as_deref(),
            Some("https://portico.test/a//b?c=%0d")
        );
        assert_eq!(
            standard("portico.test", "//evil.test/").as_deref(),
            Some("https://portico.test//evil.test/")
        );
        assert_eq!(
            standard("portico.test", "http://evil.test/x").as_deref(),
            Some("https://portico.test/x")
        );
        assert_eq!(standard("portico.test", "*").as_deref(), Some("https://portico.test/"));
        assert_eq!(
            standard("amber-x-3000.codespaces.example", "/a").as_deref(),
            Some("https://amber-x-3000.codespaces.example/a")
        );
        assert_eq!(
            found("https://portico.test:8443", "portico.test:8080", "/a").as_deref(),
            Some("https://portico.test:8443/a")
        );
        for host in [
            "evil.test",
            "portico.test.evil.test",
            "codespaces.example",
            "a_b.codespaces.example",
            "amber-x.codespaces.example.",
        ] {
            assert_eq!(standard(host, "/"), None, "{host}");
        }
        assert_eq!(found("http://portico.test", "portico.test", "/"), None, "no https to go to");
    }
}
