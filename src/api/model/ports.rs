//! Ports of a codespace as the API shows and changes them.

use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{ClosedSharing, PortAdvice};

/// A port of a codespace: one that listens, or one on which something is set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Port {
    #[schema(example = 3000)]
    pub port: u16,
    pub url: String,
    pub label: Option<String>,
    /// `http`, `https`, `h2c` or `grpc`: what the app speaks.
    pub protocol: String,
    /// `localhost` or `preserve`.
    pub host_header: String,
    /// `private`, `org` or `public`.
    pub visibility: String,
    /// When the visibility falls back to private.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    /// Accounts that may open it besides the owner.
    pub users: Vec<String>,
    pub listening: bool,
    /// What happens when it begins to listen, as `devcontainer.json` says: `notify`, `openBrowser`, `openBrowserOnce`,
    /// `openPreview`, `silent` or `ignore`.
    #[serde(default)]
    pub on_auto_forward: String,
    /// What its owner limits; none by default.
    #[serde(default)]
    pub limits: Option<PortLimits>,
    /// How many exchanges its request log keeps; none while it is off.
    #[serde(default)]
    pub log_entries: Option<u16>,
    /// Whose visits to it start the codespace: `owner`, `people` or `everyone`; none for what the codespace says.
    #[serde(default)]
    pub woken_by: Option<String>,
    pub process: Option<String>,
    pub pid: Option<u32>,
    pub command: Option<String>,
    pub addresses: Vec<String>,
    /// What an app refused lately, and what mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<PortAdvice>,
    /// The most open that the operator lets it be: `private`, `org` or `public`.
    #[serde(default)]
    pub max_visibility: String,
    /// That an administrator closed it to everybody but its owner, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedSharing>,
    /// How many share links open it.
    #[serde(default)]
    pub links: usize,
}

/// What a repository asks to share, by `customizations.portico.ports` in its `devcontainer.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Offer {
    /// What a decision names: another content has another hash.
    pub hash: String,
    /// The file.
    pub source: String,
    pub ports: Vec<OfferedShare>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct OfferedShare {
    pub port: u16,
    /// `org` or `public`.
    pub visibility: String,
    /// The visibility that it has now.
    pub now: String,
}

/// A decision on what a repository asks to share.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideOffer {
    /// The offer's hash, so that nothing is taken that nobody saw.
    pub hash: String,
    /// Whether to share all of it; otherwise it is not asked again.
    pub accept: bool,
}

/// What to change of a port; what is left out stays, `null` takes away where that means something.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePort {
    /// `private`, `org` or `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub label: Option<Option<String>>,
    /// `http`, `https`, `h2c` or `grpc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `localhost` or `preserve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
    /// When the visibility falls back to private, RFC 3339.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<String>>,
    /// Accounts that may open it besides the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// All limits anew; `null` for none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PortLimits>)]
    pub limits: Option<Option<PortLimits>>,
    /// Has the last so many exchanges written down in the gateway's memory, 1 to 1000; `null` for none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    pub log_entries: Option<Option<u16>>,
    /// Whose visits to it start the codespace: `owner`, `people` who are signed in and may open it, or `everyone` who may;
    /// `null` for what the codespace says.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub woken_by: Option<Option<String>>,
}

/// What the owner of a port lets through; what is left out is not limited.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortLimits {
    /// All clients together; as many may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub requests_per_second: Option<u32>,
    /// Requests and sockets under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub connections: Option<u32>,
    /// Bytes of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// Where clients may come from, for instance `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub addresses: Vec<String>,
}

/// The data of a `port` event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct PortEvent {
    pub codespace: String,
    /// Whether it began to listen or ceased to.
    pub listening: bool,
    pub port: Port,
}

/// Tells `null` from a field that is left out.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
