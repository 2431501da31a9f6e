//! One command run for somebody on the other end of a WebSocket.
//!
//! Owns the conversation and the command's life: it ends with the socket. What passes either way is use of the codespace,
//! an open socket is not. Refuses to know who asked.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    environment::{Environment, is_name},
    processes::{self, Doomed},
    terminals::{Size, directory, exit_status},
    websocket::{Heard, Over, Socket},
    workshop::Workshop,
};
use crate::protocol::tunnel::ActivityKind;

/// How long the first message may take.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// How long output is still read after the command ended, where something it left behind holds it open.
const LINGER: Duration = Duration::from_millis(500);
/// Most bytes of output in one message.
const PIECE: usize = 32 * 1024;
/// First byte of a message that carries input.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// What to run: the first message.
#[derive(Debug, Deserialize)]
struct Order {
    command: Vec<String>,
    cwd: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    tty: bool,
    cols: Option<u16>,
    rows: Option<u16>,
}

/// What is said in text later.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Eof,
    Resize { cols: u16, rows: u16 },
}

/// A command that runs.
struct Running {
    child: Child,
    process: u32,
    /// None once its end was told.
    input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    output: mpsc::Receiver<(u8, Bytes)>,
    /// The terminal's own end, where there is one.
    terminal: Option<OwnedFd>,
    waiting: Bytes,
    /// Whether input ends once `waiting` is written.
    closing: bool,
}

/// What a command is run as: a way in of its own counts by its own name.
pub fn kind(query: &str) -> ActivityKind {
    let is_ssh = form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "as" && value == "ssh");
    if is_ssh { ActivityKind::Ssh } else { ActivityKind::Exec }
}

/// Serves one command until it or the socket ends; `kind` is what it counts as.
pub async fn serve(mut socket: Socket, workshop: Arc<Workshop>, kind: ActivityKind) {
    workshop.environment.personal().told().await;
    let started = match timeout(FIRST_MESSAGE, socket.next()).await {
        Ok(Ok(Heard::Text(text))) => serde_json::from_str(&text)
            .map_err(|error| error.to_string())
            .and_then(|order| start(order, &workshop)),
        Ok(Ok(Heard::Binary(_))) => Err("the first message is text and says what to run".into()),
        Ok(Err(Over)) | Err(_) => return,
    };
    let mut running = match started {
        Ok(running) => running,
        Err(detail) => {
            if socket.json(&json!({"type": "error", "detail": detail})).await.is_ok() {
                socket.close(1000, "not started").await;
            }
            return;
        }
    };
    let used = || workshop.reporter.activity(kind);
    used();
    let ended = running.converse(&mut socket, used).await;
    let process = running.process;
    drop(running);
    match ended {
        Ok(status) => {
            if socket.json(&json!({"type": "exit", "status": status})).await.is_ok() {
                socket.close(1000, "the command ended").await;
            }
        }
        Err(Over) => {
            processes::end(Doomed {
                sessions: [process].into(),
                groups: [process].into(),
            })
            .await
        }
    }
}

fn start(order: Order, workshop: &Workshop) -> Result<Running, String> {
    if order.command.first().is_none_or(String::is_empty) {
        return Err("the command is empty".into());
    }
    let directory =
        directory(workshop.folder.path(), &workshop.home, order.cwd.as_deref()).map_err(|cwd| format!("there is no directory {cwd}"))?;
    let mut environment = workshop.environment.clone();
    for (name, value) in &order.env {
        if !is_name(name) || value.contains('\0') {
            return Err(format!("{name:?} is not a variable that a program can have"));
        }
        environment = environment.with(name, value);
    }
    let started = if order.tty {
        on_terminal(&order, &environment, &directory)
    } else {
        on_pipes(&order, &environment, &directory)
    };
    started.map_err(|error| match error {
        pty_process::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("there is no program {}", order.command[0])
        }
        error => format!("{} could not be started: {error}", order.command[0]),
    })
}

fn on_pipes(order: &Order, environment: &Environment, directory: &PathBuf) -> Result<Running, pty_process::Error> {
    let mut child = Command::new(&order.command[0])
        .args(&order.command[1..])
        .env_clear()
        .envs(environment.iter())
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (sender, output) = mpsc::channel(2);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    tokio::spawn(copy(STDOUT, stdout, sender.clone()));
    tokio::spawn(copy(STDERR, stderr, sender));
    let input = child
        .stdin
        .take()
        .map(|stdin| Box::new(stdin) as Box<dyn AsyncWrite + Send + Unpin>);
    Ok(Running {
        process: child.id().unwrap_or(0),
        child,
        input,
        output,
        terminal: None,
        waiting: Bytes::new(),
        closing: false,
    })
}

fn on_terminal(order: &Order, environment: &Environment, directory: &PathBuf) -> Result<Running, pty_process::Error> {
    let (pty, pts) = pty_process::open()?;
    let size = Size::new(order.cols.unwrap_or(80), order.rows.unwrap_or(24));
    pty.resize(pty_process::Size::new(size.rows(), size.cols()))?;
    let terminal = std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned()?;
    let mut command = pty_process::Command::new(&order.command[0])
        .args(&order.command[1..])
        .env_clear()
        .env("COLORTERM", "truecolor");
    if !order.env.contains_key("TERM") {
        command = command.env("TERM", "xterm-256color");
    }
    let child = command.envs(environment.iter()).current_dir(directory).spawn(pts)?;
    let (reader, writer) = pty.into_split();
    let (sender, output) = mpsc::channel(2);
    tokio::spawn(copy(STDOUT, Some(reader), sender));
    let process = child.id().unwrap_or(0);
    Ok(Running {
        child,
        process,
        input: Some(Box::new(writer)),
        output,
        terminal: Some(terminal),
        waiting: Bytes::new(),
        closing: false,
    })
}

impl Running {
    /// Moves bytes until the command ended and its output is told; gives its status.
    async fn converse(&mut self, socket: &mut Socket, used: impl Fn()) -> Result<i32, Over> {
        let (mut status, mut open, mut linger) = (None, true, None);
        loop {
            if let Some(status) = status
                && !open
            {
                return Ok(status);
            }
            let idle = self.waiting.is_empty();
            if idle && self.closing {
                self.end_input().await;
            }
            tokio::select! {
                piece = self.output.recv(), if open => match piece {
                    Some((channel, bytes)) => {
                        used();
                        let mut message = BytesMut::with_capacity(bytes.len() + 1);
                        message.extend_from_slice(&[channel]);
                        message.extend_from_slice(&bytes);
                        socket.binary(message.freeze()).await?;
                    }
                    None => open = false,
                },
                heard = hear(socket, idle && !self.closing || self.input.is_none()) => {
                    if self.heard(heard?) {
                        used();
                    }
                }
                written = write(&mut self.input, &self.waiting), if !idle => match written {
                    Some(count) => self.waiting.advance(count),
                    // It reads no more: what is left is for nobody.
                    None => (self.waiting, self.input) = (Bytes::new(), None),
                },
                ended = self.child.wait(), if status.is_none() => {
                    status = Some(ended.map_or(-1, exit_status));
                    linger = Some(Instant::now() + LINGER);
                }
                () = tokio::time::sleep_until(linger.unwrap_or_else(Instant::now)), if linger.is_some() && open => open = !self.output.is_empty(),
            }
        }
    }

    /// Takes what was said; whether it was input.
    fn heard(&mut self, heard: Heard) -> bool {
        match heard {
            Heard::Binary(mut bytes) if bytes.first() == Some(&STDIN) && self.input.is_some() => {
                bytes.advance(1);
                self.waiting = bytes;
                return true;
            }
            Heard::Binary(_) => {}
            Heard::Text(text) => match serde_json::from_str(&text) {
                Ok(Said::Eof) => self.closing = true,
                Ok(Said::Resize { cols, rows }) => {
                    let size = Size::new(cols, rows);
                    if let Some(terminal) = &self.terminal {
                        let size = rustix::termios::Winsize {
                            ws_row: size.rows(),
                            ws_col: size.cols(),
                            ws_xpixel: 0,
                            ws_ypixel: 0,
                        };
                        let _ = rustix::termios::tcsetwinsize(terminal, size);
                    }
                }
                Err(error) => tracing::debug!(%error, "a message to a command is not understood"),
            },
        }
        false
    }

    async fn end_input(&mut self) {
        self.closing = false;
        if self.terminal.is_some() {
            // A terminal has no end of input of its own: the line discipline makes one of ^D.
            self.waiting = Bytes::from_static(b"\x04");
        } else if let Some(mut input) = self.input.take() {
            let _ = input.shutdown().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only where it still runs: its number may be another's once it was waited for.
        if self.child.id().is_some() {
            processes::signal_group(self.process, Signal::HUP);
        }
    }
}

async fn hear(socket: &mut Socket, room: bool) -> Result<Heard, Over> {
    if room {
        socket.next().await
    } else {
        Err(socket.keep_alive().await)
    }
}

async fn write(input: &mut Option<Box<dyn AsyncWrite + Send + Unpin>>, bytes: &[u8]) -> Option<usize> {
    input.as_mut()?.write(bytes).await.ok().filter(|count| *count > 0)
}

async fn copy(channel: u8, stream: Option<impl AsyncRead + Unpin>, sender: mpsc::Sender<(u8, Bytes)>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; PIECE];
    while let Ok(count) = stream.read(&mut buffer).await
        && count > 0
        && sender.send((channel, Bytes::copy_from_slice(&buffer[..count]))).await.is_ok()
    {}
}
