//! What administrators close, as the API shows and takes it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Something shared that is closed to everybody but its owners.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ClosedSharing {
    /// `all`, `user:NAME`, `codespace:NAME` or `port:NAME:PORT`.
    pub what: String,
    /// Why, in the administrator's words.
    pub reason: String,
    /// The administrator.
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
}

/// Why something shared is to be closed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseSharing {
    /// What its owners are told, 1 to 200 characters.
    pub reason: String,
}
