//! How far owners may share, and what a lower ceiling closes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far owners may share; the lowest of those that apply to an owner counts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Ceiling {
    /// Whose members may share no further; everybody if there is none.
    #[schema(example = "eng")]
    pub organisation: Option<String>,
    /// `private`, `org` or `public`.
    pub max_visibility: String,
    /// Whether share links open anything; never below `public`.
    pub links: bool,
    /// `configuration`, or `set` by an administrator.
    pub source: String,
}

/// A ceiling to be set; `public` with links closes nothing, and takes away what was set before.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCeiling {
    /// Whose members it is for; everybody if left out.
    #[serde(default)]
    pub organisation: Option<String>,
    /// `private`, `org` or `public`.
    pub max_visibility: String,
    /// True if left out.
    #[serde(default)]
    pub links: Option<bool>,
    /// Only says what it would close.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of setting a ceiling, or would.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct CeilingChanged {
    /// False after a dry run.
    pub applied: bool,
    /// What is open without it and closed with it.
    pub closes: Vec<ClosedShare>,
}

/// Something that a ceiling closes: a port's visibility, or a link.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClosedShare {
    pub codespace: String,
    /// The account's name.
    pub owner: String,
    pub port: u16,
    pub url: String,
    /// The visibility as it is before; none for a link.
    pub visibility: Option<String>,
    /// What it falls to; none for a link, which opens nothing any more.
    pub becomes: Option<String>,
    pub link: Option<ClosedLink>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClosedLink {
    pub id: String,
    /// What its owner calls it; may be empty.
    pub name: String,
}
