//! An agent's credential is renewed while it is connected (AGT-4), over real sockets.

use futures_util::{SinkExt, StreamExt};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::*;
use crate::{protocol::tunnel::ToAgent, store::AuditQuestion};

pub(super) type Control = WebSocketStream<TcpStream>;

/// Where agents connect to a bench's gateway.
pub(super) async fn door(spaces: &Codespaces) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let tunnels = spaces.inner.deps.tunnels.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tunnels = tunnels.clone();
            let service = service_fn(move |request| {
                let tunnels = tunnels.clone();
                async move { Ok::<_, std::convert::Infallible>(tunnels.serve(request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

/// Connects as an agent and is welcomed; the status if it is refused.
async fn agent(address: std::net::SocketAddr, credential: &str, renews: bool) -> Result<Control, u16> {
    let hello = FromAgent::Hello {
        version: 1,
        direct_key: None,
        renews,
        personal: false,
        warned: false,
    };
    greet(address, credential, &hello).await
}

/// The same with a greeting.
pub(super) async fn greet(address: std::net::SocketAddr, credential: &str, hello: &FromAgent) -> Result<Control, u16> {
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    let mut request = "ws://gateway/api/v1/agent/connect".into_client_request().expect("a request");
    let bearer = format!("Bearer {credential}").parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let mut control = match client_async(request, stream).await {
        Ok((control, _)) => control,
        Err(tungstenite::Error::Http(answer)) => return Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    tell(&mut control, hello).await;
    assert_eq!(hear(&mut control).await, ToAgent::Welcome { default_branch: true });
    Ok(control)
}

pub(super) async fn tell(control: &mut Control, message: &FromAgent) {
    let text = serde_json::to_string(message).expect("it is JSON");
    control.send(Message::text(text)).await.expect("it is connected");
}

pub(super) async fn hear(control: &mut Control) -> ToAgent {
    let heard = timeout(Wait::from_secs(60), control.next()).await.expect("in time");
    let message = heard.expect("it is open").expect("it is a WebSocket");
    serde_json::from_str(message.to_text().expect("text")).expect("a message")
}

/// The next credential that the gateway gives, whatever else it says.
async fn given(control: &mut Control) -> String {
    loop {
        if let ToAgent::Credential { credential } = hear(control).await {
            return credential.0;
        }
    }
}

#[tokio::test]
async fn agt_4_what_an_agent_was_started_with_is_replaced_while_it_is_connected() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let door = door(&bench.spaces).await;
    let first = bench.runtime.bootstrap(codespace.name()).expect("it runs").credential.0;
    let verify = |credential: &str| bench.spaces.inner.verify(credential);
    let good = Verdict::Current(codespace.name().clone(), Generation(1));

    // It hears of a fresh one, and is cut off before it could keep it: it comes back with what it has.
    let mut control = agent(door, &first, true).await.expect("it is current");
    let lost = given(&mut control).await;
    assert_ne!(lost, first);
    drop(control);
    let mut control = agent(door, &first, true).await.expect("nobody is locked out");
    tell(&mut control, &FromAgent::Prepared).await;
    reaches(&codespace, |now| now.is_reachable()).await;
    assert_eq!(
        codespace.snapshot().record.agent_hash,
        Some(hash_secret(&first)),
        "nothing was used yet"
    );

    // It slept for long and comes back with the one that it kept: only now the one before is over, after a moment.
    drop(control);
    let mut control = agent(door, &lost, true)
        .await
        .expect("what it was given is good for as long as it sleeps");
    reaches(&codespace, |now| now.record.agent_hash == Some(hash_secret(&lost))).await;
    assert_eq!(codespace.snapshot().record.agent_next_hash, None);
    assert_eq!(verify(&first), good, "a stream may be on its way");
    bench.clock.advance(Duration::seconds(30));
    assert_eq!(verify(&first), Verdict::Unknown);
    for _ in 0..2 {
        assert_eq!(agent(door, &first, true).await.err(), Some(401));
    }
    assert_eq!(verify(&lost), good);

    // The one that it was given last is renewed by its word alone, and kept as a hash.
    let kept = bench.store.codespaces().await.expect("well").remove(0);
    assert_eq!((kept.agent_hash, kept.agent_next_hash), (Some(hash_secret(&lost)), None));
    tell(&mut control, &FromAgent::Renewed).await;
    tell(&mut control, &FromAgent::Prepared).await;
    assert_eq!(verify(&lost), good, "a word that nobody asked for takes nothing away");

    let question = AuditQuestion {
        action: Some("agent".into()),
        limit: 50,
        ..AuditQuestion::default()
    };
    let told = async {
        loop {
            let events = bench.store.audit(&question).await.expect("events");
            let count = |action: &str| events.iter().filter(|entry| entry.event.action == action).count();
            if count("agent.rejected") > 0 && count("agent.renewed") > 0 {
                return (count("agent.rejected"), count("agent.renewed"));
            }
            tokio::task::yield_now().await;
        }
    };
    let told = timeout(Wait::from_secs(60), told).await.expect("the audit log has it");
    assert_eq!(told, (1, 1), "a copy of a credential that is over is told of once");
}

#[tokio::test]
async fn agt_4_either_credential_is_good_after_a_restart_until_the_later_is_used() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let first = bench.runtime.bootstrap(codespace.name()).expect("it runs").credential.0;
    let mut control = agent(door(&bench.spaces).await, &first, true).await.expect("it is current");
    let second = given(&mut control).await;
    let good = Verdict::Current(codespace.name().clone(), Generation(1));
    for credential in [&first, &second] {
        let again = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
        assert_eq!(again.inner.verify(credential), good);
    }
    // Its word that it keeps the fresh one is a use of it.
    tell(&mut control, &FromAgent::Renewed).await;
    reaches(&codespace, |now| now.record.agent_hash == Some(hash_secret(&second))).await;
    let again = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    assert_eq!(again.inner.verify(&second), good);
    assert_eq!(again.inner.verify(&first), Verdict::Unknown);
    // Another start, and nothing of this one is good.
    bench.runtime.crash(codespace.name());
    drop(control);
}

#[tokio::test]
async fn agt_4_a_credential_whose_use_nobody_heard_of_is_good_after_a_restart() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let first = bench.runtime.bootstrap(codespace.name()).expect("it runs").credential.0;
    let mut control = agent(door(&bench.spaces).await, &first, true).await.expect("it is current");
    let second = given(&mut control).await;
    // The gateway goes before it hears that the agent keeps the second, and the next one hears no word of its use either.
    let again = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
    let handle = again.find(codespace.name()).expect("it is there");
    let events = handle.agent_events().expect("it has a task");
    let generation = Generation(1);
    let noise = AgentEvent::Disconnected {
        generation,
        link: u64::MAX,
        reason: String::new(),
    };
    while events.try_send(noise.clone()).is_ok() {}
    let good = Verdict::Current(codespace.name().clone(), generation);
    assert_eq!(again.inner.verify(&second), good);
    let mut control = agent(door(&again).await, &second, true).await.expect("it is current");
    let third = given(&mut control).await;
    // That one goes too, and the agent may have kept the third or not.
    for credential in [&second, &third] {
        let last = load(&bench.store, &bench.runtime, &bench.auth, &bench.clock).await;
        assert_eq!(last.inner.verify(credential), good);
    }
}

#[tokio::test]
async fn agt_4_an_agent_of_before_is_told_nothing_that_it_does_not_know() {
    let bench = bench().await;
    let codespace = bench.create().await;
    bench.started(&codespace, 1).await;
    let first = bench.runtime.bootstrap(codespace.name()).expect("it runs").credential.0;
    let mut control = agent(door(&bench.spaces).await, &first, false).await.expect("it is current");
    tell(&mut control, &FromAgent::Prepared).await;
    let now = reaches(&codespace, |now| now.is_reachable()).await;
    assert_eq!(now.record.agent_next_hash, None);
    assert!(matches!(hear(&mut control).await, ToAgent::Open { .. }));
}
