//! The request log of a port: what was lately asked of an app and what it answered, for the port's owner, from the moment
//! they turn it on.
//!
//! Owns what is kept of an exchange, in how many bytes and for how long, what is taken out of it as a secret, how it is
//! written as a command line, who visited in each hour, and the way by which an exchange is asked for again. Refuses to
//! know: who may read it (`policy`), how bytes come and go (`edge`), and every store.
//!
//! All of it is in memory alone, because it holds other people's data: it ends when the log is turned off, when the
//! codespace is deleted and when the gateway ends. What survives is that it was turned on.
//!
//! Visits are counted only while the log is on, too. Telling visitors apart takes a lock and a look into a set for each
//! request, which a port whose owner never asked must not pay; and to note who comes is a thing to be decided, not a
//! default.

mod curl;
mod entry;
mod port_log;
mod recording;
mod redact;
mod replay;
mod visits;

pub use self::{
    curl::command,
    entry::{Entry, Field, Head, Part, Unrepeatable, Visitor},
    port_log::{Logs, PortLog},
    recording::{Opening, Recorded, Recording},
    replay::{Orders, Refused, Replay, ReplayOf, Replays, desk},
    visits::{Hour, Named},
};

/// As many exchanges as a log keeps where its owner says no number.
pub const DEFAULT_ENTRIES: u16 = 100;
/// Most exchanges that a log keeps.
pub const MOST_ENTRIES: u16 = 1000;
/// Most bytes that are kept of a body.
pub const MAX_BODY: usize = 16 * 1024;
/// Most bytes that are kept of the fields of a head.
pub const MAX_HEAD: usize = 16 * 1024;
