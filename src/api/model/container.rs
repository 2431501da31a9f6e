//! How a codespace is made, and what of its repository's configuration holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One step of making a codespace ready.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Step {
    /// `storage`, `agent`, `clone`, `image`, `on_create`, `update_content`, `editor`, `post_create`, `post_start`,
    /// `post_attach` or `history`.
    pub name: String,
    /// `pending`, `running`, `done`, `skipped` or `failed`.
    pub state: String,
    pub detail: String,
}

/// A key of `devcontainer.json` that is not heeded, or not as it is written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Notice {
    #[schema(example = "initializeCommand")]
    pub key: String,
    pub reason: String,
}
