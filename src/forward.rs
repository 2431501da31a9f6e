//! What crosses the gateway and what does not: pure rules over heads of requests and responses.
//!
//! Owns admission (which heads are refused), the client behind named proxies, the rebuilt request head, the filtered
//! response head, trailers, and the removal of our own cookies and tokens. Refuses to know sockets, time, identity and the store;
//! bodies are never looked at.

pub mod admission;
pub mod client;
pub mod cookies;
pub mod names;
pub mod request;
pub mod response;
pub mod trailers;
pub mod world;
