//! The whole truth of the browser-origin policy and of the permits behind it, as snapshots that a person has read.
//!
//! Every request that a browser can make is asked, whether it could be meant well or not; equal answers stand together.
//!
//! Lines that surprise, and why they stand:
//! - A port's page may ask the editor (CSRF-3): the same people's code runs on both. Its sockets alone are closed (WS-1).
//! - `navigate` without a destination is a document: browsers that know no destination call a frame `nested-navigate`.
//! - `navigate empty` is a service worker's fetch of a navigation, which may be framed; and a browser without
//!   `Sec-Fetch-*` does not tell a frame from a page. Both answers carry `frame-ancestors`, which the browser keeps.
//! - Any page may cause a GET on the gateway: it changes nothing (CSRF-2) and cannot be read (CORS-1).
//! - An admin enters nobody's private port: source code stays its owner's.

use std::{fmt::Write as _, sync::Arc};

use super::{
    Denial, Ownership, Permit, PortFacts, Presented, Subject, authorize_editor, authorize_port,
    browser::{Cause, Verdict, judge_codespace, judge_gateway},
};
use crate::{
    domain::{CodespaceName, Credential, Identity, Port, Role, Scope, SessionId, TokenId, UserId, Visibility},
    route::{Route, Sites},
};

const GATEWAY: &str = "https://portico.example.org";
const EDITOR: &str = "https://amber-x.apps.example.net";
const PORT: &str = "https://amber-x-3000.apps.example.net";
const SIBLING: &str = "https://amber-x-8000.apps.example.net";

/// Who may have caused a request, by name.
const PAGES: [(&str, Option<&str>); 12] = [
    ("port 3000", Some(PORT)),
    ("port 8000", Some(SIBLING)),
    ("editor", Some(EDITOR)),
    ("gateway", Some(GATEWAY)),
    ("other port", Some("https://other-y-3000.apps.example.net")),
    ("other editor", Some("https://other-y.apps.example.net")),
    ("foreign", Some("https://evil.example")),
    ("foreign under DOMAIN", Some("https://amber-x.apps.example.net.evil.example")),
    ("another scheme", Some("http://amber-x-3000.apps.example.net")),
    ("another port number", Some("https://amber-x-3000.apps.example.net:8443")),
    ("null", Some("null")),
    ("absent", None),
];

const SITES: [(&str, Option<&str>); 5] = [
    ("none", Some("none")),
    ("same-origin", Some("same-origin")),
    ("same-site", Some("same-site")),
    ("cross-site", Some("cross-site")),
    ("absent", None),
];

/// What kinds of request there are: `Sec-Fetch-Mode`, `Sec-Fetch-Dest`.
const KINDS: [(&str, Option<&str>, Option<&str>); 13] = [
    ("navigate document", Some("navigate"), Some("document")),
    ("prefetched document", Some("navigate"), Some("document")),
    ("navigate empty", Some("navigate"), Some("empty")),
    ("navigate, no dest", Some("navigate"), None),
    ("nested-navigate", Some("nested-navigate"), None),
    ("navigate iframe", Some("navigate"), Some("iframe")),
    ("navigate object", Some("navigate"), Some("object")),
    ("cors empty", Some("cors"), Some("empty")),
    ("same-origin empty", Some("same-origin"), Some("empty")),
    ("no-cors image", Some("no-cors"), Some("image")),
    ("no-cors script", Some("no-cors"), Some("script")),
    ("old navigation", None, None),
    ("old, any other", None, None),
];

fn sites() -> Sites {
    Sites::new(GATEWAY.parse().expect("an origin"), "apps.example.net")
}

/// All requests of a kind by their names, each with what makes a cause of it.
fn shapes() -> Vec<(String, Cause<'static>)> {
    let mut shapes = vec![(
        "socket".to_owned(),
        Cause {
            safe_method: true,
            websocket: true,
            ..Cause::default()
        },
    )];
    for (method, safe_method) in [("GET", true), ("other", false)] {
        for (name, mode, dest) in KINDS {
            let cause = Cause {
                safe_method,
                mode,
                dest,
                navigates: name == "old navigation",
                speculative: name == "prefetched document",
                ..Cause::default()
            };
            shapes.push((format!("{method} {name}"), cause));
        }
    }
    shapes
}

/// For which causes the cookie counts, in words: one line for `Origin`, one for each group of `Sec-Fetch-Site` without it.
fn conditions(shape: Cause<'static>, judge: &dyn Fn(Cause<'_>) -> Verdict) -> String {
    let ours = |origin, site, referer| {
        judge(Cause {
            origin,
            site,
            referer,
            ..shape
        }) == Verdict::Ours
    };
    let mut by_origin = Vec::new();
    for (page, origin) in PAGES.iter().filter(|(_, origin)| origin.is_some()) {
        let answers: Vec<bool> = SITES
            .iter()
            .flat_map(|(_, site)| PAGES.iter().map(move |(_, referer)| (*site, *referer)))
            .map(|(site, referer)| ours(*origin, site, referer))
            .collect();
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "where there is an Origin, nothing else matters"
        );
        if answers[0] {
            by_origin.push(*page);
        }
    }
    let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
    for (name, site) in SITES {
        let referers: Vec<&str> = PAGES
            .iter()
            .filter(|(_, referer)| ours(None, site, *referer))
            .map(|(page, _)| *page)
            .collect();
        let words = list(&referers, PAGES.len());
        match groups.iter_mut().find(|(_, found)| *found == words) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], words)),
        }
    }
    let mut text = format!("  Origin: {}\n", list(&by_origin, PAGES.len() - 1));
    for (names, words) in groups {
        writeln!(text, "  no Origin, Sec-Fetch-Site {}; Referer: {words}", names.join(" | ")).expect("text");
    }
    text
}

fn list(names: &[&str], all: usize) -> String {
    match names.len() {
        0 => "-".into(),
        count if count == all => "any".into(),
        _ => names.join(", "),
    }
}

/// All shapes with what counts, those with equal answers together.
fn table(host: &str, judge: &dyn Fn(Cause<'_>) -> Verdict) -> String {
    let mut groups: Vec<(Vec<String>, String)> = Vec::new();
    for (name, cause) in shapes() {
        let words = conditions(cause, judge);
        match groups.iter_mut().find(|(_, found)| *found == words) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], words)),
        }
    }
    let mut text = format!("# {host}\n");
    for (names, words) in groups {
        write!(text, "{}\n{words}", names.join(" | ")).expect("text");
    }
    text
}

#[test]
fn csrf_1_csrf_3_ws_1_ws_2_when_a_cookie_counts() {
    let sites = sites();
    let name: CodespaceName = "amber-x".parse().expect("a name");
    let at = |origin: &str| sites.route_of_origin(origin).expect("ours");
    let (port, editor) = (at(PORT), at(EDITOR));
    let of_codespace = |to: &Route, cause: Cause<'_>| {
        let from = cause.origin.and_then(|origin| sites.route_of_origin(origin));
        judge_codespace(cause, from.as_ref(), &name, to, &sites)
    };
    let tables = [
        table("to port 3000", &|cause| of_codespace(&port, cause)),
        table("to the editor", &|cause| of_codespace(&editor, cause)),
        table("to the gateway", &|cause| judge_gateway(cause, &sites)),
    ];
    insta::assert_snapshot!("when_a_cookie_counts", tables.join("\n"));
}

fn shown(result: Result<Permit, Denial>) -> &'static str {
    match result {
        Ok(permit) => match permit.subject() {
            Subject::Owner(_) => "owner",
            Subject::Guest(_) => "guest",
            Subject::Link(_) => "link",
            Subject::Anyone => "anyone",
        },
        Err(Denial::SignIn) => "sign in",
        Err(Denial::BadToken) => "bad token",
        Err(Denial::ForeignPage) => "foreign page",
        Err(Denial::NotShared(_)) => "as if missing",
        Err(Denial::ShareEnded(_) | Denial::BeyondShare) => "link",
    }
}

/// Who is in no organisation with the codespace's owner.
const OUTSIDER: &str = "stranger";

/// Everybody who may ask, by name: `ada` owns the codespace and has named `eve`.
fn everybody() -> Vec<(String, Presented)> {
    let mut all = vec![
        ("nobody, or a cookie that ended".to_owned(), Presented::Nothing),
        ("a token that is wrong".to_owned(), Presented::Invalid),
    ];
    for (person, user, role) in [
        ("owner", "ada", Role::Member),
        ("named person", "eve", Role::Member),
        ("member", "bob", Role::Member),
        ("admin", "root", Role::Admin),
        (OUTSIDER, "mallory", Role::Member),
    ] {
        let identity = |credential, scope| {
            Presented::Valid(Arc::new(Identity {
                user: UserId(user.into()),
                name: user.parse().expect("a name"),
                role,
                credential,
                scope,
            }))
        };
        let name = || "amber-x".parse().expect("a name");
        let number = |number| Port::new(number).expect("a port");
        let cookie = || Credential::Cookie(SessionId("s".into()));
        let token = || Credential::Token(TokenId("t".into()));
        all.push((
            format!("{person}, cookie of port 3000"),
            identity(cookie(), Scope::Port(name(), number(3000))),
        ));
        all.push((
            format!("{person}, cookie of port 8000"),
            identity(cookie(), Scope::Port(name(), number(8000))),
        ));
        all.push((
            format!("{person}, cookie of the editor"),
            identity(cookie(), Scope::Workbench(name())),
        ));
        for (what, scope) in [
            ("all", Scope::All),
            ("read", Scope::Read),
            ("this codespace", Scope::Codespace(name())),
            ("another codespace", Scope::Codespace("other-y".parse().expect("a name"))),
            ("port 3000", Scope::Port(name(), number(3000))),
            ("port 8000", Scope::Port(name(), number(8000))),
            ("inside", Scope::Inside(name())),
        ] {
            all.push((format!("{person}, token for {what}"), identity(token(), scope)));
        }
    }
    all
}

#[test]
fn share_1_ws_3_who_gets_a_permit() {
    let codespace = Ownership {
        name: "amber-x".parse().expect("a name"),
        owner: UserId("ada".into()),
    };
    let people = [UserId("eve".into())];
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (name, who) in everybody() {
        let row = [Verdict::Ours, Verdict::Foreign].map(|page| {
            let port = |visibility| {
                let port = Port::new(3000).expect("a port");
                let facts = PortFacts {
                    port,
                    visibility,
                    people: &people,
                    same_organisation: !name.starts_with(OUTSIDER),
                };
                shown(authorize_port(&who, page, &codespace, facts))
            };
            let ports = [Visibility::Private, Visibility::Org, Visibility::Public].map(port);
            let editor = shown(authorize_editor(&who, page, &codespace));
            format!("{:<14}{:<14}{:<14}{:<14}", ports[0], ports[1], ports[2], editor)
        });
        let row = row.join("| ");
        match groups.iter_mut().find(|(found, _)| *found == row) {
            Some((_, names)) => names.push(name),
            None => groups.push((row, vec![name])),
        }
    }
    let head = ["private", "org", "public", "editor"].map(|word| format!("{word:<14}")).concat();
    let mut text = format!("our page{}| another's page\n{head}| {}\n", " ".repeat(48), head.trim_end());
    for (row, names) in groups {
        writeln!(text, "\n{}", row.trim_end()).expect("text");
        for name in names {
            writeln!(text, "    {name}").expect("text");
        }
    }
    insta::assert_snapshot!("who_gets_a_permit", text);
}
