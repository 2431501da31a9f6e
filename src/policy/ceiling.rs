//! The operator's ceiling: how far anything may be shared, whatever owners have set (SHARE-3, SHARE-6).
//!
//! Asked with each request, so that what lies above it is closed by the ceiling alone and opens again when it is raised.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Organisation, Visibility};

/// All ceilings of a gateway. The lowest that applies to an owner counts, so that one for an organisation only ever closes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ceilings {
    /// What the configuration says, for everybody.
    pub configured: Ceiling,
    /// What administrators have set: for an organisation's members, or under no name for everybody.
    pub set: BTreeMap<Option<Organisation>, Ceiling>,
}

impl Ceilings {
    /// How far an owner of these organisations may share.
    pub fn of(&self, organisations: &BTreeSet<Organisation>) -> Ceiling {
        let set = self
            .set
            .iter()
            .filter(|(of, _)| of.as_ref().is_none_or(|of| organisations.contains(of)));
        set.fold(self.configured, |lowest, (_, ceiling)| lowest.and(*ceiling))
    }

    /// The ceilings after one is set; one that closes nothing is taken away.
    #[must_use]
    pub fn with(&self, organisation: Option<Organisation>, ceiling: Ceiling) -> Self {
        let mut changed = self.clone();
        if ceiling == Ceiling::default() {
            changed.set.remove(&organisation);
        } else {
            changed.set.insert(organisation, ceiling);
        }
        changed
    }
}

/// How far owners may share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ceiling {
    /// The most open that a port can be.
    pub most: Visibility,
    /// Whether links may open ports to people without an account.
    pub links: bool,
}

impl Ceiling {
    /// What an owner's choice comes to under it.
    pub fn lower(self, visibility: Visibility) -> Visibility {
        visibility.min(self.most)
    }

    /// What two ceilings come to together: the lower of them in each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            most: self.most.min(other.most),
            links: self.links && other.links,
        }
    }

    /// Whether it allows nothing that another does not.
    pub fn is_within(self, other: Self) -> bool {
        self.and(other) == self
    }

    /// Whether links open anything: where nothing may be public, strangers come in by no link either.
    pub fn allows_links(self) -> bool {
        self.links && self.most == Visibility::Public
    }
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            most: Visibility::Public,
            links: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_3_the_lowest_ceiling_that_applies_counts() {
        use Visibility::{Org, Private, Public};
        let ceiling = |most, links| Ceiling { most, links };
        let group = |name: &str| Organisation::parse(name).expect("a name");
        let set = [
            (Some("eng"), ceiling(Org, true)),
            (Some("ops"), ceiling(Private, true)),
            (None, ceiling(Public, false)),
        ];
        let ceilings = set
            .into_iter()
            .fold(Ceilings::default(), |all, (of, one)| all.with(of.map(group), one));
        #[track_caller]
        fn check(ceilings: &Ceilings, of: &[&str], expected: Ceiling) {
            let of = of.iter().map(|name| Organisation::parse(name).expect("a name")).collect();
            assert_eq!(ceilings.of(&of), expected);
        }
        check(&ceilings, &[], ceiling(Public, false));
        check(&ceilings, &["art"], ceiling(Public, false));
        check(&ceilings, &["eng"], ceiling(Org, false));
        check(&ceilings, &["eng", "ops"], ceiling(Private, false));
        let without = ceilings.with(None, Ceiling::default());
        assert_eq!(without.set.len(), 2);
        check(&without, &["art"], Ceiling::default());
        let configured = Ceilings {
            configured: ceiling(Private, true),
            ..without
        };
        check(&configured, &["eng"], ceiling(Private, true));
    }

    #[test]
    fn share_6_nothing_is_more_open_than_the_ceiling() {
        use Visibility::{Org, Private, Public};
        for (most, expected) in [
            (Private, [Private, Private, Private]),
            (Org, [Private, Org, Org]),
            (Public, [Private, Org, Public]),
        ] {
            let ceiling = Ceiling { most, links: true };
            assert_eq!([Private, Org, Public].map(|visibility| ceiling.lower(visibility)), expected);
            assert_eq!(ceiling.allows_links(), most == Public);
        }
        assert!(
            !Ceiling {
                links: false,
                ..Ceiling::default()
            }
            .allows_links()
        );
    }
}
