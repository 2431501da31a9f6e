//! Denials that belong into the audit log: somebody who is signed in asked for a host that is not theirs (AUDIT-1).
//!
//! A page asks many times a second; one event for a person and a host says it all.

use std::{collections::HashMap, time::Duration};

use time::OffsetDateTime;

use super::{Auth, Client, tickets::target_of};
use crate::{
    domain::{Identity, UserId},
    route::Route,
};

/// For so long after an event another one of the same person and host says nothing new.
const NEWS_AFTER: Duration = Duration::from_secs(600);
/// Most pairs that are remembered; beyond it nothing is news, so that nobody floods the log.
const MAX_KEPT: usize = 1000;

/// Whom was denied what, lately.
#[derive(Default)]
pub(super) struct Denials {
    seen: HashMap<(UserId, Route), OffsetDateTime>,
}

impl Auth {
    /// Notes that somebody was denied a host.
    pub fn note_denial(&self, identity: &Identity, host: &Route, client: &Client, now: OffsetDateTime) {
        if !self.inner.denials.lock().is_news(&identity.user, host, now) {
            return;
        }
        let by = client.actor(identity.name.as_str());
        self.audit_later("access.denied", by, target_of(host), now);
    }
}

impl Denials {
    fn is_news(&mut self, user: &UserId, host: &Route, now: OffsetDateTime) -> bool {
        let is_recent = |at: &OffsetDateTime| (now - *at).unsigned_abs() < NEWS_AFTER;
        let key = (user.clone(), host.clone());
        if self.seen.get(&key).is_some_and(is_recent) {
            return false;
        }
        if self.seen.len() >= MAX_KEPT {
            self.seen.retain(|_, at| is_recent(at));
        }
        if self.seen.len() >= MAX_KEPT {
            return false;
        }
        self.seen.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixture::{audited, auth, now, port, seconds, signed_in};

    #[tokio::test]
    async fn audit_1_a_denial_is_told_once_in_a_while() {
        let (auth, store) = auth().await;
        let fresh = signed_in(&auth).await;
        let user = auth.user(fresh.session.user()).expect("the user");
        let credential = crate::domain::Credential::Cookie(fresh.session.id.clone());
        let identity = user.identity(credential, crate::domain::Scope::All);
        for (number, after) in [(3000, 0), (3000, 1), (4000, 2), (3000, 599), (3000, 600)] {
            auth.note_denial(&identity, &port("amber", number), &Client::default(), now() + seconds(after));
        }
        auth.settle().await;
        assert_eq!(audited(&store).await.iter().filter(|action| *action == "access.denied").count(), 3);
        let mut denials = Denials::default();
        let news = (0..5000).filter(|number| denials.is_news(&user.id, &port("amber", 1 + *number), now()));
        assert_eq!(news.count(), MAX_KEPT);
        assert!(denials.is_news(&user.id, &port("amber", 9999), now() + NEWS_AFTER));
    }
}
