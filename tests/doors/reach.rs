//! What an agent can be made to dial, and the gateway to ask: a port of the codespace, and nothing (SSRF-1).

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use portico::protocol::bootstrap::{Bootstrap, MARK_VARIABLE, Secret};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, handshake::derive_accept_key, protocol::Role};

use super::{
    gateway::{PASSWORD, PORTICO, Person, eventually, free_address, run},
    lone::Lone,
    tunnel::{Canary, Stolen, answers, page, port, take_head},
    wire::{Call, Connection},
};

const ASKED: u16 = 28_494;
const BESIDE: u16 = 28_495;
const INSIDE: u16 = 28_496;
const MARK: &str = "0123456789abcdef0123456789abcdef";

/// A git server that is none, at an address of its own, which looks who asks.
struct Watch {
    address: SocketAddr,
    /// The first line of each request, and whether the gateway's own process sent it.
    seen: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Watch {
    fn new(gateway: u32) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("loopback");
        let (address, seen) = (listener.local_addr().expect("it is bound"), Arc::<Mutex<Vec<_>>>::default());
        let sees = Arc::clone(&seen);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().expect("a peer");
                let by_gateway = holds(gateway, peer);
                let mut line = String::new();
                drop(BufReader::new(&stream).read_line(&mut line));
                sees.lock().expect("whole").push((line, by_gateway));
                drop(
                    stream.write_all(
                        b"HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    ),
                );
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<(String, bool)> {
        self.seen.lock().expect("whole").clone()
    }
}

/// Whether a process has the socket that is bound to this address.
fn holds(process: u32, address: SocketAddr) -> bool {
    let SocketAddr::V4(v4) = address else { return false };
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&&*local)).then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    });
    let open = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let links: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    inode.is_some_and(|inode| links.iter().any(|link| link.as_os_str() == &*inode))
}

fn api(gateway: &Lone, person: &Person, method: &'static str, path: &str, body: &Value) -> super::wire::Reply {
    let call = Call::new(method, gateway.host(), &format!("/api/v1/{path}"))
        .json(body)
        .at(gateway.address);
    call.field("Authorization", format!("Bearer {}", person.token)).send()
}

/// Everything in a request that could name where it goes.
fn visits(gateway: &Lone, person: &Person, canary: SocketAddr) {
    let host = gateway.port(person, ASKED);
    let plain = |path: &str| Call::get(host.clone(), path).at(gateway.address).token(&person.token);
    for path in [
        "/",
        &format!("//{canary}/"),
        &format!("/http://{canary}/"),
        &format!("/?url=http://{canary}/&host={canary}"),
        "/latest/meta-data/",
    ] {
        let reply = plain(path).send();
        assert_eq!(reply.body(), "from the agent", "{path}: {}", reply.text);
    }
    let target = canary.to_string();
    for name in [
        "X-Forwarded-Host",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Destination",
        "Referer",
        "Origin",
        "Via",
    ] {
        let reply = plain("/").field(name, format!("http://{target}")).send();
        assert!(!reply.text.contains("CANARY"), "{name}: {}", reply.text);
    }
    for authority in [
        target.clone(),
        "169.254.169.254".into(),
        "metadata.google.internal".into(),
        format!("{target}.{host}"),
    ] {
        let absolute = Call::get(authority.clone(), &format!("http://{authority}/"))
            .at(gateway.address)
            .token(&person.token);
        assert!(matches!(absolute.send().status(), 400 | 404 | 421), "{authority}");
        let torn = Call::get(host.clone(), &format!("http://{authority}/"))
            .at(gateway.address)
            .token(&person.token);
        assert_eq!(torn.send().status(), 400, "{authority}");
    }
    // Raw TCP, by the API: a port, whatever else is asked for.
    let name = &person.codespace;
    for rest in [
        format!("ports/{ASKED}/connect?host=169.254.169.254&address={target}"),
        format!("ports/{target}/connect"),
        format!("ports/{ASKED}@{target}/connect"),
        "ports/0/connect".into(),
        "ports/65536/connect".into(),
        format!("beside/{ASKED}/connect"),
    ] {
        let call = Call::get(gateway.host(), &format!("/api/v1/codespaces/{name}/{rest}")).socket();
        let mut connection = Connection::open_at(gateway.address);
        connection.exchange(&call.field("Authorization", format!("Bearer {}", person.token)));
    }
}

/// A repository and dotfiles are fetched, by what runs in the codespace.
fn fetches(gateway: &Lone, person: &Person, watch: &Watch) {
    let url = |what: &str| format!("http://{}/{what}.git", watch.address);
    let kept = api(
        gateway,
        person,
        "PATCH",
        "user/settings",
        &json!({ "dotfiles_repository": url("dotfiles") }),
    );
    assert_eq!(kept.status(), 200, "{}", kept.text);
    let made = api(gateway, person, "POST", "codespaces", &json!({ "repository": url("repository") }));
    assert_eq!(made.status(), 201, "{}", made.text);
    eventually("what runs inside asks for it", || {
        watch.seen().iter().any(|(line, _)| line.contains("/repository.git")).then_some(())
    });
    let name = made.json()["name"].as_str().expect("a name").to_owned();
    for bad in [
        "http://169.254.169.254/latest",
        "file:///etc",
        "ext::sh -c id",
        "ssh://-oProxyCommand=id/x",
    ] {
        let reply = api(gateway, person, "PATCH", "user/settings", &json!({ "dotfiles_repository": bad }));
        assert!(matches!(reply.status(), 200 | 422), "{bad}: {}", reply.text);
    }
    assert_eq!(
        api(gateway, person, "DELETE", &format!("codespaces/{name}?force=true"), &json!({})).status(),
        204
    );
}

#[test]
fn ssrf_1_an_agent_is_told_a_number_and_the_gateway_asks_nobody() {
    let gateway = Lone::start("http://portico.localhost", &[]);
    let data = gateway.data.path();
    run(data, &["user", "create", "first", "--admin", "--password-stdin"], PASSWORD);
    run(data, &["user", "create", "eve", "--password-stdin"], PASSWORD);
    let (watch, canary) = (Watch::new(gateway.process()), Canary::new());
    let eve = gateway.person("eve");
    fetches(&gateway, &eve.person, &watch);

    // Its agent says that it listens, and where it likes; the gateway tells it a number.
    let stolen = Stolen::new(gateway.address, data, &eve.person.codespace);
    let mut link = stolen.connect();
    let address = canary.address;
    link.say(&json!({ "type": "ports", "ports": [
        { "port": ASKED, "addresses": [address.to_string(), "169.254.169.254"], "scheme": "http", "path": format!("//{address}/") },
        { "port": BESIDE, "addresses": [address.ip().to_string()], "beside": "169.254.169.254" },
    ] }));
    let serving = link.serve(|stream, _| answers(stream, |_| page("from the agent")));
    eventually("what it says is heard", || {
        let ports = api(
            &gateway,
            &eve.person,
            "GET",
            &format!("codespaces/{}/ports", eve.person.codespace),
            &json!({}),
        )
        .json();
        let listed = ports.as_array().expect("ports").iter().filter(|port| port["listening"] == true);
        (listed.count() == 2).then_some(())
    });
    visits(&gateway, &eve.person, address);
    let beside = Call::get(gateway.port(&eve.person, BESIDE), "/")
        .at(gateway.address)
        .token(&eve.person.token);
    assert_eq!(beside.send().body(), "from the agent");
    let mut kinds = serving.asked();
    kinds.sort_unstable();
    kinds.dedup();
    let [_, _, high, low] = port(BESIDE);
    let allowed = [port(ASKED), [1, 3, 0, 0], [1, 4, high, low]];
    assert!(kinds.iter().all(|asked| allowed.contains(asked)), "{kinds:?}");
    assert!(kinds.contains(&allowed[0]) && kinds.contains(&allowed[2]), "{kinds:?}");
    for said in serving.said() {
        let names: Vec<_> = said.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(names, ["ids", "type"], "{said}");
        let ids = said["ids"].as_array().expect("ids").iter().map(|id| id.as_str().expect("text"));
        for id in ids {
            assert!(
                id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{id}"
            );
        }
    }
    assert_eq!(canary.met(), 0);
    let by_gateway = |(_, by_gateway): &&(String, bool)| *by_gateway;
    let seen = watch.seen();
    assert_eq!(seen.iter().filter(by_gateway).count(), 0, "{seen:?}");
    serving.hang_up();
}

/// A gateway that means harm to whoever connects to it.
struct Hostile {
    control: WebSocket<TcpStream>,
    streams: mpsc::Receiver<(String, TcpStream)>,
}

impl Hostile {
    /// Waits for an agent on a listener.
    fn new(listener: TcpListener) -> Self {
        let (controls, first) = mpsc::channel();
        let (opened, streams) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some(head) = take_head(&mut stream) else { continue };
                let field = |name: &str| {
                    head.lines()
                        .find_map(|line| line.to_lowercase().starts_with(name).then(|| line[name.len()..].trim().to_owned()))
                };
                let answer = match field("sec-websocket-key:") {
                    Some(key) => format!("Upgrade: websocket\r\nSec-WebSocket-Accept: {}", derive_accept_key(key.as_bytes())),
                    None => "Upgrade: portico-stream".into(),
                };
                drop(stream.write_all(format!("HTTP/1.1 101 S\r\nConnection: upgrade\r\n{answer}\r\n\r\n").as_bytes()));
                stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
                let line = head.lines().next().unwrap_or_default().to_owned();
                let given = if answer.contains("websocket") {
                    controls.send(stream).is_ok()
                } else {
                    opened.send((line, stream)).is_ok()
                };
                if !given {
                    return;
                }
            }
        });
        let stream = first.recv_timeout(Duration::from_secs(120)).expect("the agent connects");
        let mut hostile = Self {
            control: WebSocket::from_raw_socket(stream, Role::Server, None),
            streams,
        };
        let hello = hostile.control.read().expect("a hello").into_text().expect("text");
        assert!(hello.contains("\"hello\""), "{hello}");
        hostile.say(&json!({ "type": "welcome" }));
        hostile
    }

    fn say(&mut self, message: &Value) {
        self.control.send(Message::text(message.to_string())).expect("it is connected");
    }

    /// Has a stream opened, with what else a message could say of it.
    fn stream(&mut self, id: &str) -> TcpStream {
        let other = "127.0.0.2";
        self.say(&json!({ "type": "open", "ids": [id], "host": other, "address": other, "port": 80, "url": format!("http://{other}/") }));
        let (line, stream) = self.streams.recv_timeout(Duration::from_secs(60)).expect("it opens one");
        assert_eq!(line, format!("GET /api/v1/agent/stream?id={id} HTTP/1.1"));
        stream
    }

    /// What the agent says to an open request.
    fn asks(&mut self, id: &str, open: &[u8]) -> (u8, TcpStream) {
        let mut stream = self.stream(id);
        stream.write_all(open).expect("it is open");
        let mut status = [0xff];
        stream.read_exact(&mut status).expect("a status");
        (status[0], stream)
    }
}

/// An agent that ends with its test, however that ends.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends what it started.
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}

fn agent(directory: &Path, gateway: SocketAddr) -> Agent {
    let orders = Bootstrap {
        codespace: "amber-quiet-otter-x7k2".into(),
        generation: 1,
        credential: Secret("secret".into()),
        gateway: format!("http://{gateway}"),
        state_dir: directory.join("state"),
        workspace: directory.join("workspace"),
        home: directory.join("home"),
        mark: Some(MARK.into()),
        git_name: "Ada".into(),
        git_email: "ada@example.org".into(),
        ..Bootstrap::default()
    };
    for made in [&orders.state_dir, &orders.workspace, &orders.home] {
        fs::create_dir(made).expect("the directory is ours");
    }
    let path = directory.join("bootstrap.json");
    fs::write(&path, serde_json::to_vec(&orders).expect("JSON")).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let mut command = Command::new(PORTICO);
    command.arg("agent").arg("--bootstrap").arg(path).env(MARK_VARIABLE, MARK);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Agent(command.spawn().expect("the agent"))
}

#[test]
fn ssrf_1_an_agent_dials_its_own_ports_whatever_its_gateway_says() {
    let (directory, canary, address) = (tempfile::tempdir().expect("a directory"), Canary::new(), free_address());
    let listener = TcpListener::bind(address).expect("it is free");
    let _agent = agent(directory.path(), address);
    let mut gateway = Hostile::new(listener);
    // Ids that would lead elsewhere open nothing, and the next one does.
    gateway.say(&json!({ "type": "open", "ids": [
        format!("http://{}/", canary.address), "../../x", "x?host=y", "a b", "a\r\nHost: b", "", "x".repeat(200), "%2e",
    ] }));
    let others = canary.address.port().to_be_bytes();
    let [own, listens] = [address.port(), canary.address.port()].map(port);
    for (number, (open, expected)) in [
        (own, 1),
        (listens, 1),
        ([1, 4, others[0], others[1]], 1),
        (port(2375), 1),
        (port(22), 1),
        ([1, 1, 0, 0], 6),
        ([1, 2, others[0], others[1]], 6),
        ([1, 3, others[0], others[1]], 6),
        ([1, 5, others[0], others[1]], 6),
        ([1, 0, 0, 80], 6),
        ([2, 1, others[0], others[1]], 6),
        // What would be an address, were there room for one.
        ([169, 254, 169, 254], 6),
        ([127, 0, 0, 2], 6),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(gateway.asks(&format!("s{number}"), &open).0, expected, "{open:?}");
    }
    // A server of its own is reached, by its number.
    let (status, mut stream) = gateway.asks("api", &[1, 3, 0, 0]);
    assert_eq!(status, 0);
    let program = std::env::current_exe().expect("this program");
    let body = json!({ "command": [
        "env", format!("DOOR_PORT={INSIDE}"), "DOOR_STAMP=INSIDE", program, "app::serve", "--exact", "--ignored",
    ] });
    let body = body.to_string();
    let request = format!(
        "POST /terminals HTTP/1.1\r\nHost: agent\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it is open");
    assert!(take_head(&mut stream).expect("an answer").starts_with("HTTP/1.1 201 "));
    let gateway = Mutex::new((gateway, 0));
    let mut served = eventually("its own server listens", || {
        let mut gateway = gateway.lock().expect("whole");
        gateway.1 += 1;
        let id = format!("own{}", gateway.1);
        let (status, stream) = gateway.0.asks(&id, &port(INSIDE));
        // Seen where this fails.
        eprintln!("{id}: {status}");
        (status == 0).then_some(stream)
    });
    served
        .write_all(b"GET /\xff HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n")
        .expect("it is open");
    assert!(take_head(&mut served).expect("an answer").starts_with("HTTP/1.1 200 "));
    let mut gateway = gateway.into_inner().expect("whole").0;
    // What is no message of the protocol ends the connection, and is not done.
    gateway.say(&json!({ "type": "dial", "host": "127.0.0.2", "port": canary.address.port() }));
    loop {
        match gateway.control.read() {
            Ok(Message::Close(_)) | Err(_) => break,
            Ok(_) => {}
        }
    }
    assert_eq!(canary.met(), 0);
}
