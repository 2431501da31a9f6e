//! `portico explain URL`: why it opens, or does not, and what the app behind it says.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use clap::Args;

use super::{
    args::Where,
    output::{Output, plain},
    place,
};
use crate::api::model::{ChangePort, ExplainedUpstream, Explanation};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico explain https://amber-otter-x7k2-3000.codespaces.example/login
  portico explain 4f1c09ab77e2d610    the number at the foot of a page")]
pub struct Explain {
    /// A URL of a codespace, or the number that one of the gateway's pages shows.
    #[arg(value_name = "URL|NUMBER")]
    pub what: String,
    #[command(flatten)]
    pub place: Where,
}

/// Asks the gateway and prints its answer.
pub async fn run(asked: Explain, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&asked.place).await?;
    // No host is without a dot, and no id has one.
    let kind = if asked.what.contains(['.', '/']) { "url" } else { "trace" };
    let what = utf8_percent_encode(&asked.what, NON_ALPHANUMERIC);
    let explanation: Explanation = client.get(&format!("/api/v1/explain?{kind}={what}")).await?;
    output.show(&explanation, || text(&explanation));
    Ok(())
}

/// What is said, a line each, under names that stand below each other.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn say(&mut self, name: &str, words: &str) {
        self.0.push(format!("{name:<11} {}", plain(words)));
    }
}

fn text(explained: &Explanation) -> String {
    let mut told = Told::default();
    told.say("url", &explained.url);
    place_of(explained, &mut told);
    shares_of(explained, &mut told);
    let you = &explained.you;
    let may = if you.allowed { "may open it" } else { "may not open it" };
    let words = format!(
        "{}, by {} of scope {}: {may}, {}",
        you.account, you.credential, you.scope, you.because
    );
    told.say("you", &words);
    if let Some(upstream) = &explained.upstream {
        app_behind(upstream, &mut told);
    }
    ways_out(explained, &mut told);
    told.say("trace id", &explained.trace_id);
    told.0.join("\n")
}

/// Where the URL leads.
fn place_of(explained: &Explanation, told: &mut Told) {
    let route = match explained.port {
        Some(port) => format!("port {port} of {}", explained.codespace),
        None => format!("the editor of {}", explained.codespace),
    };
    told.say("route", &route);
    let connected = if explained.connected {
        "its agent is connected"
    } else {
        "its agent is not connected"
    };
    told.say("codespace", &format!("{}, {connected}", explained.state));
}

/// Who may open it, and within which limits.
fn shares_of(explained: &Explanation, told: &mut Told) {
    let visibility = &explained.visibility;
    told.say("visibility", &format!("{}: {}", visibility.now, visibility.source));
    let also = match visibility.users.is_empty() {
        true => String::new(),
        false => format!("; also for {}", visibility.users.join(", ")),
    };
    told.say("owner", &format!("{}{also}", visibility.owner));
    for link in &explained.links {
        let until = link
            .expires_at
            .map_or_else(|| "until it is revoked".to_owned(), |deadline| format!("until {deadline}"));
        told.say("link", &format!("{} ({}) opens {} {until}", link.name, link.kind, link.path));
    }
    for closure in &explained.closures {
        told.say("closed", &format!("{} by {}: {}", closure.what, closure.by, closure.reason));
    }
    for limit in &explained.limits {
        let whose = match limit.by.as_str() {
            "owner" => "its owner set that",
            _ => "the operator set that for strangers",
        };
        told.say("limit", &format!("{}; {whose}", limit.what));
    }
}

/// What the app was asked, and said.
fn app_behind(upstream: &ExplainedUpstream, told: &mut Told) {
    let process = upstream.process.as_deref().unwrap_or("a process");
    let listening = match upstream.listening {
        true => format!("{process} on {}", upstream.addresses.join(", ")),
        false => "nobody".to_owned(),
    };
    told.say("listening", &listening);
    let asked = format!(
        "in {}, as {} (host_header {})",
        upstream.protocol, upstream.host, upstream.host_header
    );
    told.say("asked", &asked);
    let speaks = upstream.speaks.as_ref().map(|speech| format!("speaks {speech}"));
    let status = upstream.status.map(|status| format!("status {status}"));
    let heard: Vec<String> = [speaks, status, upstream.found.clone()].into_iter().flatten().collect();
    let answered = if heard.is_empty() {
        "not asked".to_owned()
    } else {
        heard.join("; ")
    };
    told.say("answered", &answered);
}

/// What to do about it, and what went wrong lately.
fn ways_out(explained: &Explanation, told: &mut Told) {
    for advice in &explained.advice {
        told.say("advice", advice);
    }
    if let (Some(set), Some(port)) = (&explained.set, explained.port) {
        let command = format!("portico ports set {port} {} -c {}", flags(set), explained.codespace);
        told.say("mend it", &command);
    }
    for recent in &explained.recent {
        let words = format!(
            "{} {} {} {}: {}",
            recent.at, recent.trace_id, recent.method, recent.path, recent.what
        );
        told.say("lately", &words);
    }
}

fn flags(set: &ChangePort) -> String {
    let protocol = set.protocol.as_ref().map(|value| format!("--protocol {value}"));
    let host = set.host_header.as_ref().map(|value| format!("--host-header {value}"));
    [protocol, host].into_iter().flatten().collect::<Vec<_>>().join(" ")
}
