//! Whether a browser's cookie counts for a request: the rules against requests that a hostile page causes.
//!
//! SameSite does not separate ports of one codespace from those of another, so `Origin` decides (decision 4, CSRF-3,
//! WS-1, WS-2). For the gateway host the rule is stricter (CSRF-1).

use crate::{
    domain::CodespaceName,
    route::{Route, Sites},
};

/// What a request says about the page that caused it; header values as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cause<'a> {
    pub safe_method: bool,
    pub websocket: bool,
    pub origin: Option<&'a str>,
    pub referer: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub site: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    pub mode: Option<&'a str>,
    /// `Sec-Fetch-Dest`.
    pub dest: Option<&'a str>,
    /// `Upgrade-Insecure-Requests`, which navigations alone carry: no page can put it on a request without a preflight.
    pub navigates: bool,
    /// `Sec-Purpose` says that nobody went there yet: a page had it fetched in case somebody will.
    pub speculative: bool,
    /// The browser is one that says when a person caused a navigation, and does not: a script or a timer did.
    pub unattended: bool,
}

/// Whether a cookie counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The person, or a page that belongs to the same codespace, caused it.
    Ours,
    /// Another page caused it, or nobody can tell: the cookie must not count.
    Foreign,
}

/// Judges a request to an editor or port host. `from` is the host of ours that its `Origin` names, if there is one.
pub fn judge_codespace(cause: Cause<'_>, from: Option<&Route>, name: &CodespaceName, to: &Route, sites: &Sites) -> Verdict {
    let ours = |from: &Route| match to {
        // WS-1: a socket of the editor answers to the editor's own pages alone.
        Route::Editor(_) if cause.websocket => from == to,
        _ => from.codespace() == Some(name),
    };
    if cause.websocket || cause.origin.is_some() {
        return verdict(from.is_some_and(ours));
    }
    if !cause.safe_method {
        return Verdict::Foreign;
    }
    // Another page's guess is no step of the person's: the browser asks again when they go there.
    let top_level =
        cause.mode == Some("navigate") && !cause.speculative && cause.dest.is_none_or(|dest| matches!(dest, "document" | "empty"));
    let typed_or_own = matches!(cause.site, Some("none" | "same-origin"));
    verdict(top_level || typed_or_own || came_from(cause, sites).is_some_and(|from| ours(&from)) || old_browsers_navigation(cause))
}

/// Judges a request to the gateway host that changes something, authenticated by cookie (CSRF-1).
pub fn judge_gateway(cause: Cause<'_>, sites: &Sites) -> Verdict {
    if cause.safe_method && !cause.websocket {
        return Verdict::Ours;
    }
    match cause.origin {
        Some(origin) => verdict(sites.route_of_origin(origin) == Some(Route::Gateway)),
        None => verdict(!cause.websocket && cause.site == Some("same-origin")),
    }
}

/// A navigation of a browser too old for `Sec-Fetch-*`, which no page of another site is named as the cause of. Without
/// the mark of a navigation it could as well be an image under `no-referrer`.
fn old_browsers_navigation(cause: Cause<'_>) -> bool {
    cause.site.is_none() && cause.mode.is_none() && cause.referer.is_none() && cause.navigates
}

/// The host of ours whose page `Referer` names.
fn came_from(cause: Cause<'_>, sites: &Sites) -> Option<Route> {
    sites.route_of_origin(cause.referer.and_then(origin_of_url)?)
}

/// The origin part of a URL, textually.
fn origin_of_url(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    Some(&url[..end])
}

fn verdict(ours: bool) -> Verdict {
    if ours { Verdict::Ours } else { Verdict::Foreign }
}
