//! Certificates that the gateway gets by itself: from an authority of its own, or from one that speaks ACME.
//!
//! Owns the account and the keys, the folder in which they are, when a certificate is renewed, and what is said when that
//! fails. Refuses to know: how TLS is spoken and which certificate is shown to whom; it writes files, and `edge` reads them.

mod validity;
mod ledger;
mod wait;
mod challenges;
mod files;
pub mod local;
pub mod acme;

pub use challenges::{Challenges, Kept};
pub use ledger::{Hosts, Ledger, Record, Source, Trouble};
pub use validity::{Urgency, Validity};
