//! TCP ports inside the codespace: who listens, whose they are, and the way to them.
//!
//! Owns detection and dialling. Refuses to dial anything but loopback (SSRF-1), and anything that is not this
//! codespace's own (product.md §3).

pub mod printed;
