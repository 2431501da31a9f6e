//! The load that wrk and h2load do not make: WebSockets that echo or only stay, connections one after the other, bytes.
//!
//!     bench-load MODE --to ADDRESS --host HOST [--path P] [--header 'name: value']… [--ca FILE]
//!                [--count N] [--at-once N] [--rate R] [--ping S] [--seconds S] [--bytes B] [--pace B] [--resume yes]
//!
//! | mode | does |
//! |---|---|
//! | `echo` | `count` WebSockets, each sending `rate` messages a second for `seconds` |
//! | `idle` | `count` WebSockets that stay until the input ends, with a ping every `ping` seconds |
//! | `connect` | `count` connections, `at-once` at a time, one request each |
//! | `get` `put` | a download, of `pace` bytes a second if that is given; an upload |
//! | `down` `up` | bytes on an upgraded connection, from the app and to it |
//!
//! One thread. Prints one line of JSON; `idle` prints one when all sockets are open and one, with what became of them,
//! when its input ends.

mod bytes;
mod connect;
mod echo;
mod idle;

use std::{
    env,
    error::Error,
    io::BufReader,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, client::Resumption, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

type Failure = Box<dyn Error + Send + Sync>;

/// Any stream to a server.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Longest wait for any one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an echoed message; below 126, where the length is one byte (RFC 6455 §5.2).
const MESSAGE: u8 = 64;
/// Largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let options = Arc::new(Options::read(env::args().skip(1))?);
    let told = match options.mode.as_str() {
        "echo" => echo::echo(&options).await?,
        "idle" => idle::idle(&options).await?,
        "connect" => connect::connect(&options).await?,
        "get" => bytes::get(&options).await?,
        "put" => bytes::put(&options).await?,
        "down" => bytes::down(&options).await?,
        "up" => bytes::up(&options).await?,
        mode => return Err(format!("no mode {mode}").into()),
    };
    println!("{told}");
    Ok(())
}

struct Options {
    mode: String,
    to: SocketAddr,
    host: String,
    path: String,
    headers: Vec<String>,
    ca: Option<String>,
    tls: Option<TlsConnector>,
    count: usize,
    at_once: usize,
    rate: f64,
    ping: f64,
    seconds: f64,
    bytes: usize,
    pace: f64,
    resume: bool,
}

/// The sockets that opened, how many did not, and why the first of those did not.
struct Opened {
    sockets: Vec<Box<dyn Stream>>,
    failed: usize,
    why: String,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            mode: arguments.next().ok_or("which mode?")?,
            to: SocketAddr::from(([127, 0, 0, 1], 80)),
            host: "localhost".into(),
            path: "/".into(),
            headers: Vec::new(),
            ca: None,
            tls: None,
            count: 1,
            at_once: 64,
            rate: 10.0,
            ping: 0.0,
            seconds: 5.0,
            bytes: 1 << 30,
            pace: 0.0,
            resume: false,
        };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--to" => options.to = value.parse()?,
                "--host" => options.host = value,
                "--path" => options.path = value,
                "--header" => options.headers.push(value),
                "--ca" => options.ca = Some(value),
                "--count" => options.count = value.parse()?,
                "--at-once" => options.at_once = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--ping" => options.ping = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--bytes" => options.bytes = value.parse()?,
                "--pace" => options.pace = value.parse()?,
                "--resume" => options.resume = value == "yes",
                _ => return Err(format!("no option {flag}").into()),
            }
        }
        options.tls = options.connector()?;
        Ok(options)
    }

    /// A TLS client of its own, with a memory of its own for sessions to resume, or without any.
    fn connector(&self) -> Result<Option<TlsConnector>, Failure> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !self.resume {
            config.resumption = Resumption::disabled();
        }
        Ok(Some(TlsConnector::from(Arc::new(config))))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        Ok(self.connect_with(self.tls.as_ref()).await?.0)
    }

    /// Connects, and says whether a TLS session was resumed.
    async fn connect_with(&self, tls: Option<&TlsConnector>) -> Result<(Box<dyn Stream>, bool), Failure> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok((Box::new(stream), false)) };
        let name = self.host.split(':').next().unwrap_or_default().to_owned();
        let stream = tls.connect(ServerName::try_from(name)?, stream).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok((Box::new(stream), resumed))
    }

    fn head(&self, method: &str, more: &str) -> String {
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}:{}\r\n{more}",
            self.path,
            self.host,
            self.to.port()
        );
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }

    /// Opens a WebSocket; also returns what came after the head of the answer.
    async fn open(&self) -> Result<(Box<dyn Stream>, Vec<u8>), Failure> {
        let mut stream = self.connect().await?;
        let more =
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        stream.write_all(self.head("GET", more).as_bytes()).await?;
        stream.flush().await?;
        let (head, rest) = timeout(PATIENCE, read_head(&mut stream)).await??;
        if head.starts_with("HTTP/1.1 101") {
            Ok((stream, rest))
        } else {
            Err(refused(&head))
        }
    }

    /// Opens `count` WebSockets, some at once.
    async fn open_all(self: &Arc<Self>) -> Opened {
        let mut opening = stream::iter(0..self.count)
            .map(|_| {
                let options = Arc::clone(self);
                async move { timeout(PATIENCE, options.open()).await.unwrap_or_else(|late| Err(late.into())) }
            })
            .buffer_unordered(self.at_once);
        let (mut sockets, mut failed, mut why) = (Vec::new(), 0, String::new());
        while let Some(opened) = opening.next().await {
            match opened {
                Ok((socket, _)) => sockets.push(socket),
                Err(error) => {
                    failed += 1;
                    if why.is_empty() {
                        why = error.to_string();
                    }
                }
            }
        }
        Opened { sockets, failed, why }
    }
}

fn certificates(path: &str) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, Failure> {
    use rustls::pki_types::pem::PemObject as _;
    let file = BufReader::new(std::fs::File::open(path)?);
    rustls::pki_types::CertificateDer::pem_reader_iter(file)
        .map(|certificate| certificate.map_err(|error| format!("{path}: {error}").into()))
        .collect()
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<(String, Vec<u8>), Failure> {
    let mut read = Vec::with_capacity(1024);
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
        if read.len() > MAX_HEAD || stream.read_buf(&mut read).await? == 0 {
            return Err("no whole head came".into());
        }
    }
}

fn refused(head: &str) -> Failure {
    head.lines().next().unwrap_or("no answer").to_owned().into()
}

/// Seconds since then.
fn since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}
