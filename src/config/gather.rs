//! Reading the layers: file, variables, flags.

use std::path::PathBuf;

use thiserror::Error;

use super::Config;

/// What the command line said; absent where it said nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file to read.
    pub config: Option<PathBuf>,
    pub listen: Option<String>,
    pub url: Option<String>,
    pub domain: Option<String>,
    pub data: Option<String>,
    pub allow_same_site: Option<String>,
    pub runtime: Option<String>,
    pub agent_url: Option<String>,
    pub editor: Option<String>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
    /// Any other key by its name, for instance `limits.idle_minutes`, with its value.
    pub others: Vec<(String, String)>,
}

/// Why there is no configuration; `Display` names the place and says what to do.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

pub(super) fn gather(_overrides: Overrides, _environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    Err(ConfigError("to come".into()))
}
