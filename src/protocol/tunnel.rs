//! What gateway and agent say to each other; the whole protocol in one file.
//!
//! - **Control**: a WebSocket from the agent to `/api/v1/agent/connect`, `Authorization: Bearer CREDENTIAL`; each text
//!   message is one [`FromAgent`] or [`ToAgent`] in JSON, at most [`MAX_CONTROL_BYTES`] from an agent and
//!   [`MAX_ORDER_BYTES`] to it.
//! - **Data stream, opened by the agent**: an HTTP/1.1 upgrade to [`UPGRADE`] at `/api/v1/agent/stream?id=ID` with the
//!   same credential; ID comes from [`ToAgent::Open`] and is good once. After the 101 the bytes are the stream's.
//! - **Data stream, dialled by the gateway**: a connection to the agent's Unix socket; the gateway first sends the 32
//!   bytes of the key that the agent named in [`FromAgent::Hello`].
//! - **On either**, the gateway then sends one open request of [`OPEN_BYTES`] bytes (version, endpoint kind, port in
//!   big endian) and the agent answers one status byte; on [`OPENED`] raw bytes follow both ways. A stream on which
//!   nothing was asked yet is idle and may be kept ready (opened ahead).

use serde::{Deserialize, Serialize};

use super::{bootstrap::Secret, personal::Personal};
use crate::{
    devcontainer::{Notices, PortsAsWritten},
    domain::Port,
};

/// The version of this protocol; the gateway refuses another major one in words.
pub const VERSION: u32 = 1;
/// The `Upgrade` token of a data stream.
pub const UPGRADE: &str = "portico-stream";
/// Largest control message in bytes (AGT-8).
pub const MAX_CONTROL_BYTES: usize = 64 * 1024;
/// Largest control message to an agent: what its user keeps may be long.
pub const MAX_ORDER_BYTES: usize = 2 * 1024 * 1024;
/// Length of an open request.
pub const OPEN_BYTES: usize = 4;
/// Length of the key before a dialled stream's open request.
pub const DIRECT_KEY_BYTES: usize = 32;
/// WebSocket close code: a newer generation took over; do not come back.
pub const CLOSE_SUPERSEDED: u16 = 4001;
/// WebSocket close code: the codespace is stopped or gone; end.
pub const CLOSE_ENDED: u16 = 4002;

/// Status byte: the stream is connected.
pub const OPENED: u8 = 0;

/// What a stream can lead to inside a codespace. Never a host (SSRF-1): the agent dials loopback, and of what runs beside the
/// codespace the ports that are declared, at addresses that it was given with its orders.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    /// A TCP port on which the codespace itself listens.
    Port(Port),
    /// A declared port of a service that runs beside it. Told apart by the gateway, so that what was permitted to one, and a
    /// connection that is kept, never leads to the other.
    Beside(Port),
    /// The editor's own socket.
    Editor,
    /// The agent's HTTP API: terminals, exec, work.
    Agent,
}

/// Why the agent did not connect a stream; its status byte is the discriminant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// Nothing of this codespace listens on the port (also said of the agent's own and denied ports: PORT-1).
    #[error("nothing listens on that port")]
    NothingListens = 1,
    /// No editor is installed.
    #[error("no editor is installed")]
    EditorAbsent = 2,
    /// The editor is starting.
    #[error("the editor is starting")]
    EditorStarting = 3,
    /// The editor ended by itself too often.
    #[error("the editor failed")]
    EditorFailed = 4,
    /// Out of descriptors or another fault inside the codespace.
    #[error("the codespace could not open a connection")]
    Fault = 5,
    /// The agent does not know this version or endpoint.
    #[error("the agent does not understand this gateway")]
    Unsupported = 6,
}

impl Refusal {
    /// Reads a status byte; an unknown one is a fault.
    pub fn from_status(status: u8) -> Self {
        match status {
            1 => Self::NothingListens,
            2 => Self::EditorAbsent,
            3 => Self::EditorStarting,
            4 => Self::EditorFailed,
            6 => Self::Unsupported,
            _ => Self::Fault,
        }
    }
}

impl Endpoint {
    /// The open request for this endpoint.
    pub fn encode(self) -> [u8; OPEN_BYTES] {
        let (kind, port) = match self {
            Self::Port(port) => (1, port.number()),
            Self::Editor => (2, 0),
            Self::Agent => (3, 0),
            Self::Beside(port) => (4, port.number()),
        };
        let [high, low] = port.to_be_bytes();
        [1, kind, high, low]
    }

    /// The port that it leads to.
    pub fn port(self) -> Option<Port> {
        match self {
            Self::Port(port) | Self::Beside(port) => Some(port),
            Self::Editor | Self::Agent => None,
        }
    }

    /// Reads an open request; none for a version or kind that is not known.
    pub fn decode(bytes: [u8; OPEN_BYTES]) -> Option<Self> {
        let number = u16::from_be_bytes([bytes[2], bytes[3]]);
        match (bytes[0], bytes[1], number) {
            (1, 1, number) => Port::new(number).map(Self::Port),
            (1, 2, 0) => Some(Self::Editor),
            (1, 3, 0) => Some(Self::Agent),
            (1, 4, number) => Port::new(number).map(Self::Beside),
            _ => None,
        }
    }
}

/// What the agent says on the control connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAgent {
    /// First message, once. The gateway knows the codespace from the credential and believes nothing else.
    Hello {
        version: u32,
        /// Hex of the key that dialled streams must begin with; none if the agent listens nowhere.
        direct_key: Option<String>,
        /// Whether it takes [`ToAgent::Credential`]; agents of before do not.
        #[serde(default)]
        renews: bool,
        /// Whether it takes [`ToAgent::Personal`]; agents of before do not.
        #[serde(default)]
        personal: bool,
        /// Whether it takes [`ToAgent::Stopping`]; agents of before do not.
        #[serde(default)]
        warned: bool,
    },
    /// All listening ports of this codespace, whenever they change.
    Ports { ports: Vec<ListeningPort> },
    /// What the checkout's `devcontainer.json` says of ports, whenever it changes; empty if there is none.
    Declared { ports: PortsAsWritten },
    /// What of the repository's configuration holds, whenever that changes.
    Configured { configured: Configured },
    /// A step changed.
    Step { name: String, state: String, detail: String },
    /// The branch that the repository opens with where nobody names another, once it was fetched from; said to a gateway that takes it.
    DefaultBranch { name: String },
    /// The repository is checked out; nothing will be cloned again.
    Prepared,
    /// The repository is checked out and says what its container is to be: the agent waits for another container.
    Awaits,
    /// The editor changed.
    Editor { state: EditorState },
    /// The processes that asked to keep the codespace awake while they run, whenever they change.
    Leases { leases: Vec<HeldLease> },
    /// Processes that the kernel ended for want of memory since this agent began, whenever that grows; only where the codespace has
    /// a bound of its own.
    OutOfMemory(OutOfMemory),
    /// Something happened since the last report, at most one report every 15 s; silence is no activity.
    Activity { kinds: Vec<ActivityKind> },
    /// Answers [`ToAgent::Credential`]: the agent keeps that one now, where it survives the agent, and uses no other.
    Renewed,
    /// Answers [`ToAgent::Ping`].
    Pong,
}

/// What the gateway says on the control connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToAgent {
    /// What the codespace's user keeps; before the welcome, and again whenever it changes.
    Personal(Personal),
    /// Answers `Hello`.
    Welcome {
        /// Whether it takes [`FromAgent::DefaultBranch`]; gateways of before do not.
        #[serde(default)]
        default_branch: bool,
    },
    /// Open one data stream for each id.
    Open { ids: Vec<String> },
    /// The agent's credential from now on. The one before stays good until this one is used.
    Credential { credential: Secret },
    /// Whether the codespace is about to stop by itself, whenever that changes; it is not before anything is said of it.
    Stopping { stopping: Option<Stopping> },
    /// Every 20 s; an agent that hears nothing for 60 s reconnects.
    Ping,
    /// Something that a gateway of a later version says.
    #[serde(other)]
    Unknown,
}

/// That a codespace is about to stop by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stopping {
    /// So long from now in milliseconds: clocks differ.
    pub after: u64,
    /// Whether nothing puts that off.
    pub anyway: bool,
}

/// A process that keeps the codespace awake for as long as it runs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeldLease {
    pub id: String,
    pub pid: u32,
    /// The process by its name or its command.
    pub what: String,
    /// When it ends even if the process does not, in Unix seconds.
    pub until: i64,
    /// Whether a program inside asked for it; the others were asked for by the API.
    #[serde(default)]
    pub inside: bool,
}

/// What ran out of memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OutOfMemory {
    /// How many processes were ended.
    pub processes: u64,
    /// Bytes that the codespace may use; none where that is not told.
    pub allowed: Option<u64>,
}

/// A listening TCP port and who listens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListeningPort {
    pub port: u16,
    /// The addresses it is bound to, for instance `127.0.0.1` or `::`.
    pub addresses: Vec<String>,
    pub pid: Option<u32>,
    /// The process's name, at most 64 bytes.
    pub process: Option<String>,
    /// The command line, at most 512 bytes.
    pub command: Option<String>,
    /// A URL that the program printed to a terminal for this port: scheme and path, for instance `https` and `/app`.
    pub scheme: Option<String>,
    pub path: Option<String>,
    /// Why it is probably no concern of the user's, for instance `debugger`; none for an app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<String>,
    /// The service beside the codespace that listens; none for the codespace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

/// What of the repository's configuration holds, and what does not.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Configured {
    /// Whether the file asks for another container than it was when this one was made.
    pub changed: bool,
    /// Why it is the default container, although the repository says otherwise.
    pub recovery: Option<String>,
    pub notices: Notices,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EditorState {
    Absent,
    Starting,
    Ready,
    Failed,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityKind {
    TerminalOutput,
    TerminalInput,
    FileChange,
    Exec,
    Ssh,
    /// Somebody who was warned of its stop wants it to go on; said to a gateway that warned.
    Kept,
    /// Something that an agent of a later version knows.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssrf_1_open_requests_round_trip() {
        let port = Port::new(3000).expect("3000 is a port");
        for endpoint in [Endpoint::Port(port), Endpoint::Beside(port), Endpoint::Editor, Endpoint::Agent] {
            assert_eq!(Endpoint::decode(endpoint.encode()), Some(endpoint));
        }
        for bytes in [[0, 1, 0, 80], [2, 1, 0, 80], [1, 1, 0, 0], [1, 2, 0, 1], [1, 4, 0, 0], [1, 9, 0, 0]] {
            assert_eq!(Endpoint::decode(bytes), None);
        }
    }
}
