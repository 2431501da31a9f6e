//! The permit to reach an editor or a port, and the only place where one is made.

use std::sync::Arc;

use super::{Ownership, browser, grants};
use crate::domain::{Access, Credential, Identity, Port, Scope, ShareEnd, ShareId, UserId, Visibility};

/// What a request offered to prove who it is from, as judged by `auth`.
///
/// Three answers, because an invalid credential must never be taken for none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presented {
    /// No credential of that kind.
    Nothing,
    /// A good one.
    Valid(Arc<Identity>),
    /// One that is wrong, expired, revoked or offered twice; never to be taken for [`Presented::Nothing`] (FAIL-1).
    Invalid,
}

/// Proof that a request may reach its target. Made nowhere else; an upstream can be dialled only with one.
#[derive(Debug)]
pub struct Permit {
    subject: Subject,
}

impl Permit {
    pub(super) fn of(subject: Subject) -> Self {
        Self { subject }
    }

    /// Who it was given to.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// Whom a permit was given to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The codespace's owner.
    Owner(Arc<Identity>),
    /// Somebody else who is signed in and may.
    Guest(Arc<Identity>),
    /// Whoever has a share link, which says nothing of who they are.
    Link(ShareId),
    /// Anybody, on a public port.
    Anyone,
}

impl Subject {
    /// Whether it is the codespace's owner, who alone may be told what goes on inside.
    pub fn is_owner(&self) -> bool {
        matches!(self, Self::Owner(_))
    }

    /// The identity, if there is one.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Owner(identity) | Self::Guest(identity) => Some(identity),
            Self::Link(_) | Self::Anyone => None,
        }
    }
}

/// Why there is no permit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// Nobody is signed in here: a navigation goes to sign-in, everything else gets 401.
    SignIn,
    /// A token was sent and is not valid, or not for this: 401.
    BadToken,
    /// A cookie was sent and is valid, but another site's page caused the request: it counts as anonymous, and must not
    /// go to sign-in, which would only bring it back (decision 3).
    ForeignPage,
    /// Somebody is signed in who may not: looks like a codespace that does not exist (ENUM-2).
    NotShared(Arc<Identity>),
    /// A share link was shown that opens nothing any more.
    ShareEnded(ShareEnd),
    /// A share link was shown that does not reach this path or method.
    BeyondShare,
}

/// What is set on a port, as it holds now.
#[derive(Clone, Copy, Debug)]
pub struct PortFacts<'a> {
    pub port: Port,
    /// The visibility with its deadline and the operator's ceiling already applied for this moment.
    pub visibility: Visibility,
    /// People named besides the owner.
    pub people: &'a [UserId],
    /// Whether the visitor and the codespace's owner share an organisation, as it is now (SHARE-7).
    pub same_organisation: bool,
}

/// Decides whether a request may reach a codespace's editor.
pub fn authorize_editor(who: &Presented, page: browser::Verdict, codespace: &Ownership) -> Result<Permit, Denial> {
    let identity = attributable(who, page)?;
    let allowed = grants(identity, codespace).allow(Access::Work) && !matches!(identity.scope, Scope::Inside(_));
    permit_if(allowed, identity, codespace)
}

/// Decides whether a request may reach a port.
pub fn authorize_port(who: &Presented, page: browser::Verdict, codespace: &Ownership, port: PortFacts<'_>) -> Result<Permit, Denial> {
    let public = port.visibility == Visibility::Public;
    match attributable(who, page) {
        Ok(identity) if may_open(identity, codespace, port) => Ok(permit(identity, codespace)),
        // A token that is wrong or too narrow is told so even on a public port; a browser with a stale or foreign cookie is a visitor.
        Err(Denial::BadToken) => Err(Denial::BadToken),
        _ if public => Ok(Permit { subject: Subject::Anyone }),
        Ok(identity) => Err(Denial::NotShared(Arc::clone(identity))),
        Err(denial) => Err(denial),
    }
}

fn may_open(identity: &Identity, codespace: &Ownership, port: PortFacts<'_>) -> bool {
    let scope_covers = match &identity.scope {
        Scope::All => true,
        Scope::Codespace(name) => *name == codespace.name,
        Scope::Port(name, number) => *name == codespace.name && *number == port.port,
        Scope::Read | Scope::Workbench(_) | Scope::Inside(_) => false,
    };
    let user_may = identity.user == codespace.owner
        || port.people.contains(&identity.user)
        || (port.visibility >= Visibility::Org && port.same_organisation);
    scope_covers && user_may
}

/// The identity that a request can be held to, browser rules included.
fn attributable(who: &Presented, page: browser::Verdict) -> Result<&Arc<Identity>, Denial> {
    match who {
        Presented::Nothing => Err(Denial::SignIn),
        Presented::Invalid => Err(Denial::BadToken),
        Presented::Valid(identity) => match (&identity.credential, page) {
            (Credential::Cookie(_), browser::Verdict::Foreign) => Err(Denial::ForeignPage),
            _ => Ok(identity),
        },
    }
}

fn permit_if(allowed: bool, identity: &Arc<Identity>, codespace: &Ownership) -> Result<Permit, Denial> {
    if allowed {
        Ok(permit(identity, codespace))
    } else {
        Err(Denial::NotShared(Arc::clone(identity)))
    }
}

fn permit(identity: &Arc<Identity>, codespace: &Ownership) -> Permit {
    let subject = if identity.user == codespace.owner {
        Subject::Owner(Arc::clone(identity))
    } else {
        Subject::Guest(Arc::clone(identity))
    };
    Permit { subject }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Role, SessionId, TokenId};

    fn identity(user: &str, credential: Credential, scope: Scope) -> Presented {
        Presented::Valid(Arc::new(Identity {
            user: UserId(user.into()),
            name: user.parse().expect("a name"),
            role: Role::Member,
            credential,
            scope,
        }))
    }

    fn cookie(user: &str, scope: &str) -> Presented {
        identity(user, Credential::Cookie(SessionId("s".into())), scope.parse().expect("a scope"))
    }

    fn token(user: &str, scope: &str) -> Presented {
        identity(user, Credential::Token(TokenId("t".into())), scope.parse().expect("a scope"))
    }

    fn codespace() -> Ownership {
        Ownership {
            name: "amber-x".parse().expect("a name"),
            owner: UserId("ada".into()),
        }
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
            Err(Denial::NotShared(_)) => "not shared",
            Err(Denial::ShareEnded(_) | Denial::BeyondShare) => "link",
        }
    }

    #[test]
    fn ports() {
        use browser::Verdict::{Foreign, Ours};
        let named = [UserId("eve".into())];
        #[track_caller]
        fn check(who: &Presented, page: browser::Verdict, people: &[UserId], expected: [&str; 3]) {
            let found = [Visibility::Private, Visibility::Org, Visibility::Public].map(|visibility| {
                let facts = PortFacts {
                    port: Port::new(3000).expect("a port"),
                    visibility,
                    people,
                    same_organisation: true,
                };
                shown(authorize_port(who, page, &codespace(), facts))
            });
            assert_eq!(found, expected, "{who:?} {page:?}");
        }
        check(&Presented::Nothing, Ours, &[], ["sign in", "sign in", "anyone"]);
        check(&Presented::Invalid, Ours, &[], ["bad token", "bad token", "bad token"]);
        check(&cookie("ada", "port:amber-x:3000"), Ours, &[], ["owner", "owner", "owner"]);
        check(
            &cookie("ada", "port:amber-x:3001"),
            Ours,
            &[],
            ["not shared", "not shared", "anyone"],
        );
        check(
            &cookie("ada", "port:amber-x:3000"),
            Foreign,
            &[],
            ["foreign page", "foreign page", "anyone"],
        );
        check(&token("ada", "all"), Foreign, &[], ["owner", "owner", "owner"]);
        check(&token("ada", "read"), Ours, &[], ["not shared", "not shared", "anyone"]);
        check(&token("ada", "inside:amber-x"), Ours, &[], ["not shared", "not shared", "anyone"]);
        check(&cookie("bob", "port:amber-x:3000"), Ours, &[], ["not shared", "guest", "guest"]);
        check(&cookie("eve", "port:amber-x:3000"), Ours, &named, ["guest", "guest", "guest"]);
    }

    #[test]
    fn share_7_an_organisation_is_shared_or_the_port_is_not_there() {
        let facts = |visibility, same_organisation| PortFacts {
            port: Port::new(3000).expect("a port"),
            visibility,
            people: &[],
            same_organisation,
        };
        for (visibility, same_organisation, expected) in [
            (Visibility::Private, true, "not shared"),
            (Visibility::Org, true, "guest"),
            (Visibility::Org, false, "not shared"),
            (Visibility::Public, false, "anyone"),
        ] {
            let who = cookie("bob", "port:amber-x:3000");
            let decided = authorize_port(&who, browser::Verdict::Ours, &codespace(), facts(visibility, same_organisation));
            assert_eq!(shown(decided), expected, "{visibility:?} {same_organisation}");
        }
    }

    #[test]
    fn editors() {
        use browser::Verdict::{Foreign, Ours};
        #[track_caller]
        fn check(who: &Presented, page: browser::Verdict, expected: &str) {
            assert_eq!(shown(authorize_editor(who, page, &codespace())), expected, "{who:?}");
        }
        let workbench = |user: &str| {
            identity(
                user,
                Credential::Cookie(SessionId("s".into())),
                Scope::Workbench("amber-x".parse().expect("a name")),
            )
        };
        check(&Presented::Nothing, Ours, "sign in");
        check(&workbench("ada"), Ours, "owner");
        check(&workbench("ada"), Foreign, "foreign page");
        check(&workbench("bob"), Ours, "not shared");
        check(&token("ada", "all"), Ours, "owner");
        check(&token("ada", "inside:amber-x"), Ours, "not shared");
        check(&token("ada", "port:amber-x:3000"), Ours, "not shared");
    }
}
