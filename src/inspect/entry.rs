//! What is kept of one exchange, as its readers get it.

use std::{net::IpAddr, time::Duration};

use thiserror::Error;
use time::OffsetDateTime;

/// Who asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Visitor {
    /// The codespace's owner, by the account's name.
    Owner(String),
    /// Somebody else who is signed in, by the account's name.
    User(String),
    /// Whoever has a share link: its id, and what its owner calls it.
    Link(String, String),
    /// Anybody, on a public port.
    Anyone,
}

/// A field of a head, its secrets taken out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    pub name: String,
    /// As it came, which need not be text.
    pub value: Vec<u8>,
    /// Whether a secret was taken out of the value.
    pub removed: bool,
}

/// The fields of a head.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head {
    pub fields: Vec<Field>,
    /// Whether there were more than are kept.
    pub cut: bool,
}

/// A body, as far as it is kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Part {
    /// The beginning of a body that is text; empty for any other.
    pub kept: Vec<u8>,
    /// Bytes that passed.
    pub size: u64,
    /// Whether what is kept is all of it, as it came.
    pub whole: bool,
    /// Whether more came than is kept.
    pub cut: bool,
    /// Whether it is of a kind that is kept.
    pub text: bool,
    /// Whether secrets were taken out of what is kept.
    pub removed: bool,
}

/// One exchange, or one WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Counts up within a log.
    pub id: u64,
    pub at: OffsetDateTime,
    /// The id under which pages and the access log speak of it.
    pub trace: String,
    pub method: String,
    /// Path and query, the query's secrets taken out.
    pub target: String,
    /// Whether secrets were taken out of the target.
    pub target_removed: bool,
    /// What the client spoke.
    pub protocol: &'static str,
    pub who: Visitor,
    pub client: IpAddr,
    /// The entry of which it is the replay.
    pub replay_of: Option<u64>,
    pub request: Head,
    pub sent: Part,
    /// None while the app has not answered, or if it never did.
    pub status: Option<u16>,
    pub response: Head,
    pub received: Part,
    pub websocket: bool,
    /// From the request to the app's first byte.
    pub first_byte: Option<Duration>,
    /// From the request to the end; none while it goes on.
    pub took: Option<Duration>,
    /// What went wrong, in plain words.
    pub trouble: Option<String>,
}

/// Why an exchange cannot be asked for again as it was.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Unrepeatable {
    #[error("a WebSocket's messages are not kept")]
    WebSocket,
    #[error("its request is still under way")]
    UnderWay,
    #[error("a secret was taken out of its address")]
    Address,
    #[error("a secret was taken out of its body")]
    Body,
    #[error("its body was not kept whole")]
    Cut,
}

impl Entry {
    /// Whether it can be asked for again with the bytes that were kept.
    pub fn repeatable(&self) -> Result<(), Unrepeatable> {
        if self.websocket {
            return Err(Unrepeatable::WebSocket);
        }
        if self.target_removed {
            return Err(Unrepeatable::Address);
        }
        if self.sent.removed {
            return Err(Unrepeatable::Body);
        }
        if !self.sent.whole {
            return Err(if self.took.is_none() {
                Unrepeatable::UnderWay
            } else {
                Unrepeatable::Cut
            });
        }
        Ok(())
    }
}
