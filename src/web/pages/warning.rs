//! The page before a stranger's public port (SHARE-4).

use askama::Template;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Page, problem};
use crate::web::assets::{self, CODESPACE_PREFIX};

/// Warns of an app that is not ours, once; names who made it public. Nothing of the app is in it.
pub fn warning(who: &str, organisation: Option<&str>, host: &str, next: &str, abuse: Option<&str>) -> Page {
    let page = Warning {
        who,
        organisation,
        host,
        next,
        own: format!("/.portico/sign-in?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
        abuse,
    };
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

#[derive(Template)]
#[template(path = "warning.html")]
struct Warning<'a> {
    who: &'a str,
    organisation: Option<&'a str>,
    host: &'a str,
    next: &'a str,
    /// Where its owner signs in.
    own: String,
    abuse: Option<&'a str>,
}

impl Warning<'_> {
    fn asset(&self, name: &str) -> String {
        assets::url(CODESPACE_PREFIX, name)
    }
}
