//! What can be typed after `portico ports log`.

use clap::{ArgGroup, Args};

use super::{Where, Which};
use crate::{domain::Port, inspect};

#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("what").args(["on", "off", "follow", "show", "curl", "replay", "clear", "visits"])),
    after_help = "Examples:
  portico ports log 3000 --on                  from now on, the last 100 exchanges
  portico ports log 3000                       what was asked, the newest first
  portico ports log 3000 --follow              as it happens
  portico ports log 3000 --show 12             fields and bodies of exchange 12
  portico ports log 3000 --curl 12             as a command line
  portico ports log 3000 --replay 12           ask the app for the same once more
  portico ports log 3000 --visits              who came, per hour
  portico ports log 3000 --off                 and everything is forgotten

The log is off until you turn it on, and only you can read it. It is kept in the gateway's memory: it ends when you turn it off and when \
the gateway restarts, after which it is on and empty. Secrets are taken out: cookies, credentials, keys, and what looks like a token."
)]
pub struct PortsLog {
    /// The port's number.
    pub port: Port,
    /// Write down what is asked of the port from now on.
    #[arg(long)]
    pub on: bool,
    /// How many exchanges to keep, 1 to 1000.
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u16).range(1..=i64::from(inspect::MOST_ENTRIES)), default_value_t = inspect::DEFAULT_ENTRIES)]
    pub keep: u16,
    /// Write nothing down any more, and forget what was.
    #[arg(long)]
    pub off: bool,
    /// Go on and print each exchange when it has ended.
    #[arg(short, long)]
    pub follow: bool,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(inspect::MOST_ENTRIES)), default_value_t = 30)]
    pub limit: u16,
    /// Show all that is kept of one exchange.
    #[arg(long, value_name = "ID")]
    pub show: Option<u64>,
    /// Print the curl command that asks for the same.
    #[arg(long, value_name = "ID")]
    pub curl: Option<u64>,
    /// Ask the app for the same once more, as yourself; it does again whatever the request made it do.
    #[arg(long, value_name = "ID")]
    pub replay: Option<u64>,
    /// Forget what was written down, and go on.
    #[arg(long)]
    pub clear: bool,
    /// Show who visited the port, for each hour of the last week.
    #[arg(long)]
    pub visits: bool,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::args::Cli;

    #[test]
    fn one_thing_at_a_time() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "portico ports log 3000 --on --keep 500 -c amber-x",
            "portico ports log 3000 --follow --json",
            "portico ports log 3000 --replay 12",
        ] {
            assert!(parses(good), "{good}");
        }
        for bad in [
            "portico ports log 3000 --on --off",
            "portico ports log 3000 --keep 5",
            "portico ports log 3000 --on --keep 1001",
            "portico ports log",
        ] {
            assert!(!parses(bad), "{bad}");
        }
    }
}
