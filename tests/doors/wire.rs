//! Requests as bytes, and what comes back.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::gateway::gateway;

/// How long an answer may be in coming: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection that stays open is listened to when all that was promised is there.
const LISTEN: Duration = Duration::from_millis(400);

/// Where a gateway listens, and what its certificates are judged by if it speaks TLS.
#[derive(Clone, Debug)]
pub struct Way {
    pub address: SocketAddr,
    pub tls: Option<Trust>,
}

/// Trusts the authority of one gateway.
#[derive(Clone, Debug)]
pub struct Trust {
    pub authority: PathBuf,
    pub config: Arc<ClientConfig>,
}

impl From<SocketAddr> for Way {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl Trust {
    /// Reads the authority that a gateway made below its data.
    pub fn read(data: &Path) -> Self {
        let authority = data.join("tls/local/ca.pem");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&authority).expect("an authority") {
            roots.add(certificate.expect("a certificate")).expect("added");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        Self {
            authority,
            config: Arc::new(config),
        }
    }

    /// A client that speaks but this protocol.
    pub fn speaking(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}

impl Way {
    /// The name of a host, which a connection to it begins with.
    pub fn name(host: &str) -> ServerName<'static> {
        let name = host.split(':').next().unwrap_or_default();
        ServerName::try_from(name.to_owned()).expect("a name")
    }
}

/// What came back on a connection.
#[derive(Debug)]
pub struct Reply {
    /// All of it, bytes beyond ASCII replaced.
    pub text: String,
    /// Whether the gateway closed the connection.
    pub closed: bool,
}

impl Reply {
    /// The status codes of all responses, in order.
    pub fn statuses(&self) -> Vec<u16> {
        let starts = self.text.match_indices("HTTP/1.").map(|(at, start)| at + start.len() + 2);
        starts.filter_map(|at| self.text.get(at..at + 3)?.parse().ok()).collect()
    }

    /// The first status code; 0 if there was none.
    pub fn status(&self) -> u16 {
        self.statuses().first().copied().unwrap_or(0)
    }

    pub fn head(&self) -> &str {
        self.text.split("\r\n\r\n").next().unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// All values of a field of the first response.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head().lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.body()).unwrap_or_default()
    }

    /// How many requests an app got, by the stamp that it puts before each answer.
    pub fn stamps(&self, stamp: &str) -> usize {
        self.text.matches(&format!("{stamp}\n")).count()
    }
}

/// A request to be sent on a connection of its own.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    path: String,
    host: String,
    fields: Vec<(String, String)>,
    body: String,
    at: Option<Way>,
}

impl Call {
    pub fn new(method: &'static str, host: String, path: &str) -> Self {
        Self {
            method,
            path: path.into(),
            host,
            fields: Vec::new(),
            body: String::new(),
            at: None,
        }
    }

    pub fn get(host: String, path: &str) -> Self {
        Self::new("GET", host, path)
    }

    pub fn post(host: String, path: &str) -> Self {
        Self::new("POST", host, path)
    }

    pub fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub fn fields(self, fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(self, |call, (name, value)| call.field(name, *value))
    }

    pub fn token(self, token: &str) -> Self {
        self.field("X-Portico-Token", token)
    }

    pub fn cookie(self, cookie: &str) -> Self {
        self.field("Cookie", cookie)
    }

    pub fn json(self, body: &serde_json::Value) -> Self {
        self.field("Content-Type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    /// Asks to become a WebSocket.
    pub fn socket(self) -> Self {
        self.fields(&[
            ("Upgrade", "websocket"),
            ("Connection", "upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ])
    }

    /// Sends it to another gateway than the shared one.
    pub fn at(mut self, way: impl Into<Way>) -> Self {
        self.at = Some(way.into());
        self
    }

    pub fn send(&self) -> Reply {
        self.exchange(PATIENCE)
    }

    /// Sends it, and goes soon, whether or not all of the answer came.
    pub fn send_and_leave(&self) {
        self.exchange(LISTEN);
    }

    fn exchange(&self, patience: Duration) -> Reply {
        let way = self.at.clone().unwrap_or_else(|| gateway().way());
        let socket = TcpStream::connect(way.address).expect("connected");
        let bytes = self.bytes("close");
        let Some(trust) = way.tls else {
            return exchange(&socket, &socket, &bytes, patience);
        };
        let client = ClientConnection::new(trust.config, Way::name(&self.host)).expect("a client");
        exchange(StreamOwned::new(client, &socket), &socket, &bytes, patience)
    }

    /// The request as it is sent; `connection` where it says nothing itself.
    fn bytes(&self, connection: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.fields.iter().any(|(name, _)| name == "Connection") {
            text += &format!("Connection: {connection}\r\n");
        }
        if !self.body.is_empty() || self.method != "GET" {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        format!("{text}\r\n{}", self.body).into_bytes()
    }
}

/// Sends bytes to the shared gateway.
pub fn raw(bytes: &[u8]) -> Reply {
    let socket = TcpStream::connect(gateway().address).expect("connected");
    exchange(&socket, &socket, bytes, PATIENCE)
}

/// A connection that stays open.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub fn open() -> Self {
        Self::open_at(gateway().address)
    }

    pub fn open_at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Self { stream, read: Vec::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    /// Sends a request, without asking that the connection be closed, and takes its one response.
    pub fn exchange(&mut self, call: &Call) -> Reply {
        self.write(&call.bytes("keep-alive"));
        self.response()
    }

    /// Takes one response that says its length.
    pub fn response(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill(), "closed: {}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let end = end + length.unwrap_or(0);
        while self.read.len() < end {
            assert!(self.fill(), "closed: {}", String::from_utf8_lossy(&self.read));
        }
        let taken: Vec<u8> = self.read.drain(..end).collect();
        Reply {
            text: String::from_utf8_lossy(&taken).into_owned(),
            closed: false,
        }
    }

    /// Takes what was sent until it ends so; the other side need not close.
    pub fn until(&mut self, wanted: &[u8]) -> Vec<u8> {
        let end = loop {
            if let Some(at) = find(&self.read, wanted) {
                break at + wanted.len();
            }
            assert!(self.fill(), "closed: {}", String::from_utf8_lossy(&self.read));
        };
        self.read.drain(..end).collect()
    }

    /// Takes one frame of a WebSocket's server: its first byte and what it carries; none at the end.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [first, length, rest @ ..] = &self.read[..] {
                let (start, length) = match (length, rest) {
                    (126, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
                    (0..126, _) => (2, usize::from(*length)),
                    (126, _) => (4, usize::MAX - 4),
                    _ => panic!("longer than any here"),
                };
                if self.read.len() >= start + length {
                    let first = *first;
                    let frame: Vec<u8> = self.read.drain(..start + length).collect();
                    return Some((first, frame[start..].to_vec()));
                }
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Everything until the other side closes, with what was read already.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.read)
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("still open: {error}"),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Whether all that the answers promise is there, the connection's end included.
fn is_whole(got: &[u8]) -> bool {
    let (mut rest, mut is_over) = (got, false);
    while let Some(at) = find(rest, b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&rest[..at]).to_ascii_lowercase();
        rest = &rest[at + 4..];
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        if head.starts_with("http/1.1 101") {
            // A socket is opened to say something.
            return !rest.is_empty();
        }
        if value("connection: ").is_some_and(|value| value.contains("close")) {
            return false;
        }
        let end = match value("content-length: ").and_then(|length| length.parse().ok()) {
            Some(length) => length,
            None if value("transfer-encoding: ").is_some() => match find(rest, b"0\r\n\r\n") {
                Some(at) => at + 5,
                None => return false,
            },
            None => 0,
        };
        let Some(beyond) = rest.get(end..) else { return false };
        // One that only informs has another behind it.
        (rest, is_over) = (beyond, !head.starts_with("http/1.1 1"));
    }
    is_over && rest.is_empty()
}

/// Sends bytes, and takes what comes back until the other side closes or has nothing more to say.
fn exchange(mut stream: impl Read + Write, socket: &TcpStream, bytes: &[u8], patience: Duration) -> Reply {
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    // What is refused early may not be read to its end.
    drop(stream.write_all(bytes));
    let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => {
                got.extend_from_slice(&buffer[..count]);
                let more = if is_whole(&got) { LISTEN } else { patience };
                socket.set_read_timeout(Some(more)).expect("set");
            }
            Err(error) => break matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
        }
    };
    drop(socket.shutdown(Shutdown::Both));
    Reply {
        text: String::from_utf8_lossy(&got).into_owned(),
        closed,
    }
}
