//! What can be written after `portico sharing`.

use clap::{Args, Subcommand};

use super::Where;

#[derive(Debug, Subcommand)]
pub enum Sharing {
    /// List what is closed.
    #[command(visible_alias = "ls")]
    List(Where),
    /// Close what is shared to everybody but its owners, at once, open connections included.
    Close(SharingClose),
    /// Open again what was closed.
    Open(SharingOpen),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico sharing close port:amber-otter-x7k2:3000 --reason 'it asks for passwords'
  portico sharing close codespace:amber-otter-x7k2 --reason 'reported as malware'
  portico sharing close user:eve --reason 'under investigation'
  portico sharing close all --reason 'incident of today'

What owners have set stays as it is and is shared again after `portico sharing open`.")]
pub struct SharingClose {
    /// all, user:NAME, codespace:NAME or port:NAME:PORT.
    pub what: String,
    /// What owners are told.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct SharingOpen {
    /// all, user:NAME, codespace:NAME or port:NAME:PORT, as it was closed.
    pub what: String,
    #[command(flatten)]
    pub place: Where,
}
