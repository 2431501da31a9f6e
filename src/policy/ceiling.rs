//! The operator's ceiling: how far anything may be shared, whatever owners have set (SHARE-3, SHARE-6).
//!
//! Asked with each request, so that what lies above it is closed by the ceiling alone and opens again when it is raised.

use crate::domain::Visibility;

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
