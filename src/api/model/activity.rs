//! What keeps a codespace awake, as it travels.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What keeps a codespace awake, and when it will stop.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Activity {
    pub state: String,
    pub awake_because: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub last_active_at: OffsetDateTime,
    /// When it stops if nothing happens until then; none unless it runs.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stops_at: Option<OffsetDateTime>,
    pub stopped_because: Option<String>,
    pub idle_timeout_minutes: u16,
}
