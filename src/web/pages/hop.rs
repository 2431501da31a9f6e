//! The pages that carry a sign-in from the gateway host to a codespace's hosts (decision 3 of the security rules).
//!
//! Each works without JavaScript through a form with a button. None puts a ticket into an address.

use askama::Template;
use http::StatusCode;
use serde_json::json;

use super::{
    Page,
    notice::{Notice, Sign, Watch},
};
use crate::{
    route::Origin,
    web::assets::{self, CODESPACE_PREFIX, GATEWAY_PREFIX},
};

/// On the gateway host: posts the ticket to the editor host's `/.portico/arrive`, which `form_action` is.
///
/// Serve it under [`csp_for_form`](super::csp_for_form).
pub fn carry(form_action: &str, ticket: &str, return_label: &str) -> Page {
    Hop {
        step: "carry",
        prefix: GATEWAY_PREFIX,
        form_action: form_action.to_owned(),
        ticket,
        label: return_label,
        next: "",
        siblings: &[],
    }
    .page()
}

/// On the editor host: redeems the ticket there and goes where the answer says.
pub fn arrive(ticket: &str) -> Page {
    Hop {
        step: "arrive",
        prefix: CODESPACE_PREFIX,
        form_action: "/.portico/redeem".to_owned(),
        ticket,
        label: "the codespace",
        next: "",
        siblings: &[],
    }
    .page()
}

/// On the editor host: redeems tickets on the port that was asked for and on its siblings, then goes to `next_url`.
///
/// Serve it under [`csp_for_spread`](super::csp_for_spread).
pub fn spread(primary: (&Origin, &str), next_url: &str, siblings: &[(Origin, String)]) -> Page {
    let (origin, ticket) = primary;
    Hop {
        step: "spread",
        prefix: CODESPACE_PREFIX,
        form_action: format!("{origin}/.portico/redeem"),
        ticket,
        label: &origin.host,
        next: next_url,
        siblings,
    }
    .page()
}

/// Inside a frame: offers to sign in in a tab of its own.
pub fn framed_sign_in(prefix: &str, url: &str) -> Page {
    Notice::new(
        prefix,
        "sign-in-framed",
        StatusCode::UNAUTHORIZED,
        "Sign in to see this preview",
        "Signing in does not work inside a frame, so it opens in a tab of its own.",
    )
    .sign(Sign::Closed)
    .advice("When you are done there, come back: this preview reloads. If it does not, reload it yourself.")
    .action_in_new_tab("Open sign-in", url)
    .watch(Watch::Return)
    .page()
}

/// A service worker that removes itself and reloads its pages, in place of an app's that would hide sign-in for ever.
pub fn unregister_worker() -> String {
    assets::text("unregister_worker.js")
}

#[derive(Template)]
#[template(path = "hop.html")]
struct Hop<'a> {
    step: &'static str,
    prefix: &'a str,
    form_action: String,
    ticket: &'a str,
    label: &'a str,
    next: &'a str,
    siblings: &'a [(Origin, String)],
}

impl Hop<'_> {
    fn page(&self) -> Page {
        Page {
            status: StatusCode::OK,
            html: self.render().unwrap_or_default(),
            problem: json!({ "type": "urn:portico:sign-in-hop", "title": "A browser signs in here", "status": 200 }),
        }
    }

    fn asset(&self, name: &str) -> String {
        assets::url(self.prefix, name)
    }
}
