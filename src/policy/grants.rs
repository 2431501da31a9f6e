//! What an identity may do with a codespace.

use crate::domain::{Access, CodespaceName, Identity, Role, Scope, UserId};

/// The facts about a codespace that grants depend on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ownership {
    pub name: CodespaceName,
    pub owner: UserId,
}

/// A set of [`Access`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Grants(u8);

impl Grants {
    /// No access: to its holder the codespace does not exist.
    pub const NONE: Self = Self(0);

    const fn of(accesses: &[Access]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < accesses.len() {
            bits |= 1 << accesses[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// Whether the access is among them.
    pub fn allow(self, access: Access) -> bool {
        self.0 & (1 << access as u8) != 0
    }

    /// Whether there is none, so that the codespace must look as if it did not exist (ENUM-2).
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

const EVERYTHING: Grants = Grants::of(&[Access::View, Access::Work, Access::Operate, Access::Share, Access::Own]);
/// An admin sees, stops and deletes everybody's codespaces, and enters none: source code stays its owner's.
const ADMINISTER: Grants = Grants::of(&[Access::View, Access::Operate, Access::Own]);

/// Decides what an identity may do with a codespace: what its user may, cut down to what its credential carries.
pub fn grants(identity: &Identity, codespace: &Ownership) -> Grants {
    let of_user = if identity.user == codespace.owner {
        EVERYTHING
    } else if identity.role == Role::Admin {
        ADMINISTER
    } else {
        Grants::NONE
    };
    of_user.and(carried_by(&identity.scope, &codespace.name))
}

fn carried_by(scope: &Scope, codespace: &CodespaceName) -> Grants {
    match scope {
        Scope::All => EVERYTHING,
        Scope::Read => Grants::of(&[Access::View]),
        Scope::Codespace(name) if name == codespace => EVERYTHING,
        Scope::Workbench(name) if name == codespace => Grants::of(&[Access::View, Access::Work]),
        Scope::Inside(name) if name == codespace => Grants::of(&[Access::View, Access::Operate]),
        Scope::Codespace(_) | Scope::Workbench(_) | Scope::Inside(_) | Scope::Port(..) => Grants::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Credential, TokenId};

    #[test]
    fn table() {
        #[track_caller]
        fn check(user: &str, role: Role, scope: &str, expected: &str) {
            let identity = Identity {
                user: UserId(user.into()),
                name: user.parse().expect("a name"),
                role,
                credential: Credential::Token(TokenId("t".into())),
                scope: if let Some(name) = scope.strip_prefix("workbench:") {
                    Scope::Workbench(name.parse().expect("a name"))
                } else {
                    scope.parse().expect("a scope")
                },
            };
            let codespace = Ownership {
                name: "amber-x".parse().expect("a name"),
                owner: UserId("ada".into()),
            };
            let granted = grants(&identity, &codespace);
            let shown: String = [Access::View, Access::Work, Access::Operate, Access::Share, Access::Own]
                .into_iter()
                .map(|access| {
                    if granted.allow(access) {
                        format!("{access:?} ")
                    } else {
                        String::new()
                    }
                })
                .collect();
            assert_eq!(shown.trim_end(), expected, "{user} {role:?} {scope}");
        }
        check("ada", Role::Member, "all", "View Work Operate Share Own");
        check("ada", Role::Member, "read", "View");
        check("ada", Role::Member, "codespace:amber-x", "View Work Operate Share Own");
        check("ada", Role::Member, "codespace:other-x", "");
        check("ada", Role::Member, "workbench:amber-x", "View Work");
        check("ada", Role::Member, "workbench:other-x", "");
        check("ada", Role::Member, "inside:amber-x", "View Operate");
        check("ada", Role::Member, "port:amber-x:3000", "");
        check("bob", Role::Member, "all", "");
        check("bob", Role::Admin, "all", "View Operate Own");
        check("bob", Role::Admin, "read", "View");
    }
}
