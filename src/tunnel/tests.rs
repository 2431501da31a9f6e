//! Hostile agents over real sockets.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use hyper::{Request, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::*;
use crate::{
    domain::Port,
    protocol::tunnel::{Stopping, ToAgent},
};

/// Knows credentials by heart: `NAME:GENERATION`, good while NAME is expected at that generation.
struct Known {
    expected: Mutex<HashMap<&'static str, u64>>,
    events: mpsc::Sender<AgentEvent>,
    direct: Option<PathBuf>,
}

impl AgentCredentials for Known {
    fn verify(&self, credential: &str) -> Verdict {
        let Some((name, generation)) = credential.split_once(':') else {
            return Verdict::Unknown;
        };
        let generation = generation.parse().expect("the tests write numbers");
        match self.expected.lock().get(name) {
            Some(0) => Verdict::Ended,
            Some(expected) if *expected == generation => Verdict::Current(name.parse().expect("a name"), Generation(generation)),
            Some(_) => Verdict::Superseded,
            None => Verdict::Unknown,
        }
    }

    fn events(&self, _: &CodespaceName) -> Option<mpsc::Sender<AgentEvent>> {
        Some(self.events.clone())
    }

    fn direct_address(&self, _: &CodespaceName) -> Option<PathBuf> {
        self.direct.clone()
    }
}

struct Bench {
    tunnels: Tunnels,
    known: Arc<Known>,
    events: mpsc::Receiver<AgentEvent>,
    address: std::net::SocketAddr,
}

type Control = WebSocketStream<TcpStream>;

async fn bench(direct: Option<PathBuf>) -> Bench {
    let (sender, events) = mpsc::channel(64);
    let known = Arc::new(Known {
        expected: Mutex::new([("amber", 1), ("birch", 1), ("cedar", 0)].into()),
        events: sender,
        direct,
    });
    let tunnels = Tunnels::new();
    tunnels.trust(Arc::clone(&known) as Arc<dyn AgentCredentials>);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound");
    let served = tunnels.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let served = served.clone();
            let service = service_fn(move |request| {
                let served = served.clone();
                async move { Ok::<_, std::convert::Infallible>(served.serve(request).await) }
            });
            tokio::spawn(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades(),
            );
        }
    });
    Bench {
        tunnels,
        known,
        events,
        address,
    }
}

impl Bench {
    async fn connect(&self, credential: &str) -> Result<Control, u16> {
        let stream = TcpStream::connect(self.address).await.expect("the gateway listens");
        let mut request = "ws://gateway/api/v1/agent/connect".into_client_request().expect("a request");
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {credential}").parse().expect("a header"));
        match client_async(request, stream).await {
            Ok((control, _)) => Ok(control),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects, says hello and reads the welcome.
    async fn agent(&mut self, credential: &str, key: Option<String>) -> Control {
        let mut control = self.connect(credential).await.expect("it is current");
        say(
            &mut control,
            &FromAgent::Hello {
                version: 1,
                direct_key: key,
                renews: true,
                personal: false,
                // Those of birch want to know, as agents of before do not.
                warned: credential.starts_with("birch"),
            },
        )
        .await;
        assert_eq!(hear(&mut control).await, Ok(ToAgent::Welcome { default_branch: true }));
        let event = self.events.recv().await;
        assert!(matches!(event, Some(AgentEvent::Connected { .. })), "{event:?}");
        control
    }

    /// Opens a data stream; gives the status and, after 101, the connection.
    async fn stream(&self, credential: &str, id: &str) -> (u16, TcpStream) {
        let mut stream = TcpStream::connect(self.address).await.expect("the gateway listens");
        let request = format!(
            "GET /api/v1/agent/stream?id={id} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {credential}\r\n\
             Connection: Upgrade\r\nUpgrade: portico-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it is connected");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let status = std::str::from_utf8(&head[9..12]).expect("a status").parse().expect("a number");
        (status, stream)
    }
}

async fn say(control: &mut Control, message: &FromAgent) {
    let text = serde_json::to_string(message).expect("it is JSON");
    control.send(Message::text(text)).await.expect("it is connected");
}

/// The next message, or the code with which the gateway closes.
async fn hear(control: &mut Control) -> Result<ToAgent, u16> {
    match control.next().await {
        Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).expect("a message")),
        Some(Ok(Message::Close(frame))) => Err(frame.map_or(0, |frame| frame.code.into())),
        other => panic!("{other:?}"),
    }
}

async fn ids(control: &mut Control) -> Vec<String> {
    match hear(control).await {
        Ok(ToAgent::Open { ids }) => ids,
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> CodespaceName {
    text.parse().expect("a name")
}

fn port(number: u16) -> Endpoint {
    Endpoint::Port(Port::new(number).expect("a port"))
}

#[tokio::test]
async fn a_credential_is_looked_at_first() {
    let bench = bench(None).await;
    for (credential, status) in [("nobody", 401), ("", 401), ("oak:1", 401), ("amber:0", 410), ("cedar:1", 410)] {
        assert_eq!(bench.connect(credential).await.err(), Some(status), "{credential}");
        assert_eq!(bench.stream(credential, "x").await.0, status, "{credential}");
    }
}

#[tokio::test]
async fn a_stream_is_opened_and_its_id_is_good_once_for_its_codespace() {
    let mut bench = bench(None).await;
    let mut amber = bench.agent("amber:1", None).await;
    let mut birch = bench.agent("birch:1", None).await;
    let (ahead, others) = (ids(&mut amber).await, ids(&mut birch).await);
    assert_eq!(ahead.len(), 2);

    assert_eq!(bench.stream("birch:1", &ahead[0]).await.0, 404, "another codespace's id");
    assert_eq!(bench.stream("amber:1", &others[0]).await.0, 404, "another codespace's id");
    let (status, mut far) = bench.stream("amber:1", &ahead[0]).await;
    assert_eq!(status, 101);
    assert_eq!(bench.stream("amber:1", &ahead[0]).await.0, 404, "a used id");
    assert_eq!(bench.stream("amber:1", "").await.0, 404);

    let dialled = tokio::spawn({
        let tunnels = bench.tunnels.clone();
        async move { tunnels.dial(&name("amber"), port(3000)).await }
    });
    let mut open = [0; 4];
    far.read_exact(&mut open).await.expect("an open request");
    assert_eq!(Endpoint::decode(open), Some(port(3000)));
    far.write_all(b"\0hello").await.expect("it is connected");
    let mut near = dialled.await.expect("no panic").expect("it is open");
    let mut text = [0; 5];
    near.read_exact(&mut text).await.expect("bytes");
    assert_eq!(&text, b"hello");
    near.shutdown().await.expect("half-close");
    assert_eq!(far.read(&mut text).await.expect("an end"), 0);
    far.write_all(b"still").await.expect("the other half is open");
    near.read_exact(&mut text).await.expect("bytes after half-close");
}

#[tokio::test]
async fn agt_7_each_stream_is_authorized_when_it_is_opened() {
    let mut bench = bench(None).await;
    let mut amber = bench.agent("amber:1", None).await;
    let id = ids(&mut amber).await.remove(0);
    // The link stands and the id was given out on it; what the credential is worth is asked all the same.
    let expect = |generation: Option<u64>| match generation {
        Some(generation) => drop(bench.known.expected.lock().insert("amber", generation)),
        None => drop(bench.known.expected.lock().remove("amber")),
    };
    expect(Some(2));
    assert_eq!(bench.stream("amber:1", &id).await.0, 410, "it was started anew");
    assert_eq!(bench.stream("amber:2", &id).await.0, 404, "another start's id");
    expect(Some(0));
    assert_eq!(bench.stream("amber:1", &id).await.0, 410, "it was stopped");
    expect(None);
    assert_eq!(bench.stream("amber:1", &id).await.0, 401, "it is gone");
    expect(Some(1));
    assert_eq!(bench.stream("amber:1", &id).await.0, 101, "none of that used the id up");
}

#[tokio::test]
async fn agt_10_an_agent_that_takes_nothing_stalls_nobody_else() {
    let mut bench = bench(None).await;
    // From here on it reads nothing, neither what it is told nor what it is asked for.
    let _stalled = bench.agent("amber:1", None).await;
    let mut birch = bench.agent("birch:1", None).await;
    let id = ids(&mut birch).await.remove(0);
    let hasty = bench.tunnels.clone().with_connect_timeout(Duration::from_millis(500));
    let waiting: Vec<_> = (0..3000)
        .map(|_| {
            let hasty = hasty.clone();
            tokio::spawn(async move { hasty.dial(&name("amber"), port(3000)).await.map(drop) })
        })
        .collect();
    let (_, mut far) = bench.stream("birch:1", &id).await;
    let answer = async {
        let mut open = [0; 4];
        far.read_exact(&mut open).await.expect("an open request");
        far.write_all(&[0]).await.expect("it is connected");
    };
    let birch = name("birch");
    let (dialled, ()) = tokio::join!(bench.tunnels.dial(&birch, port(1)), answer);
    assert!(dialled.is_ok(), "{dialled:?}");
    for waited in waiting {
        let refused = waited.await.expect("no panic");
        // No more is asked of it than it could be told: the others hear at once that nobody is there.
        let told = matches!(refused, Err(DialError::TimedOut | DialError::Refused(_) | DialError::NotConnected));
        assert!(told, "{refused:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_nobody_connected_is_told() {
    let mut bench = bench(None).await;
    assert!(matches!(
        bench.tunnels.dial(&name("amber"), port(1)).await,
        Err(DialError::NotConnected)
    ));
    let mut amber = bench.agent("amber:1", None).await;
    let ahead = ids(&mut amber).await;
    let (_, mut far) = bench.stream("amber:1", &ahead[0]).await;
    let answer = async {
        let mut open = [0; 4];
        far.read_exact(&mut open).await.expect("an open request");
        far.write_all(&[Refusal::NothingListens as u8]).await.expect("it is connected");
    };
    let tunnels = bench.tunnels.clone();
    let birch = name("amber");
    let (dialled, ()) = tokio::join!(tunnels.dial(&birch, port(1)), answer);
    assert!(matches!(dialled, Err(DialError::Refused(Refusal::NothingListens))), "{dialled:?}");
}

#[tokio::test]
async fn agt_8_garbage_ends_only_the_link_that_it_came_on() {
    let mut bench = bench(None).await;
    let mut birch = bench.agent("birch:1", None).await;
    ids(&mut birch).await;
    let hello = r#"{"type":"hello","version":1,"direct_key":null}"#.to_owned();
    for (garbage, code) in [
        (Message::text("{"), 1002),
        (Message::text(hello), 1002),
        (Message::binary(vec![0; 8]), 1002),
        (Message::text(r#"{"type":"ports","ports":[{"port":99999,"addresses":[]}]}"#), 1002),
        (Message::text("x".repeat(70_000)), 1009),
        (Message::text(r#"{"type":"prepared","codespace":"birch"}"#), 1008),
    ] {
        let mut amber = bench.agent("amber:1", None).await;
        ids(&mut amber).await;
        amber.send(garbage).await.expect("it is connected");
        assert_eq!(hear(&mut amber).await, Err(code));
        let event = bench.events.recv().await;
        let Some(AgentEvent::Disconnected { reason, .. }) = event else {
            panic!("{event:?}")
        };
        // The codespace writes this into the audit log.
        assert_eq!(reason == "the agent spoke for another than itself", code == 1008, "{reason}");
    }
    say(&mut birch, &FromAgent::Prepared).await;
    let event = bench.events.recv().await;
    assert_eq!(
        event,
        Some(AgentEvent::Said {
            generation: Generation(1),
            message: FromAgent::Prepared
        })
    );
}

#[tokio::test]
async fn agt_1_a_hello_for_another_ends_the_connection_and_is_told_of() {
    let mut bench = bench(None).await;
    for claim in [r#""codespace":"birch""#, r#""generation":2"#, r#""user":"root""#] {
        let mut control = bench.connect("amber:1").await.expect("it is current");
        let hello = format!(r#"{{"type":"hello","version":1,"direct_key":null,{claim}}}"#);
        control.send(Message::text(hello)).await.expect("it is connected");
        assert_eq!(hear(&mut control).await, Ok(ToAgent::Welcome { default_branch: true }));
        assert_eq!(hear(&mut control).await, Err(1008), "{claim}");
        assert!(matches!(bench.events.recv().await, Some(AgentEvent::Connected { .. })));
        let told = bench.events.recv().await;
        assert!(
            matches!(&told, Some(AgentEvent::Disconnected { reason, .. }) if reason.contains("for another")),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_stop_is_told_to_agents_that_want_to_know() {
    let mut bench = bench(None).await;
    let (mut before, mut agent) = (bench.agent("amber:1", None).await, bench.agent("birch:1", None).await);
    for control in [&mut before, &mut agent] {
        ids(control).await;
    }
    let stopping = Some(Stopping {
        after: 300_000,
        anyway: false,
    });
    bench.tunnels.warn(&name("amber"), 1, stopping);
    bench.tunnels.warn(&name("birch"), 1, None);
    bench.tunnels.warn(&name("birch"), 2, stopping);
    assert_eq!(hear(&mut agent).await, Ok(ToAgent::Stopping { stopping }), "of its own link alone");
    bench.tunnels.warn(&name("birch"), 2, None);
    assert_eq!(hear(&mut agent).await, Ok(ToAgent::Stopping { stopping: None }));
    bench.tunnels.end(&name("amber"));
    assert_eq!(hear(&mut before).await, Err(4002), "it would take it for no message");
}

#[tokio::test]
async fn agt_6_the_newest_generation_wins() {
    let mut bench = bench(None).await;
    let mut first = bench.agent("amber:1", None).await;
    ids(&mut first).await;
    let mut again = bench.agent("amber:1", None).await;
    assert_eq!(hear(&mut first).await, Err(4001));
    ids(&mut again).await;
    assert!(matches!(bench.events.recv().await, Some(AgentEvent::Disconnected { .. })));
    // An old agent that was let in a moment ago and says hello only now comes too late.
    let mut late = bench.connect("amber:1").await.expect("it is current");
    bench.known.expected.lock().insert("amber", 2);
    say(
        &mut late,
        &FromAgent::Hello {
            version: 1,
            direct_key: None,
            renews: false,
            personal: false,
            warned: false,
        },
    )
    .await;
    assert_eq!(hear(&mut late).await, Err(4001));
    let mut newer = bench.agent("amber:2", None).await;
    assert_eq!(hear(&mut again).await, Err(4001));
    assert_eq!(bench.connect("amber:1").await.err(), Some(410));
    ids(&mut newer).await;
    bench.tunnels.end(&name("amber"));
    assert_eq!(hear(&mut newer).await, Err(4002));
}

#[tokio::test]
async fn a_direct_stream_shows_the_key_even_on_a_long_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).expect("a directory");
    let short = directory.path().join("s");
    let listener = UnixListener::bind(&short).expect("a short path");
    std::fs::rename(&short, deep.join("agent.sock")).expect("same file system");
    let mut bench = bench(Some(deep.join("agent.sock"))).await;
    let _control = bench.agent("amber:1", Some("ab".repeat(32))).await;
    let tunnels = bench.tunnels.clone();
    let answer = async {
        let (mut far, _) = listener.accept().await.expect("a connection");
        let mut begin = [0; 36];
        far.read_exact(&mut begin).await.expect("key and open request");
        assert_eq!(begin[..32], [0xab; 32]);
        far.write_all(&[0]).await.expect("it is connected");
    };
    let amber = name("amber");
    let (dialled, ()) = tokio::join!(tunnels.dial(&amber, Endpoint::Agent), answer);
    assert!(dialled.is_ok(), "{dialled:?}");
}

#[tokio::test]
async fn agt_6_nothing_new_is_begun_on_streams_of_an_agent_whose_connection_ended_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(directory.path().join("agent.sock")).expect("a socket");
    let mut bench = bench(Some(directory.path().join("agent.sock"))).await;
    let control = bench.agent("amber:1", Some("ab".repeat(32))).await;
    let answer = async {
        let (mut far, _) = listener.accept().await.expect("a connection");
        far.read_exact(&mut [0; 36]).await.expect("key and open request");
        far.write_all(&[0]).await.expect("it is connected");
        far
    };
    let amber = name("amber");
    let (dialled, _far) = tokio::join!(bench.tunnels.dial(&amber, Endpoint::Agent), answer);
    let tenure = dialled.expect("it is connected").tenure();
    assert!(!tenure.is_over());
    drop(control);
    let event = bench.events.recv().await;
    assert!(matches!(event, Some(AgentEvent::Disconnected { .. })), "{event:?}");
    assert!(tenure.is_over());
}

#[tokio::test]
async fn a_branch_whose_name_is_too_long_ends_no_link() {
    let mut bench = bench(None).await;
    let mut amber = bench.agent("amber:1", None).await;
    ids(&mut amber).await;
    let branch = |length: usize| FromAgent::DefaultBranch { name: "b".repeat(length) };
    for message in [branch(513), branch(512)] {
        say(&mut amber, &message).await;
    }
    let event = bench.events.recv().await;
    assert!(
        matches!(&event, Some(AgentEvent::Said { message, .. }) if *message == branch(512)),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_link_in_place_of_the_socket_is_not_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = UnixListener::bind(directory.path().join("victim.sock")).expect("a socket");
    std::os::unix::fs::symlink(directory.path().join("victim.sock"), directory.path().join("agent.sock")).expect("a link");
    let mut bench = bench(Some(directory.path().join("agent.sock"))).await;
    let mut control = bench.agent("amber:1", Some("ab".repeat(32))).await;
    let tunnels = bench.tunnels.clone();
    let dialled = tokio::spawn(async move { tunnels.dial(&name("amber"), Endpoint::Editor).await });
    // It falls back to a stream that the agent opens.
    assert_eq!(ids(&mut control).await.len(), 1);
    dialled.abort();
    tokio::select! {
        biased;
        accepted = victim.accept() => panic!("{accepted:?}"),
        () = std::future::ready(()) => {}
    }
}

#[test]
fn requests_are_only_served_as_upgrades() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bench = bench(None).await;
        let status = async |request: http::request::Builder| {
            let request: Request<()> = request.body(()).expect("a request");
            bench.tunnels.serve(request).await.status().as_u16()
        };
        let connect = || Request::get("/api/v1/agent/connect").header("authorization", "Bearer amber:1");
        assert_eq!(status(Request::get("/api/v1/agent/other")).await, 404);
        assert_eq!(status(connect().method("POST")).await, 405);
        assert_eq!(status(connect().header("origin", "http://x")).await, 403);
        assert_eq!(status(connect()).await, 400);
    });
}
