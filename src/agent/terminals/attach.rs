//! One client on one terminal: a WebSocket on which no byte is lost or doubled.
//!
//! Owns the conversation: hello, raw bytes both ways, acknowledgements, redraw. Refuses to know: the program.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    clients::{Attachment, Superseded, WINDOW},
    screen::Size,
    terminal::{INPUT_PIECE, Seen, Terminal},
};
use crate::agent::websocket::{Heard, Over, Socket};

/// Largest binary message sent, in bytes.
const PIECE: usize = 32 * 1024;
/// Input that may wait for the program before the socket is no longer read, in bytes.
const MAX_WAITING: usize = 64 * 1024;
/// Accepted input is acknowledged this long after it came.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(200);
/// Close code: the client came back on another connection.
const CLOSE_SUPERSEDED: u16 = 4001;
/// Close code: the terminal was removed.
const CLOSE_REMOVED: u16 = 4004;
/// Close code: the client was so slow that its next bytes are gone; it may come back at once (RFC 6455: try again).
const CLOSE_BEHIND: u16 = 1013;
/// Close code: the client broke the protocol.
const CLOSE_PROTOCOL: u16 = 1008;

/// How a client asks to be attached.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// Bytes of output that it has seen; none for a redraw.
    pub since: Option<u64>,
    /// The id under which its input is counted.
    pub client: Option<String>,
}

/// What a client says in text.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Resize { cols: u16, rows: u16 },
    Ack { seq: u64 },
}

/// Why the conversation ended.
enum End {
    Over,
    Superseded,
    Removed,
    Protocol,
    Behind,
    Exited(i32),
}

struct Attached {
    socket: Socket,
    terminal: Arc<Terminal>,
    membership: Membership,
    seen: watch::Receiver<Seen>,
    size: Size,
    /// Offset of the next byte to send.
    sent: u64,
    acknowledged: u64,
    input: mpsc::Sender<Bytes>,
    waiting: VecDeque<Bytes>,
    accepted: u64,
    tell_accepted: Option<Instant>,
}

/// Detaches on drop.
struct Membership {
    terminal: Arc<Terminal>,
    attachment: Attachment,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.terminal.clients().detach(self.attachment);
        self.terminal.acknowledged();
    }
}

impl From<Over> for End {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

impl From<Superseded> for End {
    fn from(_: Superseded) -> Self {
        Self::Superseded
    }
}

/// Serves one client until it goes, the program ends or the terminal is removed.
pub async fn attach(socket: Socket, terminal: Arc<Terminal>, request: Request) {
    let seen = terminal.watch();
    let size = seen.borrow().size;
    let from = request.since.filter(|since| terminal.output().read(*since, 0).is_ok());
    let (attachment, accepted) = terminal.clients().attach(request.client.as_deref(), from.unwrap_or(u64::MAX));
    let mut attached = Attached {
        socket,
        membership: Membership {
            terminal: Arc::clone(&terminal),
            attachment,
        },
        size,
        seen,
        sent: 0,
        acknowledged: 0,
        input: terminal.input(),
        waiting: VecDeque::new(),
        accepted,
        tell_accepted: None,
        terminal,
    };
    let removed = attached.terminal.removed().clone();
    let end = tokio::select! {
        end = attached.converse(from) => end,
        () = removed.cancelled() => End::Removed,
    };
    let Attached {
        mut socket, membership, ..
    } = attached;
    drop(membership);
    match end {
        End::Over => {}
        End::Superseded => socket.close(CLOSE_SUPERSEDED, "another connection of this client took over").await,
        End::Removed => socket.close(CLOSE_REMOVED, "the terminal was removed").await,
        End::Protocol => socket.close(CLOSE_PROTOCOL, "not understood").await,
        End::Behind => socket.close(CLOSE_BEHIND, "too far behind; come back for a redraw").await,
        End::Exited(status) => {
            if socket.json(&json!({"type": "exit", "status": status})).await.is_ok() {
                socket.close(1000, "the program ended").await;
            }
        }
    }
}

impl Attached {
    async fn converse(&mut self, from: Option<u64>) -> End {
        match self.talk(from).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn talk(&mut self, from: Option<u64>) -> Result<std::convert::Infallible, End> {
        self.begin(from).await?;
        loop {
            if !self.terminal.clients().is_current(self.membership.attachment) {
                return Err(End::Superseded);
            }
            let seen = *self.seen.borrow_and_update();
            self.tell_size(seen.size).await?;
            if let Some(status) = seen.status
                && self.sent >= seen.end
            {
                return Err(End::Exited(status));
            }
            let may_send = self.sent < seen.end && self.sent - self.acknowledged.min(self.sent) < WINDOW;
            tokio::select! {
                heard = hear(&mut self.socket, self.waiting.iter().map(Bytes::len).sum::<usize>() < MAX_WAITING) => self.heard(heard?)?,
                permit = self.input.clone().reserve_owned(), if !self.waiting.is_empty() => match (permit, self.waiting.pop_front()) {
                    (Ok(permit), Some(piece)) => {
                        self.terminal.clients().accept(self.membership.attachment, piece.len())?;
                        self.accepted += piece.len() as u64;
                        self.tell_accepted.get_or_insert_with(|| Instant::now() + ACKNOWLEDGE_AFTER);
                        let _sender = permit.send(piece);
                    }
                    // The program ended; nobody will read it.
                    _ => self.waiting.clear(),
                },
                () = tokio::time::sleep_until(self.tell_accepted.unwrap_or_else(Instant::now)), if self.tell_accepted.is_some() => {
                    self.tell_accepted = None;
                    self.socket.json(&json!({"type": "ack", "input": self.accepted})).await?;
                }
                () = std::future::ready(()), if may_send => self.send_on().await?,
                _ = self.seen.changed(), if !may_send => {}
            }
        }
    }

    /// Says hello, and draws the screen where the bytes asked for are not there.
    async fn begin(&mut self, from: Option<u64>) -> Result<(), End> {
        let (hello, redraw) = {
            let mut output = self.terminal.output();
            let redraw = from.is_none().then(|| output.redraw());
            let seq = redraw.as_ref().map_or(from.unwrap_or_default(), |redraw| redraw.live);
            self.size = output.size();
            (self.sent, self.acknowledged) = (seq, seq);
            let hello = json!({
                "type": "hello", "seq": seq, "input": self.accepted, "cols": self.size.cols(), "rows": self.size.rows(),
                "redraw": redraw.is_some(), "title": output.title(),
            });
            (hello, redraw)
        };
        {
            // A client that waits for its redraw holds nobody up; from here on it counts.
            let mut clients = self.terminal.clients();
            if !clients.is_current(self.membership.attachment) {
                return Err(End::Superseded);
            }
            clients.restart(self.membership.attachment, self.sent);
        }
        self.socket.json(&hello).await?;
        if let Some(redraw) = redraw {
            let mut bytes = redraw.bytes;
            while !bytes.is_empty() {
                self.socket.binary(bytes.split_to(bytes.len().min(PIECE))).await?;
            }
            self.socket.json(&json!({"type": "live", "seq": redraw.live})).await?;
        }
        Ok(())
    }

    /// Sends the next piece of output; who is so far behind that it is gone comes back for a redraw. A second hello
    /// on the same connection would make the client send input again that is still on its way.
    async fn send_on(&mut self) -> Result<(), End> {
        let room = usize::try_from(WINDOW - (self.sent - self.acknowledged.min(self.sent))).unwrap_or(PIECE);
        let read = self.terminal.output().read(self.sent, room.min(PIECE));
        match read {
            Ok(bytes) => {
                self.sent += bytes.len() as u64;
                Ok(self.socket.binary(bytes).await?)
            }
            Err(_) => Err(End::Behind),
        }
    }

    async fn tell_size(&mut self, size: Size) -> Result<(), End> {
        if size != self.size {
            self.size = size;
            self.socket
                .json(&json!({"type": "resize", "cols": size.cols(), "rows": size.rows()}))
                .await?;
        }
        Ok(())
    }

    fn heard(&mut self, heard: Heard) -> Result<(), End> {
        match heard {
            Heard::Binary(mut bytes) => {
                while !bytes.is_empty() {
                    self.waiting.push_back(bytes.split_to(bytes.len().min(INPUT_PIECE)));
                }
            }
            Heard::Text(text) => match serde_json::from_str(&text) {
                Ok(Said::Resize { cols, rows }) => {
                    let size = Size::new(cols, rows);
                    // Its own wish is not told back to it, unless the bounds cut it.
                    if (size.cols(), size.rows()) == (cols, rows) {
                        self.size = size;
                    }
                    self.terminal.resize(size);
                }
                Ok(Said::Ack { seq }) => {
                    self.acknowledged = seq.clamp(self.acknowledged, self.sent.max(self.acknowledged));
                    self.terminal.clients().acknowledge(self.membership.attachment, self.acknowledged);
                    self.terminal.acknowledged();
                }
                Err(_) => return Err(End::Protocol),
            },
        }
        Ok(())
    }
}

async fn hear(socket: &mut Socket, room: bool) -> Result<Heard, Over> {
    if room {
        socket.next().await
    } else {
        Err(socket.keep_alive().await)
    }
}
