//! Pages about a port: nothing listens, or what listens did not answer.

use http::StatusCode;
use serde_json::json;

use super::{
    Page,
    notice::{Entry, Notice, Watch, is_web},
};
use crate::domain::Port;

/// A port that does listen: its number, the process that holds it, its URL.
pub type Listening = (u16, Option<String>, String);

/// Helps where nothing listens: what does, how to start a server; goes on by itself when the port comes up.
pub fn nothing_listens(prefix: &str, port: Port, listening: &[Listening], command_hint: Option<&str>) -> Page {
    let entries = listening.iter().filter(|(.., url)| is_web(url)).map(entry).collect();
    let mut page = Notice::new(
        prefix,
        "nothing-listens",
        StatusCode::BAD_GATEWAY,
        format!("Nothing listens on port {port}"),
        "The codespace is running, but no server inside it answers on this port.",
    )
    .advice(format!(
        "Start your app in a terminal and have it listen on port {port}, on any address (127.0.0.1 is fine)."
    ))
    .command(command_hint)
    .list("Listening right now", entries)
    .watch(Watch::Status)
    .page();
    page.problem["listening"] = listening
        .iter()
        .map(|(port, process, url)| json!({ "port": port, "process": process, "url": url }))
        .collect();
    page
}

/// Says that something listens but gave no proper answer; `what` is ours, in plain words.
pub fn upstream_failed(prefix: &str, port: Port, what: &str) -> Page {
    Notice::new(
        prefix,
        "upstream-failed",
        StatusCode::BAD_GATEWAY,
        format!("Port {port} did not answer properly"),
        what,
    )
    .advice("The gateway reached the app; the app's own output, in the terminal that runs it, usually says why.")
    .advice("If it speaks HTTPS, set the port's protocol to https in the dashboard.")
    .page()
}

fn entry((port, process, url): &Listening) -> Entry {
    Entry {
        name: port.to_string(),
        note: process.clone().unwrap_or_default(),
        url: url.clone(),
    }
}
