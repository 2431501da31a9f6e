//! What a stranger sends in a request's head, and an app in a response's.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use portico::{
    domain::Port,
    forward::{
        admission,
        cookies::{self, Stripped},
        names,
        request::{self, ClientTexts, Facts, HostTexts},
        response,
        world::{Translation, World},
    },
    route::{Authority, Origin, Route, Scheme, Sites},
};

use super::driver::fuzz;

const OURS: &str = "__host-portico_";

fn sites() -> Sites {
    Sites::new(
        "https://portico.example.org".parse::<Origin>().expect("an origin"),
        "apps.example.net",
    )
}

#[test]
fn authority() {
    let sites = sites();
    let words = [
        ".apps.example.net",
        "portico.example.org",
        "-3000",
        "-65535",
        ":443",
        "[::1]",
        "xn--",
        "@",
        "%2e",
        ".",
        "--",
        "0",
    ];
    fuzz("authority", &words, |input| {
        let Some(authority) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Authority>().ok()) else {
            return 0;
        };
        let text = authority.to_string();
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.:[]".contains(&byte)),
            "{text:?}"
        );
        assert_eq!(text.parse::<Authority>().as_ref(), Ok(&authority));
        assert_eq!(
            text.to_ascii_uppercase().parse::<Authority>().as_ref(),
            Ok(&authority),
            "case is nothing"
        );
        let route = sites.route(&authority);
        match &route {
            Route::Gateway => assert_eq!(authority.host(), "portico.example.org"),
            Route::Editor(name) => assert_eq!(authority.host(), format!("{name}.apps.example.net")),
            Route::Port(name, port) => assert_eq!(authority.host(), format!("{name}-{port}.apps.example.net"), "one spelling"),
            Route::NoSuchCodespace => assert!(authority.host().trim_end_matches('.').ends_with("apps.example.net")),
            Route::Foreign => assert!(!authority.host().ends_with(".apps.example.net")),
        }
        if let Some(origin) = sites.origin(&route) {
            assert_eq!(sites.route_of_origin(&origin.to_string()), Some(route.clone()));
        }
        match route {
            Route::Gateway => 1,
            Route::Editor(_) => 2,
            Route::Port(..) => 3,
            Route::NoSuchCodespace => 4,
            Route::Foreign => 5 + usize::from(authority.port().is_some()),
        }
    });
}

const FIELDS: [&str; 30] = [
    "Host: a\n",
    "Connection: close, x\n",
    "Connection: Cookie\n",
    "Cookie: __Host-portico_access=s3cr3t; a=1\n",
    "Authorization: Bearer pt_s3cr3t\n",
    "X-Portico-Token: s3cr3t\n",
    "x_portico_token: s3cr3t\n",
    "X-Forwarded-For: s3cr3t\n",
    "Forwarded: for=s3cr3t\n",
    "Content-Length: 5\n",
    "Transfer-Encoding: chunked\n",
    "Transfer-Encoding: gzip, chunked\n",
    "Upgrade: websocket\n",
    "TE: trailers\n",
    "Trailer: s3cr3t\n",
    "Proxy-Authorization: s3cr3t\n",
    "Keep-Alive: s3cr3t\n",
    "Origin: https://amber-x-3000.apps.example.net\n",
    "Referer: https://amber-x-3000.apps.example.net/a\n",
    "Set-Cookie: a=1; Domain=apps.example.net\n",
    "Set-Cookie: __Host-portico_access=s3cr3t\n",
    "Clear-Site-Data: s3cr3t\n",
    "Location: http://localhost:3000/a\n",
    "Alt-Svc: s3cr3t\n",
    "POST ",
    "OPTIONS * HTTP/1.1\n",
    "GET /.portico/ HTTP/1.1\n",
    "PRI * HTTP/2.0\n",
    "_",
    ",",
];

/// Fields as `Name: value` lines; lines that are none are left out.
fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}

fn texts(headers: &HeaderMap) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    lines.collect::<String>().to_ascii_lowercase()
}

#[test]
fn head() {
    fuzz("head", &FIELDS, |input| {
        let mut lines = input.split(|byte| *byte == b'\n');
        let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Ok(mut request) = Request::builder().method(method).uri(target).body(()) else {
            return 100;
        };
        *request.headers_mut() = fields(lines);
        let head = request.into_parts().0;
        if let Err(refusal) = admission::check(&head) {
            return refusal.status().as_u16() + refusal as u16 % 7;
        }
        let headers = &head.headers;
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        assert!(target == "*" || target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
        assert!(!matches!(head.method.as_str(), "CONNECT" | "TRACE" | "PRI"));
        assert!(headers.len() <= 100 && headers.get_all("content-length").iter().count() <= 1);
        assert!(!(headers.contains_key("content-length") && headers.contains_key("transfer-encoding")));
        assert!(
            headers
                .get_all("transfer-encoding")
                .iter()
                .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        );
        for line in headers.get_all("connection") {
            let line = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
            let mut named = line.split(',').map(|name| name.trim_matches([' ', '\t']));
            assert!(
                !named.any(|name| matches!(name, "host" | "cookie" | "authorization" | "forwarded") || name.starts_with("x-forwarded-"))
            );
        }
        assert!(
            !headers
                .keys()
                .any(|name| name.as_str().contains('_') && name.as_str().replace('_', "-").starts_with("x-forwarded-"))
        );
        200
    });
}

#[test]
fn rebuild() {
    let sites = sites();
    let name = "amber-x".parse().expect("a name");
    let port = Port::new(3000).expect("a port");
    let origin = sites.port(&name, port);
    let host = HostTexts::new(&origin.authority(), Some(&origin), Some(port));
    let client = ClientTexts::new("192.0.2.1".parse().expect("an address"), Scheme::Https);
    let translation = Translation {
        sites: &sites,
        name: &name,
        app_scheme: Scheme::Http,
    };
    fuzz("rebuild", &FIELDS, |input| {
        let sent = fields(input.split(|byte| *byte == b'\n'));
        let upgrade = sent.get("upgrade").cloned();
        // As a connection remembers it, and nothing else may come of it.
        let known = sent.get("cookie").map(Stripped::of);
        let mut kinds = 0;
        for world in [World::Localhost, World::Preserve] {
            let facts = Facts {
                world,
                host: &host,
                client: &client,
                cookie: known.as_ref(),
                request_id: "r1",
                upgrade: upgrade.as_ref(),
            };
            let app_sees = request::rebuild(&sent, facts, translation);
            assert_eq!(app_sees, request::rebuild(&sent, Facts { cookie: None, ..facts }, translation));
            let own = origin.authority();
            let expected = if world == World::Localhost { "localhost:3000" } else { &own };
            assert!(app_sees.get_all("host").iter().eq([expected]));
            assert!(!app_sees.contains_key("content-length") && !app_sees.contains_key("transfer-encoding"));
            assert_eq!(app_sees.contains_key("connection"), upgrade.is_some());
            for name in app_sees.keys().filter(|name| names::is_gateways_own(name.as_str())) {
                let own = [
                    "x-forwarded-for",
                    "forwarded",
                    "x-request-id",
                    "x-forwarded-host",
                    "x-forwarded-proto",
                ];
                assert!(own.contains(&name.as_str()), "{name}");
                let value = texts(&HeaderMap::from_iter([(name.clone(), app_sees[name].clone())]));
                assert!(!value.contains("s3cr3t"), "{value}");
            }
            let values = |name| {
                app_sees
                    .get_all(name)
                    .iter()
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
            };
            assert!(values("cookie").all(|value| !value.contains(OURS)), "{}", texts(&app_sees));
            for value in app_sees.get_all("authorization") {
                let value = String::from_utf8_lossy(value.as_bytes());
                let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                assert!(!token.is_some_and(|(_, token)| token.trim_start().starts_with("pt_")), "{value}");
            }
            kinds = kinds * 64 + app_sees.len().min(63);
        }
        if response::check_framing(&sent).is_ok() {
            assert!(sent.get_all("content-length").iter().count() + sent.get_all("transfer-encoding").iter().count() <= 1);
        }
        let mut client_sees = sent.clone();
        response::filter(&mut client_sees, World::Localhost, translation);
        for name in [
            "clear-site-data",
            "alt-svc",
            "strict-transport-security",
            "connection",
            "upgrade",
            "transfer-encoding",
            "x-portico-token",
        ] {
            assert!(!client_sees.contains_key(name), "{name}");
        }
        for cookie in client_sees.get_all("set-cookie") {
            assert!(
                !String::from_utf8_lossy(cookie.as_bytes())
                    .to_ascii_lowercase()
                    .contains("; domain=")
            );
        }
        (kinds, client_sees.len())
    });
}

#[test]
fn cookie() {
    let words = [
        "__Host-portico_access=",
        "__host-PORTICO_",
        "; ",
        ";",
        "=",
        "\"",
        ",",
        " ",
        "a=1",
        "Domain=",
        "domain",
        "Path=/",
    ];
    fuzz("cookie", &words, |input| {
        let Ok(value) = HeaderValue::from_bytes(input) else { return (0, 0) };
        let lower = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let kept = cookies::without_ours(&value);
        if let Some(kept) = &kept {
            assert!(!lower(kept).contains(OURS));
            assert_eq!(cookies::without_ours(kept).as_ref(), Some(kept), "once is enough");
        }
        // What is not ours is all there, in its order.
        let pairs = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let pairs = bytes.split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec());
            pairs
                .filter(|pair| !pair.is_empty() && !String::from_utf8_lossy(pair).to_ascii_lowercase().contains(OURS))
                .collect()
        };
        assert_eq!(
            kept.as_ref().map(|kept| pairs(kept.as_bytes())).unwrap_or_default(),
            pairs(value.as_bytes())
        );
        let narrowed = cookies::narrowed(&value);
        if let Some(narrowed) = &narrowed {
            let text = lower(narrowed);
            let (first, attributes) = text.split_once(';').unwrap_or((&text, ""));
            assert!(!first.contains(OURS));
            let mut attributes = attributes
                .split(';')
                .map(|attribute| attribute.split('=').next().unwrap_or_default().trim());
            assert!(!attributes.any(|name| name == "domain"), "{text}");
            assert_eq!(cookies::narrowed(narrowed).as_ref(), Some(narrowed), "once is enough");
        }
        (
            kept.map_or(9, |kept| usize::from(kept != value)),
            narrowed.map_or(9, |narrowed| usize::from(narrowed != value)),
        )
    });
}
