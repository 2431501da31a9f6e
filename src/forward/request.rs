//! The head that an app receives: rebuilt, never passed on (decision 6).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header, uri::PathAndQuery};
use http_body::Body;

use super::{
    cookies::{self, Stripped},
    names,
    world::{Translation, World},
};
use crate::{
    domain::Port,
    route::{Origin, Scheme},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the gateway knows about a request and tells the app.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub world: World,
    /// The host under which the client asked.
    pub host: &'a HostTexts,
    pub client: &'a ClientTexts,
    /// What is known of the `Cookie` value that the client sends.
    pub cookie: Option<&'a Stripped>,
    pub request_id: &'a str,
    /// The protocol to upgrade to, if the client asked for one.
    pub upgrade: Option<&'a HeaderValue>,
}

/// The texts for an app that follow from the host under which it was asked for: written once for many requests.
#[derive(Debug)]
pub struct HostTexts {
    /// `Host` in the preserving world: what the client sent, lower-cased.
    own: HeaderValue,
    /// `X-Forwarded-Host`.
    forwarded: HeaderValue,
    /// `Host` in the localhost world.
    localhost: HeaderValue,
    /// `Origin` of the host's own pages, and the same in the localhost world, of an app over http and over https.
    own_origin: Option<(HeaderValue, [HeaderValue; 2])>,
}

impl HostTexts {
    /// Writes the texts for an authority, the origin it stands for and the port of the app behind it.
    pub fn new(authority: &str, origin: Option<&Origin>, port: Option<Port>) -> Self {
        let own = value(authority);
        Self {
            forwarded: origin.map_or_else(|| own.clone(), |origin| value(&origin.authority())),
            localhost: port.map_or_else(|| own.clone(), |port| value(&format!("localhost:{port}"))),
            own_origin: origin.zip(port).map(|(origin, port)| {
                let home = [Scheme::Http, Scheme::Https].map(|scheme| value(&format!("{}://localhost:{port}", scheme.as_str())));
                (value(&origin.to_string()), home)
            }),
            own,
        }
    }

    /// What `Origin` becomes in the localhost world, if it names this very host: nearly always it does.
    fn origin_at_home(&self, origin: &HeaderValue, app: Scheme) -> Option<HeaderValue> {
        let (own, [http, https]) = self.own_origin.as_ref()?;
        let home = match app {
            Scheme::Http => http,
            Scheme::Https => https,
        };
        (own == origin).then(|| home.clone())
    }
}

/// The texts for an app that follow from a client's address and scheme: written once for a connection.
#[derive(Clone, Debug)]
pub struct ClientTexts {
    of: IpAddr,
    /// `X-Forwarded-For`.
    address: HeaderValue,
    /// `Forwarded` in the localhost world (RFC 7239).
    node: HeaderValue,
    /// `Forwarded` in the preserving world.
    node_and_scheme: HeaderValue,
    scheme: Scheme,
}

impl ClientTexts {
    /// Writes the texts for an address, as far as the gateway trusts it.
    pub fn new(address: IpAddr, scheme: Scheme) -> Self {
        let node = if address.is_ipv6() {
            format!("for=\"[{address}]\"")
        } else {
            format!("for={address}")
        };
        Self {
            of: address,
            address: value(&address.to_string()),
            node_and_scheme: value(&format!("{node};proto={}", scheme.as_str())),
            node: value(&node),
            scheme,
        }
    }

    /// Whether they are the texts for this address and scheme.
    pub fn are_of(&self, address: IpAddr, scheme: Scheme) -> bool {
        self.of == address && self.scheme == scheme
    }
}

/// A value of text that was parsed before; empty if it is none, which no parser of ours lets through.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Rebuilds a request's fields for the app; framing is left to the connection.
pub fn rebuild(client: &HeaderMap, facts: Facts<'_>, translation: Translation<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + 6);
    let nominated = nominated(client);
    let host = match facts.world {
        World::Localhost => &facts.host.localhost,
        World::Preserve => &facts.host.own,
    };
    headers.insert(header::HOST, host.clone());
    for (name, value) in client {
        if crosses(name, &nominated)
            && let Some(value) = translated(name, value, facts, translation)
        {
            headers.append(name, value);
        }
    }
    if let Some(te) = client.get(header::TE)
        && te
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = facts.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    add_own(&mut headers, facts);
    headers
}

/// The target for the app: path and query byte by byte (PATH-3), and `/` where there is no path, as in `http://host`
/// (RFC 9112 §3.2.1); written as it is, that would leave a request line of two words.
pub fn target(uri: &Uri) -> Uri {
    let target = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    if target.path().is_empty() { Uri::default() } else { target }
}

/// Says that a body of unknown length follows. Left to itself the connection sends none with a method that seldom has one,
/// such as GET (RFC 9112 §6.1).
pub fn announce_chunks(headers: &mut HeaderMap) {
    headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
}

/// Says a request in HTTP/2: the host stands in the target, and nothing belongs to the connection (RFC 9113 §8.2.2).
pub fn into_http_2<B>(request: &mut Request<B>, scheme: Scheme) {
    let host = request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let target = Uri::builder()
        .scheme(scheme.as_str())
        .authority(authority)
        .path_and_query(path)
        .build();
    if let Ok(target) = target {
        *request.uri_mut() = target;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Says it in HTTP/1.1 again, where the app turns out not to speak HTTP/2 any more.
pub fn into_http_1<B: Body>(request: &mut Request<B>) {
    let host = request
        .uri()
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = target(request.uri());
    *request.version_mut() = Version::HTTP_11;
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        announce_chunks(request.headers_mut());
    }
}

/// Takes the expectation from a request without a body: nobody may send it there, and an app that waits for the body all
/// the same would take the next request for it (RFC 9110 §10.1.1, SMUG-9).
pub fn expect_nothing(headers: &mut HeaderMap) {
    headers.remove(header::EXPECT);
}

/// Takes out of a webhook's call what a browser would add to it: the caller is known by the address alone, and its secret
/// must not come back in a `Referer`.
pub fn without_credentials(client: &mut HeaderMap) {
    for name in [header::COOKIE, header::REFERER] {
        client.remove(name);
    }
}

fn crosses(name: &HeaderName, nominated: &[HeaderName]) -> bool {
    let framing_or_host = *name == header::HOST || *name == header::CONTENT_LENGTH;
    !framing_or_host && !names::is_gateways_own(name.as_str()) && !names::is_hop_by_hop(name) && !nominated.contains(name)
}

/// The names that `Connection` nominates as belonging to this connection alone (HDR-2).
fn nominated(client: &HeaderMap) -> Vec<HeaderName> {
    client
        .get_all(header::CONNECTION)
        .iter()
        .filter(|value| !names::nominates_nothing(value))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

fn translated(name: &HeaderName, value: &HeaderValue, facts: Facts<'_>, translation: Translation<'_>) -> Option<HeaderValue> {
    if *name == header::COOKIE {
        let known = facts.cookie.filter(|known| known.is_of(value));
        return known.map_or_else(|| cookies::without_ours(value), Stripped::left);
    }
    // What a webhook's link answered may name its address to what it loads.
    if *name == header::REFERER && memchr::memmem::find(value.as_bytes(), b"/.portico/").is_some() {
        return None;
    }
    if *name == header::SEC_WEBSOCKET_PROTOCOL {
        return names::without_our_tokens(value);
    }
    // In a field that is not for it, a token of ours is taken away together with what stands beside it.
    if (*name == header::AUTHORIZATION && names::is_our_token(value.as_bytes())) || names::holds_our_token(value.as_bytes()) {
        return None;
    }
    if facts.world == World::Localhost && (*name == header::ORIGIN || *name == header::REFERER) {
        if let Some(home) = facts.host.origin_at_home(value, translation.app_scheme) {
            return Some(home);
        }
        let inward = value.to_str().ok().and_then(|url| translation.inward(url));
        return Some(
            inward
                .and_then(|url| HeaderValue::from_str(&url).ok())
                .unwrap_or_else(|| value.clone()),
        );
    }
    Some(value.clone())
}

fn add_own(headers: &mut HeaderMap, facts: Facts<'_>) {
    headers.insert(X_FORWARDED_FOR, facts.client.address.clone());
    headers.insert(X_REQUEST_ID, value(facts.request_id));
    match facts.world {
        World::Localhost => {
            headers.insert(header::FORWARDED, facts.client.node.clone());
        }
        World::Preserve => {
            headers.insert(header::FORWARDED, facts.client.node_and_scheme.clone());
            headers.insert(X_FORWARDED_HOST, facts.host.forwarded.clone());
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(facts.client.scheme.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Scheme, Sites};

    fn rebuilt(world: World, client: &[(&str, &str)]) -> Vec<String> {
        let sites = Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost");
        let name = "amber-x".parse().expect("a name");
        let origin = sites.port(&name, Port::new(3000).expect("a port"));
        let upgrade = HeaderValue::from_static("websocket");
        let client: HeaderMap = client
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().expect("a name"),
                    value.parse::<HeaderValue>().expect("a value"),
                )
            })
            .collect();
        let authority = origin.authority();
        let facts = Facts {
            world,
            host: &HostTexts::new(&authority, Some(&origin), Port::new(3000)),
            client: &ClientTexts::new("192.0.2.7".parse().expect("an address"), Scheme::Http),
            cookie: None,
            request_id: "r1",
            upgrade: client.contains_key("upgrade").then_some(&upgrade),
        };
        let translation = Translation {
            sites: &sites,
            name: &name,
            app_scheme: Scheme::Http,
        };
        let mut lines: Vec<String> = rebuild(&client, facts, translation)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn targets() {
        #[track_caller]
        fn check(uri: &str, expected: &str) {
            assert_eq!(target(&uri.parse().expect("a target")).to_string(), expected, "{uri}");
        }
        check("/a/../b?c=%zz", "/a/../b?c=%zz");
        check("*", "*");
        check("http://amber-x-3000.codespaces.localhost/a?b", "/a?b");
        check("http://amber-x-3000.codespaces.localhost", "/");
        check("http://amber-x-3000.codespaces.localhost#/a", "/");
    }

    #[test]
    fn what_a_client_sends_under_our_names_is_replaced() {
        let lines = rebuilt(
            World::Localhost,
            &[
                ("host", "amber-x-3000.codespaces.localhost:8080"),
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-host", "evil"),
                ("forwarded", "for=6.6.6.6"),
                ("x-portico-token", "secret"),
                ("x-real-ip", "6.6.6.6"),
                ("cookie", "a=1; __Host-portico_access=secret"),
                ("authorization", "Bearer app"),
                ("connection", "keep-alive, x-hop"),
                ("x-hop", "1"),
                ("te", "gzip, trailers"),
                ("origin", "http://amber-x-3000.codespaces.localhost:8080"),
                ("referer", "http://amber-x-3000.codespaces.localhost:8080/a"),
            ],
        );
        let expected = [
            "authorization: Bearer app",
            "cookie: a=1",
            "forwarded: for=192.0.2.7",
            "host: localhost:3000",
            "origin: http://localhost:3000",
            "referer: http://localhost:3000/a",
            "te: trailers",
            "x-forwarded-for: 192.0.2.7",
            "x-request-id: r1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn hdr_5_a_token_of_ours_in_the_apps_header_stays_behind() {
        for (sent, kept) in [
            ("Bearer pt_abc", false),
            ("bearer  pt_abc", false),
            ("Bearer app", true),
            ("Basic pt_abc", false),
            ("Basic YTpi", true),
            ("", true),
        ] {
            let lines = rebuilt(World::Localhost, &[("authorization", sent)]);
            assert_eq!(lines.iter().any(|line| line.starts_with("authorization")), kept, "{sent:?}");
        }
    }

    #[test]
    fn a_request_is_the_same_in_either_http() {
        let mut request = Request::builder()
            .uri("/a//b?c=%20")
            .header("host", "localhost:3000")
            .header("transfer-encoding", "chunked")
            .header("te", "trailers")
            .body(String::from("x"))
            .expect("a request");
        into_http_2(&mut request, Scheme::Http);
        assert_eq!(
            (request.uri().to_string().as_str(), request.version()),
            ("http://localhost:3000/a//b?c=%20", Version::HTTP_2)
        );
        assert_eq!(request.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["te"]);
        into_http_1(&mut request);
        assert_eq!(
            (request.uri().to_string().as_str(), request.version()),
            ("/a//b?c=%20", Version::HTTP_11)
        );
        assert_eq!(request.headers()["host"], "localhost:3000");
    }

    #[test]
    fn the_preserving_world_tells_host_and_scheme() {
        let lines = rebuilt(
            World::Preserve,
            &[
                ("origin", "http://amber-x-3000.codespaces.localhost:8080"),
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
            ],
        );
        let expected = [
            "connection: upgrade",
            "forwarded: for=192.0.2.7;proto=http",
            "host: amber-x-3000.codespaces.localhost:8080",
            "origin: http://amber-x-3000.codespaces.localhost:8080",
            "upgrade: websocket",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: amber-x-3000.codespaces.localhost:8080",
            "x-forwarded-proto: http",
            "x-request-id: r1",
        ];
        assert_eq!(lines, expected);
    }
}
