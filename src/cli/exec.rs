//! `portico codespace exec`: a command inside a codespace, as if it ran here.
//!
//! Speaks the exec WebSocket: binary messages begin with a byte that says the stream (0 stdin, 1 stdout, 2 stderr),
//! text messages are JSON.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    args::Exec,
    client::{Client, Socket},
    codespace::path,
    place,
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// Bytes of standard input in one message.
const CHUNK: usize = 32 * 1024;

#[derive(Serialize)]
struct Start<'a> {
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
    tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cols: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Environment>,
}

#[derive(Serialize)]
struct Environment {
    #[serde(rename = "TERM")]
    term: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Say {
    Eof,
    Resize { cols: u16, rows: u16 },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Exit {
        status: i32,
    },
    Error {
        #[serde(default)]
        detail: String,
    },
    #[serde(other)]
    Other,
}

/// What the gateway counts it as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Exec,
    /// `portico codespace ssh` or `cp`.
    Ssh,
}

/// Runs the command; gives its exit status.
pub async fn run(exec: Exec, way: Way) -> anyhow::Result<ExitCode> {
    let client = place::gateway(&exec.place).await?;
    let given = exec.name.as_deref().or(exec.which.codespace.as_deref());
    let name = place::codespace(&client, given).await?;
    let size = if exec.tty { window() } else { None };
    let start = Start {
        command: &exec.command,
        cwd: exec.cwd.as_deref(),
        tty: exec.tty,
        cols: size.map(|(cols, _)| cols),
        rows: size.map(|(_, rows)| rows),
        env: exec.tty.then(|| Environment {
            term: std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned()),
        }),
    };
    let socket = begin(&client, &name, &start, way).await?;
    let raw = if exec.tty { Raw::enter() } else { None };
    let status = converse(socket, exec.tty, tokio::io::stdin(), tokio::io::stdout()).await;
    drop(raw);
    Ok(ExitCode::from(u8::try_from(status? & 0xff).unwrap_or(1)))
}

/// Runs a command of `cp` inside with bytes of ours in and out, and its complaints on our standard error; gives its exit status.
pub async fn piped(
    client: &Client,
    name: &str,
    command: &[String],
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Unpin,
) -> anyhow::Result<i32> {
    let start = Start {
        command,
        cwd: None,
        tty: false,
        cols: None,
        rows: None,
        env: None,
    };
    let socket = begin(client, name, &start, Way::Ssh).await?;
    converse(socket, false, input, output).await
}

async fn begin(client: &Client, name: &str, start: &Start<'_>, way: Way) -> anyhow::Result<Socket> {
    let query = match way {
        Way::Exec => "",
        Way::Ssh => "?as=ssh",
    };
    let mut socket = client.websocket(&format!("{}/exec{query}", path(name))).await?;
    socket.send(Message::text(serde_json::to_string(start)?)).await.context(LOST)?;
    Ok(socket)
}

const LOST: &str = "the connection to the codespace ended";

/// Copies both ways until the command has ended.
async fn converse(
    socket: Socket,
    tty: bool,
    input: impl AsyncRead + Send + Unpin + 'static,
    mut out: impl AsyncWrite + Unpin,
) -> anyhow::Result<i32> {
    let (sink, mut messages) = socket.split();
    let (pongs, asked) = mpsc::channel(4);
    let speaking = tokio::spawn(speak(sink, asked, tty, input));
    let mut err = tokio::io::stderr();
    let status = loop {
        match messages.next().await {
            Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                Some((&STDOUT, data)) => write(&mut out, data).await?,
                Some((&STDERR, data)) => write(&mut err, data).await?,
                _ => {}
            },
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(Said::Exit { status }) => break status,
                Ok(Said::Error { detail }) => bail!("it could not be started: {}", super::output::plain(&detail)),
                Ok(Said::Other) | Err(_) => {}
            },
            // tungstenite queues the pong; a flush of the sink sends it.
            Some(Ok(Message::Ping(_))) => drop(pongs.try_send(())),
            Some(Ok(Message::Close(_))) | None => bail!(LOST),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error).context(LOST),
        }
    };
    speaking.abort();
    Ok(status)
}

async fn write(stream: &mut (impl AsyncWriteExt + Unpin), data: &[u8]) -> anyhow::Result<()> {
    stream.write_all(data).await?;
    stream.flush().await?;
    Ok(())
}

type Sink = SplitSink<Socket, Message>;

/// Sends input, changes of size, and what the socket itself owes.
async fn speak(mut sink: Sink, mut pongs: mpsc::Receiver<()>, tty: bool, mut input: impl AsyncRead + Unpin) -> anyhow::Result<()> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut buffer = vec![STDIN; CHUNK + 1];
    let mut open = true;
    loop {
        tokio::select! {
            read = input.read(&mut buffer[1..]), if open => match read {
                Ok(0) | Err(_) => {
                    open = false;
                    sink.send(Message::text(serde_json::to_string(&Say::Eof)?)).await?;
                }
                Ok(length) => sink.send(Message::binary(buffer[..=length].to_vec())).await?,
            },
            _ = resized.recv(), if tty => if let Some((cols, rows)) = window() {
                sink.send(Message::text(serde_json::to_string(&Say::Resize { cols, rows })?)).await?;
            },
            asked = pongs.recv() => match asked {
                Some(()) => sink.flush().await?,
                None => return Ok(()),
            },
        }
    }
}

/// Columns and rows of this terminal.
fn window() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// This terminal in raw mode, until dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to give back.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
