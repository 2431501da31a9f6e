//! Tests of [`super`] over real sockets.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use tokio::io::AsyncReadExt;

use super::*;
use crate::protocol::bootstrap::MARK_VARIABLE;

/// The variable that tells the helper where to listen.
const LISTEN_AT: &str = "PORTICO_TEST_LISTEN_AT";

/// A server in a process of its own that does not descend from this one; it ends when this is dropped.
struct Server {
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    port: Port,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.stdout.read_to_end(&mut Vec::new());
    }
}

/// Starts this test program again as a server that greets with "hello"; its parent ends at once.
fn serve(address: &str, mark: Option<&str>) -> Server {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        r#"exec 3<&0; "$0" --exact agent::ports::tests::helper --ignored --nocapture <&3 2>/dev/null &"#,
    ]);
    command
        .arg(env::current_exe().expect("this program"))
        .env(LISTEN_AT, address)
        .env_remove(MARK_VARIABLE);
    command.envs(mark.map(|mark| (MARK_VARIABLE, mark)));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
    let stdin = child.stdin.take();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let port = stdout
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on ")?.1.parse().ok());
    child.wait().expect("sh ends");
    Server {
        stdin,
        stdout,
        port: port.expect("the helper says its port"),
    }
}

#[test]
#[ignore = "a program for the other tests"]
fn helper() {
    let Ok(address) = env::var(LISTEN_AT) else { return };
    let listener = TcpListener::bind(address).expect("it can be bound");
    println!("listening on {}", listener.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = io::Write::write_all(&mut &stream, b"hello");
        }
    });
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

async fn greeting(ports: &Ports, port: Port) -> Result<String, Refusal> {
    let mut said = String::new();
    ports.dial(port).await?.read_to_string(&mut said).await.expect("it greets and ends");
    Ok(said)
}

fn listed(ports: &[ListeningPort], port: Port) -> Option<&ListeningPort> {
    ports.iter().find(|listed| listed.port == port.number())
}

#[tokio::test]
async fn with_a_mark_only_marked_processes_count() {
    let mark = uuid::Uuid::now_v7().to_string();
    let (ours, theirs, nobodys) = (
        serve("127.0.0.1:0", Some(&mark)),
        serve("127.0.0.1:0", Some("another")),
        serve("0.0.0.0:0", None),
    );
    let ports = Ports::new(Some(mark), Reporter::new());
    assert_eq!(greeting(&ports, ours.port).await, Ok("hello".into()));
    let seen = ports.scan().await;
    let ours = listed(&seen, ours.port).expect("it is listed");
    assert_eq!(ours.addresses, ["127.0.0.1"]);
    assert!(ours.pid.is_some() && ours.process.is_some() && ours.command.as_ref().is_some_and(|command| command.contains("helper")));
    for server in [theirs, nobodys] {
        assert_eq!(greeting(&ports, server.port).await, Err(Refusal::NothingListens));
        assert_eq!(listed(&seen, server.port), None);
    }
}

#[tokio::test]
async fn helpers_of_the_editor_are_noise() {
    let ports = Ports::new(None, Reporter::new());
    let server = serve("127.0.0.1:0", None);
    let seen = ports.scan().await;
    let seen = listed(&seen, server.port).expect("it is listed");
    assert_eq!(seen.noise, None);
    ports.editor_is(seen.pid);
    let noise = |seen: Vec<ListeningPort>| listed(&seen, server.port).and_then(|port| port.noise.clone());
    assert_eq!(noise(ports.scan().await).as_deref(), Some("editor"));
    assert_eq!(greeting(&ports, server.port).await, Ok("hello".into()), "who knows it may have it");
    ports.editor_is(None);
    assert_eq!(noise(ports.scan().await), None);
}

#[tokio::test]
async fn every_loopback_address_is_reached() {
    let ports = Ports::new(None, Reporter::new());
    for address in ["127.0.0.1:0", "127.0.0.9:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        if TcpListener::bind(address).is_err() {
            eprintln!("this machine has no {address}");
            continue;
        }
        let server = serve(address, None);
        assert_eq!(greeting(&ports, server.port).await, Ok("hello".into()), "{address}");
    }
}

#[tokio::test]
async fn a_service_beside_it_has_a_port_until_the_codespace_itself_has() {
    let reporter = Reporter::new();
    let ports = Ports::new(None, reporter.clone());
    let address: IpAddr = "192.0.2.9".parse().expect("an address");
    let server = serve("127.0.0.1:0", None);
    // No kernel gives it to anybody.
    let closed = 1;
    let declared = [server.port.number(), closed, 2375].map(|port| (port, ("db".to_owned(), address)));
    ports.declare(declared.into());
    let beside = |port: u16| ports.0.beside(port).expect("it can be read");
    assert_eq!(beside(closed), Some(address));
    assert_eq!(beside(2375), None, "a denied port stays one");
    assert_eq!(beside(server.port.number()), None, "its own has the number");
    let refused = ports.dial_beside(server.port).await.map(drop);
    assert_eq!(refused, Err(Refusal::NothingListens));
    assert_eq!(greeting(&ports, server.port).await, Ok("hello".into()));
    let own = ports.dial(Port::new(closed).expect("a port")).await.map(drop);
    assert_eq!(
        own,
        Err(Refusal::NothingListens),
        "what is asked for as its own never leads to the service"
    );
    for port in [closed, 2375, server.port.number()] {
        ports.0.besides.called(port, address, true);
    }
    let seen = ports.scan().await;
    let shown = |port: u16| {
        seen.iter()
            .find(|listed| listed.port == port)
            .map(|listed| (listed.beside.as_deref(), &listed.addresses[0][..]))
    };
    assert_eq!(shown(closed), Some((Some("db"), "192.0.2.9")));
    assert_eq!(shown(server.port.number()), Some((None, "127.0.0.1")));
    assert_eq!(shown(2375), None);
    let told = reporter.watch().borrow().port_notices();
    let keys: Vec<_> = told.iter().map(|notice| notice.key.as_str()).collect();
    assert_eq!(keys, [format!("forwardPorts db:{}", server.port.number())]);
    ports.declare(devcontainer::Beside::new());
    let seen = ports.scan().await;
    assert!(seen.iter().all(|listed| listed.beside.is_none()));
    assert_eq!(reporter.watch().borrow().port_notices().iter().count(), 0);
}

#[tokio::test]
async fn the_agents_own_ports_are_nobodys() {
    let own = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let port = Port::new(own.local_addr().expect("it is bound").port()).expect("it is not 0");
    for mark in [None, Some("mark".to_owned())] {
        let ports = Ports::new(mark, Reporter::new());
        assert_eq!(greeting(&ports, port).await, Err(Refusal::NothingListens));
        assert_eq!(listed(&ports.scan().await, port), None);
    }
    drop(own);
    assert_eq!(
        greeting(&Ports::new(None, Reporter::new()), port).await,
        Err(Refusal::NothingListens),
        "a closed port"
    );
}
