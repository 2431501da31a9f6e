//! TLS as anybody on the network can try it, against gateways of their own: versions and suites, early data, first words
//! that are broken or come in pieces, and sessions that another gateway resumes.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::gateway::eventually;

const PORTICO: &str = env!("CARGO_BIN_EXE_portico");
pub const HOST: &str = "portico.localhost";
const NAMES: [&str; 2] = [HOST, "*.codespaces.localhost"];
const PATIENCE: Duration = Duration::from_secs(60);

/// TLS 1.2's suites for the key that the gateway's own authority makes, and TLS 1.3's.
const SUITES_2: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];
const SUITES_3: [u16; 3] = [0x1301, 0x1302, 0x1303];
/// As good, for another kind of key.
const SUITES_RSA: [u16; 3] = [0xc02f, 0xc030, 0xcca8];

const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;

/// A gateway that speaks TLS with its own authority.
pub struct Speaking {
    pub address: SocketAddr,
    data: tempfile::TempDir,
    child: Child,
}

impl Drop for Speaking {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Speaking {
    pub fn start(more: &[(&str, &Path)]) -> Self {
        Self::start_with(&["--tls", "local", "--url", &format!("https://{HOST}:8443")], more)
    }

    pub fn start_with(arguments: &[&str], more: &[(&str, &Path)]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let log = fs::File::create(data.path().join("log")).expect("a file");
        let mut serve = Command::new(PORTICO);
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .arg("--data")
            .arg(data.path())
            .env("PORTICO_LOG_LEVEL", "debug")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = serve.spawn().expect("the gateway");
        let file = data.path().join("listen");
        let address = eventually("the gateway listens", || fs::read_to_string(&file).ok()?.parse().ok());
        Self { address, data, child }
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    fn authority(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.data.path().join("tls/local/ca.pem")).expect("an authority")
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        stream
    }

    /// What is answered to the first words of somebody.
    fn answer(&self, first: &[u8]) -> Answer {
        let mut stream = self.connect();
        // It may be closed before all was said.
        drop(stream.write_all(first));
        drop(stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        Answer::read(&answer)
    }

    /// Asks once, and tells how that handshake was.
    fn visit(&self, config: &Arc<ClientConfig>) -> Visit {
        let name = ServerName::try_from(HOST).expect("a name");
        let mut client = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let early = client.early_data().is_some();
        ask(StreamOwned::new(client, self.connect()), early)
    }

    fn assert_well(&mut self, config: &Arc<ClientConfig>) {
        assert!(matches!(self.child.try_wait(), Ok(None)), "the gateway ended");
        let log = fs::read_to_string(self.data.path().join("log")).expect("a log");
        assert!(!log.contains("panicked"), "{log}");
        assert!(self.visit(config).answer.starts_with("HTTP/1.1 200"));
    }
}

/// How an ordinary client's visit went.
struct Visit {
    kind: Option<HandshakeKind>,
    /// Whether the client could have sent its request before the handshake.
    early: bool,
    answer: String,
}

fn ask(mut stream: StreamOwned<ClientConnection, impl Read + Write>, early: bool) -> Visit {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {HOST}:8443\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a handshake");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    Visit {
        kind: stream.conn.handshake_kind(),
        early,
        answer,
    }
}

/// A client that trusts these gateways, and would send early data if it were let.
pub fn client(gateways: &[&Speaking]) -> Arc<ClientConfig> {
    client_of(gateways, rustls::DEFAULT_VERSIONS)
}

/// The same that speaks these versions alone.
fn client_of(gateways: &[&Speaking], versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for gateway in gateways {
        roots.add(gateway.authority()).expect("it can be trusted");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    Arc::new(config)
}

/// What a server says first.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    Hello { version: u16, suite: u16 },
    Alert(u8),
    Nothing,
    Other(String),
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let other = || Self::Other(String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned());
        match bytes {
            [] => Self::Nothing,
            [21, 3, _, 0, 2, _, description, ..] => Self::Alert(*description),
            [22, 3, _, _, _, 2, _, _, _, hello @ ..] => Self::hello(hello).unwrap_or_else(other),
            _ => other(),
        }
    }

    /// Reads a ServerHello from its version on (RFC 8446 §4.1.3).
    fn hello(hello: &[u8]) -> Option<Self> {
        let pair = |at: usize| Some(u16::from_be_bytes([*hello.get(at)?, *hello.get(at + 1)?]));
        let after_id = 35 + usize::from(*hello.get(34)?);
        let (mut version, suite) = (pair(0)?, pair(after_id)?);
        let mut at = after_id + 5;
        let end = at + usize::from(pair(after_id + 3)?);
        while at < end {
            if pair(at)? == 0x2b {
                version = pair(at + 4)?;
            }
            at += 4 + usize::from(pair(at + 2)?);
        }
        Some(Self::Hello { version, suite })
    }
}

fn prefixed(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[8 - length_bytes..], content].concat()
}

/// A ClientHello in one record (RFC 8446 §4.1.2); with a share of a key it is one of TLS 1.3.
fn hello(version: u16, suites: &[u16], tls_1_3: bool) -> Vec<u8> {
    let extension = |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &prefixed(2, content)].concat();
    let name = prefixed(2, &[&[0][..], &prefixed(2, HOST.as_bytes())].concat());
    let mut extensions = [
        extension(0, &name),
        extension(10, &prefixed(2, &[0, 0x1d, 0, 0x17])),
        extension(11, &[1, 0]),
        extension(13, &prefixed(2, &[4, 3, 8, 4, 4, 1])),
    ]
    .concat();
    if tls_1_3 {
        let share = [&[0, 0x1d][..], &prefixed(2, &[9; 32])].concat();
        extensions.extend(extension(43, &prefixed(1, &[3, 4])));
        extensions.extend(extension(51, &prefixed(2, &share)));
    }
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let body = [
        &version.to_be_bytes()[..],
        &[0x5a; 32],
        &[0],
        &prefixed(2, &suites),
        &[1, 0],
        &prefixed(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &prefixed(3, &body)].concat();
    [&[22, 3, 1][..], &prefixed(2, &message)].concat()
}

#[test]
fn tls_1_versions_and_suites_are_those_without_a_weakness() {
    let gateway = Speaking::start(&[]);
    let every = [&SUITES_2[..], &SUITES_RSA, &[0x002f, 0x000a, 0x0005, 0xc013, 0x009c]].concat();
    for version in [0x0300, 0x0301, 0x0302] {
        assert_eq!(
            gateway.answer(&hello(version, &every, false)),
            Answer::Alert(PROTOCOL_VERSION),
            "{version:x}"
        );
    }
    // Ours is the order, but for who would rather have ChaCha20.
    for (suites, tls_1_3, chosen) in [
        (&every[..], false, 0xc02b),
        (&[0xcca9, 0xc02c, 0xc02b], false, 0xcca9),
        (&[0xc02c, 0xcca9, 0xc02b], false, 0xc02b),
        (&[0x1302, 0x1303, 0x1301], true, 0x1301),
        (&[0x1a1a, 0x1303, 0x1301], true, 0x1303),
    ] {
        let version = if tls_1_3 { 0x0304 } else { 0x0303 };
        let expected = Answer::Hello { version, suite: chosen };
        assert_eq!(gateway.answer(&hello(0x0303, suites, tls_1_3)), expected, "{suites:x?}");
    }
    for (suites, tls_1_3) in [(SUITES_2, false), (SUITES_3, true)] {
        for suite in suites {
            let version = if tls_1_3 { 0x0304 } else { 0x0303 };
            assert_eq!(gateway.answer(&hello(0x0303, &[suite], tls_1_3)), Answer::Hello { version, suite });
        }
    }
    // Every other number that a suite can have, some thousand at a time.
    let good = [SUITES_2, SUITES_3, SUITES_RSA].concat();
    let others: Vec<u16> = (0..=u16::MAX).filter(|suite| !good.contains(suite)).collect();
    for some in others.chunks(4000) {
        for tls_1_3 in [false, true] {
            let answer = gateway.answer(&hello(0x0303, some, tls_1_3));
            assert_eq!(
                answer,
                Answer::Alert(HANDSHAKE_FAILURE),
                "{:x} to {:x}",
                some[0],
                some[some.len() - 1]
            );
        }
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Puts a new certificate for two names with a new key where the gateway looks; the certificate.
pub fn put_pair(directory: &Path, names: [&str; 2]) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).expect("a certificate");
    for (name, text) in [("key", made.signing_key.serialize_pem()), ("pem", made.cert.pem())] {
        let early = directory.join("new");
        fs::write(&early, text).expect("written");
        fs::rename(&early, directory.join(name)).expect("moved");
    }
    made.cert.der().clone()
}

#[test]
fn tls_2_a_hundred_swaps_by_signal_drop_no_connection() {
    const THREADS: usize = 4;
    let directory = tempfile::tempdir().expect("a directory");
    let first = put_pair(directory.path(), NAMES);
    let (certificate, key) = (directory.path().join("pem"), directory.path().join("key"));
    let mut gateway = Speaking::start_with(
        &["--url", &format!("https://{HOST}:8443")],
        &[("PORTICO_TLS_CERTIFICATE", &certificate), ("PORTICO_TLS_KEY", &key)],
    );
    let process = rustix::process::Pid::from_child(&gateway.child);
    let config = Arc::new(portico::edge::unchecked_tls_client().expect("a provider"));
    // A session that is resumed has the certificate that began it.
    let mut fresh = portico::edge::unchecked_tls_client().expect("a provider");
    fresh.resumption = rustls::client::Resumption::disabled();
    let fresh = Arc::new(fresh);
    let shown = |gateway: &Speaking| {
        let name = ServerName::try_from(HOST).expect("a name");
        let client = ClientConnection::new(Arc::clone(&fresh), name).expect("a client");
        let mut stream = StreamOwned::new(client, gateway.connect());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        stream.conn.peer_certificates().and_then(<[_]>::first).cloned()
    };
    assert_eq!(shown(&gateway), Some(first));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let visit = gateway.visit(&config);
                    assert!(visit.answer.starts_with("HTTP/1.1 200"), "{}", visit.answer);
                    asked.fetch_add(1, Relaxed);
                }
            });
        }
        // However this ends, or the others go on for ever.
        let _end = OnDrop(|| done.store(true, Relaxed));
        for _ in 0..100 {
            let next = put_pair(directory.path(), NAMES);
            rustix::process::kill_process(process, rustix::process::Signal::HUP).expect("it runs");
            eventually("the new certificate is shown", || {
                (shown(&gateway).as_ref() == Some(&next)).then_some(())
            });
        }
    });
    assert!(asked.into_inner() > 100);
    gateway.assert_well(&config);
}

#[test]
fn tls_3_no_request_comes_before_its_handshake() {
    let gateway = Speaking::start(&[]);
    let client = client(&[&gateway]);
    let visits = [(); 3].map(|()| gateway.visit(&client));
    assert_eq!(
        visits.each_ref().map(|visit| visit.kind),
        [
            Some(HandshakeKind::Full),
            Some(HandshakeKind::Resumed),
            Some(HandshakeKind::Resumed)
        ]
    );
    // A ticket says whether early data is taken (RFC 8446 §4.2.10): with such a one, this client would send it.
    for visit in visits {
        assert!(!visit.early);
        assert!(visit.answer.starts_with("HTTP/1.1 200"), "{}", visit.answer);
    }
}

/// A connection whose first record is cut: into several records, and each of those into so many bytes at a time.
struct Pieces {
    stream: TcpStream,
    record: usize,
    write: usize,
    first: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.first, false) {
            return self.stream.write(bytes);
        }
        let (header, content) = bytes.split_at(5);
        for piece in content.chunks(self.record) {
            for bytes in [&header[..3], &prefixed(2, piece)].concat().chunks(self.write) {
                self.stream.write_all(bytes)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[test]
fn tls_4_a_client_hello_in_pieces_is_put_together() {
    let gateway = Speaking::start(&[]);
    let config = client(&[&gateway]);
    for (record, write) in [(1, 1), (1, 1000), (3, 7), (64, 64), (100, 1), (usize::MAX, 1)] {
        let name = ServerName::try_from(HOST).expect("a name");
        let pieces = Pieces {
            stream: gateway.connect(),
            record,
            write,
            first: true,
        };
        let connection = ClientConnection::new(Arc::clone(&config), name).expect("a client");
        let visit = ask(StreamOwned::new(connection, pieces), false);
        assert!(visit.answer.starts_with("HTTP/1.1 200"), "{record} {write} {}", visit.answer);
    }
}

/// Numbers without a pattern, the same in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// A first word that no client would say, of one of six kinds.
fn garbage(number: usize, noise: &mut Noise) -> Vec<u8> {
    let suites = [SUITES_2, SUITES_3].concat();
    let mut good = hello(0x0303, &suites, number.is_multiple_of(2));
    match number % 6 {
        0 => {
            let count = noise.below(600);
            noise.bytes(count)
        }
        1 => {
            for _ in 0..=noise.below(8) {
                let at = noise.below(good.len());
                good[at] ^= 1 << noise.below(8);
            }
            good
        }
        2 => good[..noise.below(good.len())].to_vec(),
        3 => {
            let at = noise.below(good.len());
            good[at] = if noise.below(2) == 0 { 0xff } else { 0 };
            good
        }
        4 => {
            let count = noise.below(2000);
            [&[22, 3, 3][..], &prefixed(2, &noise.bytes(count))].concat()
        }
        _ => b"GET / HTTP/1.1\r\nHost: portico.localhost\r\n\r\n".to_vec(),
    }
}

#[test]
fn tls_4_ten_thousand_broken_client_hellos_change_nothing() {
    const HELLOS: usize = 10_000;
    const THREADS: usize = 4;
    let mut gateway = Speaking::start(&[]);
    let config = client(&[&gateway]);
    let (alerts, hellos) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let good = [SUITES_2, SUITES_3].concat();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gateway, good, alerts, hellos) = (&gateway, &good, &alerts, &hellos);
            scope.spawn(move || {
                let mut noise = Noise(0x9e37_79b9_7f4a_7c15 + thread as u64);
                for number in 0..HELLOS / THREADS {
                    let first = garbage(number, &mut noise);
                    match gateway.answer(&first) {
                        Answer::Nothing => {}
                        Answer::Alert(_) => drop(alerts.fetch_add(1, Relaxed)),
                        // Some are none the worse for a changed bit.
                        Answer::Hello { version, suite } if version >= 0x0303 && good.contains(&suite) => {
                            hellos.fetch_add(1, Relaxed);
                        }
                        answer => panic!("{answer:?} to {first:x?}"),
                    }
                }
            });
        }
    });
    let (alerts, hellos) = (alerts.into_inner(), hellos.into_inner());
    assert!(alerts > HELLOS / 3 && hellos > 0, "{alerts} alerts, {hellos} hellos");
    gateway.assert_well(&config);
}

#[test]
fn a_gateway_resumes_what_another_with_its_ticket_key_began() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = |name: &str, byte: u8| -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, [byte; 32]).expect("written");
        path
    };
    let (shared, other) = (key("shared", 7), key("other", 8));
    let [first, second, stranger] =
        [&shared, &shared, &other].map(|path| Speaking::start(&[("PORTICO_TLS_TICKET_KEY_FILE", path.as_path())]));
    use HandshakeKind::{Full, Resumed};
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = client_of(&[&first, &second, &stranger], &[version]);
        let kinds = [&first, &second, &first, &stranger, &stranger].map(|gateway| gateway.visit(&client).kind);
        assert_eq!(kinds, [Full, Resumed, Resumed, Full, Resumed].map(Some), "{version:?}");
    }
}
