//! What can be typed after `portico codespace exec`, `ssh` and `cp`.

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

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico codespace ssh
  portico codespace ssh -c amber-otter-x7k2
  portico codespace ssh -- 'git log -1 && git status'

It goes over Portico's own connection: no SSH server is needed inside, and no key. For a shell that outlives a lost \
connection, use a terminal on the page.")]
pub struct Ssh {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
    /// A command line for the shell there; an interactive shell without one.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico codespace cp notes.txt remote:                  into the workspace
  portico codespace cp -r src data remote:/tmp
  portico codespace cp remote:out/report.pdf .
  portico codespace cp remote:~/.bashrc bashrc

What is inside begins with remote: and is relative to the workspace. Folders are copied with what they hold.")]
pub struct Copy {
    /// Folders are copied in any case; for those who are used to it.
    #[arg(short, long)]
    pub recursive: bool,
    /// What to copy, and where to.
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    pub paths: Vec<String>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}
