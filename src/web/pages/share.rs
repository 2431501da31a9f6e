//! The page behind a share link, and what is said where a link opens nothing.

use askama::Template;
use http::StatusCode;

use super::{
    Page,
    notice::{Notice, Sign},
    problem,
};
use crate::{
    domain::ShareEnd,
    web::assets::{self, CODESPACE_PREFIX},
};

/// What the page behind a share link says.
#[derive(Clone, Copy, Debug)]
pub struct Sharing<'a> {
    /// The account of whoever shares.
    pub who: &'a str,
    /// The port's label, or its number.
    pub what: &'a str,
    /// The host on which it opens.
    pub host: &'a str,
    /// The path prefix, unless it is everything.
    pub path: Option<&'a str>,
    pub asks_password: bool,
    /// How long it still lasts, in words; none if nobody set an end.
    pub lasts: Option<&'a str>,
    /// Where abuse is reported, if anywhere.
    pub abuse: Option<&'a str>,
}

/// Why a password was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SharePassword {
    Wrong,
    /// Too many attempts; seconds until the next.
    TooMany(u64),
}

/// Says who shares what, with a button that opens it. Nothing of the app is in it.
pub fn share(sharing: Sharing<'_>, trouble: Option<SharePassword>) -> Page {
    let status = match trouble {
        None => StatusCode::OK,
        Some(SharePassword::Wrong) => StatusCode::FORBIDDEN,
        Some(SharePassword::TooMany(_)) => StatusCode::TOO_MANY_REQUESTS,
    };
    let trouble = trouble.map(|trouble| match trouble {
        SharePassword::Wrong => "That is not the password. Check it with whoever sent you the link.".to_owned(),
        SharePassword::TooMany(seconds) => format!("Too many attempts. Try again in {seconds} seconds."),
    });
    let until = match sharing.lasts {
        Some(lasts) => format!("It stays open in this browser for {lasts} at most."),
        None => "It stays open in this browser for 30 days, or until it is revoked.".to_owned(),
    };
    let html = Share {
        who: sharing.who,
        what: sharing.what,
        place: sharing.host,
        reach: sharing.path,
        password: sharing.asks_password,
        trouble: trouble.clone(),
        until,
        abuse: sharing.abuse,
    };
    Page {
        status,
        html: html.render().unwrap_or_default(),
        problem: problem(
            "share",
            status,
            "A share link",
            trouble.as_deref().unwrap_or("POST to it to open the port."),
        ),
    }
}

/// Says that a link is none, or none any more.
pub fn share_unknown() -> Page {
    Notice::new(
        CODESPACE_PREFIX,
        "share-unknown",
        StatusCode::NOT_FOUND,
        "This link leads nowhere",
        "Nothing is shared under it. Perhaps a part of it got lost on the way.",
    )
    .sign(Sign::Closed)
    .advice("Copy the whole link once more, or ask whoever sent it for a new one.")
    .page()
}

/// Says why a link opens nothing any more, and whom to ask. `sign_in` is where somebody with an account goes on.
pub fn share_ended(end: ShareEnd, who: Option<&str>, sign_in: Option<&str>) -> Page {
    let who = who.unwrap_or("whoever sent it");
    let (slug, title, detail, advice) = match end {
        ShareEnd::Expired => (
            "share-expired",
            "This link has expired",
            "It was made to last for a while, and that while is over.",
            format!("Ask {who} for a new link."),
        ),
        ShareEnd::Revoked => (
            "share-revoked",
            "This link was revoked",
            "It opened something once, and was taken back.",
            format!("If that surprises you, ask {who}."),
        ),
        ShareEnd::UsedUp => (
            "share-used-up",
            "This link is used up",
            "It could be opened a number of times, and was. Browsers in which it was opened go on.",
            format!("Ask {who} for a new link, or open it where you opened it before."),
        ),
        ShareEnd::Closed => (
            "share-closed",
            "Links are closed here",
            "Whoever runs this gateway does not allow links like this one, so it opens nothing for now.",
            format!("Ask {who} for an account, or to share it with you by name."),
        ),
    };
    let notice = Notice::new(CODESPACE_PREFIX, slug, StatusCode::GONE, title, detail)
        .sign(Sign::Closed)
        .advice(advice);
    match sign_in {
        Some(url) => notice.action("I have an account here", url).page(),
        None => notice.page(),
    }
}

/// Says that a link does not reach so far.
pub fn share_beyond() -> Page {
    Notice::new(
        CODESPACE_PREFIX,
        "share-beyond",
        StatusCode::FORBIDDEN,
        "Your link does not open this",
        "It opens a part of this app alone, and this address or kind of request lies outside it.",
    )
    .sign(Sign::Closed)
    .advice("Go back to what the link opened, or ask whoever sent it for one that reaches further.")
    .page()
}

#[derive(Template)]
#[template(path = "share.html")]
struct Share<'a> {
    who: &'a str,
    what: &'a str,
    place: &'a str,
    reach: Option<&'a str>,
    password: bool,
    trouble: Option<String>,
    until: String,
    abuse: Option<&'a str>,
}

impl Share<'_> {
    #[expect(clippy::unused_self, reason = "what the templates call is the same for all")]
    fn asset(&self, name: &str) -> String {
        assets::url(CODESPACE_PREFIX, name)
    }
}
