//! Pages for requests that go nowhere, and for the gateway's own troubles.

use askama::Template;
use http::StatusCode;

use super::{
    Page,
    notice::{Notice, Sign},
    problem,
};
use crate::domain::{Exceeded, Port};

/// Refuses a request that cannot be read one way only; `what` is ours, in plain words.
pub fn bad_request(prefix: &str, what: &str) -> Page {
    Notice::new(
        prefix,
        "bad-request",
        StatusCode::BAD_REQUEST,
        "This request makes no sense here",
        what,
    )
    .advice("If you followed a link, ask whoever sent it for a fresh one.")
    .page()
}

/// Says that an address of the gateway host is none.
pub fn not_found(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "not-found",
        StatusCode::NOT_FOUND,
        "There is no such page",
        "The address may be misspelt, or the page has moved.",
    )
    .sign(Sign::Closed)
    .action("Go to your codespaces", "/")
    .page()
}

/// Refuses a host that is not ours, in a page without files of its own: that host has none.
pub fn misdirected(host: &str) -> Page {
    let status = StatusCode::MISDIRECTED_REQUEST;
    let title = "This host is not served here";
    let detail = "The gateway does not know the host in the address. Check its spelling, or ask the operator which hosts it serves.";
    Page {
        status,
        html: Misdirected { title, detail, host }.render().unwrap_or_default(),
        problem: problem("misdirected", status, title, detail),
    }
}

/// Refuses a head that is too large; the caller also clears the host's cookies (HDR-10).
pub fn head_too_large(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "head-too-large",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "Your browser sent too many headers",
        "Usually an app has set too many cookies on this host. They have just been cleared.",
    )
    .advice("Reload the page. You may have to sign in to the app again.")
    .page()
}

/// Refuses an address that is too long.
pub fn uri_too_long(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "uri-too-long",
        StatusCode::URI_TOO_LONG,
        "This address is too long",
        "The gateway takes addresses of up to 8 KiB.",
    )
    .advice("An app that puts much data into its addresses can send it in the body of a POST instead.")
    .page()
}

/// Refuses a method.
pub fn method_not_allowed(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "method-not-allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "This does not work that way",
        "The address exists, but not for this kind of request.",
    )
    .advice("If you reloaded a page that had sent a form, go back and open it again.")
    .page()
}

/// Says that a limit is reached.
pub fn busy(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "busy",
        StatusCode::SERVICE_UNAVAILABLE,
        "The gateway is busy",
        "It has as much to do as it is allowed to.",
    )
    .sign(Sign::Waiting)
    .advice("Try again in a moment. If this happens often, the operator can raise the limit.")
    .page()
}

/// Says that one address has as much under way as it may.
pub fn crowded(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "crowded",
        StatusCode::TOO_MANY_REQUESTS,
        "Too much at once from your address",
        "Requests from your address take all the places that one address may have (limits.connections_per_address).",
    )
    .sign(Sign::Waiting)
    .advice("Close what you do not need and try again. The operator can raise the limit.")
    .page()
}

/// Says that one socket more would be too many; `said` names the limit.
pub fn too_many_sockets(prefix: &str, said: &str) -> Page {
    Notice::new(
        prefix,
        "too-many-sockets",
        StatusCode::TOO_MANY_REQUESTS,
        "Too many sockets are open",
        format!("{said}."),
    )
    .sign(Sign::Waiting)
    .page()
}

/// Says that strangers had as much as they may have for now; `said` names the cap.
pub fn too_much(prefix: &str, said: &str, seconds: u64) -> Page {
    Notice::new(
        prefix,
        "strangers-capped",
        StatusCode::TOO_MANY_REQUESTS,
        "Too much for a minute",
        format!("Without being one of those it is shared with by name, you share a cap: {said}."),
    )
    .sign(Sign::Waiting)
    .advice(format!(
        "Try again in {seconds} seconds. Whoever runs this gateway set the cap and can raise it; people whom the owner names are not counted."
    ))
    .page()
}

/// Who can raise a limit of a port.
#[derive(Clone, Copy, Debug)]
pub enum Raises<'a> {
    /// Whoever reads the page: where the codespace's settings are.
    Reader(&'a str),
    /// Somebody else, by name.
    Owner(&'a str),
}

/// Says which limit of a port a request ran into, and who can raise it.
pub fn limited(prefix: &str, port: Port, exceeded: Exceeded, raises: Raises<'_>) -> Page {
    let (slug, status, title) = match exceeded {
        Exceeded::Rate(_) => ("limit-rate", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        Exceeded::Connections(_) => ("limit-connections", StatusCode::TOO_MANY_REQUESTS, "Too much at once"),
        Exceeded::Body(_) => ("limit-body", StatusCode::PAYLOAD_TOO_LARGE, "That is too large"),
        Exceeded::Address => ("limit-address", StatusCode::FORBIDDEN, "Not from this address"),
    };
    let sign = if status == StatusCode::TOO_MANY_REQUESTS {
        Sign::Waiting
    } else {
        Sign::Closed
    };
    let passes = match exceeded {
        Exceeded::Rate(_) => "Load this page again in a moment.",
        Exceeded::Connections(_) => "Load this page again when something else has ended.",
        Exceeded::Body(_) | Exceeded::Address => "",
    };
    let (whose, who) = match raises {
        Raises::Reader(_) => ("you", String::new()),
        Raises::Owner(owner) => ("its owner", format!(" Only {owner} can raise it.")),
    };
    let detail = format!("Port {port} has a limit that {whose} set: {exceeded}.{who}");
    let mut notice = Notice::new(prefix, slug, status, title, detail).sign(sign);
    if !passes.is_empty() {
        notice = notice.advice(passes);
    }
    if let Raises::Reader(settings) = raises {
        notice = notice
            .advice("The port's options have all its limits; so has the command line:")
            .command(Some(&format!("portico ports limit {port} --none")))
            .action_in_new_tab("Open its codespace", settings);
    }
    notice.page()
}

/// Owns up to a fault of ours.
pub fn internal(prefix: &str, request_id: &str) -> Page {
    Notice::new(
        prefix,
        "internal",
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something went wrong on our side",
        "The gateway could not answer. Your codespace and your work are not touched.",
    )
    .advice("Try again. If it stays, tell the operator the request number below: the log has more under it.")
    .request_id(request_id)
    .page()
}

/// Asks for a sign-in.
pub fn unauthorized(prefix: &str, sign_in_url: &str) -> Page {
    Notice::new(
        prefix,
        "unauthorized",
        StatusCode::UNAUTHORIZED,
        "Sign in to go on",
        "This is not open to everyone.",
    )
    .sign(Sign::Closed)
    .action("Sign in", sign_in_url)
    .page()
}

/// Refuses a request that a foreign page caused.
pub fn forbidden_origin(prefix: &str) -> Page {
    Notice::new(
        prefix,
        "forbidden-origin",
        StatusCode::FORBIDDEN,
        "Another site asked for this",
        "A page of another site tried to act in your name, so the gateway did nothing.",
    )
    .sign(Sign::Closed)
    .advice("If you meant to do it, open Portico yourself and do it there.")
    .page()
}

#[derive(Template)]
#[template(path = "misdirected.html")]
struct Misdirected<'a> {
    title: &'a str,
    detail: &'a str,
    host: &'a str,
}
