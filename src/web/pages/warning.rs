//! The page before a stranger's public port (SHARE-4).

use askama::Template;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Page, problem};
use crate::{
    route::Origin,
    web::assets::{self, CODESPACE_PREFIX},
};

/// What the warning says.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "warning.html")]
pub struct Warning<'a> {
    /// The account that made it public.
    pub who: &'a str,
    pub organisation: Option<&'a str>,
    pub host: &'a str,
    /// The path that was asked for.
    pub next: &'a str,
    /// Where abuse is reported, if anywhere.
    pub abuse: Option<&'a str>,
    /// What else of the codespace is public: its warnings count as read with this one.
    pub siblings: &'a [Origin],
}

/// Warns of an app that is not ours, once; names who made it public. Nothing of the app is in it.
///
/// Serve it under [`csp_for_calls`](super::csp_for_calls).
pub fn warning(page: Warning<'_>) -> Page {
    Page {
        status: StatusCode::OK,
        html: page.render().unwrap_or_default(),
        problem: problem(
            "warning",
            StatusCode::OK,
            "A stranger's public port",
            "Send X-Portico-Skip-Warning with any value to go on.",
        ),
    }
}

impl Warning<'_> {
    /// Where its owner signs in.
    fn own(&self) -> String {
        format!("/.portico/sign-in?next={}", utf8_percent_encode(self.next, NON_ALPHANUMERIC))
    }

    fn asset(&self, name: &str) -> String {
        assets::url(CODESPACE_PREFIX, name)
    }
}
