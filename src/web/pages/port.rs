//! Pages about a port whose app gave no proper answer: what is wrong, what to do, and one thing to press that does it.

use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{
    Page,
    notice::{Entry, Notice, Watch, is_web},
};
use crate::{doctor::Trouble, domain::Port};

/// Longest target that travels to the dashboard and back, in bytes.
const MAX_TARGET: usize = 1024;

/// A port that does listen.
#[derive(Clone, Debug)]
pub struct Listening {
    pub port: u16,
    /// The process that holds it.
    pub process: Option<String>,
    /// The addresses it is bound to.
    pub addresses: Vec<String>,
    pub url: String,
}

/// What a codespace's owner is told, and nobody else.
#[derive(Clone, Debug)]
pub struct Known {
    pub listening: Vec<Listening>,
    /// The page of the gateway host where the port's settings are changed.
    pub settings: String,
    /// Path and query that were asked for.
    pub target: String,
    /// The service beside the codespace whose port it is.
    pub beside: Option<String>,
    /// Whether the page stands in a frame, which the gateway host's pages refuse to.
    pub framed: bool,
}

/// Tells the owner what is wrong with a port; goes on by itself when it comes up.
pub fn port_trouble(prefix: &str, port: Port, trouble: Trouble, known: &Known, request_id: &str) -> Page {
    let mut notice = Notice::new(
        prefix,
        trouble.slug(),
        StatusCode::BAD_GATEWAY,
        trouble.title(port),
        trouble.detail(),
    )
    .request_id(request_id);
    // What runs beside the codespace is started with it, and not in a terminal.
    let beside = known.beside.as_ref().filter(|_| trouble == Trouble::NothingListens);
    if let Some(service) = beside {
        notice = notice.advice(format!(
            "It is port {port} of {service}, which runs beside the codespace. The codespace's log says how {service} fares."
        ));
    } else {
        for text in trouble.advice(port) {
            notice = notice.advice(text);
        }
    }
    if trouble == Trouble::NotOnLoopback
        && let Some(own) = known.listening.iter().find(|listening| listening.port == port.number())
    {
        notice = notice.advice(format!("It listens on {}.", own.addresses.join(", ")));
    }
    if trouble == Trouble::NothingListens {
        let entries = known
            .listening
            .iter()
            .filter(|listening| is_web(&listening.url))
            .map(entry)
            .collect();
        let command = format!("python3 -m http.server {port}");
        let command = Some(command.as_str()).filter(|_| beside.is_none());
        notice = notice.command(command).list("Listening right now", entries);
    }
    if let Some(fix) = trouble.fix() {
        let (name, value) = fix.setting();
        let url = switch_url(known, port, name, value);
        notice = match known.framed {
            true => notice.action_in_new_tab(format!("Set {name} to {value}"), &url),
            false => notice.action(format!("Set {name} to {value}"), &url),
        };
    }
    if trouble.may_pass() {
        notice = notice.watch(Watch::Status);
    }
    let mut page = notice.page();
    if let Some(fix) = trouble.fix() {
        let (name, value) = fix.setting();
        page.problem["fix"] = json!({ name: value });
    }
    if trouble == Trouble::NothingListens {
        let listening = known.listening.iter();
        page.problem["listening"] = listening
            .map(|listening| json!({ "port": listening.port, "process": listening.process, "addresses": listening.addresses, "url": listening.url }))
            .collect();
    }
    page
}

/// Tells a visitor no more than that it does not work now.
pub fn app_unavailable(prefix: &str, request_id: &str) -> Page {
    Notice::new(
        prefix,
        "app-unavailable",
        StatusCode::BAD_GATEWAY,
        "This app does not answer right now",
        "You may open it, but it is not running at the moment, or it is in trouble.",
    )
    .advice("Ask whoever sent you the link; the number below helps them find out why.")
    .watch(Watch::Status)
    .request_id(request_id)
    .page()
}

/// Why a page of another port of the same codespace was not let through, as far as its own request shows.
pub fn credentials_hint(loads_script: bool) -> &'static str {
    if loads_script {
        "The page that loads this script sent no cookie with it. Across ports, write <script type=\"module\" crossorigin=\"use-credentials\" src=…>, and the same on <link rel=\"modulepreload\">."
    } else {
        "The page that asked sent no cookie. Across ports, write fetch(url, { credentials: 'include' }), or withCredentials = true for XMLHttpRequest and EventSource, and open the page once while signed in."
    }
}

fn switch_url(known: &Known, port: Port, name: &str, value: &str) -> String {
    let target = if known.target.len() <= MAX_TARGET { &known.target } else { "/" };
    let target = utf8_percent_encode(target, NON_ALPHANUMERIC);
    format!("{}?port={port}&{name}={value}&then={target}", known.settings)
}

fn entry(listening: &Listening) -> Entry {
    let process = listening.process.as_deref().unwrap_or_default();
    let on = listening.addresses.join(", ");
    Entry {
        name: listening.port.to_string(),
        note: [process, &on]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" on "),
        url: listening.url.clone(),
    }
}
