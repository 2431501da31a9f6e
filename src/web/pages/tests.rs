//! Every page at once: complete, escaped, and honest in both forms.

use super::*;
use crate::doctor::Trouble;
use crate::domain::{CodespaceName, Exceeded, Phase, Port, Step, StepName, StepState};

const HOSTILE: &str = "\"'><script>alert(1)</script>&amp;{{x}}";

fn name() -> CodespaceName {
    "amber-otter".parse().expect("a name")
}

fn port() -> Port {
    Port::new(3000).expect("a port")
}

fn stopped_of(text: &str, start: Option<Start>) -> Stopped<'_> {
    static NAME: std::sync::LazyLock<CodespaceName> = std::sync::LazyLock::new(name);
    Stopped {
        name: &NAME,
        phase: Phase::Failed,
        reason: Some(text),
        owner: text,
        start,
        dashboard: Some(text),
    }
}

/// What the doctor knows of a port, with `text` in it.
fn known(text: &str) -> Known {
    Known {
        listening: [5173, 3000]
            .map(|port| Listening {
                port,
                process: Some(text.to_owned()),
                addresses: vec![text.to_owned()],
                url: if port == 3000 {
                    text.to_owned()
                } else {
                    format!("https://x/{text}")
                },
            })
            .to_vec(),
        settings: text.to_owned(),
        target: text.to_owned(),
        beside: None,
        framed: false,
    }
}

fn nothing_listens_beside(text: &str) -> Page {
    let known = Known {
        beside: Some(text.to_owned()),
        ..known(text)
    };
    port_trouble("/static/", port(), Trouble::NothingListens, &known, text)
}

/// Every page, with `text` wherever a caller can pass text.
fn all(text: &str) -> Vec<(&'static str, Page)> {
    let origin: Origin = "http://amber-otter-3000.codespaces.localhost:8080".parse().expect("an origin");
    let sibling = vec![(origin.clone(), text.to_owned())];
    let steps = [Step {
        name: StepName::Clone,
        state: StepState::Running,
        detail: text.to_owned(),
    }];
    let known = known(text);
    let trouble = |trouble| port_trouble("/static/", port(), trouble, &known, text);
    vec![
        ("no_such_codespace", no_such_codespace("/static/", Some(text), Some(text))),
        ("stopped", stopped("/static/", stopped_of(text, Some(Start::Button(text.into()))))),
        (
            "stopped, framed",
            stopped("/static/", stopped_of(text, Some(Start::NewTab(text.into())))),
        ),
        (
            "stopped, called",
            stopped("/static/", stopped_of(text, Some(Start::Call(text.into())))),
        ),
        (
            "stopped, for whoever opens it",
            stopped("/static/", stopped_of(text, Some(Start::Visit))),
        ),
        ("stopped, a guest's", stopped("/static/", stopped_of(text, None))),
        ("too many starts", too_many_starts("/static/", 30, 7)),
        ("starting", starting("/static/", &name(), &steps, Some(text.into()), Some(text))),
        ("nothing_listens", trouble(Trouble::NothingListens)),
        ("nothing_listens_beside", nothing_listens_beside(text)),
        ("not_on_loopback", trouble(Trouble::NotOnLoopback)),
        ("speaks_tls", trouble(Trouble::SpeaksTls)),
        ("broke_off", trouble(Trouble::BrokeOff)),
        ("app_unavailable", app_unavailable("/static/", text)),
        (
            "not_connected",
            not_connected("/static/", &name(), Some(text.into()), Some(text), Some(text)),
        ),
        ("editor_starting", editor_starting("/static/", &name())),
        ("editor_waits", editor_waits("/static/", &name(), &steps, Some(text))),
        ("editor_failed", editor_failed("/static/", &name(), text)),
        ("workbench", workbench("/static/", &name(), text)),
        ("bad_request", bad_request("/static/", text)),
        ("not_found", not_found("/static/")),
        ("misdirected", misdirected(text)),
        ("head_too_large", head_too_large("/static/")),
        ("uri_too_long", uri_too_long("/static/")),
        ("method_not_allowed", method_not_allowed("/static/")),
        ("busy", busy("/static/")),
        ("crowded", crowded("/.portico/static/")),
        ("internal", internal("/static/", text)),
        ("too_many_sockets", too_many_sockets("/.portico/static/", text)),
        ("too_much", too_much("/.portico/static/", text, 5)),
        (
            "limited",
            limited("/.portico/static/", port(), Exceeded::Rate(1), Raises::Owner(text)),
        ),
        (
            "limited, one's own",
            limited("/.portico/static/", port(), Exceeded::Connections(1), Raises::Reader(text)),
        ),
        ("unauthorized", unauthorized("/static/", text)),
        ("forbidden_origin", forbidden_origin("/static/")),
        ("carry", carry(text, text, text)),
        ("arrive", arrive(text)),
        ("spread", spread((&origin, text), text, &sibling)),
        (
            "share",
            share(
                Sharing {
                    who: text,
                    what: text,
                    host: text,
                    path: Some(text),
                    asks_password: true,
                    lasts: Some(text),
                    // It is read and checked with the configuration.
                    abuse: None,
                },
                Some(SharePassword::Wrong),
            ),
        ),
        (
            "warning",
            warning(Warning {
                who: text,
                organisation: Some(text),
                host: text,
                next: text,
                abuse: None,
                siblings: std::slice::from_ref(&origin),
            }),
        ),
        ("share_unknown", share_unknown()),
        ("share_ended", share_ended(crate::domain::ShareEnd::Revoked, Some(text), Some(text))),
        ("share_beyond", share_beyond()),
        ("framed_sign_in", framed_sign_in("/static/", text)),
    ]
}

/// Nobody is told to do what they cannot: only the owner has a page of the codespace, or creates one anew.
#[test]
fn a_stranger_is_told_who_starts_it_and_not_how() {
    let asleep = |phase, start| {
        let stranger = Stopped {
            phase,
            reason: None,
            dashboard: None,
            ..stopped_of("mara", start)
        };
        stopped("/static/", stranger)
    };
    for phase in [Phase::Stopped, Phase::Stopping, Phase::Failed] {
        let page = asleep(phase, None);
        assert!(page.html.contains("mara can start it. Ask them"), "{}", page.html);
    }
    let pages = [
        asleep(Phase::Stopped, None),
        asleep(Phase::Stopped, Some(Start::Visit)),
        asleep(Phase::Failed, None),
        asleep(Phase::Deleting, None),
        starting("/static/", &name(), &[], None, None),
        not_connected("/static/", &name(), None, None, Some("the engine is down")),
    ];
    for page in pages {
        for owners in ["its page", "Create another", "See its log", "API", "<form"] {
            assert!(!page.html.contains(owners), "{owners}: {}", page.html);
        }
    }
    let (own, url) = (not_connected("/static/", &name(), None, Some("/c"), None), "href=\"/c\"");
    assert!(own.html.contains("look at its page") && own.html.contains(url), "{}", own.html);
}

#[test]
fn escapes_whatever_it_is_given() {
    for (what, page) in all(HOSTILE) {
        assert!(!page.html.contains("<script>"), "{what} lets a tag through");
        assert!(!page.html.contains("\"'>"), "{what} lets an attribute end");
    }
    for (what, page) in all("javascript:alert(1)") {
        assert!(!page.html.contains("href=\"javascript:"), "{what} links to a script");
    }
}

#[test]
fn is_complete() {
    for (what, page) in all("plain words") {
        assert!(
            page.html.starts_with("<!doctype html>") && page.html.contains("name=\"viewport\""),
            "{what}"
        );
        assert!(page.html.contains("content=\"noindex\"") && page.html.contains("<title>"), "{what}");
        assert!(
            !page.html.contains("style=") && !page.html.contains(" onclick"),
            "{what} has something inline"
        );
        if page.status != StatusCode::OK {
            assert_eq!(page.problem["status"], page.status.as_u16(), "{what}");
            assert!(
                page.problem["type"].as_str().is_some_and(|slug| slug.starts_with("urn:portico:")),
                "{what}"
            );
            assert!(page.problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}");
        }
    }
}

#[test]
fn missing_and_forbidden_are_one_page() {
    let page = no_such_codespace("/static/", Some("ada"), Some("https://portico.example/sign-in"));
    assert!(page.html.contains("It does not exist, or is not shared with ada."));
    assert!(page.html.contains("Ask whoever sent you the link, or switch account."));
    assert!(!page.problem.to_string().contains("amber"));
}

#[test]
fn policies_name_only_what_the_page_needs() {
    let origin: Origin = "https://amber-otter.codespaces.example".parse().expect("an origin");
    assert!(csp_for_form(&origin).contains("form-action 'self' https://amber-otter.codespaces.example;"));
    let spread = csp_for_spread([&origin]);
    assert!(spread.contains("connect-src 'self' https://amber-otter.codespaces.example;"));
    assert!(csp_for_frame([&origin]).ends_with("frame-ancestors 'self' https://amber-otter.codespaces.example"));
    assert!(!spread.contains("unsafe"));
}

#[test]
fn the_owners_page_offers_the_setting_that_mends_it() {
    let known = Known {
        listening: Vec::new(),
        settings: "https://portico.example/codespaces/amber-otter".into(),
        target: "/a?b=c&d".into(),
        beside: None,
        framed: false,
    };
    let page = port_trouble("/static/", port(), Trouble::SpeaksTls, &known, "r1");
    let link = "https://portico.example/codespaces/amber-otter?port=3000&#38;protocol=https&#38;then=%2Fa%3Fb%3Dc%26d";
    assert!(page.html.contains(link), "{}", page.html);
    assert_eq!(
        (page.problem["fix"]["protocol"].as_str(), page.problem["request_id"].as_str()),
        (Some("https"), Some("r1"))
    );
    assert!(page.html.contains("data-watch=\"status\""));
    let stranger = app_unavailable("/static/", "r1");
    assert!(!stranger.html.contains("portico.example") && stranger.problem.get("fix").is_none());
}
