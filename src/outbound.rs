//! The gateway's own ways out: to providers of identities and to certificate authorities.
//!
//! Owns how a host is reached: straight, or through the HTTP proxy that the operator named (RFC 9110 §9.3.6). Refuses to
//! know what is asked there, and TLS: whoever asks speaks it through the proxy with the host itself.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::domain::Network;

/// Longest answer to CONNECT that is read.
const MAX_ANSWER: usize = 8 * 1024;

/// How hosts are reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbound {
    pub proxy: Option<Proxy>,
    /// What is reached without it.
    pub direct: Vec<Direct>,
}

/// A proxy for CONNECT, reached in plain HTTP.
#[derive(Clone, PartialEq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

/// Something that is reached without the proxy, as `NO_PROXY` has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Direct {
    Everything,
    /// A domain with all names under it.
    Domain(String),
    Addresses(Network),
}

impl Proxy {
    /// Reads `http://[NAME:PASSWORD@]HOST[:PORT]`.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/"));
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let decoded: Option<Vec<u8>> = user.map(|user| percent_decode_str(user).collect());
        let host = uri.host().filter(|host| plain && !host.is_empty())?;
        Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authorization: decoded.map(|user| format!("Basic {}", STANDARD.encode(user))),
        })
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

impl Direct {
    /// Reads an item of a list: `*`, a domain (a dot in front says nothing), an address or a range; a port says nothing.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = text.trim_matches(['[', ']']).parse() {
            return Some(Self::Addresses(network));
        }
        let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
        let name = name.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        (plain && !name.is_empty()).then_some(Self::Domain(name))
    }

    fn holds(&self, host: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain(domain) => {
                let rest = host.strip_suffix(domain.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Self::Addresses(network) => host.parse().is_ok_and(|address: IpAddr| network.contains(address)),
        }
    }
}

impl Outbound {
    /// Connects to a host; the caller bounds the time. Names under `.localhost` are loopback (RFC 6761), which glibc does
    /// not know, and this machine is never reached through a proxy.
    pub async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        if is_localhost(&host) {
            let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
            return TcpStream::connect(&addresses[..]).await;
        }
        match self.proxy_for(&host) {
            Some(proxy) => proxy.connect(&host, port).await,
            None => TcpStream::connect((host.as_str(), port)).await,
        }
    }

    /// Whether a host is reached through the proxy, which then looks up its name.
    pub fn is_proxied(&self, host: &str) -> bool {
        self.proxy_for(&host.trim_matches(['[', ']']).to_ascii_lowercase()).is_some()
    }

    fn proxy_for(&self, host: &str) -> Option<&Proxy> {
        let direct = is_this_machine(host) || self.direct.iter().any(|direct| direct.holds(host));
        self.proxy.as_ref().filter(|_| !direct)
    }
}

/// Whether a host is this very machine by its name or address.
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    is_localhost(host) || address.is_ok_and(|address| address.is_loopback())
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

impl Proxy {
    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let told = |what: &str| io::Error::other(format!("the proxy {}:{} {what}", self.host, self.port));
        let mut stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| told(&format!("cannot be reached: {error}")))?;
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let mut request = format!("CONNECT {bracketed}:{port} HTTP/1.1\r\nHost: {bracketed}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte: what follows the answer's head is the host's own, and only TLS can judge it.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_ANSWER {
                return Err(told("gave no answer to CONNECT"));
            }
            head.push(stream.read_u8().await?);
        }
        match status(&head) {
            Some(200..=299) => Ok(stream),
            Some(407) => Err(told("wants to know who asks (407): write http://NAME:PASSWORD@HOST:PORT")),
            Some(status) => Err(told(&format!("refused to connect to {bracketed}:{port} ({status})"))),
            None => Err(told("gave no answer to CONNECT")),
        }
    }
}

/// The status of an answer's first line.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn proxies_are_read_and_their_passwords_kept() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, u16, Option<&str>)>) {
            let proxy = Proxy::parse(text);
            let found = proxy
                .as_ref()
                .map(|proxy| (proxy.host.as_str(), proxy.port, proxy.authorization.as_deref()));
            assert_eq!(found, expected, "{text}");
        }
        check("http://proxy.example:3128", Some(("proxy.example", 3128, None)));
        check("http://proxy.example/", Some(("proxy.example", 80, None)));
        check("http://[2001:db8::1]:3128", Some(("2001:db8::1", 3128, None)));
        check("http://ada:p%40ss@proxy:1", Some(("proxy", 1, Some("Basic YWRhOnBAc3M="))));
        for text in [
            "",
            "proxy:3128",
            "https://proxy:3128",
            "socks5://proxy:1080",
            "http://",
            "http://proxy/x",
            "http://a b",
        ] {
            check(text, None);
        }
        let shown = format!("{:?}", Proxy::parse("http://ada:canary@proxy:1"));
        assert_eq!(shown, "Some(Proxy(proxy:1))", "LOG-3");
    }

    #[test]
    fn what_goes_without_the_proxy() {
        #[track_caller]
        fn check(list: &str, host: &str, through: bool) {
            let outbound = Outbound {
                proxy: Proxy::parse("http://proxy:3128"),
                direct: list.split(',').filter_map(Direct::parse).collect(),
            };
            assert_eq!(outbound.proxy_for(host).is_some(), through, "{list} {host}");
        }
        check("", "id.example", true);
        for (list, host, through) in [
            ("id.example", "id.example", false),
            ("id.example", "a.id.example", false),
            (".id.example", "id.example", false),
            ("*.id.example", "a.id.example", false),
            ("ID.example:443", "id.example", false),
            ("id.example", "evil-id.example", true),
            ("id.example", "id.example.evil", true),
            ("10.0.0.0/8", "10.1.2.3", false),
            ("10.0.0.0/8", "11.1.2.3", true),
            ("10.0.0.0/8", "ten.example", true),
            ("2001:db8::/32", "2001:db8::7", false),
            ("*", "id.example", false),
            // This machine is never asked for elsewhere.
            ("", "localhost", false),
            ("", "id.localhost", false),
            ("", "127.0.0.1", false),
            ("", "::1", false),
            ("", "localhost.example", true),
        ] {
            check(list, host, through);
        }
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_host_by_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let outbound = Outbound {
            proxy: Proxy::parse(&format!("http://ada:secret@127.0.0.1:{port}")),
            direct: Vec::new(),
        };
        let answered = async |answer: &str| {
            let serve = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(stream.read_u8().await.expect("a request"));
                }
                // It may be gone before the end of a long answer.
                drop(stream.write_all(answer.as_bytes()).await);
                String::from_utf8(asked).expect("text")
            };
            tokio::join!(outbound.dial("Id.Example", 443), serve)
        };
        let (dialled, asked) = answered("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello").await;
        assert_eq!(
            asked,
            "CONNECT id.example:443 HTTP/1.1\r\nHost: id.example:443\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n"
        );
        let mut first = [0; 5];
        dialled
            .expect("connected")
            .read_exact(&mut first)
            .await
            .expect("the host's own bytes");
        assert_eq!(&first, b"hello");
        for (answer, said) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants to know who asks"),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "refused to connect to id.example:443 (403)"),
            ("HTTP/2 200\r\n\r\n", "gave no answer"),
            ("\r\n\r\n", "gave no answer"),
            (&format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(9000)), "gave no answer"),
        ] {
            let refused = answered(answer).await.0.expect_err("no connection").to_string();
            assert!(refused.contains(said) && !refused.contains("secret"), "{refused}");
        }
    }
}
