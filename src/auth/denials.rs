//! Denials that belong into the audit log: somebody who is signed in asked for a host or a call that is not theirs
//! (AUDIT-1).
//!
//! A page asks many times a second; one event for a person and a thing says it all. Nobody's flood hides what another
//! was denied: each has a count of their own.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use time::OffsetDateTime;

use super::{Auth, Client, Presented, attempts::Refusals, tickets::target_of};
use crate::{
    domain::{Identity, UserId},
    route::Route,
};

/// For so long after an event another one of the same person and thing says nothing new.
const NEWS_AFTER: Duration = Duration::from_secs(600);
/// Most things that are remembered of one person.
const MAX_KEPT_EACH: usize = 100;
/// Most people that are remembered; beyond it those are forgotten who were denied nothing lately, then nothing is told.
const MAX_PEOPLE: usize = 20_000;

/// Whom was denied what, lately.
#[derive(Default)]
pub(super) struct Denials {
    people: HashMap<UserId, Person>,
}

struct Person {
    seen: HashMap<String, OffsetDateTime>,
    told: Refusals,
}

impl Auth {
    /// Notes that somebody was denied a host.
    pub fn note_denial(&self, identity: &Identity, host: &Route, client: &Client, now: OffsetDateTime) {
        self.note_denied("access.denied", identity, target_of(host), client, now);
    }

    /// Notes that a call was not done, `POST /api/v1/users` say: it was denied, or too many were made.
    pub fn note_refused_call(&self, caller: &Presented, call: &str, limited: bool, client: &Client, now: OffsetDateTime) {
        let action = if limited { "call.limited" } else { "call.denied" };
        let call = call[..call.floor_char_boundary(MAX_CALL)].to_owned();
        if let Presented::Valid(identity) = caller {
            return self.note_denied(action, identity, call, client, now);
        }
        self.note_strangers(action, call, client, now);
    }

    /// Notes that somebody came as an agent with a credential of nobody's.
    pub fn note_unknown_agent(&self, client: &Client, now: OffsetDateTime) {
        self.note_strangers("agent.rejected", String::new(), client, now);
    }

    /// Notes what was refused to whoever it is: all of them are told of together.
    fn note_strangers(&self, action: &'static str, target: String, client: &Client, now: OffsetDateTime) {
        let detail = match self.inner.refusals.lock().tell(now) {
            None => return,
            Some(0) => String::new(),
            Some(others) => format!("{others} more before it, by anyone"),
        };
        self.audit_later(action, client.actor(""), target, detail, now);
    }

    fn note_denied(&self, action: &'static str, identity: &Identity, target: String, client: &Client, now: OffsetDateTime) {
        let Some(untold) = self.inner.denials.lock().tell(&identity.user, &target, now) else {
            return;
        };
        let detail = match untold {
            0 => String::new(),
            others => format!("{others} more before it, of other things"),
        };
        let by = client.actor(identity.name.as_str());
        self.audit_later(action, by, target, detail, now);
    }
}

/// Longest name of a call that is kept.
const MAX_CALL: usize = 200;

impl Denials {
    /// Whether a denial is to be told of, and how many of that person were not told of before it.
    fn tell(&mut self, user: &UserId, target: &str, now: OffsetDateTime) -> Option<u64> {
        let is_recent = |at: &OffsetDateTime| (now - *at).unsigned_abs() < NEWS_AFTER;
        let full = self.people.len() >= MAX_PEOPLE;
        if full && !self.people.contains_key(user) {
            self.people.retain(|_, person| person.seen.values().any(is_recent));
        }
        let full = self.people.len() >= MAX_PEOPLE;
        let person = match self.people.entry(user.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => entry.insert(Person {
                seen: HashMap::new(),
                told: Refusals::of_one(),
            }),
        };
        if person.seen.get(target).is_some_and(is_recent) {
            return None;
        }
        if person.seen.len() >= MAX_KEPT_EACH {
            person.seen.retain(|_, at| is_recent(at));
        }
        let told = person.told.tell(now);
        if told.is_some() && person.seen.len() < MAX_KEPT_EACH {
            person.seen.insert(target.to_owned(), now);
        }
        told
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
    }

    #[test]
    fn audit_1_a_flood_of_denials_is_told_in_sum_and_hides_nobodys() {
        let mut denials = Denials::default();
        let (eve, bob) = (UserId("eve".into()), UserId("bob".into()));
        let told: Vec<_> = (0..5000)
            .filter_map(|number| denials.tell(&eve, &format!("amber:{number}"), now()))
            .collect();
        assert_eq!(told, vec![0; 20]);
        assert_eq!(denials.tell(&bob, "amber:1", now()), Some(0), "another's is news");
        assert_eq!(denials.tell(&eve, "amber:9999", now() + seconds(60)), Some(4980));
        assert!(denials.people[&eve].seen.len() <= MAX_KEPT_EACH);
        for number in 0..MAX_PEOPLE + 3 {
            denials.tell(&UserId(format!("u{number}").into()), "amber:1", now() + seconds(120));
        }
        assert_eq!(denials.people.len(), MAX_PEOPLE);
        assert_eq!(
            denials.tell(&UserId("carol".into()), "amber:2", now() + seconds(120)),
            None,
            "there is no room"
        );
        assert_eq!(
            denials.tell(&UserId("carol".into()), "amber:2", now() + seconds(720)),
            Some(0),
            "later there is"
        );
    }
}
