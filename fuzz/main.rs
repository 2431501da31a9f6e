//! Fuzz targets for whatever reads bytes of strangers, on the stable toolchain: `fuzz/README.md` says how to run them.
//!
//! Each target is a function of bytes that asserts what must hold for all of them, and names what kind of outcome it saw.

#[path = "control.rs"]
mod control;
#[path = "driver.rs"]
mod driver;
#[path = "identity.rs"]
mod identity;
#[path = "requests.rs"]
mod requests;
