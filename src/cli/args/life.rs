//! What is said of a codespace's life on the command line.

use clap::Args;

use super::Named;

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
}
