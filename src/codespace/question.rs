//! The question that policy is asked for a request to a codespace, with the facts of the moment.

use std::sync::Arc;

use http::Method;
use time::OffsetDateTime;

use super::Snapshot;
use crate::{
    auth::Auth,
    domain::{Credential, Identity, Phase, Port, ShareId, ShareKind, UserId, Visibility},
    policy::{self, Denial, Ownership, Permit, PortFacts, Presented, ShownShare, browser},
};

/// What policy is asked for a visit, so that it can be asked again while the exchange lasts.
#[derive(Clone, Debug)]
pub struct Question {
    who: Presented,
    page: browser::Verdict,
    port: Option<Port>,
    shown: Option<Arc<Shown>>,
}

/// The share links that a request shows it has, with what they are asked to open.
#[derive(Debug)]
pub struct Shown {
    pub kind: ShareKind,
    pub ids: Vec<ShareId>,
    pub method: Method,
    /// Raw, without a query.
    pub path: Box<str>,
}

impl Question {
    /// What is asked for a request to a port, or to the editor.
    pub fn new(who: Presented, page: browser::Verdict, port: Option<Port>) -> Self {
        Self {
            who,
            page,
            port,
            shown: None,
        }
    }

    /// The same, with what the request shows of share links.
    #[must_use]
    pub fn showing(self, shown: Option<Arc<Shown>>) -> Self {
        Self { shown, ..self }
    }

    /// What would be asked for a page's own request to a port.
    pub fn of_port(who: Presented, port: Port) -> Self {
        Self::new(who, browser::Verdict::Ours, Some(port))
    }

    /// The port that is asked for; none for the editor.
    pub fn port(&self) -> Option<Port> {
        self.port
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
        if snapshot.phase() == Phase::Deleting {
            return Err(Self::missing(&self.who, self.page));
        }
        // What an account shared is closed with it (SHARE-5); only who is signed in as somebody else may ask at all.
        if auth.user(&snapshot.record.owner).is_none_or(|owner| owner.suspended) {
            return Err(Self::missing(&self.who, self.page));
        }
        self.ask_of_owned(snapshot, auth, now)
    }

    /// The answer for a name that nobody has. It takes the same trouble as one for a codespace that is there, or the time would
    /// say which it was (ENUM-1).
    pub fn ask_of_nothing(&self, nobodys: &Snapshot, auth: &Auth, now: OffsetDateTime) -> Denial {
        std::hint::black_box((
            auth.user(&nobodys.record.owner).is_some(),
            self.ask_of_owned(nobodys, auth, now).is_ok(),
        ));
        Self::missing(&self.who, self.page)
    }

    fn ask_of_owned(&self, snapshot: &Snapshot, auth: &Auth, now: OffsetDateTime) -> Result<Permit, Denial> {
        let Some(port) = self.port else {
            return policy::authorize_editor(&self.who, self.page, &ownership(snapshot));
        };
        let decided = match &self.shown {
            // Its address is all that a webhook has to show.
            Some(shown) if shown.kind == ShareKind::Webhook => Err(Denial::SignIn),
            _ => self.ask_of_port(port, snapshot, auth, now),
        };
        match decided {
            Err(Denial::SignIn | Denial::ForeignPage | Denial::NotShared(_)) => self.ask_of_links(port, snapshot, now).unwrap_or(decided),
            _ => decided,
        }
    }

    fn ask_of_port(&self, port: Port, snapshot: &Snapshot, auth: &Auth, now: OffsetDateTime) -> Result<Permit, Denial> {
        let codespace = ownership(snapshot);
        let people = snapshot.people(port);
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

    /// What the share links open that the request shows, if it shows any.
    fn ask_of_links(&self, port: Port, snapshot: &Snapshot, now: OffsetDateTime) -> Option<Result<Permit, Denial>> {
        let shown = self.shown.as_ref()?;
        let links = shown.ids.iter().map(|id| ShownShare {
            id,
            terms: snapshot
                .shares
                .get(id)
                .filter(|share| snapshot.is_for(share))
                .map(|share| &share.terms),
        });
        let asked = policy::Asked {
            port,
            kind: shown.kind,
            method: shown.method.as_str(),
            path: &shown.path,
            page: self.page,
            allowed: snapshot.allows_links(port),
        };
        policy::authorize_share(links, asked, now)
    }

    /// Whether whoever asks shares an organisation with the owner.
    fn is_colleague(&self, owner: &UserId, auth: &Auth) -> bool {
        matches!(&self.who, Presented::Valid(identity) if auth.share_organisation(&identity.user, owner))
    }

    /// The denial for a codespace that is not there: what a stranger would get for one that is.
    fn missing(who: &Presented, page: browser::Verdict) -> Denial {
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

fn ownership(snapshot: &Snapshot) -> Ownership {
    Ownership {
        name: snapshot.record.name.clone(),
        owner: snapshot.record.owner.clone(),
    }
}
