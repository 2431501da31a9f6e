//! Who may do what: every decision about access, and nothing else.
//!
//! Owns the grants of an identity on a codespace, the permit for an editor or a port, and the rules that decide whether
//! a browser's cookie counts for a request. Pure: time and every fact are arguments. Refuses to know sockets, the store
//! and how an identity was proved.

pub mod browser;
mod ceiling;
mod grants;
mod permit;
mod share;
#[cfg(test)]
mod truth;
mod waking;

pub use ceiling::{Ceiling, Ceilings};
pub use grants::{Grants, Ownership, grants};
pub use permit::{Denial, Permit, PortFacts, Presented, Subject, authorize_editor, authorize_port};
pub use share::{Asked, ShownShare, authorize_share};
pub use waking::{Manner, Waking, may_start, waking};
