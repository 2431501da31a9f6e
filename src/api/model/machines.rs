//! Machines of people's own, as they join.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A token that makes one machine a codespace.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct MachineRegistration {
    /// By which it is revoked before it was used.
    pub id: String,
    /// Good once; it is never shown again.
    pub token: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: OffsetDateTime,
    /// What to type on the machine; the token stands in its environment, which nobody else there sees.
    pub command: String,
}

/// A token that waits for its machine.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct WaitingMachine {
    pub id: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub made_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: OffsetDateTime,
}

/// A machine that joins.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinMachine {
    pub token: String,
    /// What its owner sees it as.
    #[schema(example = "workstation")]
    pub name: String,
}

/// A machine that is a codespace now.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct JoinedMachine {
    /// The codespace's name.
    pub name: String,
    pub editor_url: String,
    /// Whether it is told what its owner keeps: secrets, passwords for git, dotfiles, settings. A machine that joined is not,
    /// until its owner changes that.
    #[serde(default)]
    pub personal: bool,
    /// For the agent alone: its credential, and the environment of what runs inside.
    #[schema(value_type = Object)]
    pub orders: serde_json::Value,
}
