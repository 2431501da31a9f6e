//! What a repository's `devcontainer.json` says, as far as Portico heeds it.
//!
//! Owns its grammar (JSON with comments and trailing commas, <https://containers.dev/implementors/json_reference/>), where
//! it is looked for, and what it means for ports, for the container, for the environment and for the commands in it; and
//! it names what is not heeded. Pure. Refuses to read files, and to widen anything: a repository is written by strangers,
//! so what it asks to share is only an offer to the codespace's owner (SHARE-1), and nothing of it reaches the machine
//! that containers run on.

mod commands;
mod compose;
mod configuration;
mod features;
mod file;
mod inherited;
mod keys;
mod notice;
mod paths;
mod ports;
mod rules;
mod run_args;
mod variables;

pub use self::{
    commands::{Command, Hook, Run, Stage},
    compose::{After, Bind, Compose, Condition, Health, Joined, Project, Reading, Restart, Service, Texts},
    configuration::{Build, Configuration, Origin, Requirements, Volume},
    features::{Feature, FeatureFile, Features},
    file::{FILES, FOLDER, Malformed, NAME},
    inherited::Inherited,
    notice::{Notice, Notices},
    paths::DEEPEST,
    ports::{AttributesAsWritten, Beside, PortsAsWritten, ShareAsWritten},
    rules::{Attributes, OnAutoForward, PortRules},
    run_args::RunOptions,
    variables::{Place, expand_inside},
};
