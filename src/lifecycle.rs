//! From (phase, event, time) to the next phase: decisions alone.
//!
//! Owns the rules by which codespaces start, stop, fail and idle. Pure: refuses to know runtimes, stores, clocks.

mod idle;

pub use idle::Activity;
