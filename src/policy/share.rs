//! What a share link opens: one port, for whoever shows that they have it, and nothing of anybody's identity.

use time::OffsetDateTime;

use super::{Denial, Permit, Subject, browser};
use crate::domain::{Port, ShareEnd, ShareId, ShareKind, ShareTerms};

/// A share link that a request shows it has: by a grant cookie of this very host, or by the secret in its address.
#[derive(Clone, Copy, Debug)]
pub struct ShownShare<'a> {
    pub id: &'a ShareId,
    /// None if it is gone altogether.
    pub terms: Option<&'a ShareTerms>,
}

/// The request that a link is asked to open.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub port: Port,
    /// People's links count for cookies, webhooks' for secrets in addresses.
    pub kind: ShareKind,
    pub method: &'a str,
    /// The raw path, without a query.
    pub path: &'a str,
    pub page: browser::Verdict,
    /// Whether the operator lets links open anything here.
    pub allowed: bool,
}

/// Decides whether one of the links shown opens a request. None if none was shown that says anything.
pub fn authorize_share<'a>(
    shown: impl IntoIterator<Item = ShownShare<'a>>,
    asked: Asked<'_>,
    now: OffsetDateTime,
) -> Option<Result<Permit, Denial>> {
    // A cookie goes with whatever a page of anybody's causes; an address goes with nothing.
    if asked.kind == ShareKind::People && asked.page == browser::Verdict::Foreign {
        return None;
    }
    let mut denial = None;
    for share in shown {
        let found = judge(share, asked, now);
        match found {
            Ok(()) => return Some(Ok(Permit::of(Subject::Link(share.id.clone())))),
            // That another link reaches less far says more than that this one is over.
            Err(Denial::BeyondShare) => denial = Some(Denial::BeyondShare),
            Err(other) => denial = denial.or(Some(other)),
        }
    }
    denial.map(Err)
}

fn judge(share: ShownShare<'_>, asked: Asked<'_>, now: OffsetDateTime) -> Result<(), Denial> {
    let Some(terms) = share.terms.filter(|terms| terms.port == asked.port && terms.kind == asked.kind) else {
        return Err(Denial::ShareEnded(ShareEnd::Revoked));
    };
    if let Some(end) = terms.end(now) {
        return Err(Denial::ShareEnded(end));
    }
    if !asked.allowed {
        return Err(Denial::ShareEnded(ShareEnd::Closed));
    }
    if terms.covers(asked.method, asked.path) {
        Ok(())
    } else {
        Err(Denial::BeyondShare)
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::domain::{ShareMethods, SharePath};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn port(number: u16) -> Port {
        Port::new(number).expect("a port")
    }

    fn terms(kind: ShareKind) -> ShareTerms {
        ShareTerms {
            port: port(3000),
            kind,
            path: "/docs".parse().expect("a path"),
            methods: ShareMethods::parse(["GET"]).expect("methods"),
            expires_at: Some(NOW + Duration::HOUR),
            revoked_at: None,
        }
    }

    fn asked(kind: ShareKind) -> Asked<'static> {
        Asked {
            port: port(3000),
            kind,
            method: "GET",
            path: "/docs/a",
            page: browser::Verdict::Ours,
            allowed: true,
        }
    }

    #[track_caller]
    fn check(shown: &[Option<ShareTerms>], asked: Asked<'_>, now: OffsetDateTime, expected: &str) {
        let ids: Vec<ShareId> = (0..shown.len()).map(|index| ShareId(index.to_string().into())).collect();
        let shown = ids.iter().zip(shown).map(|(id, terms)| ShownShare { id, terms: terms.as_ref() });
        let found = match authorize_share(shown, asked, now) {
            None => "nothing".to_owned(),
            Some(Ok(permit)) => {
                assert_eq!(permit.subject().identity(), None, "a link is never an identity");
                format!("{:?}", permit.subject())
            }
            Some(Err(denial)) => format!("{denial:?}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn auth_4_a_link_opens_what_it_says_and_nothing_else() {
        use ShareKind::{People, Webhook};
        for kind in [People, Webhook] {
            let one = [Some(terms(kind))];
            check(&one, asked(kind), NOW, "Link(ShareId(\"0\"))");
            check(&one, asked(kind), NOW + Duration::HOUR, "ShareEnded(Expired)");
            check(
                &one,
                Asked {
                    method: "POST",
                    ..asked(kind)
                },
                NOW,
                "BeyondShare",
            );
            check(
                &one,
                Asked {
                    path: "/docsx",
                    ..asked(kind)
                },
                NOW,
                "BeyondShare",
            );
            check(
                &one,
                Asked {
                    path: "/docs/../a",
                    ..asked(kind)
                },
                NOW,
                "BeyondShare",
            );
            check(
                &one,
                Asked {
                    port: port(3001),
                    ..asked(kind)
                },
                NOW,
                "ShareEnded(Revoked)",
            );
            check(
                &one,
                Asked {
                    allowed: false,
                    ..asked(kind)
                },
                NOW,
                "ShareEnded(Closed)",
            );
            let revoked = ShareTerms {
                revoked_at: Some(NOW),
                ..terms(kind)
            };
            check(&[Some(revoked.clone())], asked(kind), NOW, "ShareEnded(Revoked)");
            check(&[None], asked(kind), NOW, "ShareEnded(Revoked)");
            check(&[], asked(kind), NOW, "nothing");
            check(&[Some(revoked), None, Some(terms(kind))], asked(kind), NOW, "Link(ShareId(\"2\"))");
            let whole = ShareTerms {
                path: SharePath::everything(),
                methods: ShareMethods::default(),
                ..terms(kind)
            };
            check(
                &[Some(whole)],
                Asked {
                    method: "PUT",
                    path: "//x",
                    ..asked(kind)
                },
                NOW,
                "Link(ShareId(\"0\"))",
            );
        }
        check(&[Some(terms(People))], asked(Webhook), NOW, "ShareEnded(Revoked)");
        check(&[Some(terms(Webhook))], asked(People), NOW, "ShareEnded(Revoked)");
    }

    #[test]
    fn csrf_3_a_grant_counts_for_pages_of_its_codespace_alone() {
        let foreign = |kind| Asked {
            page: browser::Verdict::Foreign,
            ..asked(kind)
        };
        check(&[Some(terms(ShareKind::People))], foreign(ShareKind::People), NOW, "nothing");
        check(
            &[Some(terms(ShareKind::Webhook))],
            foreign(ShareKind::Webhook),
            NOW,
            "Link(ShareId(\"0\"))",
        );
    }
}
