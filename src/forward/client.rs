//! Who a request is from, when proxies that the operator named stand in front (RFC 7239, `X-Forwarded-For`).
//!
//! Each proxy adds at the right end what it saw; what stands further left came with the request and may be made up. So
//! the client is the first hop from the right that is no named proxy (HDR-4). The list is cut at commas even inside a
//! quoted string: no address holds one, and a quote that a client left open cannot swallow what a proxy wrote behind it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use crate::{domain::Networks, route::Scheme};

/// The header that the named proxies write; the other is never read, because a proxy passes on what it does not write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Written {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Who a request is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client {
    pub address: IpAddr,
    /// What it spoke to the proxy next to it; none if nobody says.
    pub scheme: Option<Scheme>,
}

/// Most hops that are read; more is no chain of proxies.
const MAX_HOPS: usize = 32;

/// Finds the client behind a named proxy at `peer`. Allocates nothing.
pub fn client(headers: &HeaderMap, written: Written, peer: IpAddr, proxies: &Networks) -> Client {
    match written {
        Written::XForwarded => x_forwarded(headers, peer, proxies),
        Written::Forwarded => forwarded(headers, peer, proxies),
    }
}

fn x_forwarded(headers: &HeaderMap, peer: IpAddr, proxies: &Networks) -> Client {
    let (mut address, mut hop) = (peer, None);
    for (index, item) in items(headers, "x-forwarded-for").enumerate() {
        // Whoever wrote what cannot be read is the last one known.
        let Some(seen) = item.and_then(node) else { break };
        (address, hop) = (seen, Some(index));
        if !proxies.contains(seen) {
            break;
        }
    }
    // A proxy that does not keep the list says what its own client spoke, which is the best that is known of the hop.
    let protos = || items(headers, "x-forwarded-proto");
    let said = hop.and_then(|hop| protos().nth(hop)).or_else(|| protos().last());
    Client {
        address,
        scheme: said.flatten().and_then(scheme),
    }
}

fn forwarded(headers: &HeaderMap, peer: IpAddr, proxies: &Networks) -> Client {
    let mut client = Client {
        address: peer,
        scheme: None,
    };
    for item in items(headers, "forwarded") {
        let Some(element) = item.and_then(element) else { break };
        client.scheme = element.proto.and_then(scheme);
        let Some(seen) = element.node.and_then(node) else { break };
        client.address = seen;
        if !proxies.contains(seen) {
            break;
        }
    }
    client
}

/// The items of a list field from the right; none for one that is no text, which spoils no other of its line.
fn items<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = Option<&'a str>> {
    let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let items = lines.flat_map(|line| line.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let items = items.filter(|item| !item.is_empty()).map(|item| str::from_utf8(item).ok());
    items.take(MAX_HOPS)
}

/// What is read of an element of `Forwarded`.
struct Element<'a> {
    node: Option<&'a str>,
    proto: Option<&'a str>,
}

/// Reads one element; none if it is malformed or says a thing twice.
fn element(text: &str) -> Option<Element<'_>> {
    let mut element = Element { node: None, proto: None };
    for pair in text.split(';').map(|pair| pair.trim_matches([' ', '\t'])) {
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let value = unquoted(value)?;
        let place = if name.eq_ignore_ascii_case("for") {
            &mut element.node
        } else if name.eq_ignore_ascii_case("proto") {
            &mut element.proto
        } else {
            continue;
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some(element)
}

/// A token, or what is between quotes. No address needs a backslash or a quote inside, so there is none to undo.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => (!value.is_empty() && value.bytes().all(is_token)).then_some(value),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An address as proxies write it: alone, with a port, an IPv6 one in brackets (RFC 7239 §6); none if it is hidden.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(inner.parse().ok().filter(|_| is_port)?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) => IpAddr::V4(address.parse().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Traefik says `ws` and `wss` of WebSockets.
fn scheme(text: &str) -> Option<Scheme> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("https") || is("wss") {
        Some(Scheme::Https)
    } else if is("http") || is("ws") {
        Some(Scheme::Http)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn proxies() -> Networks {
        ["10.0.0.0/8", "2001:db8:a::/48"]
            .iter()
            .map(|network| network.parse().expect("a range"))
            .collect()
    }

    fn found(written: Written, fields: &[(&str, &str)]) -> Client {
        let headers = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (name.parse::<HeaderName>().expect("a name"), value)
        });
        client(&headers.collect(), written, PEER.parse().expect("an address"), &proxies())
    }

    #[track_caller]
    fn check(written: Written, fields: &[(&str, &str)], address: &str, scheme: Option<Scheme>) {
        let address = address.parse().expect("an address");
        assert_eq!(found(written, fields), Client { address, scheme }, "{fields:?}");
    }

    #[test]
    fn hdr_4_the_right_most_hop_that_is_no_proxy_of_ours() {
        let x = |value: &str, address: &str| check(Written::XForwarded, &[("x-forwarded-for", value)], address, None);
        x("192.0.2.7", "192.0.2.7");
        x("6.6.6.6, 192.0.2.7", "192.0.2.7");
        x("6.6.6.6, 192.0.2.7, 10.9.9.9", "192.0.2.7");
        x("6.6.6.6,192.0.2.7,\t10.9.9.9 , 2001:db8:a::1", "192.0.2.7");
        x("10.3.3.3, 10.2.2.2", "10.3.3.3");
        x("192.0.2.7:5123", "192.0.2.7");
        x("[2001:db8::7]:443, 10.1.1.1", "2001:db8::7");
        x("2001:db8::7", "2001:db8::7");
        x("::ffff:192.0.2.7", "192.0.2.7");
        x(", 192.0.2.7,", "192.0.2.7");
        for unknown in [
            "",
            "unknown",
            "_hidden",
            "192.0.2.7:x",
            "192.0.2.7:123456",
            "192.0.2.07",
            "[192.0.2.7]",
            "[::1",
            "\"192.0.2.7\"",
            "\u{fffd}",
            "1.2.3.4 5.6.7.8",
        ] {
            x(unknown, PEER);
            x(
                &format!("6.6.6.6, {unknown}, 10.2.2.2"),
                if unknown.is_empty() { "6.6.6.6" } else { "10.2.2.2" },
            );
        }
        x(&["10.2.2.2"; 40].join(","), "10.2.2.2");
        check(
            Written::XForwarded,
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-for", "10.2.2.2"),
            ],
            "192.0.2.7",
            None,
        );
        check(
            Written::XForwarded,
            &[("forwarded", "for=6.6.6.6"), ("x-real-ip", "6.6.6.6")],
            PEER,
            None,
        );
        check(
            Written::Forwarded,
            &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "http")],
            PEER,
            None,
        );
    }

    #[test]
    fn hdr_4_forwarded() {
        let forwarded = |value: &str, address: &str, scheme| check(Written::Forwarded, &[("forwarded", value)], address, scheme);
        let (plain, tls) = (Some(Scheme::Http), Some(Scheme::Https));
        forwarded("for=192.0.2.7;proto=https", "192.0.2.7", tls);
        forwarded("FOR=\"192.0.2.7:99\"; Proto=\"http\";by=_x;host=evil", "192.0.2.7", plain);
        forwarded(
            "for=6.6.6.6;proto=http, for=192.0.2.7;proto=https, for=10.2.2.2;proto=http",
            "192.0.2.7",
            tls,
        );
        forwarded("for=\"[2001:db8::7]:443\"", "2001:db8::7", None);
        // A client's open quote does not swallow what the proxy wrote.
        forwarded("for=\"6.6.6.6, for=192.0.2.7;proto=https", "192.0.2.7", tls);
        forwarded("for=6.6.6.6;x=\"a\\, for=192.0.2.7", "192.0.2.7", None);
        for hidden in [
            "for=unknown",
            "for=_gone",
            "proto=http",
            "for=6.6.6.6;for=6.6.6.6",
            "for = 6.6.6.6",
            "for",
            "=6.6.6.6",
            "for=",
            "for=\"6.6.6.6",
            "for=6.6.6.6\"",
            "fö=1;for=6.6.6.6",
        ] {
            let said = if hidden == "proto=http" { plain } else { None };
            forwarded(hidden, PEER, said);
        }
    }

    #[test]
    fn what_the_client_spoke() {
        let x = |addresses: &str, protos: &[&str], expected| {
            let fields: Vec<_> = [("x-forwarded-for", addresses)]
                .into_iter()
                .chain(protos.iter().map(|proto| ("x-forwarded-proto", *proto)))
                .collect();
            assert_eq!(found(Written::XForwarded, &fields).scheme, expected, "{fields:?}");
        };
        let (plain, tls) = (Some(Scheme::Http), Some(Scheme::Https));
        x("192.0.2.7", &["https"], tls);
        x("192.0.2.7", &["HTTP"], plain);
        x("192.0.2.7", &["wss"], tls);
        x("192.0.2.7", &[], None);
        x("192.0.2.7", &["gopher"], None);
        x("", &["https"], tls);
        x("6.6.6.6, 192.0.2.7", &["http, https"], tls);
        x("192.0.2.7, 10.2.2.2", &["https, http"], tls);
        x("192.0.2.7, 10.2.2.2", &["https", "http"], tls);
        x("192.0.2.7, 10.2.2.2", &["https"], tls);
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_the_proxys_word_counts(made_up in "[ -~]{0,200}", quoted: bool) {
            let (open, close) = if quoted { ("\"", "\"") } else { ("", "") };
            let written = [
                (Written::XForwarded, "x-forwarded-for", format!("{made_up}, 192.0.2.7, 10.2.2.2")),
                (Written::Forwarded, "forwarded", format!("{made_up}, for={open}192.0.2.7{close};proto=https, for=10.2.2.2")),
            ];
            for (written, name, value) in written {
                let address: IpAddr = "192.0.2.7".parse().expect("an address");
                prop_assert_eq!(found(written, &[(name, &value)]).address, address);
            }
        }

        #[test]
        fn anything_has_some_client(value in "[ -~\u{80}-\u{ff}]{0,300}") {
            for (written, name) in [(Written::XForwarded, "x-forwarded-for"), (Written::Forwarded, "forwarded")] {
                found(written, &[(name, &value)]);
            }
        }

        #[test]
        fn addresses_are_read_as_they_are_written(address: IpAddr, port: u16) {
            prop_assert_eq!(node(&address.to_string()), Some(address.to_canonical()));
            prop_assert_eq!(node(&std::net::SocketAddr::new(address, port).to_string()), Some(address.to_canonical()));
        }
    }
}
