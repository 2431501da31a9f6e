//! Terminals over real PTYs and WebSockets on duplex streams.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{attach, *};
use crate::{agent::websocket::Socket, protocol::bootstrap::Bootstrap};

type Client = WebSocketStream<DuplexStream>;

fn terminals() -> Terminals {
    let bootstrap = Bootstrap {
        home: "/".into(),
        state_dir: "/nonexistent".into(),
        ..Bootstrap::default()
    };
    let environment = Environment::compose(std::iter::empty(), &bootstrap);
    Terminals::new(
        environment,
        Folder::of("/tmp".as_ref()),
        "/".into(),
        Reporter::new(),
        TaskTracker::new(),
    )
}

fn open(terminals: &Terminals, script: &str) -> Arc<Terminal> {
    let command = Some(["sh", "-c", script].map(String::from).to_vec());
    let listed = terminals
        .open(NewTerminal {
            command,
            ..NewTerminal::default()
        })
        .expect("starts");
    terminals.find(&listed.id).expect("is listed")
}

async fn connect(terminal: &Arc<Terminal>, since: Option<u64>, client: &str) -> Client {
    let (near, far) = tokio::io::duplex(4 * 1024);
    let request = attach::Request {
        since,
        client: Some(client.into()),
    };
    let terminal = Arc::clone(terminal);
    tokio::spawn(async move { attach::attach(Socket::server(far).await, terminal, request).await });
    WebSocketStream::from_raw_socket(near, Role::Client, None).await
}

/// The next message that is data: bytes, or JSON of another type than `ack` and `resize`.
async fn next(client: &mut Client) -> Result<Vec<u8>, Value> {
    loop {
        match tokio::time::timeout(Duration::from_secs(60), client.next())
            .await
            .expect("in time")
            .expect("open")
            .expect("sound")
        {
            Message::Binary(bytes) => return Ok(bytes.to_vec()),
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if !["ack", "resize"].contains(&value["type"].as_str().expect("a type")) {
                    return Err(value);
                }
            }
            Message::Close(frame) => return Err(serde_json::json!({"type": "close", "code": frame.map(|frame| u16::from(frame.code))})),
            _ => {}
        }
    }
}

async fn hello(client: &mut Client) -> Value {
    let hello = next(client).await.expect_err("hello comes first");
    assert_eq!(hello["type"], "hello");
    hello
}

async fn say(client: &mut Client, value: Value) {
    client.send(Message::Text(value.to_string().into())).await.expect("sent");
}

/// Reads to the end, acknowledging; gives the bytes and the exit status.
async fn read_to_exit(client: &mut Client, mut seq: u64) -> (Vec<u8>, Value) {
    let mut all = Vec::new();
    loop {
        match next(client).await {
            Ok(bytes) => {
                seq += bytes.len() as u64;
                all.extend_from_slice(&bytes);
                say(client, serde_json::json!({"type": "ack", "seq": seq})).await;
            }
            Err(value) if value["type"] == "exit" => return (all, value["status"].clone()),
            Err(value) => panic!("{value}"),
        }
    }
}

async fn until(terminal: &Terminal, what: impl FnMut(&terminal::Seen) -> bool) -> terminal::Seen {
    *tokio::time::timeout(Duration::from_secs(60), terminal.watch().wait_for(what))
        .await
        .expect("in time")
        .expect("alive")
}

#[tokio::test]
async fn a_reconnect_gives_exactly_the_missing_bytes() {
    let terminals = terminals();
    let terminal = open(
        &terminals,
        "i=0; while [ $i -lt 3000 ]; do echo \"line $i éü\"; i=$((i+1)); done; exit 7",
    );
    let expected: String = (0..3000).map(|line| format!("line {line} éü\r\n")).collect();
    let mut received = Vec::new();
    for round in 1_usize.. {
        let since = received.len() as u64;
        let mut client = connect(&terminal, Some(since), "c").await;
        assert_eq!(hello(&mut client).await["seq"], since);
        // Cut the line after some odd number of bytes, in the middle of whatever comes.
        let cut = received.len() + (round * 2_713) % 5_000;
        let ended = loop {
            match next(&mut client).await {
                Ok(bytes) => received.extend_from_slice(&bytes),
                Err(end) => break Some(end),
            }
            if received.len() >= cut {
                break None;
            }
        };
        if let Some(end) = ended {
            assert_eq!((&end["type"], &end["status"]), (&"exit".into(), &7.into()));
            break;
        }
        received.truncate(cut);
    }
    assert_eq!(String::from_utf8(received).expect("whole characters"), expected);
}

#[tokio::test]
async fn bytes_that_are_gone_become_a_redraw() {
    let terminals = terminals();
    let terminal = open(
        &terminals,
        "i=0; while [ $i -lt 40 ]; do head -c 65536 /dev/zero | tr '\\0' x; i=$((i+1)); done; printf '\\033[2J\\033[3;4Hend'; exec sleep 600",
    );
    until(&terminal, |seen| seen.end >= 40 * 65_536 + 13).await;
    let mut client = connect(&terminal, Some(0), "c").await;
    let hello = hello(&mut client).await;
    assert_eq!((&hello["redraw"], &hello["seq"]), (&true.into(), &(40 * 65_536 + 13).into()));
    let mut screen = avt::Terminal::new(80, 24).expect("a size");
    let live = loop {
        match next(&mut client).await {
            Ok(bytes) => screen.feed(String::from_utf8(bytes).expect("whole characters").as_str()),
            Err(live) => break live,
        }
    };
    assert_eq!((&live["type"], &live["seq"]), (&"live".into(), &hello["seq"]));
    assert_eq!(screen.screen().visible_lines().nth(2).expect("a line").text().trim_end(), "   end");
    assert!(terminals.remove(&terminal.id));
    assert_eq!(next(&mut client).await.expect_err("closes")["code"], 4004);
    until(&terminal, |seen| seen.status.is_some()).await;
}

#[tokio::test]
async fn input_is_neither_lost_nor_doubled() {
    let terminals = terminals();
    let terminal = open(&terminals, "stty raw -echo; printf r; head -c 60000; printf .");
    until(&terminal, |seen| seen.end >= 1).await;
    let typed: Vec<u8> = (0..60_000_u32).map(|n| b'a' + u8::try_from(n % 23).expect("small")).collect();
    let mut accepted = 0;
    let mut rounds = 0;
    while accepted < typed.len() {
        rounds += 1;
        let mut client = connect(&terminal, Some(1), "typist").await;
        accepted = usize::try_from(hello(&mut client).await["input"].as_u64().expect("a number")).expect("small");
        // Send some of what was not accepted, and cut the line before it can all have arrived.
        let (mut sink, mut stream) = client.split();
        let (heard, mut hearing) = tokio::sync::watch::channel(());
        let reading = tokio::spawn(async move {
            while stream
                .next()
                .await
                .is_some_and(|heard_it| heard_it.is_ok() && heard.send(()).is_ok())
            {}
        });
        for piece in typed[accepted..].chunks(700).take(9) {
            if sink.send(Message::Binary(piece.to_vec().into())).await.is_err() {
                break;
            }
        }
        let _ = hearing.changed().await;
        reading.abort();
    }
    assert!(rounds > 5);
    let mut reader = connect(&terminal, Some(1), "reader").await;
    hello(&mut reader).await;
    let (output, status) = read_to_exit(&mut reader, 1).await;
    assert_eq!(status, 0);
    assert!(output == [typed.as_slice(), b"."].concat(), "{} bytes came back", output.len());
}

#[tokio::test]
async fn a_resize_reaches_the_program_and_the_others() {
    let terminals = terminals();
    let terminal = open(&terminals, "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done");
    let mut first = connect(&terminal, Some(0), "first").await;
    let mut second = connect(&terminal, Some(0), "second").await;
    hello(&mut second).await;
    hello(&mut first).await;
    let mut ready = Vec::new();
    while ready.len() < 7 {
        ready.extend(next(&mut first).await.expect("bytes"));
    }
    say(&mut first, serde_json::json!({"type": "resize", "cols": 101, "rows": 33})).await;
    let told = loop {
        if let Message::Text(text) = second.next().await.expect("open").expect("sound") {
            break serde_json::from_str::<Value>(&text).expect("JSON");
        }
    };
    assert_eq!(told, serde_json::json!({"type": "resize", "cols": 101, "rows": 33}));
    let (output, _) = read_to_exit(&mut first, 7).await;
    assert_eq!(String::from_utf8_lossy(&output), "33 101\r\n");
    assert_eq!(terminals.list()[0].cols, 101);
}

#[tokio::test]
async fn a_slow_client_stalls_nobody() {
    let terminals = terminals();
    let terminal = open(&terminals, "head -c 5000000 /dev/zero | tr '\\0' y");
    let mut slow = connect(&terminal, Some(0), "slow").await;
    hello(&mut slow).await;
    let mut fast = connect(&terminal, Some(0), "fast").await;
    hello(&mut fast).await;
    let (output, _) = read_to_exit(&mut fast, 0).await;
    assert_eq!(output.len(), 5_000_000);
    // The slow one gets what was under way, is sent away, and comes back for the screen and the end.
    let mut received = 0;
    let sent_away = loop {
        match next(&mut slow).await {
            Ok(bytes) => received += bytes.len() as u64,
            Err(close) => break close,
        }
        // It may be sent away while it says so.
        let acknowledged = serde_json::json!({"type": "ack", "seq": 1}).to_string();
        let _ = slow.send(Message::Text(acknowledged.into())).await;
    };
    assert_eq!(sent_away["code"], 1013);
    let mut slow = connect(&terminal, Some(received), "slow").await;
    let hello = hello(&mut slow).await;
    assert_eq!((&hello["redraw"], &hello["seq"]), (&true.into(), &5_000_000.into()));
    while next(&mut slow).await.is_ok() {}
    assert_eq!(next(&mut slow).await.expect_err("exit")["type"], "exit");
}

#[tokio::test]
async fn wrong_wishes_are_refused() {
    let terminals = terminals();
    let wish = |cwd: Option<&str>, command: Option<Vec<String>>| NewTerminal {
        cwd: cwd.map(PathBuf::from),
        command,
        ..NewTerminal::default()
    };
    assert!(matches!(
        terminals.open(wish(Some("/nowhere"), None)),
        Err(NewTerminalError::NoDirectory(_))
    ));
    assert!(matches!(
        terminals.open(wish(None, Some(Vec::new()))),
        Err(NewTerminalError::NoCommand)
    ));
    assert!(matches!(
        terminals.open(wish(None, Some(vec!["no-such-program".into()]))),
        Err(NewTerminalError::Start(_))
    ));
    assert!(!terminals.remove("nothing"));
    assert!(terminals.list().is_empty());
}
