//! What is left of codespaces that are no more.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that may hold work of a codespace that the gateway does not know.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LeftBehind {
    /// `volume`.
    pub kind: String,
    pub name: String,
    /// The codespace that it was made for.
    pub codespace: String,
    /// The command with which the operator removes it, on the gateway's machine.
    pub remove: String,
}
