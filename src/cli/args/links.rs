//! What can be typed after `portico ports visibility`, `share`, `links` and `unshare`.

use clap::Args;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Where, Which};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico ports share 3000                                open for 7 days to whoever gets the link
  portico ports share 3000 --for 2h --uses 5 --name demo
  portico ports share 3000 --path /docs --method GET
  portico ports share 8000 --webhook --path /hooks        POSTs reach /hooks without sign-in")]
pub struct PortsShare {
    /// The port's number.
    pub port: crate::domain::Port,
    /// How long the link opens the port, for instance 2h or 30d.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "7d")]
    pub lasting: std::time::Duration,
    /// Until it is revoked.
    #[arg(long, conflicts_with = "lasting")]
    pub forever: bool,
    /// Ask for this password too, which other users of this machine can see here; --password-stdin hides it.
    #[arg(long, value_name = "PASSWORD", conflicts_with_all = ["password_stdin", "webhook"])]
    pub password: Option<String>,
    /// Read the password from standard input.
    #[arg(long, conflicts_with = "webhook")]
    pub password_stdin: bool,
    /// In how many browsers it may be opened; how often a webhook may be called.
    #[arg(long, value_name = "N")]
    pub uses: Option<u64>,
    /// Open only this path and what lies under it.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Let only these methods through; again for each.
    #[arg(long = "method", value_name = "METHOD", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// For a program that calls a hook: no page, no sign-in, POST alone unless --method says otherwise.
    #[arg(long)]
    pub webhook: bool,
    /// What you call it, for the list.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Draw it as a QR code for a phone too, on a terminal.
    #[arg(long)]
    pub qr: bool,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct PortsLinks {
    /// Of this port alone.
    pub port: Option<crate::domain::Port>,
    /// Those that are over too.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct PortsUnshare {
    /// As `portico ports links` lists them.
    #[arg(required = true, value_name = "ID", value_parser = link_id)]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

/// An id that can stand in a path.
fn link_id(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain.then(|| text.to_owned()).ok_or_else(|| "no link has such an id".to_owned())
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico ports visibility 3000:public
  portico ports visibility 3000:public 8000:private -c amber-otter-x7k2
  portico ports visibility 3000:org --for 2h
  portico ports visibility 3000:public --until 2026-12-24T18:00:00+01:00")]
pub struct PortsVisibility {
    /// PORT:VISIBILITY, where VISIBILITY is private, org or public.
    #[arg(required = true, value_name = "PORT:VISIBILITY", value_parser = port_visibility)]
    pub changes: Vec<PortChange>,
    /// Fall back to private after this long, for instance 2h or 30m.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub lasting: Option<std::time::Duration>,
    /// Fall back to private at this moment, with its offset from UTC: 2026-12-24T18:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "lasting")]
    pub until: Option<OffsetDateTime>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

/// One `3000:public`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortChange {
    pub port: crate::domain::Port,
    pub visibility: crate::domain::Visibility,
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let read = OffsetDateTime::parse(text, &Rfc3339);
    read.map_err(|_| "write day, time and offset from UTC, as in 2026-12-24T18:00:00+01:00 or 2026-12-24T17:00:00Z".to_owned())
}

fn port_visibility(text: &str) -> Result<PortChange, String> {
    let (port, visibility) = text.split_once(':').ok_or("write PORT:VISIBILITY, for instance 3000:public")?;
    Ok(PortChange {
        port: port.parse().map_err(|error: crate::domain::PortError| error.to_string())?,
        visibility: visibility
            .parse()
            .map_err(|_| format!("{visibility:?} is none of private, org and public"))?,
    })
}
