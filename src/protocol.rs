//! What gateway and agent agree on: orders at the start, messages and streams after it.
//!
//! Owns the wire types of both ends. Refuses to know: how either end works.

pub mod bootstrap;
pub mod personal;
pub mod tunnel;
