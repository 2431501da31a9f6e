//! The whole gateway with a real certificate authority: Pebble, Let's Encrypt's own for tests, and its DNS.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener as StdListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
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
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);
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
    _running: [Running; 2],
}

fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied());
    let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(started.unwrap_or_else(|error| panic!("{program} is not here ({error}): apt-get install pebble, or run tests/run")))
}

fn free_port() -> u16 {
    let listener = StdListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

impl Authority {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name).display().to_string();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(file("site.pem"), made.cert.pem()).expect("written");
        fs::write(file("site.key"), made.signing_key.serialize_pem()).expect("written");
        let [acme, management, dns, dns_management, http] = std::array::from_fn(|_| free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": file("site.pem"),
            "privateKey": file("site.key"),
            "httpPort": http,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
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

/// Shakes hands with a port of loopback, as someone who trusts these roots.
async fn connect(port: u16, name: &str, roots: RootCertStore) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a provider")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Waits until the gateway shows a certificate of the authority for a name.
async fn is_trusted(gateway: &Gateway, name: &str, root: &CertificateDer<'static>) {
    let trusted = async {
        loop {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone()).expect("it can be trusted");
            if connect(gateway.address.port(), name, roots).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trusted)
        .await
        .unwrap_or_else(|_| panic!("no certificate for {name}"));
}

/// Waits for the authority itself.
async fn answering(authority: &Authority) {
    let up = async {
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], authority.acme)))
            .await
            .is_err()
            || TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], authority.dns))).await.is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.expect("pebble and its DNS answer");
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
    let made = rcgen::generate_simple_self_signed([format!("*.{DOMAIN}")]).expect("a certificate");
    fs::write(authority.file("wild.pem"), made.cert.pem()).expect("written");
    fs::write(authority.file("wild.key"), made.signing_key.serialize_pem()).expect("written");
    let config = authority.config(
        data.path(),
        &[
            ("redirect_http", format!("127.0.0.1:{}", authority.http)),
            ("tls.certificate", authority.file("wild.pem").display().to_string()),
            ("tls.key", authority.file("wild.key").display().to_string()),
        ],
    );
    let gateway = Gateway::start(config).await.expect("it starts");
    is_trusted(&gateway, GATEWAY, &root).await;
    is_trusted(&gateway, "amber-x.apps.example.net", made.cert.der()).await;
    assert!(
        !data.path().join("tls/acme/codespaces.pem").exists(),
        "nothing is asked for that is there"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_in_words() {
    let authority = Authority::start();
    answering(&authority).await;
    let data = tempfile::tempdir().expect("a directory");
    let told = |hook: PathBuf, expected: &'static str| {
        let config = authority.config(data.path(), &[("acme.hook", hook.display().to_string())]);
        async move {
            let gateway = Gateway::start(config.clone()).await.expect("it starts");
            let told = async {
                loop {
                    let text: Vec<_> = config.problems().into_iter().map(|problem| problem.text).collect();
                    if text.iter().any(|text| text.contains(expected)) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let outcome = tokio::time::timeout(PATIENCE, told).await;
            let problems = config.problems();
            gateway.stop().await;
            assert!(outcome.is_ok(), "{expected} is not among {problems:#?}");
        }
    };
    let script = |name: &str, text: &str| {
        let path = authority.file(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
        path
    };
    told(
        script("broken", "echo the provider is away >&2; exit 3"),
        "ended with exit status: 3: the provider is away",
    )
    .await;
    told(script("idle", "exit 0"), "No TXT records found").await;
}
