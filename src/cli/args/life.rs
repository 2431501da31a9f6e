//! What is said of a codespace's life on the command line.

use clap::Args;

use super::{Named, Where, Which};

#[derive(Args, Debug)]
pub struct Edit {
    #[command(flatten)]
    pub named: Named,
    /// A name for people.
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
    /// Minutes without activity after which it stops, 5 to 240.
    #[arg(long, value_name = "MINUTES")]
    pub idle_timeout: Option<u16>,
    /// Whose visits start it: people are those who are signed in and may open what they visit.
    #[arg(long, value_name = "WHO", value_parser = ["owner", "people", "everyone"])]
    pub woken_by: Option<String>,
    /// Whether requests to its ports count as use.
    #[arg(long, value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    pub traffic_counts: Option<bool>,
    /// Whether it is told what you keep: secrets, passwords for git, dotfiles, settings.
    #[arg(long, value_name = "BOOL")]
    pub personal: Option<bool>,
}

#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  portico keepalive --max 6h -- make test   as long as the command runs, six hours at most
  portico keepalive --pid 4242 --max 6h     as long as process 4242 runs
  portico keepalive --end 1a2b3c4d          no longer, by the id that it printed

Inside a codespace its agent is asked, so that it works in containers too, which do not reach the gateway. The codespace's page \
lists what keeps it awake, and its owner can end it there; the process runs on."
)]
pub struct Keepalive {
    /// A process of this codespace, by its id.
    #[arg(long, value_name = "PID", required_unless_present_any = ["command", "end"], conflicts_with = "command")]
    pub pid: Option<u32>,
    /// End the lease of this id; its process runs on.
    #[arg(long, value_name = "ID", value_parser = lease_id, conflicts_with_all = ["pid", "max", "command"])]
    pub end: Option<String>,
    /// How long at most; as long as the operator allows if left out.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub max: Option<std::time::Duration>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
    /// A command to run, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// An id as they are printed: it becomes part of a path.
fn lease_id(text: &str) -> Result<String, &'static str> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| text.to_owned())
        .ok_or("an id is letters and digits, as keepalive printed it")
}
