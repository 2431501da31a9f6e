//! Whole pages for what is not an app's own answer: denials, failures, waiting, and the hop that carries a sign-in.
//!
//! Owns their words, their HTML and the JSON of the same for programs. Each says what happened, what to do and whom to
//! ask. Everything is escaped by the templates. Refuses to know requests: the caller decides which page is due and sets
//! the headers around it.

mod codespace;
mod hop;
mod notice;
mod port;
mod refusal;
mod share;
mod sign_in;
mod warning;

use http::StatusCode;
use serde_json::{Value, json};

pub use codespace::{
    Start, Stopped, editor_failed, editor_starting, editor_waits, no_such_codespace, not_connected, starting, stopped, too_many_starts,
    workbench,
};
pub use hop::{arrive, carry, framed_sign_in, spread, unregister_worker};
pub use port::{Known, Listening, app_unavailable, credentials_hint, port_trouble};
pub use refusal::{
    Raises, bad_request, busy, crowded, forbidden_origin, head_too_large, internal, limited, method_not_allowed, misdirected, not_found,
    too_many_sockets, too_much, unauthorized, uri_too_long,
};

pub use share::{SharePassword, Sharing, share, share_beyond, share_ended, share_unknown};
pub use sign_in::{sign_in_failed, sign_in_url, start_url};

pub use warning::{Warning, warning};

use crate::route::Origin;

/// The policy of every page that posts nowhere else: nothing inline, nothing from elsewhere, never framed.
pub const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// One answer in two forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    pub status: StatusCode,
    /// For people: a whole document.
    pub html: String,
    /// For programs: RFC 9457 members.
    pub problem: Value,
}

/// The policy of a page whose form may also post to `origin`: of [`carry`], with the editor host's.
pub fn csp_for_form(origin: &Origin) -> String {
    CSP.replace("form-action 'self'", &format!("form-action 'self' {origin}"))
}

/// The policy of [`spread`]: its script and its form reach the hosts that it carries the sign-in to.
pub fn csp_for_spread<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> String {
    let list = origins
        .into_iter()
        .fold(String::from("'self'"), |list, origin| format!("{list} {origin}"));
    CSP.replace("connect-src 'self'", &format!("connect-src {list}"))
        .replace("form-action 'self'", &format!("form-action {list}"))
}

/// The policy of [`warning`]: its script reaches these hosts.
pub fn csp_for_calls<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> String {
    let list = origins
        .into_iter()
        .fold(String::from("'self'"), |list, origin| format!("{list} {origin}"));
    CSP.replace("connect-src 'self'", &format!("connect-src {list}"))
}

/// The policy of [`framed_sign_in`]: shown only inside the codespace's own hosts.
pub fn csp_for_frame<'a>(ancestors: impl IntoIterator<Item = &'a Origin>) -> String {
    let list = ancestors
        .into_iter()
        .fold(String::from("'self'"), |list, origin| format!("{list} {origin}"));
    CSP.replace("frame-ancestors 'none'", &format!("frame-ancestors {list}"))
}

/// The members that every problem has.
fn problem(slug: &str, status: StatusCode, title: &str, detail: &str) -> Value {
    json!({ "type": format!("urn:portico:{slug}"), "title": title, "status": status.as_u16(), "detail": detail })
}

#[cfg(test)]
mod tests;
