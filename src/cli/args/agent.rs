//! What can be typed after `portico agent`.

use std::{net::Ipv4Addr, path::PathBuf};

use clap::{Args, Subcommand};

use super::{HelperCall, Where};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Agent {
    #[command(subcommand)]
    pub verb: Option<AgentVerb>,
    /// The file with the agent's orders.
    #[arg(hide = true, long, value_name = "FILE", required_unless_present_any = ["fence", "hold", "give", "link"])]
    pub bootstrap: Option<PathBuf>,
    /// Put these networks out of reach of this network namespace, and end.
    #[arg(hide = true, long, value_name = "NETWORK", num_args = 1.., conflicts_with = "bootstrap")]
    pub fence: Vec<String>,
    /// Put them out of reach by routes alone, where the kernel has no nftables.
    #[arg(hide = true, long, requires = "fence")]
    pub without_filter: bool,
    /// Have what comes back for this address sent over the wire that another namespace laid to this one.
    #[arg(hide = true, long, value_name = "ADDRESS", requires = "fence")]
    pub let_back: Option<Ipv4Addr>,
    /// Lay a wire from this network namespace to that of process 1, with an address at each end, and end.
    #[arg(hide = true, long, num_args = 2, value_names = ["ADDRESS", "GATEWAY"], conflicts_with_all = ["bootstrap", "fence", "hold"])]
    pub link: Vec<Ipv4Addr>,
    /// Keep this network namespace until asked to end.
    #[arg(hide = true, long, conflicts_with_all = ["bootstrap", "fence"])]
    pub hold: bool,
    /// Give everything in a directory that belongs to one user, or to whom the directory belongs, to another, and end.
    #[arg(hide = true, long, num_args = 2, value_names = ["FROM:USER:GROUP", "DIR"], conflicts_with_all = ["bootstrap", "fence", "hold"])]
    pub give: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// Make this machine a codespace, and take it up again.
    Join(Join),
    /// List the tokens that wait for their machine, or revoke one.
    Tokens(MachineTokens),
    /// Answer git's question for a credential; git runs this.
    #[command(hide = true)]
    GitCredential(HelperCall),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico agent tokens
  portico agent tokens --revoke 0123456789abcdef

A token is good once, for an hour, and while its maker stays signed in; what it is was shown when it was made. A machine that \
has joined is a codespace: portico codespace delete NAME ends it.")]
pub struct MachineTokens {
    /// Revoke the one with this id.
    #[arg(long, value_name = "ID")]
    pub revoke: Option<String>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  PORTICO_JOIN_TOKEN=ptm_… portico agent join --gateway https://portico.example.com

The token comes from the page for a new codespace; it is good once, for an hour, while its maker stays signed in. The agent dials out, so no port of this \
machine need be open. It runs until it is stopped; the same command, or just `portico agent join`, takes it up again. To have \
systemd do so whenever the machine starts, take config/systemd/portico-machine.service of Portico's repository, a unit of your user: it runs `portico agent \
join`, and is of use once the machine has joined. All \
ports of this machine can be reached by the codespace's owner, and by those with whom they share one. It is told none of the owner's secrets, passwords \
for git, dotfiles and settings until the owner says so: portico codespace edit NAME --personal true.

What it logs on standard error PORTICO_LOG_LEVEL says, as for the gateway: warn, info, debug, trace.")]
pub struct Join {
    /// The gateway's URL.
    #[arg(long, value_name = "URL")]
    pub gateway: Option<String>,
    /// The token that makes this machine a codespace, of no use after the first time: `-` reads it from standard input.
    /// Better in PORTICO_JOIN_TOKEN: a command line is seen by everybody on the machine.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// What the list of codespaces calls it; the machine's name without one.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The folder that the editor and terminals begin in; HOME without one.
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Where the agent keeps its files; ~/.local/share/portico-machine without one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}
