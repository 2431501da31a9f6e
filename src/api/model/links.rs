//! Share links, as they travel.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A share link, without its secret.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Link {
    pub id: String,
    pub name: String,
    /// `people` or `webhook`.
    pub kind: String,
    pub port: u16,
    /// What it opens, with everything that lies under it.
    pub path: String,
    /// The methods that it lets through; empty for all.
    pub methods: Vec<String>,
    pub has_password: bool,
    pub uses: u64,
    pub max_uses: Option<u64>,
    /// `open`, `expired`, `revoked`, `used-up` or `closed`.
    pub state: String,
    /// The account's name.
    pub created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// None if it lasts until it is revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<OffsetDateTime>,
}

/// What a share link is to be; all may be left out.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLink {
    /// What you call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long it opens the port; without one, until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Lasting>,
    /// What it asks for besides; 6 characters at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Password)]
    pub password: Option<String>,
    /// In how many browsers it may be opened; how often a webhook may be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u64>,
    /// Opens only this path and what lies under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/docs")]
    pub path: Option<String>,
    /// Lets only these through; without them, all, and of a webhook POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// `people`, with a page and a button, or `webhook`, without sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "people")]
    pub kind: Option<String>,
}

/// A length of time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Lasting {
    Seconds(u64),
    /// Such as `2h` or `30d`.
    #[schema(example = "2h")]
    Words(String),
}

/// A share link that was just made.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct NewLink {
    pub id: String,
    /// Holds the secret; it is shown this once.
    pub url: String,
    /// The URL as a QR code, an SVG document; none for a webhook's.
    pub qr: Option<String>,
    pub link: Link,
}
