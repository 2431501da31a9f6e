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
    /// When it stops, if nothing happens until then or in any case; none unless it runs.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stops_at: Option<OffsetDateTime>,
    /// Whether that is so soon that its people should hear of it.
    #[serde(default)]
    pub stops_soon: bool,
    /// Whether it stops then whatever happens in it: it has run for as long as the operator lets one run.
    #[serde(default)]
    pub stops_anyway: bool,
    pub stopped_because: Option<String>,
    pub idle_timeout_minutes: u16,
    /// The processes that keep it awake for as long as they run.
    #[serde(default)]
    pub leases: Vec<Lease>,
}

/// A process inside that keeps its codespace awake for as long as it runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Lease {
    pub id: String,
    pub pid: u32,
    /// The process by its name or its command.
    pub what: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: OffsetDateTime,
    /// When it ends even if the process does not.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub until: OffsetDateTime,
}

/// A lease that was taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TakenLease {
    pub id: String,
    pub pid: u32,
    pub what: String,
}

/// Which process keeps the codespace awake.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeLease {
    /// Its id inside the codespace.
    pub pid: u32,
    /// How long at most, for instance `6h`; as long as the operator allows if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// What people call it; the process's name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// A codespace that is about to stop by itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct IdleEvent {
    /// The codespace's name.
    pub codespace: String,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stops_at: Option<OffsetDateTime>,
}
