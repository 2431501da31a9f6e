//! Which of the gateway's own variables an agent gets: the few that programs need, never a secret of the service.

use std::{env, ffi::OsString, path::PathBuf};

use crate::protocol::bootstrap::PASSED_VARIABLES;

/// Where toolchains of the gateway's user live, by the variable that says so. A codespace has a HOME of its own, and
/// would miss them; they hold programs, no secrets.
const TOOLCHAINS: [(&str, &str); 3] = [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv"), ("NVM_DIR", ".nvm")];

/// The variables that pass, with their values; `LC_*` too.
pub fn passed() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        PASSED_VARIABLES.contains(&&*name) || name.starts_with("LC_")
    })
}

/// Toolchains that stand where they usually do, in the HOME of the gateway's user, with the variables that name them.
pub fn toolchains() -> impl Iterator<Item = (OsString, OsString)> {
    let home = env::var_os("HOME").map(PathBuf::from);
    TOOLCHAINS.iter().filter_map(move |(variable, directory)| {
        let place = home.as_ref()?.join(directory);
        (env::var_os(variable).is_none() && place.is_dir()).then(|| ((*variable).into(), place.into()))
    })
}

/// Where programs are looked for.
pub fn path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
