//! Who visited a port in each hour: how many requests, and how many people of each kind.
//!
//! Of strangers no address is kept: within the hour they are told apart by a keyed hash, whose key nobody ever sees; when
//! the hour is over, key and hashes go and the count stays.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use time::OffsetDateTime;

use super::Visitor;

/// Most hours that are remembered.
const HOURS: usize = 7 * 24;
/// For so long.
const REMEMBERED: time::Duration = time::Duration::days(7);
/// Most people by name, and most links, that are told apart in an hour.
const NAMED: usize = 200;
/// Most strangers that are told apart in an hour.
const STRANGERS: usize = 4096;

/// Requests of one person, or by one link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    pub name: String,
    pub requests: u64,
}

/// The visits of one hour; the owner's own are none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hour {
    pub start: OffsetDateTime,
    pub requests: u64,
    /// People who are signed in, the busiest first.
    pub users: Vec<Named>,
    /// Links by what their owner calls them, the busiest first.
    pub links: Vec<Named>,
    /// How many strangers, by their addresses.
    pub strangers: u64,
    /// Whether more came than are told apart.
    pub more: bool,
}

/// The visits of the last week.
#[derive(Debug, Default)]
pub(super) struct Visits {
    past: VecDeque<Hour>,
    now: Option<Counting>,
}

/// The hour that is.
#[derive(Debug)]
struct Counting {
    start: OffsetDateTime,
    requests: u64,
    /// By name.
    users: BTreeMap<String, Named>,
    /// By id.
    links: BTreeMap<String, Named>,
    key: RandomState,
    strangers: HashSet<u64>,
    more: bool,
}

impl Visits {
    /// Notes a request; the owner's is no visit.
    pub fn note(&mut self, who: &Visitor, client: IpAddr, at: OffsetDateTime) {
        if matches!(who, Visitor::Owner(_)) {
            return;
        }
        self.turn(at);
        let now = self.now.get_or_insert_with(|| Counting::from(at));
        now.requests += 1;
        match who {
            Visitor::Owner(_) => {}
            Visitor::User(name) => now.more |= !count(&mut now.users, name, name),
            Visitor::Link(id, name) => now.more |= !count(&mut now.links, id, name),
            Visitor::Anyone => {
                let hash = now.key.hash_one(client);
                if now.strangers.len() < STRANGERS {
                    now.strangers.insert(hash);
                } else if !now.strangers.contains(&hash) {
                    now.more = true;
                }
            }
        }
    }

    /// The hours in which somebody came, the latest first.
    pub fn hours(&mut self, at: OffsetDateTime) -> Vec<Hour> {
        self.turn(at);
        let now = self.now.as_ref().map(Counting::shown);
        now.into_iter().chain(self.past.iter().cloned()).collect()
    }

    /// Closes the hour that is over, and forgets what is older than a week.
    fn turn(&mut self, at: OffsetDateTime) {
        let hour = start_of(at);
        if self.now.as_ref().is_some_and(|now| now.start != hour)
            && let Some(over) = self.now.take()
        {
            self.past.push_front(over.shown());
        }
        let oldest = hour - REMEMBERED;
        self.past.retain(|past| past.start > oldest);
        self.past.truncate(HOURS);
    }
}

impl Counting {
    fn from(at: OffsetDateTime) -> Self {
        Self {
            start: start_of(at),
            requests: 0,
            users: BTreeMap::new(),
            links: BTreeMap::new(),
            key: RandomState::new(),
            strangers: HashSet::new(),
            more: false,
        }
    }

    fn shown(&self) -> Hour {
        let mut users: Vec<Named> = self.users.values().cloned().collect();
        let mut links: Vec<Named> = self.links.values().cloned().collect();
        for list in [&mut users, &mut links] {
            list.sort_by_key(|named| std::cmp::Reverse(named.requests));
        }
        Hour {
            start: self.start,
            requests: self.requests,
            users,
            links,
            strangers: self.strangers.len() as u64,
            more: self.more,
        }
    }
}

/// Counts a request; false if there are too many to tell apart.
fn count(all: &mut BTreeMap<String, Named>, key: &str, name: &str) -> bool {
    if let Some(known) = all.get_mut(key) {
        known.requests += 1;
        return true;
    }
    let room = all.len() < NAMED;
    if room {
        let first = Named {
            name: name.to_owned(),
            requests: 1,
        };
        all.insert(key.to_owned(), first);
    }
    room
}

fn start_of(at: OffsetDateTime) -> OffsetDateTime {
    let seconds = at.unix_timestamp();
    OffsetDateTime::from_unix_timestamp(seconds - seconds.rem_euclid(3600)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn at(minutes: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::minutes(minutes)
    }

    #[test]
    fn visitors_are_told_apart_and_the_owner_is_none() {
        let mut visits = Visits::default();
        let [first, second]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let (bob, link) = (Visitor::User("bob".into()), Visitor::Link("l1".into(), "for Kim".into()));
        for (who, client) in [
            (&Visitor::Owner("ada".into()), first),
            (&bob, first),
            (&bob, second),
            (&link, first),
            (&Visitor::Anyone, first),
            (&Visitor::Anyone, first),
            (&Visitor::Anyone, second),
        ] {
            visits.note(who, client, at(59));
        }
        visits.note(&Visitor::Anyone, first, at(60));
        let hours = visits.hours(at(61));
        let shown = |hour: &Hour| (hour.start, hour.requests, hour.strangers, hour.more);
        assert_eq!(
            hours.iter().map(shown).collect::<Vec<_>>(),
            [(at(60), 1, 1, false), (at(0), 6, 2, false)]
        );
        let named = |name: &str, requests| Named {
            name: name.into(),
            requests,
        };
        assert_eq!(
            (&hours[1].users[..], &hours[1].links[..]),
            (&[named("bob", 2)][..], &[named("for Kim", 1)][..])
        );
    }

    #[test]
    fn an_hour_and_a_week_are_bounded() {
        let mut visits = Visits::default();
        for number in 0..5000_u32 {
            visits.note(&Visitor::Anyone, IpAddr::from(number.to_be_bytes()), at(0));
            visits.note(&Visitor::User(number.to_string()), [192, 0, 2, 1].into(), at(0));
        }
        let hour = visits.hours(at(0)).remove(0);
        assert_eq!(
            (hour.requests, hour.strangers, hour.users.len(), hour.more),
            (10_000, 4096, NAMED, true)
        );
        for hour in 0..400 {
            visits.note(&Visitor::Anyone, [192, 0, 2, 1].into(), at(60 * hour));
        }
        let hours = visits.hours(at(60 * 399));
        assert_eq!((hours.len(), hours[0].start), (HOURS, at(60 * 399)));
        assert!(visits.hours(at(60 * 10_000)).is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let mut visits = Visits::default();
        for minute in [120, 60, 121] {
            visits.note(&Visitor::Anyone, [192, 0, 2, 1].into(), at(minute));
        }
        assert_eq!(visits.hours(at(122)).iter().map(|hour| hour.requests).sum::<u64>(), 3);
    }
}
