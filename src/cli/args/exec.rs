//! What can be typed after `portico codespace exec`.

use clap::Args;

use super::{Where, Which};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico codespace exec amber-otter-x7k2 -- git status
  portico codespace exec -t amber-otter-x7k2 -- bash
  tar c src | portico codespace exec amber-otter-x7k2 -- tar x

Without -t, standard output and standard error stay apart. A signal N gives 128+N.")]
pub struct Exec {
    /// The codespace; CODESPACE_NAME or the only one if left out.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub which: Which,
    /// Run it on a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// The directory to run it in; the workspace if left out.
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    #[command(flatten)]
    pub place: Where,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
