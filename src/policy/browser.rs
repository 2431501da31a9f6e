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
}

/// Whether a cookie counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The person, or a page that belongs to the same codespace, caused it.
    Ours,
    /// Another page caused it, or nobody can tell: the cookie must not count.
    Foreign,
}

/// Judges a request to an editor or port host.
pub fn judge_codespace(cause: Cause<'_>, name: &CodespaceName, to: &Route, sites: &Sites) -> Verdict {
    let ours = |origin: &str| match sites.route_of_origin(origin) {
        // WS-1: a socket of the editor answers to the editor's own pages alone.
        Some(from) if cause.websocket && matches!(to, Route::Editor(_)) => from == *to,
        Some(from) => from.codespace() == Some(name),
        None => false,
    };
    if cause.websocket {
        return verdict(cause.origin.is_some_and(ours));
    }
    if let Some(origin) = cause.origin {
        return verdict(ours(origin));
    }
    if !cause.safe_method {
        return Verdict::Foreign;
    }
    let top_level = cause.mode == Some("navigate") && cause.dest.is_none_or(|dest| matches!(dest, "document" | "empty"));
    let typed_or_own = matches!(cause.site, Some("none" | "same-origin"));
    verdict(top_level || typed_or_own || cause.referer.and_then(origin_of_url).is_some_and(ours) || old_browsers_navigation(cause))
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

/// The origin part of a URL, textually.
fn origin_of_url(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    Some(&url[..end])
}

fn verdict(ours: bool) -> Verdict {
    if ours { Verdict::Ours } else { Verdict::Foreign }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://amber-x-3000.codespaces.localhost:8080";
    const SIBLING: &str = "http://amber-x-8000.codespaces.localhost:8080";
    const EDITOR: &str = "http://amber-x.codespaces.localhost:8080";
    const OTHER: &str = "http://other-y-3000.codespaces.localhost:8080";
    const GATEWAY: &str = "http://portico.localhost:8080";

    fn sites() -> Sites {
        Sites::new(GATEWAY.parse().expect("an origin"), "codespaces.localhost")
    }

    fn judge_port(cause: Cause<'_>) -> Verdict {
        let name = "amber-x".parse().expect("a name");
        let to = sites().route_of_origin(OWN).expect("ours");
        judge_codespace(cause, &name, &to, &sites())
    }

    #[test]
    fn requests_with_an_origin() {
        let get = Cause {
            safe_method: true,
            site: Some("same-site"),
            mode: Some("cors"),
            dest: Some("empty"),
            ..Cause::default()
        };
        for (origin, expected) in [
            (OWN, Verdict::Ours),
            (SIBLING, Verdict::Ours),
            (EDITOR, Verdict::Ours),
            (OTHER, Verdict::Foreign),
            (GATEWAY, Verdict::Foreign),
            ("null", Verdict::Foreign),
            ("http://evil.com", Verdict::Foreign),
        ] {
            for cause in [
                Cause {
                    origin: Some(origin),
                    ..get
                },
                Cause {
                    safe_method: false,
                    origin: Some(origin),
                    ..get
                },
                Cause {
                    websocket: true,
                    origin: Some(origin),
                    ..Cause::default()
                },
            ] {
                assert_eq!(judge_port(cause), expected, "{cause:?}");
            }
        }
    }

    #[test]
    fn requests_without_an_origin() {
        #[track_caller]
        fn check(cause: Cause<'_>, expected: Verdict) {
            assert_eq!(judge_port(cause), expected, "{cause:?}");
        }
        let get = Cause {
            safe_method: true,
            ..Cause::default()
        };
        check(
            Cause {
                site: Some("cross-site"),
                mode: Some("navigate"),
                dest: Some("document"),
                ..get
            },
            Verdict::Ours,
        );
        check(
            Cause {
                site: Some("same-site"),
                mode: Some("navigate"),
                dest: Some("iframe"),
                referer: Some("http://other-y-3000.codespaces.localhost:8080/x"),
                ..get
            },
            Verdict::Foreign,
        );
        check(
            Cause {
                site: Some("same-site"),
                mode: Some("navigate"),
                dest: Some("iframe"),
                referer: Some("http://amber-x.codespaces.localhost:8080/"),
                ..get
            },
            Verdict::Ours,
        );
        check(
            Cause {
                site: Some("same-site"),
                mode: Some("no-cors"),
                dest: Some("image"),
                ..get
            },
            Verdict::Foreign,
        );
        check(
            Cause {
                site: Some("same-origin"),
                mode: Some("no-cors"),
                dest: Some("image"),
                ..get
            },
            Verdict::Ours,
        );
        check(
            Cause {
                safe_method: false,
                site: Some("none"),
                mode: Some("navigate"),
                dest: Some("document"),
                ..get
            },
            Verdict::Foreign,
        );
        check(
            Cause {
                websocket: true,
                ..Cause::default()
            },
            Verdict::Foreign,
        );
        check(get, Verdict::Foreign);
        check(Cause { navigates: true, ..get }, Verdict::Ours);
        check(
            Cause {
                navigates: true,
                referer: Some("http://other-y-3000.codespaces.localhost:8080/x"),
                ..get
            },
            Verdict::Foreign,
        );
    }

    #[test]
    fn an_editors_socket_answers_only_its_own_pages() {
        let name = "amber-x".parse().expect("a name");
        let to = sites().route_of_origin(EDITOR).expect("ours");
        let judge = |origin| {
            judge_codespace(
                Cause {
                    websocket: true,
                    origin: Some(origin),
                    ..Cause::default()
                },
                &name,
                &to,
                &sites(),
            )
        };
        assert_eq!([EDITOR, OWN, OTHER].map(judge), [Verdict::Ours, Verdict::Foreign, Verdict::Foreign]);
    }

    #[test]
    fn csrf_1_on_the_gateway_host() {
        let post = Cause::default();
        for (cause, expected) in [
            (
                Cause {
                    origin: Some(GATEWAY),
                    ..post
                },
                Verdict::Ours,
            ),
            (
                Cause {
                    origin: Some(EDITOR),
                    ..post
                },
                Verdict::Foreign,
            ),
            (
                Cause {
                    origin: Some("null"),
                    site: Some("same-origin"),
                    ..post
                },
                Verdict::Foreign,
            ),
            (
                Cause {
                    site: Some("same-origin"),
                    ..post
                },
                Verdict::Ours,
            ),
            (
                Cause {
                    site: Some("same-site"),
                    ..post
                },
                Verdict::Foreign,
            ),
            (post, Verdict::Foreign),
            (
                Cause {
                    safe_method: true,
                    origin: Some(OTHER),
                    ..post
                },
                Verdict::Ours,
            ),
            (
                Cause {
                    safe_method: true,
                    websocket: true,
                    ..post
                },
                Verdict::Foreign,
            ),
        ] {
            assert_eq!(judge_gateway(cause, &sites()), expected, "{cause:?}");
        }
    }
}
