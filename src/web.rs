//! What people see: whole pages, the files behind them, and the gateway host's shell.
//!
//! Owns every byte of HTML, style and script that the gateway sends. Refuses to know who may see what (`policy`),
//! where a request came from (`edge`), and what the store holds: pages are functions over plain values.

pub mod assets;
pub mod pages;
pub mod qr;
pub mod shell;

pub use shell::router;
