//! The whole gateway with a real certificate authority: Pebble, Let's Encrypt's own for tests, and its DNS.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener as StdListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use portico::{
    app::Gateway,
    config::{Config, Overrides},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(180);
const GATEWAY: &str = "portico.example.com";
const DOMAIN: &str = "apps.example.net";

/// Ends a program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An authority and its DNS, in which every name leads to loopback.
struct Authority {
    directory: tempfile::TempDir,
    acme: u16,
    management: u16,
    dns: u16,
    /// Where it looks for HTTP-01.
    http: u16,
    /// Where it looks for TLS-ALPN-01.
    tls: u16,
    _running: [Running; 2],
}

fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied());
    let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(started.unwrap_or_else(|error| panic!("{program} is not here ({error}): apt-get install pebble, or run tests/run")))
}

/// A port that nobody else gets: below those that the system gives to outgoing connections, and each but once. Tests of
/// this file run in processes of their own; each begins elsewhere.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() * 61 % 4000).expect("it is small");
    loop {
        let port = 16_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 4000;
        if StdListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Authority {
    fn start() -> Self {
        Self::start_with(&serde_json::json!({}))
    }

    /// Starts it with more in its configuration.
    fn start_with(more: &serde_json::Value) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name).display().to_string();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(file("site.pem"), made.cert.pem()).expect("written");
        fs::write(file("site.key"), made.signing_key.serialize_pem()).expect("written");
        let [acme, management, dns, dns_management, http, tls] = std::array::from_fn(|_| free_port());
        let mut config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": file("site.pem"),
            "privateKey": file("site.key"),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        for (key, value) in more.as_object().into_iter().flatten() {
            config["pebble"][key] = value.clone();
        }
        fs::write(file("pebble.json"), config.to_string()).expect("written");
        let at = |port: u16| format!("127.0.0.1:{port}");
        let names = start(
            "pebble-challtestsrv",
            &[
                "-defaultIPv6",
                "",
                "-defaultIPv4",
                "127.0.0.1",
                "-dns01",
                &at(dns),
                "-management",
                &at(dns_management),
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
            ],
            &[],
        );
        // Some good nonces are refused, as RFC 8555 §6.5 allows at any time. The client asks three times: at a fifth, one order in ten failed.
        let environment = [("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "5")];
        let pebble = start(
            "pebble",
            &["-config", &file("pebble.json"), "-dnsserver", &at(dns), "-strict"],
            &environment,
        );
        Self {
            directory,
            acme,
            management,
            dns: dns_management,
            http,
            tls,
            _running: [names, pebble],
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A hook that puts records into the authority's DNS, and notes how it was called.
    fn hook(&self) -> PathBuf {
        let path = self.file("hook");
        let mut file = fs::File::create(&path).expect("made");
        let script = format!(
            "#!/bin/sh\nset -e\necho \"$1 $2\" >>{calls}\ncase $1 in\n\
             present) curl -sf -d \"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" http://127.0.0.1:{port}/set-txt ;;\n\
             cleanup) curl -sf -d \"{{\\\"host\\\":\\\"$2.\\\"}}\" http://127.0.0.1:{port}/clear-txt ;;\nesac\n",
            calls = self.file("calls").display(),
            port = self.dns
        );
        file.write_all(script.as_bytes()).expect("written");
        drop(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
        path
    }

    /// The root of what it signs.
    async fn root(&self) -> CertificateDer<'static> {
        let mut roots = RootCertStore::empty();
        let site = CertificateDer::from_pem_file(self.file("site.pem")).expect("a certificate");
        roots.add(site).expect("it can be trusted");
        let mut stream = connect(self.management, "localhost", roots).await.expect("it serves its root");
        let request = "GET /roots/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        CertificateDer::from_pem_slice(&answer).expect("a root")
    }

    fn config(&self, data: &Path, more: &[(&str, String)]) -> Config {
        let mut others = vec![
            ("listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("url".to_owned(), format!("https://{GATEWAY}")),
            ("domain".to_owned(), DOMAIN.to_owned()),
            ("data".to_owned(), data.display().to_string()),
            ("acme.accept_terms".to_owned(), "true".to_owned()),
            ("acme.email".to_owned(), "ops@example.com".to_owned()),
            ("acme.directory".to_owned(), format!("https://localhost:{}/dir", self.acme)),
            ("acme.root".to_owned(), self.file("site.pem").display().to_string()),
        ];
        others.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let overrides = Overrides {
            others,
            ..Overrides::default()
        };
        Config::gather(overrides, std::iter::empty()).expect("a configuration")
    }
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// Shakes hands with a port of loopback, as someone who trusts these roots.
async fn connect(port: u16, name: &str, roots: RootCertStore) -> std::io::Result<Stream> {
    connect_for(port, name, roots, &[]).await
}

/// The same, to speak one of these protocols.
async fn connect_for(port: u16, name: &str, roots: RootCertStore, protocols: &[&str]) -> std::io::Result<Stream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a provider")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn trusting(root: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("it can be trusted");
    roots
}

/// Waits until the gateway shows a certificate of the authority for a name.
async fn is_trusted(gateway: &Gateway, name: &str, root: &CertificateDer<'static>) {
    until(&format!("no certificate for {name}"), async || {
        connect(gateway.address.port(), name, trusting(root)).await.ok().map(drop)
    })
    .await;
}

/// Waits for the authority itself.
async fn answering(authority: &Authority) {
    for port in [authority.acme, authority.dns] {
        until("pebble and its DNS answer", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dom_4_a_wildcard_certificate_by_dns_01() {
    let authority = Authority::start();
    answering(&authority).await;
    let root = authority.root().await;
    let data = tempfile::tempdir().expect("a directory");
    let hook = authority.hook();
    let config = authority.config(data.path(), &[("acme.hook", hook.display().to_string())]);
    let gateway = Gateway::start(config.clone()).await.expect("it starts without a certificate");
    for name in [GATEWAY, "amber-x.apps.example.net", "amber-x-3000.apps.example.net"] {
        is_trusted(&gateway, name, &root).await;
    }
    let calls = fs::read_to_string(authority.file("calls")).expect("the hook was called");
    for name in [GATEWAY, DOMAIN] {
        for verb in ["present", "cleanup"] {
            assert!(calls.contains(&format!("{verb} _acme-challenge.{name}\n")), "{calls}");
        }
    }
    for file in ["account.json", "gateway.pem", "codespaces.pem"] {
        let mode = fs::metadata(data.path().join("tls/acme").join(file))
            .expect("kept")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    gateway.stop().await;
    // What is kept is good: a second start asks for nothing.
    let gateway = Gateway::start(config).await.expect("it starts again");
    is_trusted(&gateway, GATEWAY, &root).await;
    gateway.stop().await;
    assert_eq!(fs::read_to_string(authority.file("calls")).expect("read"), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_host_by_http_01_beside_a_wildcard_from_files() {
    let authority = Authority::start();
    answering(&authority).await;
    let root = authority.root().await;
    let data = tempfile::tempdir().expect("a directory");
    let ([certificate, key], wild) = wildcard(&authority);
    let redirect = ("redirect_http", format!("127.0.0.1:{}", authority.http));
    let config = authority.config(data.path(), &[redirect, certificate, key]);
    let gateway = Gateway::start(config).await.expect("it starts");
    is_trusted(&gateway, GATEWAY, &root).await;
    is_trusted(&gateway, "amber-x.apps.example.net", &wild).await;
    assert!(
        !data.path().join("tls/acme/codespaces.pem").exists(),
        "nothing is asked for that is there"
    );
    gateway.stop().await;
}

/// Files with a wildcard certificate for DOMAIN, which no authority gives without DNS.
fn wildcard(authority: &Authority) -> ([(&'static str, String); 2], CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([format!("*.{DOMAIN}")]).expect("a certificate");
    let files = [("tls.certificate", "wild.pem"), ("tls.key", "wild.key")].map(|(key, name)| (key, authority.file(name)));
    fs::write(&files[0].1, made.cert.pem()).expect("written");
    fs::write(&files[1].1, made.signing_key.serialize_pem()).expect("written");
    (files.map(|(key, file)| (key, file.display().to_string())), made.cert.der().clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_host_by_tls_alpn_01_on_its_own_listener() {
    let authority = Authority::start();
    answering(&authority).await;
    let root = authority.root().await;
    let data = tempfile::tempdir().expect("a directory");
    let ([certificate, key], wild) = wildcard(&authority);
    let listen = ("listen", format!("127.0.0.1:{}", authority.tls));
    let config = authority.config(data.path(), &[listen, certificate, key]);
    let gateway = Gateway::start(config).await.expect("it starts");
    is_trusted(&gateway, GATEWAY, &root).await;
    is_trusted(&gateway, "amber-x.apps.example.net", &wild).await;
    let asked = connect_for(authority.tls, GATEWAY, trusting(&root), &["acme-tls/1"]).await;
    assert!(asked.is_err(), "the proof is gone");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_must_be_bound_to_another() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let authority = Authority::start_with(&serde_json::json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": KEY },
    }));
    answering(&authority).await;
    let root = authority.root().await;
    let data = tempfile::tempdir().expect("a directory");
    let ([certificate, key], _) = wildcard(&authority);
    let base = [("listen", format!("127.0.0.1:{}", authority.tls)), certificate, key];
    let bound = |id: &str, key: &str| {
        let file = authority.file("eab.key");
        fs::write(&file, key).expect("written");
        let binding = [
            ("acme.eab_key_id", id.to_owned()),
            ("acme.eab_key_file", file.display().to_string()),
        ];
        authority.config(data.path(), &[&base[..], &binding].concat())
    };
    fails_with(&authority.config(data.path(), &base), "set acme.eab_key_id and acme.eab_key_file").await;
    fails_with(&bound("kid-2", KEY), "the field 'kid' references a key that is not known").await;
    fails_with(
        &bound("kid-1", "b10lLJs8l1GPIzsLP0s6pMt8O0XVGnfTaCeROxQM0BI"),
        "external account binding",
    )
    .await;
    fails_with(&bound("kid-1", "no key"), "eab.key holds no key of an external account").await;
    let gateway = Gateway::start(bound("kid-1", &format!("{KEY}\n"))).await.expect("it starts");
    is_trusted(&gateway, GATEWAY, &root).await;
    gateway.stop().await;
}

/// Asks as the operator on the gateway's own machine does.
async fn certificates(data: &Path) -> serde_json::Value {
    let mut stream = UnixStream::connect(data.join("portico.sock")).await.expect("it listens");
    let request = "GET /api/v1/certificates HTTP/1.1\r\nHost: portico\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).expect("a list")
}

/// What a new connection is shown, if it is good: on a busy machine the authority may be late.
async fn shown(gateway: &Gateway, root: &CertificateDer<'static>) -> Option<(Vec<u8>, Stream)> {
    let stream = connect(gateway.address.port(), GATEWAY, trusting(root)).await.ok()?;
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    Some((chain.first().expect("one").to_vec(), stream))
}

/// Asks on a connection that is there, and leaves it open.
async fn asks(stream: &mut Stream) {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {GATEWAY}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("still open");
    let mut answer = String::new();
    let is_whole = |answer: &str| {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        (body.len() >= length.unwrap_or(0)).then_some(())
    };
    while is_whole(&answer).is_none() {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.expect("an answer");
        assert!(count > 0, "closed: {answer}");
        answer += &String::from_utf8_lossy(&piece[..count]);
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Waits until something is so that only asking tells, with a pause before it asks again: of a program of somebody else's, or
/// of a page.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_under_a_gateway_that_goes_on() {
    // Long enough to be looked at, short enough to be waited for: two thirds of it.
    let authority = Authority::start_with(&serde_json::json!({ "certificateValidityPeriod": 20 }));
    answering(&authority).await;
    let root = authority.root().await;
    let data = tempfile::tempdir().expect("a directory");
    let ([certificate, key], _) = wildcard(&authority);
    let listen = ("listen", format!("127.0.0.1:{}", authority.tls));
    let gateway = Gateway::start(authority.config(data.path(), &[listen, certificate, key]))
        .await
        .expect("it starts");
    is_trusted(&gateway, GATEWAY, &root).await;
    let (first, mut old) = until("it is not shown", async || shown(&gateway, &root).await).await;
    // Who was there before all that is served as ever.
    let renewed = until("it is not renewed", async || {
        asks(&mut old).await;
        let (now, _) = shown(&gateway, &root).await?;
        (now != first).then_some(now)
    })
    .await;
    until("it is not renewed again", async || {
        asks(&mut old).await;
        (shown(&gateway, &root).await?.0 != renewed).then_some(())
    })
    .await;
    asks(&mut old).await;

    // Now and then the authority refuses a good nonce more often than the client asks again: the next try mends that.
    let told = until("it is not well", async || {
        let told = certificates(data.path()).await;
        told[0]["last_error"].is_null().then_some(told)
    })
    .await;
    assert_eq!(
        (told[0]["name"].as_str(), told[0]["source"].as_str()),
        (Some(GATEWAY), Some("acme")),
        "{told}"
    );
    assert_eq!(
        (told[1]["hosts"].as_str(), told[1]["source"].as_str()),
        (Some("codespaces"), Some("files")),
        "{told}"
    );
    let time = |field: &str| told[0][field].as_str().map(str::to_owned);
    assert!(
        time("valid_from") < time("next_try_at") && time("next_try_at") < time("expires_at"),
        "{told}"
    );
    assert!(told[1]["next_try_at"].is_null(), "{told}");
    // The authority goes away: the operator is told, and when it is tried again.
    let Authority { directory, _running, .. } = authority;
    drop(_running);
    until("nobody is told", async || {
        let told = certificates(data.path()).await;
        let said = told[0]["last_error"].as_str()?.contains("the authority at https://localhost");
        (said && told[0]["last_error_at"].is_string() && time("next_try_at")?.as_str() < told[0]["next_try_at"].as_str()?).then_some(())
    })
    .await;
    gateway.stop().await;
    drop(directory);
}

/// Starts a gateway, and waits until it says what is wrong.
async fn fails_with(config: &Config, expected: &str) {
    let gateway = Gateway::start(config.clone()).await.expect("it starts");
    until(&format!("{expected} is not told"), async || {
        config
            .problems()
            .iter()
            .any(|problem| problem.text.contains(expected))
            .then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_in_words() {
    let authority = Authority::start();
    answering(&authority).await;
    let data = tempfile::tempdir().expect("a directory");
    let script = |name: &str, text: &str| {
        let path = authority.file(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
        authority.config(data.path(), &[("acme.hook", path.display().to_string())])
    };
    let broken = script("broken", "echo the provider is away >&2; exit 3");
    fails_with(&broken, "ended with exit status: 3: the provider is away").await;
    fails_with(&script("idle", "exit 0"), "No TXT records found").await;
}
