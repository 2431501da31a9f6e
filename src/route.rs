//! From an authority to what it addresses, and back to URLs.
//!
//! Owns the host grammar (`product.md` §1, HOST-2, HOST-8). Pure: refuses to know sockets, headers, the store, clocks.

mod authority;
mod sites;

pub use authority::{Authority, AuthorityError};
pub use sites::{Origin, OriginError, Route, Scheme, Sites};
