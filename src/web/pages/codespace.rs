//! Pages about a codespace: not there, stopped, starting, away, and the one that stands in for an editor.

use askama::Template;
use http::StatusCode;
use serde_json::json;

use super::{
    Page,
    notice::{Notice, Sign, Watch},
};
use crate::{
    domain::{CodespaceName, Phase, Step},
    web::assets,
};

/// Says the same of a codespace that is missing, private, stopped or forbidden (ENUM-1, ENUM-2).
pub fn no_such_codespace(prefix: &str, account: Option<&str>, sign_in_url: Option<&str>) -> Page {
    let shared = match account {
        Some(account) => format!("It does not exist, or is not shared with {account}."),
        None => "It does not exist, or is not shared with you.".to_owned(),
    };
    let advice = match account {
        Some(_) => "Ask whoever sent you the link, or switch account.",
        None => "Ask whoever sent you the link, or sign in.",
    };
    let label = if account.is_some() { "Switch account" } else { "Sign in" };
    Notice::new(
        prefix,
        "no-such-codespace",
        StatusCode::NOT_FOUND,
        "There is nothing here for you",
        shared,
    )
    .sign(Sign::Closed)
    .advice(advice)
    .action(label, sign_in_url.unwrap_or_default())
    .page()
}

/// Says that a codespace is not running, to someone who may know.
pub fn stopped(prefix: &str, name: &CodespaceName, state: Phase, reason: Option<&str>, dashboard_url: &str) -> Page {
    let (slug, title, what, advice) = match state {
        Phase::Failed => (
            "codespace-failed",
            "This codespace did not start",
            format!("{name} stopped with an error."),
            "Its page shows the log and lets you try again. What was saved is still there.",
        ),
        Phase::Deleting => (
            "codespace-deleting",
            "This codespace is being deleted",
            format!("{name} is going away."),
            "Create another one from the same repository when you need it.",
        ),
        Phase::Stopping => (
            "codespace-stopping",
            "This codespace is stopping",
            format!("{name} is about to stop."),
            "Start it again from its page in a moment. Uncommitted work is kept.",
        ),
        Phase::Creating | Phase::Starting | Phase::Running | Phase::Stopped => (
            "codespace-stopped",
            "This codespace is stopped",
            format!("{name} is not running."),
            "Start it from its page. Uncommitted work is kept.",
        ),
    };
    let sign = if state == Phase::Failed { Sign::Trouble } else { Sign::Paused };
    let mut notice = Notice::new(prefix, slug, StatusCode::SERVICE_UNAVAILABLE, title, what).sign(sign);
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        notice = notice.advice(format!("Why: {reason}"));
    }
    notice.advice(advice).action("Open its page", dashboard_url).page()
}

/// Shows how far a start is; goes on by itself when it is done.
pub fn starting(prefix: &str, name: &CodespaceName, steps: &[Step], dashboard_url: &str) -> Page {
    Notice::new(
        prefix,
        "codespace-starting",
        StatusCode::SERVICE_UNAVAILABLE,
        "Your codespace is starting",
        format!("{name} is getting ready."),
    )
    .sign(Sign::Waiting)
    .steps(steps)
    .action("Open its page", dashboard_url)
    .watch(Watch::Problem)
    .page()
}

/// Says that the codespace runs but its agent is out of reach.
pub fn not_connected(prefix: &str, name: &CodespaceName, dashboard_url: &str) -> Page {
    Notice::new(
        prefix,
        "codespace-away",
        StatusCode::SERVICE_UNAVAILABLE,
        "Reconnecting to your codespace",
        format!("{name} is running, but its connection to the gateway is down."),
    )
    .sign(Sign::Waiting)
    .advice("It usually comes back within seconds. Nothing inside it has stopped. If it stays away, stop and start it from its page.")
    .action("Open its page", dashboard_url)
    .watch(Watch::Problem)
    .page()
}

/// Says that the editor is on its way.
pub fn editor_starting(prefix: &str, name: &CodespaceName) -> Page {
    Notice::new(
        prefix,
        "editor-starting",
        StatusCode::SERVICE_UNAVAILABLE,
        "The editor is starting",
        format!("{name} is up; its editor is about to answer."),
    )
    .sign(Sign::Waiting)
    .watch(Watch::Problem)
    .page()
}

/// Says that the editor does not run.
pub fn editor_failed(prefix: &str, name: &CodespaceName, dashboard_url: &str) -> Page {
    Notice::new(
        prefix,
        "editor-failed",
        StatusCode::BAD_GATEWAY,
        "The editor did not start",
        format!("{name} is up, but its editor ended or does not answer."),
    )
    .advice("Its page shows what the editor printed, and has terminals that work meanwhile. Stopping and starting the codespace starts the editor afresh.")
    .action("Open its page", dashboard_url)
    .watch(Watch::Problem)
    .page()
}

/// The built-in page of a codespace without an editor: terminals, ports, and how to get one.
pub fn workbench(prefix: &str, name: &CodespaceName, api_base: &str) -> Page {
    let html = Workbench {
        prefix,
        name: name.as_str(),
        api_base,
    }
    .render()
    .unwrap_or_default();
    Page {
        status: StatusCode::OK,
        html,
        problem: json!({ "name": name.as_str(), "editor": "absent", "api": api_base }),
    }
}

#[derive(Template)]
#[template(path = "workbench.html")]
struct Workbench<'a> {
    prefix: &'a str,
    name: &'a str,
    api_base: &'a str,
}

impl Workbench<'_> {
    fn asset(&self, name: &str) -> String {
        assets::url(self.prefix, name)
    }
}
