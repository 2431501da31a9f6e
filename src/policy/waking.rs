//! Which requests start a codespace that sleeps, and for whom (RESUME-1, RESUME-2).

use super::{Ownership, Subject, browser::Cause, grants};
use crate::domain::{Credential, Identity, Phase, Scope, Wakers};

/// How a request came about, as far as starting something goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// The person went to the page: typed it, or a page of the very same host led there.
    Own,
    /// A whole page, and any other site may have led there.
    Led,
    /// The button on our own page, posted by that page itself.
    Button,
    /// A program's request with a credential that no browser adds by itself.
    Token,
    /// What pages do without the person: a fetch, a WebSocket, a frame, a guess at the next page.
    Background,
}

/// What a request does to a codespace that does not run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waking {
    /// It starts it.
    Start,
    /// It may, once the person presses a button.
    Ask,
    /// It changes nothing: whoever asks may not, the request is none that does, or there is nothing to start.
    Never,
}

impl Manner {
    /// Tells it from what the head says.
    pub fn of(cause: Cause<'_>, has_token: bool) -> Self {
        if has_token {
            return Self::Token;
        }
        if cause.websocket || !cause.safe_method || cause.speculative {
            return Self::Background;
        }
        match (cause.mode, cause.dest) {
            // A dev server's page that lost its server loads itself anew by a script, again and again.
            (Some("navigate"), Some("document"))
                if cause.site == Some("none") || (cause.site == Some("same-origin") && !cause.unattended) =>
            {
                Self::Own
            }
            (Some("navigate"), Some("document")) => Self::Led,
            // A browser too old to tell who led there.
            (None, None) if cause.navigates => Self::Led,
            _ => Self::Background,
        }
    }
}

/// Whether somebody who may open an editor or a port may also start what it belongs to.
pub fn may_start(subject: &Subject, codespace: &Ownership, wakers: Wakers) -> bool {
    match subject {
        Subject::Owner(identity) | Subject::Guest(identity) => operates(identity, codespace) || wakers >= Wakers::People,
        Subject::Link(_) | Subject::Anyone => wakers == Wakers::Everyone,
    }
}

/// Decides what a request does to a codespace in `phase`.
pub fn waking(may_start: bool, phase: Phase, manner: Manner) -> Waking {
    use Phase::{Failed, Stopped, Stopping};
    match (phase, manner) {
        _ if !may_start => Waking::Never,
        (Stopped | Stopping, Manner::Own | Manner::Button | Manner::Token) => Waking::Start,
        // What failed once would fail for ever, each time that somebody or a program looks.
        (Failed, Manner::Button) => Waking::Start,
        (Failed, Manner::Own) | (Stopped | Stopping | Failed, Manner::Led) => Waking::Ask,
        _ => Waking::Never,
    }
}

/// Whether somebody may start it by themselves. A cookie is good for one host, and its person for what they may anywhere:
/// how the request came about is judged apart.
fn operates(identity: &Identity, codespace: &Ownership) -> bool {
    let scope = match identity.credential {
        Credential::Cookie(_) => Scope::All,
        Credential::Token(_) | Credential::Operator => identity.scope.clone(),
    };
    let person = Identity { scope, ..identity.clone() };
    grants(&person, codespace).allow(crate::domain::Access::Operate)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Role, SessionId, ShareId, TokenId, UserId};

    #[test]
    fn resume_2_which_requests_wake() {
        use Manner::{Background, Led, Own, Token};
        #[track_caller]
        fn check(mode: &'static str, dest: &'static str, expected: [Manner; 5]) {
            let found = [Some("none"), Some("same-origin"), Some("same-site"), Some("cross-site"), None].map(|site| {
                let cause = Cause {
                    safe_method: true,
                    site,
                    mode: Some(mode),
                    dest: Some(dest),
                    ..Cause::default()
                };
                Manner::of(cause, false)
            });
            assert_eq!(found, expected, "{mode} {dest}");
        }
        check("navigate", "document", [Own, Own, Led, Led, Led]);
        for (mode, dest) in [
            ("navigate", "iframe"),
            ("navigate", "empty"),
            ("navigate", "object"),
            ("cors", "empty"),
            ("same-origin", "empty"),
            ("no-cors", "image"),
            ("no-cors", "document"),
            ("websocket", "empty"),
        ] {
            check(mode, dest, [Background; 5]);
        }
        let typed = Cause {
            safe_method: true,
            site: Some("none"),
            mode: Some("navigate"),
            dest: Some("document"),
            ..Cause::default()
        };
        let told = |change: fn(&mut Cause<'static>), token| {
            let mut cause = typed;
            change(&mut cause);
            Manner::of(cause, token)
        };
        assert_eq!(told(|cause| cause.speculative = true, false), Background);
        assert_eq!(told(|cause| cause.safe_method = false, false), Background);
        assert_eq!(told(|cause| cause.websocket = true, false), Background);
        assert_eq!(told(|cause| cause.websocket = true, true), Token);
        assert_eq!(told(|cause| cause.unattended = true, false), Own);
        let alone = |cause: &mut Cause<'static>| (cause.site, cause.unattended) = (Some("same-origin"), true);
        assert_eq!(told(alone, false), Led);
        assert_eq!(Manner::of(Cause::default(), false), Background);
        let old = Cause {
            safe_method: true,
            navigates: true,
            ..Cause::default()
        };
        assert_eq!((Manner::of(old, false), Manner::of(old, true)), (Led, Token));
    }

    #[test]
    fn resume_2_what_each_manner_does() {
        use Phase::{Creating, Deleting, Failed, Running, Starting, Stopped, Stopping};
        use Waking::{Ask, Never, Start};
        #[track_caller]
        fn check(phase: Phase, expected: [Waking; 5]) {
            let manners = [Manner::Own, Manner::Led, Manner::Button, Manner::Token, Manner::Background];
            assert_eq!(manners.map(|manner| waking(true, phase, manner)), expected, "{phase}");
            assert_eq!(manners.map(|manner| waking(false, phase, manner)), [Never; 5], "{phase}");
        }
        check(Stopped, [Start, Ask, Start, Start, Never]);
        check(Stopping, [Start, Ask, Start, Start, Never]);
        check(Failed, [Ask, Ask, Start, Never, Never]);
        for phase in [Creating, Starting, Running, Deleting] {
            check(phase, [Never; 5]);
        }
    }

    #[test]
    fn resume_1_who_may_start() {
        #[track_caller]
        fn check(subject: &Subject, expected: [bool; 3]) {
            let codespace = Ownership {
                name: "amber-x".parse().expect("a name"),
                owner: UserId("ada".into()),
            };
            let found = [Wakers::Owner, Wakers::People, Wakers::Everyone].map(|wakers| may_start(subject, &codespace, wakers));
            assert_eq!(found, expected, "{subject:?}");
        }
        let identity = |user: &str, role, credential, scope: &str| {
            Arc::new(Identity {
                user: UserId(user.into()),
                name: user.parse().expect("a name"),
                role,
                credential,
                scope: scope.parse().expect("a scope"),
            })
        };
        let cookie = || Credential::Cookie(SessionId("s".into()));
        let token = || Credential::Token(TokenId("t".into()));
        let port = "port:amber-x:3000";
        check(&Subject::Owner(identity("ada", Role::Member, cookie(), port)), [true; 3]);
        check(&Subject::Owner(identity("ada", Role::Member, token(), "all")), [true; 3]);
        check(
            &Subject::Owner(identity("ada", Role::Member, token(), "codespace:amber-x")),
            [true; 3],
        );
        // A token for a port alone opens what runs.
        check(&Subject::Owner(identity("ada", Role::Member, token(), port)), [false, true, true]);
        check(&Subject::Guest(identity("bob", Role::Member, cookie(), port)), [false, true, true]);
        check(&Subject::Guest(identity("bob", Role::Admin, cookie(), port)), [true; 3]);
        check(&Subject::Link(ShareId("l".into())), [false, false, true]);
        check(&Subject::Anyone, [false, false, true]);
    }
}
