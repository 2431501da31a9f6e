//! What to change of a codespace, as it travels.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to change of a codespace; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCodespace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// 5 to 240.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_minutes: Option<u16>,
    /// `owner`, `people` or `everyone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken_by: Option<String>,
    /// Whether requests to its ports count as use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_counts: Option<bool>,
    /// Whether it is told what its owner keeps; for the owner alone. What runs already keeps what it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<bool>,
}
