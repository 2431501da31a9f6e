//! Portico: a self-hosted browser IDE gateway and port-forwarding proxy.
//!
//! One request, read aloud: accept → request context → authority → route → identity → permit → running codespace →
//! stream to the port → forward or upgrade → activity → log. Each step takes the type that the step before it made.
//!
//! The modules stand in reading order; a module uses only those above it. `tests/architecture.rs` holds the rules.

pub mod domain;
pub mod route;
pub mod policy;
pub mod lifecycle;
pub mod forward;
pub mod devcontainer;
pub mod protocol;
pub mod relay;
pub mod clock;
pub mod unix_socket;
pub mod log_file;
pub mod outbound;
pub mod store;
pub mod runtime;
pub mod audit;
pub mod inspect;
pub mod tunnel;
pub mod auth;
pub mod belongings;
pub mod codespace;
pub mod doctor;
pub mod ops;
pub mod issuance;
pub mod web;
pub mod api;
pub mod edge;
pub mod agent;
pub mod config;
pub mod app;
pub mod cli;

#[cfg(test)]
#[path = "../fuzz/driver.rs"]
mod fuzz_driver;
