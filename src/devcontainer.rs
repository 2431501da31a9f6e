//! What a repository's `devcontainer.json` says, as far as Portico heeds it.
//!
//! Owns its grammar (JSON with comments and trailing commas, <https://containers.dev/implementors/json_reference/>), where
//! it is looked for, and what it means for ports. Pure. Refuses to read files, and to widen anything: a repository is
//! written by strangers, so what it asks to share is only an offer to the codespace's owner (SHARE-1).

mod file;
mod ports;
mod rules;

pub use self::{
    file::{FILES, FOLDER, Malformed, NAME},
    ports::{AttributesAsWritten, PortsAsWritten, ShareAsWritten},
    rules::{Attributes, OnAutoForward, PortRules},
};
