//! What can be typed after `portico codespace create`.

use clap::Args;

use super::Where;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico codespace create https://github.com/octocat/Hello-World
  portico codespace create https://github.com/octocat/Hello-World --ref v1.2
  name=$(portico codespace create https://github.com/octocat/Hello-World)")]
pub struct Create {
    /// A git URL, or a local path if you are an admin.
    pub repository: String,
    /// A branch, tag or commit.
    #[arg(long = "ref", short = 'b', value_name = "REF")]
    pub reference: Option<String>,
    /// A pull request's number.
    #[arg(long, value_name = "NUMBER", conflicts_with = "reference")]
    pub pull_request: Option<u64>,
    /// The devcontainer.json to use, by its path in the repository.
    #[arg(long, value_name = "PATH")]
    pub devcontainer_path: Option<String>,
    /// Minutes without activity after which it stops, 5 to 240.
    #[arg(long, value_name = "MINUTES")]
    pub idle_timeout: Option<u16>,
    /// A name for people.
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
    /// Without your secrets, passwords for git, dotfiles and settings, for code that you do not trust with them.
    #[arg(long)]
    pub no_personal: bool,
    #[command(flatten)]
    pub place: Where,
}
