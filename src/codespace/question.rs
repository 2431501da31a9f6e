//! The question that policy is asked for a request to a codespace, with the facts of the moment.

use time::OffsetDateTime;

use super::Snapshot;
use crate::{
    auth::Auth,
    domain::{Credential, Identity, Phase, Port, UserId, Visibility},
    policy::{self, Denial, Ownership, Permit, PortFacts, Presented, browser},
};

/// What policy is asked for a visit, so that it can be asked again while the exchange lasts.
#[derive(Clone, Debug)]
pub struct Question {
    who: Presented,
    page: browser::Verdict,
    port: Option<Port>,
}

impl Question {
    /// What is asked for a request to a port, or to the editor.
    pub fn new(who: Presented, page: browser::Verdict, port: Option<Port>) -> Self {
        Self { who, page, port }
    }

    /// What would be asked for a page's own request to a port.
    pub fn of_port(who: Presented, port: Port) -> Self {
        Self::new(who, browser::Verdict::Ours, Some(port))
    }

    /// Who presented a credential, if anybody.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.who {
            Presented::Valid(identity) => Some(identity),
            Presented::Nothing | Presented::Invalid => None,
        }
    }

    /// Asks policy, with the codespace as it is.
    pub fn ask(&self, snapshot: &Snapshot, auth: &Auth, now: OffsetDateTime) -> Result<Permit, Denial> {
        let codespace = Ownership {
            name: snapshot.record.name.clone(),
            owner: snapshot.record.owner.clone(),
        };
        if snapshot.phase() == Phase::Deleting {
            return Err(Self::missing(&self.who, self.page));
        }
        let Some(port) = self.port else {
            return policy::authorize_editor(&self.who, self.page, &codespace);
        };
        let people = snapshot.ports.get(&port).map_or(&[][..], |view| &view.settings.users);
        let visibility = snapshot.visibility(port, now);
        policy::authorize_port(
            &self.who,
            self.page,
            &codespace,
            PortFacts {
                port,
                visibility,
                people,
                same_organisation: visibility == Visibility::Org && self.is_colleague(&codespace.owner, auth),
            },
        )
    }

    /// Whether whoever asks shares an organisation with the owner.
    fn is_colleague(&self, owner: &UserId, auth: &Auth) -> bool {
        matches!(&self.who, Presented::Valid(identity) if auth.share_organisation(&identity.user, owner))
    }

    /// The denial for a codespace that is not there: what a stranger would get for one that is.
    pub fn missing(who: &Presented, page: browser::Verdict) -> Denial {
        match who {
            Presented::Nothing => Denial::SignIn,
            Presented::Invalid => Denial::BadToken,
            Presented::Valid(identity) if matches!(identity.credential, Credential::Cookie(_)) && page == browser::Verdict::Foreign => {
                Denial::ForeignPage
            }
            Presented::Valid(identity) => Denial::NotShared(identity.clone()),
        }
    }
}
