//! What a browser does to sign in, step by step.

use super::{
    gateway::{Gateway, PASSWORD, Person},
    wire::{Call, Reply},
};

/// The marks of a person's own navigation.
pub const NAVIGATION: [(&str, &str); 4] = [
    ("Sec-Fetch-Site", "none"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept", "text/html"),
];

/// A ticket on its way, with the nonce cookie of the host that it is for.
pub struct Flow {
    pub nonce: String,
    pub ticket: String,
    /// Tickets for other ports: the origin of each, and the ticket.
    pub siblings: Vec<(String, String)>,
}

impl Gateway {
    /// Signs in and gives the gateway host's cookie.
    pub fn session(&self, name: &str) -> String {
        let body = serde_json::json!({ "name": name, "password": PASSWORD });
        let call = Call::post(self.host(), "/api/v1/sign-in").json(&body).at(self.way());
        set_cookie(&call.send(), "_session")
    }

    /// Goes from the editor host to the gateway host, as far as the ticket.
    pub fn flow_to_editor(&self, session: &str, person: &Person) -> Flow {
        let start = Call::get(self.editor(person), "/").fields(&NAVIGATION).at(self.way()).send();
        let page = Call::get(self.host(), path_of(&start)).fields(&NAVIGATION).cookie(session);
        flow(&start, &page.at(self.way()).send())
    }

    pub fn editor_cookie(&self, session: &str, person: &Person) -> String {
        let flow = self.flow_to_editor(session, person);
        let redeemed = redeem(self.editor(person), &flow.ticket).cookie(&flow.nonce);
        set_cookie(&redeemed.at(self.way()).send(), "_access")
    }

    /// Goes from a port's host to the editor host, as far as the ticket.
    pub fn flow_to_port(&self, editor_cookie: &str, person: &Person, port: u16) -> Flow {
        let start = Call::get(self.port(person, port), "/a?b=c")
            .fields(&NAVIGATION)
            .at(self.way())
            .send();
        let page = Call::get(self.editor(person), path_of(&start))
            .fields(&NAVIGATION)
            .cookie(editor_cookie)
            .at(self.way());
        flow(&start, &page.send())
    }

    pub fn port_cookie(&self, editor_cookie: &str, person: &Person, port: u16) -> String {
        let flow = self.flow_to_port(editor_cookie, person, port);
        let redeemed = redeem(self.port(person, port), &flow.ticket).cookie(&flow.nonce);
        let from_editor = redeemed.field("Origin", self.origin(&self.editor(person)));
        set_cookie(&from_editor.at(self.way()).send(), "_access")
    }
}

/// Posts a ticket to a host.
pub fn redeem(host: String, ticket: &str) -> Call {
    Call::post(host, "/.portico/redeem")
        .field("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("ticket={}", ticket.replace('~', "%7E")))
}

/// The `NAME=VALUE` of the cookie whose name ends so.
pub fn set_cookie(reply: &Reply, name: &str) -> String {
    let cookies = reply.fields("set-cookie").into_iter();
    let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next());
    let found = pairs.find(|pair| pair.split('=').next().is_some_and(|found| found.contains(name)));
    found.unwrap_or_else(|| panic!("no cookie {name} in {}", reply.text)).to_owned()
}

fn flow(start: &Reply, page: &Reply) -> Flow {
    let html = page.body();
    Flow {
        nonce: set_cookie(start, "_nonce_"),
        ticket: between(html, "name=\"ticket\" value=\"", "\"")
            .unwrap_or_else(|| panic!("{}", page.text))
            .into(),
        siblings: html
            .split("data-origin=\"")
            .skip(1)
            .filter_map(|rest| Some((rest.split('"').next()?.into(), between(rest, "value=\"", "\"")?.into())))
            .collect(),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// The path to which an answer redirects, on whichever host.
pub fn path_of(reply: &Reply) -> &str {
    let location = reply
        .fields("location")
        .first()
        .copied()
        .unwrap_or_else(|| panic!("{}", reply.text));
    let start = location.find("://").map_or(0, |at| at + 3);
    location[start..].find('/').map_or("/", |at| &location[start + at..])
}
