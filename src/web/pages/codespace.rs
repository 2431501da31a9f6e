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

/// What there is to say of a codespace that does not run, to someone who may know.
pub struct Stopped<'a> {
    pub name: &'a CodespaceName,
    pub phase: Phase,
    /// Why, for the owner alone.
    pub reason: Option<&'a str>,
    /// Who can start it, by name.
    pub owner: &'a str,
    /// How whoever asks starts it; none if they may not.
    pub start: Option<Start>,
    /// Its page at the gateway, for the owner alone.
    pub dashboard: Option<&'a str>,
}

/// How somebody starts a codespace.
pub enum Start {
    /// With a button, which leads back to this path.
    Button(String),
    /// In a tab of its own, because a frame starts nothing.
    NewTab(String),
    /// By a call of the API, with a token: its owner alone.
    Call(String),
    /// By opening the address as a page.
    Visit,
}

/// Says that a codespace is not running, and what to do.
pub fn stopped(prefix: &str, stopped: Stopped<'_>) -> Page {
    let failed = stopped.phase == Phase::Failed;
    let (slug, title, what, label) = words(stopped.phase);
    let detail = format!("{} {what}", stopped.name);
    let mut notice = Notice::new(prefix, slug, StatusCode::SERVICE_UNAVAILABLE, title, detail)
        .sign(if failed { Sign::Trouble } else { Sign::Paused })
        .watch(Watch::Rest);
    if let Some(reason) = stopped.reason.filter(|reason| !reason.is_empty()) {
        notice = notice.advice(format!("Why: {reason}"));
    }
    if stopped.phase == Phase::Deleting {
        return match stopped.dashboard {
            Some(_) => notice
                .advice("Create another one from the same repository when you need it.")
                .page(),
            None => notice.page(),
        };
    }
    notice = match stopped.start {
        Some(Start::Button(next)) => notice
            .advice("What was saved is still there, uncommitted work too.")
            .start(label, next),
        Some(Start::NewTab(url)) => notice.advice("It starts from a tab of its own.").action_in_new_tab(label, &url),
        Some(Start::Call(url)) => notice
            .advice("Open this address in a browser to start it, or start it by the API.")
            .hint("start", url),
        Some(Start::Visit) => notice.advice("Open this address in a browser to start it."),
        None => notice.advice(format!(
            "{} can start it. Ask them; this page goes on by itself once it runs.",
            stopped.owner
        )),
    };
    match stopped.dashboard {
        Some(url) if failed => notice.action("See its log", url).page(),
        dashboard => with_its_page(notice, dashboard),
    }
}

/// A phase's slug, title, what goes on, and the label of the button that ends it.
fn words(phase: Phase) -> (&'static str, &'static str, &'static str, &'static str) {
    match phase {
        Phase::Failed => (
            "codespace-failed",
            "This codespace did not start",
            "stopped with an error.",
            "Try again",
        ),
        Phase::Deleting => ("codespace-deleting", "This codespace is being deleted", "is going away.", ""),
        Phase::Stopping => (
            "codespace-stopping",
            "This codespace is stopping",
            "is about to stop.",
            "Start it again",
        ),
        Phase::Creating | Phase::Starting | Phase::Running | Phase::Stopped => {
            ("codespace-stopped", "This codespace is stopped", "is not running.", "Start it")
        }
    }
}

/// Says that somebody started too many codespaces at once.
pub fn too_many_starts(prefix: &str, limit: usize, seconds: u64) -> Page {
    Notice::new(
        prefix,
        "too-many-starts",
        StatusCode::TOO_MANY_REQUESTS,
        "Too many starts",
        format!("There were {limit} starts within a minute, as many as this gateway allows one person."),
    )
    .sign(Sign::Paused)
    .advice(format!(
        "Open the page again in {seconds} seconds. The operator can raise codespaces.starts_per_minute."
    ))
    .page()
}

/// Shows how far a start is; goes on by itself when it is done.
pub fn starting(prefix: &str, name: &CodespaceName, steps: &[Step], again: Option<String>, dashboard: Option<&str>) -> Page {
    let notice = Notice::new(
        prefix,
        "codespace-starting",
        StatusCode::SERVICE_UNAVAILABLE,
        "Your codespace is starting",
        format!("{name} is getting ready."),
    )
    .sign(Sign::Waiting)
    .steps(steps)
    .watch(Watch::Problem);
    with_its_page(startable(notice, again), dashboard)
}

/// Says that the codespace runs but its agent is out of reach; `why` it is, and its page, are for its owner alone.
pub fn not_connected(prefix: &str, name: &CodespaceName, again: Option<String>, dashboard: Option<&str>, why: Option<&str>) -> Page {
    let notice = Notice::new(
        prefix,
        "codespace-away",
        StatusCode::SERVICE_UNAVAILABLE,
        "Reconnecting to your codespace",
        format!("{name} is running, but its connection to the gateway is down."),
    )
    .sign(Sign::Waiting)
    .advice(match (why.filter(|_| dashboard.is_some()), dashboard) {
        (Some(why), _) => format!("Nobody can say how it is: {why}. What was saved is still there."),
        (None, Some(_)) => {
            "It usually comes back within seconds. Nothing inside it has stopped. If it stays away, look at its page.".into()
        }
        (None, None) => "It usually comes back within seconds. This page goes on by itself then.".into(),
    })
    .watch(Watch::Problem);
    with_its_page(startable(notice, again), dashboard)
}

/// Gives a page that waits the button that starts the codespace, should it stop meanwhile: hidden until then.
fn startable(notice: Notice<'_>, again: Option<String>) -> Notice<'_> {
    match again {
        Some(next) => notice.start("Start it", next),
        None => notice,
    }
}

/// Ends a page with the way to the codespace's own, which strangers do not have.
fn with_its_page(notice: Notice<'_>, dashboard: Option<&str>) -> Page {
    match dashboard {
        Some(url) => notice.action("Open its page", url).page(),
        None => notice.page(),
    }
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

/// Says what goes before the editor; its page, which has terminals, is for the owner alone.
pub fn editor_waits(prefix: &str, name: &CodespaceName, steps: &[Step], dashboard: Option<&str>) -> Page {
    let notice = Notice::new(
        prefix,
        "editor-starting",
        StatusCode::SERVICE_UNAVAILABLE,
        "The editor is not up yet",
        format!("{name} is up; its editor comes once what goes before it is done."),
    )
    .sign(Sign::Waiting)
    .steps(steps)
    .watch(Watch::Problem);
    with_its_page(notice, dashboard)
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
