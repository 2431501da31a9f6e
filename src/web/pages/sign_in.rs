//! Pages for a sign-in from outside that did not work out: what happened, and the way on.

use http::StatusCode;

use super::{
    Page,
    notice::{Notice, Sign},
};
use crate::{
    auth::{NotAllowed, OutsideError, OutsideReason},
    domain::ReturnTo,
    web::assets::GATEWAY_PREFIX,
};

/// What happened, before a word of it is written.
struct Said {
    slug: &'static str,
    status: StatusCode,
    sign: Sign,
    title: String,
    detail: String,
    advice: Option<String>,
}

/// The page of a sign-in that failed. `passwords` tells whether a name and a password would be another way.
pub fn sign_in_failed(error: &OutsideError, passwords: bool) -> Page {
    let provider = error.way.as_ref().map_or("the provider", |way| way.label.as_str());
    let said = said(&error.reason, provider);
    let mut notice = Notice::new(GATEWAY_PREFIX, said.slug, said.status, said.title, said.detail).sign(said.sign);
    if let Some(advice) = said.advice {
        notice = notice.advice(advice);
    }
    let linking = matches!(
        error.reason,
        OutsideReason::Taken { .. } | OutsideReason::SignedOut | OutsideReason::Belongs
    );
    if linking {
        return notice.action("Go to the settings", "/settings").page();
    }
    let again = error.way.as_ref().filter(|_| may_work_again(&error.reason));
    if let Some(way) = again {
        notice = notice.action(format!("Start again with {}", way.label), &start_url(&way.id, &error.next));
    }
    let other = if passwords {
        "Sign in with a password"
    } else {
        "Sign in another way"
    };
    notice.action(other, &sign_in_url(&error.next)).page()
}

/// Where a sign-in at a provider starts.
pub fn start_url(provider: &str, next: &ReturnTo) -> String {
    format!("/sign-in/with/{provider}?{}", next_query(next))
}

/// The sign-in page that comes back to a place.
pub fn sign_in_url(next: &ReturnTo) -> String {
    format!("/sign-in?{}", next_query(next))
}

fn next_query(next: &ReturnTo) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("next", next.as_str())
        .finish()
}

fn may_work_again(reason: &OutsideReason) -> bool {
    !matches!(reason, OutsideReason::Suspended { .. } | OutsideReason::NoSuchProvider)
}

fn said(reason: &OutsideReason, provider: &str) -> Said {
    use OutsideReason::{Belongs, Declined, Down, Failed, NoSuchProvider, SignedOut, Stale, Suspended, Taken, TooMany, Untrustworthy};
    match reason {
        NoSuchProvider => closed(
            "no-such-provider",
            StatusCode::NOT_FOUND,
            "There is no such way to sign in",
            "This gateway does not know that provider. It may have been taken out of its configuration.",
        ),
        Stale => Said {
            advice: Some("Nothing is wrong with your account. Start again, in one go and in this browser.".into()),
            ..closed(
                "sign-in-stale",
                StatusCode::BAD_REQUEST,
                "This sign-in is no longer good",
                "It took longer than 10 minutes, was used already, or was begun in another browser.",
            )
        },
        Declined => closed(
            "sign-in-declined",
            StatusCode::FORBIDDEN,
            &format!("{provider} did not let you through"),
            &format!("You or {provider} broke the sign-in off, so nobody is signed in here."),
        ),
        Down => Said {
            sign: Sign::Trouble,
            advice: Some("Try again in a moment. If it stays, tell whoever runs this gateway: its log says more.".into()),
            ..closed(
                "provider-down",
                StatusCode::BAD_GATEWAY,
                &format!("{provider} does not answer"),
                &format!("The gateway cannot reach {provider}, or did not understand its answer. Your account is not touched."),
            )
        },
        Untrustworthy => Said {
            sign: Sign::Trouble,
            advice: Some("Start again. If it stays, tell whoever runs this gateway: its log says more.".into()),
            ..closed(
                "provider-untrustworthy",
                StatusCode::BAD_GATEWAY,
                &format!("The answer of {provider} proves nothing"),
                "It was not meant for this sign-in, or was not signed as it should be, so nobody is signed in.",
            )
        },
        OutsideReason::NotAllowed { shown, why } => not_allowed(provider, shown, *why),
        Suspended { shown } => Said {
            advice: Some("Ask whoever runs this gateway.".into()),
            ..closed(
                "account-suspended",
                StatusCode::FORBIDDEN,
                "Your account is suspended",
                &format!("You are {shown} at {provider}, and that account may not sign in here at the moment."),
            )
        },
        Taken { shown } => closed(
            "identity-taken",
            StatusCode::CONFLICT,
            "That identity has an account of its own here",
            &format!("{shown} at {provider} signs in to another account of this gateway. Take it off there first, then link it here."),
        ),
        Belongs => Said {
            advice: Some("Whoever runs this gateway can allow it.".into()),
            ..closed(
                "belongs-to-provider",
                StatusCode::FORBIDDEN,
                "Your account has one way in",
                "It was made by the provider that you signed in with and belongs to it, so nothing else was linked.",
            )
        },
        SignedOut => closed(
            "signed-out-meanwhile",
            StatusCode::FORBIDDEN,
            "You were signed out meanwhile",
            "So nothing was linked. Sign in, and link the identity from the settings again.",
        ),
        TooMany { retry_after } => Said {
            sign: Sign::Waiting,
            ..closed(
                "too-many-attempts",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many tries",
                &format!("Wait {} seconds, then start again.", retry_after.as_secs().max(1)),
            )
        },
        Failed => Said {
            sign: Sign::Trouble,
            ..closed(
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on our side",
                "The sign-in could not be kept, so nobody is signed in. Try again; if it stays, tell whoever runs this gateway.",
            )
        },
    }
}

fn not_allowed(provider: &str, shown: &str, why: NotAllowed) -> Said {
    let (detail, advice) = match why {
        NotAllowed::NoAccount => (
            format!("You are {shown} at {provider}, and no account here belongs to that identity."),
            format!(
                "Ask whoever runs this gateway for an account. If you have one, sign in to it another way and link {provider} in its settings."
            ),
        ),
        NotAllowed::Domain => (
            format!("You are {shown} at {provider}. Only people with a verified e-mail address of certain domains may sign in with it."),
            "Sign in there with such an address, or ask whoever runs this gateway.".into(),
        ),
        NotAllowed::Group => (
            format!("You are {shown} at {provider}, and in none of the groups that may sign in with it."),
            format!("Ask whoever looks after the groups at {provider}, or whoever runs this gateway."),
        ),
        NotAllowed::NotSetUp => (
            "This gateway has no account yet, and the first is made with the link that it printed when it started.".into(),
            "If you run it, open that link; it stands in the log of the gateway.".into(),
        ),
    };
    Said {
        advice: Some(advice),
        ..closed("not-allowed", StatusCode::FORBIDDEN, "You may not sign in here", &detail)
    }
}

fn closed(slug: &'static str, status: StatusCode, title: &str, detail: &str) -> Said {
    Said {
        slug,
        status,
        sign: Sign::Closed,
        title: title.to_owned(),
        detail: detail.to_owned(),
        advice: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Way;

    #[test]
    fn every_failure_says_what_to_do_and_shows_text_as_text() {
        let shown = "<b>ada</b>@example.com".to_owned();
        let allowed = |why| OutsideReason::NotAllowed { shown: shown.clone(), why };
        for (reason, status, way_on) in [
            (OutsideReason::NoSuchProvider, 404, "/sign-in?next=%2Fnew"),
            (OutsideReason::Stale, 400, "/sign-in/with/id?next=%2Fnew"),
            (OutsideReason::Declined, 403, "/sign-in/with/id?next=%2Fnew"),
            (OutsideReason::Down, 502, "/sign-in?next=%2Fnew"),
            (OutsideReason::Untrustworthy, 502, "/sign-in/with/id?next=%2Fnew"),
            (allowed(NotAllowed::NoAccount), 403, "/sign-in?next=%2Fnew"),
            (allowed(NotAllowed::Domain), 403, "/sign-in/with/id?next=%2Fnew"),
            (allowed(NotAllowed::Group), 403, "/sign-in?next=%2Fnew"),
            (allowed(NotAllowed::NotSetUp), 403, "/sign-in?next=%2Fnew"),
            (OutsideReason::Suspended { shown: shown.clone() }, 403, "/sign-in?next=%2Fnew"),
            (OutsideReason::Taken { shown: shown.clone() }, 409, "/settings"),
            (OutsideReason::SignedOut, 403, "/settings"),
            (OutsideReason::Belongs, 403, "/settings"),
            (
                OutsideReason::TooMany {
                    retry_after: std::time::Duration::from_secs(5),
                },
                429,
                "/sign-in?next=%2Fnew",
            ),
            (OutsideReason::Failed, 500, "/sign-in/with/id?next=%2Fnew"),
        ] {
            let error = OutsideError {
                reason,
                way: Some(Way {
                    id: "id".into(),
                    label: "Example <script>".into(),
                }),
                next: ReturnTo::parse("/new").expect("a path"),
                clear_cookie: None,
            };
            let page = sign_in_failed(&error, true);
            assert_eq!(page.status, status, "{error:?}");
            assert!(page.html.contains(&format!("href=\"{way_on}\"")), "{error:?} {}", page.html);
            assert!(!page.html.contains("<script>") && !page.html.contains("<b>"), "{}", page.html);
        }
    }
}
