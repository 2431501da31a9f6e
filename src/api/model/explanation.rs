//! The whole decision about one URL, as it travels.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{ChangePort, ClosedSharing, Link};

/// How the gateway decides about a URL of a codespace, step by step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// The URL as the gateway understands it.
    pub url: String,
    /// `port` or `editor`.
    pub route: String,
    pub codespace: String,
    pub port: Option<u16>,
    /// The codespace's state, and whether its agent is connected.
    pub state: String,
    pub connected: bool,
    pub visibility: ExplainedVisibility,
    /// The links that open it now besides, for those who may revoke them.
    pub links: Vec<Link>,
    /// What administrators closed that the port belongs to, the widest first: as long as there is any, it is its owner's alone.
    #[serde(default)]
    pub closures: Vec<ClosedSharing>,
    /// What limits that which comes in; empty if nothing does.
    #[serde(default)]
    pub limits: Vec<ExplainedLimit>,
    pub you: ExplainedYou,
    /// How the app is asked; none for the editor.
    pub upstream: Option<ExplainedUpstream>,
    /// What to do, the most useful first; empty if all is well.
    pub advice: Vec<String>,
    /// The change of the port that mends it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ChangePort>,
    /// What went wrong lately, newest first; of one exchange alone if it was asked for by its id.
    pub recent: Vec<RecentTrouble>,
    /// The id of this very request.
    pub trace_id: String,
}

/// Who may open it, and what decides that.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ExplainedVisibility {
    /// `private`, `org` or `public`, as it holds now.
    pub now: String,
    /// What was set, if that is something else.
    pub set: String,
    /// In plain words: nothing set, the owner, a deadline, the operator's ceiling.
    pub source: String,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    pub owner: String,
    /// Accounts that may open it besides the owner.
    pub users: Vec<String>,
}

/// A limit of what comes in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ExplainedLimit {
    /// In plain words.
    pub what: String,
    /// Who set it: `owner` for everybody who comes, or `operator` for strangers.
    pub by: String,
}

/// Who asks, and what they would get.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ExplainedYou {
    pub account: String,
    /// What the request carried: `session`, `token` or `operator`.
    pub credential: String,
    pub scope: String,
    pub allowed: bool,
    /// Why, in plain words.
    pub because: String,
}

/// How an app is asked, and what it said just now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ExplainedUpstream {
    pub listening: bool,
    pub process: Option<String>,
    pub addresses: Vec<String>,
    /// As set: `http`, `https`, `h2c` or `grpc`.
    pub protocol: String,
    /// As set: `localhost` or `preserve`.
    pub host_header: String,
    /// The `Host` that the app is asked under.
    pub host: String,
    /// What it was heard to speak; none if it was not asked, or gave no connection.
    pub speaks: Option<String>,
    /// The status of its answer.
    pub status: Option<u16>,
    /// In plain words; none if it was not asked.
    pub found: Option<String>,
}

/// One request that did not end well.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RecentTrouble {
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    pub trace_id: String,
    pub port: Option<u16>,
    pub method: String,
    /// Without its query.
    pub path: String,
    /// In plain words.
    pub what: String,
}

/// What an app refused because of how the gateway asks it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct PortAdvice {
    /// For programs, for instance `vite-host`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was refused.
    pub detail: String,
    /// What to do.
    pub advice: String,
    /// The change of the port that mends it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ChangePort>,
    /// The request that was refused.
    pub trace_id: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
}
