//! What people keep for their codespaces, as it travels: values go in, and never out.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A secret, without its value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Secret {
    #[schema(example = "API_KEY")]
    pub name: String,
    /// The repository whose codespaces have it; none for all of yours.
    pub repository: Option<String>,
    /// False if the gateway's key does not open it: set it again, or have the key restored.
    #[serde(default = "yes")]
    pub readable: bool,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: OffsetDateTime,
}

/// A secret's value.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// Text of at most 48 KiB; it is never shown again.
    pub value: String,
    /// The repository whose codespaces are to have it; all of yours without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// A git server for which a credential is kept, without the password.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct GitCredential {
    #[schema(example = "https://github.com")]
    pub host: String,
    pub username: String,
    /// The repository whose codespaces have it; none for all of yours.
    #[serde(default)]
    pub repository: Option<String>,
    /// False if the gateway's key does not open it: set it again, or have the key restored.
    #[serde(default = "yes")]
    pub readable: bool,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: OffsetDateTime,
}

/// Who you are at a git server.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetGitCredential {
    /// `https://HOST`, `http://HOST:PORT`, or `HOST` alone for https. Only this very server is answered for.
    #[schema(example = "https://github.com")]
    pub host: String,
    pub username: String,
    /// A password or a token; it is never shown again.
    pub password: String,
    /// The repository whose codespaces are to have it; all of yours without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// Settings that follow you to each codespace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct PersonalSettings {
    /// git's `user.name`; the account's name without one.
    pub git_name: Option<String>,
    /// git's `user.email`; the account's address without one.
    pub git_email: Option<String>,
    /// Cloned into a new codespace's `~/.dotfiles`; nothing is without one.
    pub dotfiles_repository: Option<String>,
    /// The script in it that is run; the first of `install.sh`, `install`, `bootstrap.sh`, `bootstrap`, `script/bootstrap`,
    /// `setup.sh`, `setup`, `script/setup` without one, and links to what begins with a dot where there is none of these.
    pub dotfiles_script: Option<String>,
    /// The editor's settings as JSON with comments, written where an editor has none yet; a token that may not change them is
    /// not shown them.
    pub editor_settings: Option<String>,
    /// Extensions that are installed in each codespace's editor.
    #[schema(example = json!(["rust-lang.rust-analyzer"]))]
    pub extensions: Vec<String>,
    /// False if the gateway's key does not open them: they cannot be changed until it is restored.
    #[serde(default = "yes")]
    pub readable: bool,
    /// Whether the operating system keeps codespaces apart. Where it does not, in the `process` runtime, the code in any
    /// codespace of the gateway can read what everybody keeps.
    #[serde(default)]
    pub kept_apart: bool,
}

/// What to change of the settings that follow you: what is left out stays, an empty text removes it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangePersonalSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dotfiles_repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dotfiles_script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub editor_settings: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
}

/// What a gateway means that does not say.
pub(super) fn yes() -> bool {
    true
}
