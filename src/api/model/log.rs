//! What a port's request log holds, as it travels.
//!
//! All text in it came from visitors and apps: nothing of it is markup, and control characters may be in it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// One exchange with an app, or one WebSocket, in a line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Exchange {
    /// Counts up within a log.
    pub id: u64,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// As pages and the access log name it.
    pub trace_id: String,
    pub method: String,
    /// Path and query; where a secret stood stands `REMOVED`.
    pub target: String,
    /// What the client spoke.
    #[schema(example = "HTTP/2")]
    pub protocol: String,
    /// `owner`, `user`, `link` or `anyone`.
    pub kind: String,
    /// The account's name, or what the link is called; empty for anyone.
    pub who: String,
    /// The client's address.
    pub address: String,
    /// None while the app has not answered, or if it never did.
    pub status: Option<u16>,
    pub websocket: bool,
    /// The exchange that this one repeats.
    pub replay_of: Option<u64>,
    /// Bytes of the request's body; of a WebSocket, all that went to the app, known at its end.
    pub sent_bytes: u64,
    /// Bytes of the response's body; of a WebSocket, all that came from the app, known at its end.
    pub received_bytes: u64,
    /// Milliseconds from the request to the app's first byte.
    pub first_byte_ms: Option<f64>,
    /// Milliseconds from the request to the end; none while it goes on.
    pub took_ms: Option<f64>,
    /// What went wrong, in plain words.
    pub trouble: Option<String>,
}

/// One exchange with all that is kept of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ExchangeDetail {
    #[serde(flatten)]
    pub exchange: Exchange,
    pub request: ExchangePart,
    pub response: ExchangePart,
    /// A command that asks for the same, with placeholders for what was taken out.
    pub curl: String,
    /// Why it cannot be replayed; none if it can.
    pub not_replayable: Option<String>,
}

/// A head and what is kept of its body.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ExchangePart {
    pub fields: Vec<ExchangeField>,
    /// Whether there were more fields than are kept.
    pub fields_cut: bool,
    /// The beginning of a body that is text; none of any other, or of none.
    pub body: Option<String>,
    /// Whether the body is longer than what is kept.
    pub body_cut: bool,
    /// Whether secrets were taken out of the body.
    pub body_removed: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ExchangeField {
    pub name: String,
    pub value: String,
    /// Whether a secret was taken out of the value.
    pub removed: bool,
}

/// Who visited a port in an hour; its owner's own requests are no visits.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct VisitHour {
    /// When the hour began.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub hour: OffsetDateTime,
    pub requests: u64,
    /// Accounts, the busiest first.
    pub users: Vec<VisitNamed>,
    /// Share links by what they are called, the busiest first.
    pub links: Vec<VisitNamed>,
    /// How many without an account or a link, told apart by their addresses, which are not kept.
    pub strangers: u64,
    /// Whether more came than are told apart.
    pub more: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct VisitNamed {
    pub name: String,
    pub requests: u64,
}
