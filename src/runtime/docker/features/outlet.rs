//! The way out of the command line: a proxy on this machine's loopback, for one run.
//!
//! Owns where it leads: to the world, as builds may reach it, and to the registries that the operator names; never to this
//! machine or behind the fence, however that is spelt and wherever a name leads. Bounds how much comes in. It speaks CONNECT
//! alone (RFC 9110 §9.3.6), so that nothing is fetched in the clear, and leaves the operator's own proxy, with its password, to
//! the gateway.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    outbound::Outbound,
    runtime::docker::{Options, allowed, near},
};

/// Most connections at once.
const MOST: usize = 64;
/// Most bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// How long a head, or a connection that it asks for, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most bytes that come in during a run.
const MAX_FETCHED: u64 = 512 << 20;
/// Bytes that are passed on at a time.
const PIECE: usize = 16 * 1024;

/// Open until it is dropped.
#[derive(Debug)]
pub struct Outlet {
    gate: Arc<Gate>,
    port: u16,
    _serving: AbortOnDropHandle<()>,
}

/// What decides who passes.
#[derive(Debug)]
struct Gate {
    options: Options,
    outbound: Outbound,
    /// What the run presents: others on this machine can connect too.
    password: String,
    left: AtomicU64,
    /// The last thing that was not let through, in words.
    refused: Mutex<Option<String>>,
}

/// Why a request is answered with something else than a connection.
#[derive(Debug, PartialEq)]
enum Refusal {
    NotConnect,
    Stranger,
    Near(String),
    Unreached,
}

impl Outlet {
    pub async fn open(options: &Options, outbound: &Outbound) -> io::Result<Self> {
        Self::with(options, outbound, MAX_FETCHED).await
    }

    async fn with(options: &Options, outbound: &Outbound, most: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let gate = Arc::new(Gate {
            options: options.clone(),
            outbound: outbound.clone(),
            password: format!("{:032x}", rand::random::<u128>()),
            left: AtomicU64::new(most),
            refused: Mutex::default(),
        });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::clone(&gate))));
        Ok(Self {
            gate,
            port,
            _serving: serving,
        })
    }

    /// The variables that lead programs here.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        let url = format!("http://portico:{}@127.0.0.1:{}", self.gate.password, self.port);
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]
            .map(|name| (name, url.clone()))
            .into_iter()
    }

    /// A text without what opens it.
    pub fn hide(&self, text: &str) -> String {
        text.replace(&self.gate.password, "…")
    }

    /// What was not let through, if anything was.
    pub fn refused(&self) -> Option<String> {
        self.gate.refused.lock().clone()
    }
}

async fn serve(listener: TcpListener, gate: Arc<Gate>) {
    let mut open = JoinSet::new();
    loop {
        // A connection that cannot be accepted is one that the program tries again.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while open.try_join_next().is_some() {}
        if open.len() < MOST {
            let gate = Arc::clone(&gate);
            // An error is that one end went away.
            open.spawn(async move { drop(gate.pass(client).await) });
        }
    }
}

impl Gate {
    async fn pass(&self, mut client: TcpStream) -> io::Result<()> {
        let head = timeout(PATIENCE, head(&mut client)).await??;
        let reached = match asked(&head, &self.password) {
            Ok((host, port)) => self.reach(&host, port).await,
            Err(refusal) => Err(refusal),
        };
        let mut host = match reached {
            Ok(host) => host,
            Err(refusal) => {
                let status = refusal.status();
                if let Refusal::Near(why) = refusal {
                    *self.refused.lock() = Some(why);
                }
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return client.write_all(answer.as_bytes()).await;
            }
        };
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        let (mut from_client, to_client) = client.split();
        let (from_host, mut to_host) = host.split();
        let up = async {
            copy(&mut from_client, &mut to_host).await?;
            to_host.shutdown().await
        };
        tokio::try_join!(up, self.bring(from_host, to_client)).map(drop)
    }

    /// Connects to a host of the world's, at the very address that was looked at.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Refusal> {
        let is_named = allowed::is_named(&self.options, host, port);
        let found = if is_named { Vec::new() } else { near::look_up(host, port).await };
        if let Some(why) = near::refusal(&self.options, host, &found).filter(|_| !is_named) {
            return Err(Refusal::Near(why));
        }
        let is_proxied = self.outbound.is_proxied(host);
        if is_proxied && !is_named && found.is_empty() {
            return Err(Refusal::Near(near::unknown(&self.options, host)));
        }
        let connecting = async {
            if is_named || is_proxied {
                self.outbound.dial(host, port).await
            } else {
                TcpStream::connect(&found[..]).await
            }
        };
        match timeout(PATIENCE, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            _ => Err(Refusal::Unreached),
        }
    }

    /// Passes on what comes in, as long as it is not too much in all.
    async fn bring(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let count = from.read(&mut piece).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            let taken = self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count as u64));
            if taken.is_err() {
                *self.refused.lock() = Some(format!("features were more than {} MiB to fetch", MAX_FETCHED >> 20));
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            to.write_all(&piece[..count]).await?;
        }
    }
}

impl Refusal {
    fn status(&self) -> &'static str {
        match self {
            Self::NotConnect => "405 Method Not Allowed",
            Self::Stranger => "407 Proxy Authentication Required",
            Self::Near(_) => "403 Forbidden",
            Self::Unreached => "502 Bad Gateway",
        }
    }
}

/// A request's head, byte by byte: what follows it is the host's.
async fn head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(client.read_u8().await?);
    }
    Ok(head)
}

/// The host and port that a head asks for, from one who knows the password.
fn asked(head: &[u8], password: &str) -> Result<(String, u16), Refusal> {
    let head = std::str::from_utf8(head).map_err(|_| Refusal::NotConnect)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("CONNECT"), Some(authority)) = (words.next(), words.next()) else {
        return Err(Refusal::NotConnect);
    };
    let expected = format!("Basic {}", STANDARD.encode(format!("portico:{password}")));
    let presented = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        let is_it = name.eq_ignore_ascii_case("proxy-authorization");
        is_it.then(|| value.trim())
    });
    if presented != Some(expected.as_str()) {
        return Err(Refusal::Stranger);
    }
    let (host, port) = near::parts(authority);
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked() {
        let with = |line: &str| format!("CONNECT ghcr.io:443 HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
        let good = STANDARD.encode("portico:secret");
        #[track_caller]
        fn check(head: &str, expected: Result<(&str, u16), Refusal>) {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(asked(head.as_bytes(), "secret"), expected, "{head}");
        }
        check(&with(&format!("Proxy-Authorization: Basic {good}")), Ok(("ghcr.io", 443)));
        check(&with("Proxy-Authorization: Basic bm8="), Err(Refusal::Stranger));
        check(&with("X: y"), Err(Refusal::Stranger));
        check("GET http://ghcr.io/ HTTP/1.1\r\n\r\n", Err(Refusal::NotConnect));
        check("", Err(Refusal::NotConnect));
    }

    /// A host that says so many bytes to whoever connects.
    async fn host(bytes: usize) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(&vec![b'x'; bytes]).await;
            }
        });
        port
    }

    async fn ask(outlet: &Outlet, authority: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, outlet.port)).await.expect("connected");
        let credential = STANDARD.encode(format!("portico:{}", outlet.gate.password));
        let head = format!("CONNECT {authority} HTTP/1.1\r\nProxy-Authorization: Basic {credential}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("asked");
        let mut all = Vec::new();
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).expect("text")
    }

    #[tokio::test]
    async fn it_leads_to_no_near_host_that_the_operator_does_not_name() {
        let (named, other) = (host(100).await, host(100).await);
        let options = Options {
            images: vec![format!("127.0.0.1:{named}")],
            ..Options::default()
        };
        let outlet = Outlet::open(&options, &Outbound::default()).await.expect("open");
        assert!(ask(&outlet, &format!("127.0.0.1:{named}")).await.ends_with(&"x".repeat(100)));
        assert_eq!(outlet.refused(), None);
        for authority in [
            format!("127.0.0.1:{other}"),
            format!("localhost:{other}"),
            format!("127.1:{other}"),
            format!("2130706433:{other}"),
            format!("[::ffff:127.0.0.1]:{other}"),
            "169.254.169.254:80".into(),
        ] {
            let answer = ask(&outlet, &authority).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{authority}: {answer}");
            let why = outlet.refused().expect("it is told");
            assert!(why.contains(near::parts(&authority).0), "{why}");
        }
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_no_host_that_cannot_be_looked_up_here() {
        let proxy = host(100).await;
        let outbound = Outbound {
            proxy: crate::outbound::Proxy::parse(&format!("http://127.0.0.1:{proxy}")),
            ..Outbound::default()
        };
        // No resolver has a label of 64 letters.
        let unknown = format!("{}.example", "x".repeat(64));
        let outlet = Outlet::open(&Options::default(), &outbound).await.expect("open");
        let answer = ask(&outlet, &format!("{unknown}:443")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(outlet.refused().is_some_and(|why| why.contains("cannot be looked up here")));
        let named = Options {
            images: vec![unknown.clone()],
            ..Options::default()
        };
        let outlet = Outlet::open(&named, &outbound).await.expect("open");
        let answer = ask(&outlet, &format!("{unknown}:443")).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "the proxy was asked, and is none: {answer}");
        assert_eq!(outlet.refused(), None);
    }

    #[tokio::test]
    async fn no_more_comes_in_than_so_much() {
        let port = host(100_000).await;
        let options = Options {
            images: vec![format!("127.0.0.1:{port}")],
            ..Options::default()
        };
        let outlet = Outlet::with(&options, &Outbound::default(), 150_000).await.expect("open");
        let authority = format!("127.0.0.1:{port}");
        assert!(ask(&outlet, &authority).await.len() > 100_000);
        assert!(ask(&outlet, &authority).await.len() < 100_000, "of all connections together");
        assert!(outlet.refused().is_some_and(|why| why.contains("MiB")));
    }

    #[tokio::test]
    async fn the_password_is_for_the_program_alone() {
        let outlet = Outlet::open(&Options::default(), &Outbound::default()).await.expect("open");
        let (_, url) = outlet.environment().next().expect("a variable");
        assert_eq!(outlet.hide(&url), format!("http://portico:…@127.0.0.1:{}", outlet.port));
    }
}
