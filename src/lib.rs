//! Portico: a self-hosted browser IDE gateway and port-forwarding proxy.
//!
//! One request, read aloud: accept → request context → authority → route → identity → permit → running codespace →
//! stream to the port → forward or upgrade → activity → log. Each step takes the type that the step before it made.
//!
//! The modules stand in reading order; a module uses only those above it. `tests/architecture.rs` holds the rules.

pub mod agent;
pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod codespace;
pub mod config;
pub mod domain;
pub mod edge;
pub mod forward;
pub mod lifecycle;
pub mod ops;
pub mod policy;
pub mod protocol;
pub mod relay;
pub mod route;
pub mod runtime;
pub mod store;
pub mod tunnel;
pub mod unix_socket;
pub mod web;
