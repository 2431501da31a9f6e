//! The load that wrk and h2load do not make: WebSockets that echo or only stay, downloads and uploads.
//!
//!     bench-load echo|idle|get|put --to ADDRESS --host HOST [--path P] [--header 'name: value']… [--ca FILE]
//!                [--count N] [--rate R] [--seconds S] [--bytes B] [--at-once N]
//!
//! One thread. Prints one line of JSON; `idle` prints one when all sockets are open and one, with what is left of them,
//! when its input ends.

use std::{
    env,
    error::Error,
    io::BufReader,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{interval_at, timeout},
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
    match options.mode.as_str() {
        "echo" => echo(&options).await,
        "idle" => idle(&options).await,
        "get" => get(&options).await,
        "put" => put(&options).await,
        mode => Err(format!("no mode {mode}").into()),
    }
}

struct Options {
    mode: String,
    to: SocketAddr,
    host: String,
    path: String,
    headers: Vec<String>,
    tls: Option<TlsConnector>,
    count: usize,
    rate: f64,
    seconds: f64,
    bytes: usize,
    at_once: usize,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            mode: arguments.next().ok_or("which mode?")?,
            to: SocketAddr::from(([127, 0, 0, 1], 80)),
            host: "localhost".into(),
            path: "/".into(),
            headers: Vec::new(),
            tls: None,
            count: 1,
            rate: 10.0,
            seconds: 5.0,
            bytes: 1 << 30,
            at_once: 64,
        };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--to" => options.to = value.parse()?,
                "--host" => options.host = value,
                "--path" => options.path = value,
                "--header" => options.headers.push(value),
                "--ca" => options.tls = Some(trusting(&value)?),
                "--count" => options.count = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--bytes" => options.bytes = value.parse()?,
                "--at-once" => options.at_once = value.parse()?,
                _ => return Err(format!("no option {flag}").into()),
            }
        }
        Ok(options)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = self.host.split(':').next().unwrap_or_default().to_owned();
        Ok(Box::new(tls.connect(ServerName::try_from(name)?, stream).await?))
    }

    fn head(&self, method: &str, more: &str) -> String {
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n{more}", self.path, self.host);
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }

    /// Opens a WebSocket.
    async fn open(&self) -> Result<Box<dyn Stream>, Failure> {
        let mut stream = self.connect().await?;
        let more =
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        stream.write_all(self.head("GET", more).as_bytes()).await?;
        stream.flush().await?;
        let (head, _) = timeout(PATIENCE, read_head(&mut stream)).await??;
        if head.starts_with("HTTP/1.1 101") {
            Ok(stream)
        } else {
            Err(refused(&head))
        }
    }

    /// Opens `count` WebSockets, some at once; those that failed are counted, and the first failure is told.
    async fn open_all(self: &Arc<Self>) -> (Vec<Box<dyn Stream>>, usize, String) {
        let mut opening = stream::iter(0..self.count)
            .map(|_| {
                let options = Arc::clone(self);
                async move { timeout(PATIENCE, options.open()).await.unwrap_or_else(|late| Err(late.into())) }
            })
            .buffer_unordered(self.at_once);
        let (mut open, mut failed, mut why) = (Vec::new(), 0, String::new());
        while let Some(opened) = opening.next().await {
            match opened {
                Ok(socket) => open.push(socket),
                Err(error) => {
                    failed += 1;
                    if why.is_empty() {
                        why = error.to_string();
                    }
                }
            }
        }
        (open, failed, why)
    }
}

fn trusting(ca: &str) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
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

/// Every socket sends `rate` messages a second and waits for each to come back.
async fn echo(options: &Arc<Options>) -> Result<(), Failure> {
    let (open, failed, why) = options.open_all().await;
    let opened = open.len();
    let until = Instant::now() + Duration::from_secs_f64(options.seconds);
    let pause = Duration::from_secs_f64(1.0 / options.rate);
    let echoing = open.into_iter().enumerate().map(|(index, mut socket)| {
        // Spread over the pause, so that no two rounds of messages come in one burst.
        let first = Instant::now() + pause.mul_f64((index + 1) as f64 / opened as f64);
        tokio::spawn(async move {
            let mut ticks = interval_at(first.into(), pause);
            let mut frame = vec![0x82, 0x80 | MESSAGE, 0, 0, 0, 0];
            frame.resize(6 + usize::from(MESSAGE), b'x');
            let mut back = [0; 2 + MESSAGE as usize];
            let mut taken = Vec::new();
            while Instant::now() < until {
                ticks.tick().await;
                let sent = Instant::now();
                let exchange = async {
                    socket.write_all(&frame).await?;
                    socket.flush().await?;
                    socket.read_exact(&mut back).await
                };
                if !matches!(timeout(PATIENCE, exchange).await, Ok(Ok(_))) {
                    return (taken, true);
                }
                taken.push(sent.elapsed());
            }
            (taken, false)
        })
    });
    let echoing: Vec<_> = echoing.collect();
    let (mut taken, mut broken) = (Vec::new(), 0);
    for task in echoing {
        let (own, broke) = task.await?;
        taken.extend(own);
        broken += usize::from(broke);
    }
    taken.sort_unstable();
    let at = |percent| taken.get(taken.len() * percent / 100).map(Duration::as_micros);
    println!(
        "{}",
        json!({ "opened": opened, "failed": failed, "why": why, "broken": broken, "echoes": taken.len(), "p50_us": at(50), "p99_us": at(99) })
    );
    Ok(())
}

async fn idle(options: &Arc<Options>) -> Result<(), Failure> {
    let begun = Instant::now();
    let (mut open, failed, why) = options.open_all().await;
    println!(
        "{}",
        json!({ "opened": open.len(), "failed": failed, "why": why, "seconds": begun.elapsed().as_secs_f64() })
    );
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    let mut dropped = 0;
    for socket in &mut open {
        // A socket that lives has nothing to say, or a ping.
        let mut bytes = [0; 16];
        let read = timeout(Duration::from_micros(1), socket.read(&mut bytes)).await;
        dropped += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    println!("{}", json!({ "dropped": dropped }));
    Ok(())
}

/// Downloads until `bytes` came or `seconds` are over.
async fn get(options: &Options) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut bytes = 0;
    let mut buffer = vec![0; 256 * 1024];
    while bytes < options.bytes && begun.elapsed().as_secs_f64() < options.seconds {
        let mut stream = options.connect().await?;
        stream.write_all(options.head("GET", "Connection: close\r\n").as_bytes()).await?;
        stream.flush().await?;
        let (head, rest) = timeout(PATIENCE, read_head(&mut stream)).await??;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(refused(&head));
        }
        bytes += rest.len();
        while bytes < options.bytes && begun.elapsed().as_secs_f64() < options.seconds {
            // Ends without a TLS close are no matter here.
            match timeout(PATIENCE, stream.read(&mut buffer)).await? {
                Ok(0) | Err(_) => break,
                Ok(read) => bytes += read,
            }
        }
    }
    println!("{}", json!({ "bytes": bytes, "seconds": begun.elapsed().as_secs_f64() }));
    Ok(())
}

/// Uploads `bytes` in one request.
async fn put(options: &Options) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut stream = options.connect().await?;
    let more = format!("Content-Length: {}\r\n", options.bytes);
    stream.write_all(options.head("POST", &more).as_bytes()).await?;
    let chunk = vec![b'x'; 256 * 1024];
    let mut left = options.bytes;
    while left > 0 {
        let next = left.min(chunk.len());
        timeout(PATIENCE, stream.write_all(&chunk[..next])).await??;
        left -= next;
    }
    stream.flush().await?;
    let (head, _) = timeout(PATIENCE, read_head(&mut stream)).await??;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(refused(&head));
    }
    println!("{}", json!({ "bytes": options.bytes, "seconds": begun.elapsed().as_secs_f64() }));
    Ok(())
}
