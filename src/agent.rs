//! The other end of the tunnel: runs inside a codespace, beside code that nobody trusts.
//!
//! Owns the control connection, port dialling and detection, terminals, the checkout and the editor's process.
//! Refuses to know: the store, sign-in, routing, runtimes. It answers the gateway and never asks for more than its own
//! codespace.

pub mod report;

pub mod ports;
