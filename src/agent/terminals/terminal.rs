//! One terminal: a program on a PTY, and the task that owns it.
//!
//! Owns the PTY, the program and their end. Refuses to know: sockets; who watches holds a handle and reads from the
//! ring, so that nobody who is slow stands in anybody's way.

use std::{os::unix::process::ExitStatusExt as _, path::PathBuf, sync::Arc};

use bytes::{Buf as _, Bytes};
use parking_lot::{Mutex, MutexGuard};
use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::process::Signal;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    sync::{Notify, mpsc, watch},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    clients::{Clients, Gate},
    screen::{Output, RING_BYTES, Size},
};
use crate::{
    agent::{
        environment::Environment,
        ports::printed::Detector,
        processes::{self, Doomed},
        report::Reporter,
    },
    protocol::tunnel::ActivityKind,
};

/// Input pieces that wait for the program; with [`INPUT_PIECE`] the bound of what is accepted ahead.
const INPUT_PIECES: usize = 16;
/// Largest piece of input in bytes.
pub const INPUT_PIECE: usize = 4 * 1024;
/// How long output is still read after the program ended, where something keeps the PTY open.
const LINGER: Duration = Duration::from_secs(1);

/// A handle on a terminal; the task behind it ends with the program.
pub struct Terminal {
    pub id: String,
    pub created_at: OffsetDateTime,
    /// The program's process, which leads its session.
    pub process: u32,
    output: Mutex<Output>,
    clients: Mutex<Clients>,
    seen: watch::Sender<Seen>,
    wanted: watch::Sender<Size>,
    input: mpsc::Sender<Bytes>,
    acknowledged: Notify,
    removed: CancellationToken,
    ended: Mutex<Option<Instant>>,
}

/// What watchers wake for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Bytes of output so far.
    pub end: u64,
    pub size: Size,
    /// The exit status once the program ended and all its output was read.
    pub status: Option<i32>,
}

/// What to run on a new terminal.
pub struct Program {
    pub command: Vec<String>,
    pub directory: PathBuf,
    pub size: Size,
}

/// The task's own things.
struct Driver {
    terminal: Arc<Terminal>,
    reader: OwnedReadPty,
    writer: OwnedWritePty,
    child: Child,
    input: mpsc::Receiver<Bytes>,
    wanted: watch::Receiver<Size>,
    reporter: Reporter,
    printed: Detector,
}

impl Terminal {
    /// Starts a program; the future is the task that owns it and must be run.
    pub fn start(
        id: String,
        program: &Program,
        environment: &Environment,
        reporter: Reporter,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + Send + use<>), pty_process::Error> {
        let (pty, pts) = pty_process::open()?;
        pty.resize(pty_size(program.size))?;
        let (name, arguments) = program
            .command
            .split_first()
            .ok_or(std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        let child = pty_process::Command::new(name)
            .args(arguments)
            .env_clear()
            .envs(environment.iter())
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor")
            .current_dir(&program.directory)
            .spawn(pts)?;
        let (input, accepted) = mpsc::channel(INPUT_PIECES);
        let (wanted, wanted_seen) = watch::channel(program.size);
        let terminal = Arc::new(Self {
            id,
            created_at: OffsetDateTime::now_utc(),
            process: child.id().unwrap_or(0),
            output: Mutex::new(Output::new(program.size, RING_BYTES)),
            clients: Mutex::default(),
            seen: watch::Sender::new(Seen {
                end: 0,
                size: program.size,
                status: None,
            }),
            wanted,
            input,
            acknowledged: Notify::new(),
            removed: CancellationToken::new(),
            ended: Mutex::new(None),
        });
        let (reader, writer) = pty.into_split();
        let driver = Driver {
            terminal: Arc::clone(&terminal),
            reader,
            writer,
            child,
            input: accepted,
            wanted: wanted_seen,
            reporter,
            printed: Detector::default(),
        };
        Ok((terminal, driver.run()))
    }

    /// All output and the screen that it makes.
    pub fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock()
    }

    /// Who watches.
    pub fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock()
    }

    /// Wakes when there is output, another size, or the end.
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Where input goes, in pieces of at most [`INPUT_PIECE`] bytes.
    pub fn input(&self) -> mpsc::Sender<Bytes> {
        self.input.clone()
    }

    /// Asks for a size; the latest wins.
    pub fn resize(&self, size: Size) {
        self.wanted.send_replace(size);
    }

    /// Tells the task that a client has read on.
    pub fn acknowledged(&self) {
        self.acknowledged.notify_one();
    }

    /// Hangs up: the program's group gets SIGHUP and the PTY closes.
    pub fn remove(&self) {
        self.removed.cancel();
    }

    /// Whether the terminal was removed while somebody watched.
    pub fn removed(&self) -> &CancellationToken {
        &self.removed
    }

    /// When the program ended, if it did.
    pub fn ended(&self) -> Option<Instant> {
        *self.ended.lock()
    }
}

impl Driver {
    async fn run(mut self) {
        let removed = self.terminal.removed.clone();
        let status = tokio::select! {
            status = self.drive() => Some(status),
            () = removed.cancelled() => None,
        };
        let session = self.terminal.process;
        let Self {
            terminal,
            reader,
            writer,
            mut child,
            ..
        } = self;
        if status.is_none() {
            processes::signal_group(session, Signal::HUP);
        }
        // Closing the PTY hangs up whatever is still in its foreground.
        drop((reader, writer));
        let status = match status {
            Some(status) => status,
            None => {
                processes::end(Doomed {
                    sessions: [session].into(),
                    ..Doomed::default()
                })
                .await;
                child.wait().await.map_or(-1, exit_status)
            }
        };
        *terminal.ended.lock() = Some(Instant::now());
        terminal.seen.send_modify(|seen| seen.status = Some(status));
    }

    /// Moves bytes until the program ended and its output is read.
    async fn drive(&mut self) -> i32 {
        let mut buffer = vec![0; 16 * 1024];
        let mut writing = Bytes::new();
        let mut status = None;
        let mut open = true;
        let mut linger = None;
        loop {
            if let Some(status) = status
                && !open
            {
                return status;
            }
            let end = self.terminal.output().end();
            let gate = self.terminal.clients().gate(end, Instant::now());
            tokio::select! {
                read = self.reader.read(&mut buffer), if open && gate == Gate::Open => match read {
                    Ok(count) if count > 0 => self.printed(&buffer[..count]),
                    // A PTY that nobody holds open any more reads as EIO.
                    _ => open = false,
                },
                () = wait(gate, &self.terminal.acknowledged), if gate != Gate::Open => {}
                Some(bytes) = self.input.recv(), if writing.is_empty() => {
                    self.reporter.activity(ActivityKind::TerminalInput);
                    writing = bytes;
                }
                written = self.writer.write(&writing), if !writing.is_empty() => match written {
                    Ok(count) if count > 0 => writing.advance(count),
                    _ => writing.clear(),
                },
                Ok(()) = self.wanted.changed() => self.resize(),
                ended = self.child.wait(), if status.is_none() => {
                    status = Some(ended.map_or(-1, exit_status));
                    linger = Some(Instant::now() + LINGER);
                }
                () = tokio::time::sleep_until(linger.unwrap_or_else(Instant::now)), if linger.is_some() => open = false,
            }
        }
    }

    fn printed(&mut self, bytes: &[u8]) {
        let end = {
            let mut output = self.terminal.output();
            output.push(bytes);
            output.end()
        };
        self.terminal.seen.send_modify(|seen| seen.end = end);
        self.reporter.activity(ActivityKind::TerminalOutput);
        for said in self.printed.feed(bytes) {
            self.reporter.printed(said, Instant::now().into_std());
        }
    }

    fn resize(&mut self) {
        let size = *self.wanted.borrow_and_update();
        if self.terminal.output().resize(size) {
            if let Err(error) = self.writer.resize(pty_size(size)) {
                tracing::debug!(%error, "a terminal could not be resized");
            }
            self.terminal.seen.send_modify(|seen| seen.size = size);
        }
    }
}

async fn wait(gate: Gate, acknowledged: &Notify) {
    if let Gate::ClosedUntil(moment) = gate {
        tokio::select! {
            () = acknowledged.notified() => {}
            () = tokio::time::sleep_until(moment) => {}
        }
    }
}

fn pty_size(size: Size) -> pty_process::Size {
    pty_process::Size::new(size.rows(), size.cols())
}

/// The status as a shell tells it: 128 and the signal's number for one that was killed.
pub fn exit_status(status: std::process::ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
