//! What can be typed after `portico agent`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::HelperCall;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Agent {
    #[command(subcommand)]
    pub verb: Option<AgentVerb>,
    /// The file with the agent's orders.
    #[arg(long, value_name = "FILE", required_unless_present = "fence")]
    pub bootstrap: Option<PathBuf>,
    /// Put these networks out of reach of this network namespace, and end.
    #[arg(long, value_name = "NETWORK", num_args = 1.., conflicts_with = "bootstrap")]
    pub fence: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// Answer git's question for a credential; git runs this.
    GitCredential(HelperCall),
}
