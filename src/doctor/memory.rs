//! What went wrong lately, by codespace: a few lines each, in memory alone, for its owner to ask about.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use time::OffsetDateTime;

use super::{Refusal, Trouble};
use crate::domain::{CodespaceName, Port};

/// Most notes of one kind about a codespace.
const NOTES: usize = 32;
/// Most codespaces about which there are notes.
const CODESPACES: usize = 1024;

/// One request that did not end well.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub at: OffsetDateTime,
    /// The id of the exchange, as its page shows it.
    pub trace: String,
    /// None for the editor's host.
    pub port: Option<Port>,
    pub method: String,
    /// Without the query, which may hold secrets (LOG-1); bounded by whoever notes it.
    pub path: String,
    pub what: What,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// The app gave no proper answer.
    Trouble(Trouble),
    /// The app answered, and refused.
    Refused(Refusal),
    /// The gateway let nobody through, for this reason.
    Denied(&'static str),
}

/// Remembers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<HashMap<CodespaceName, Notes>>>);

/// Apart, so that strangers who knock cannot push out what the owner looks for.
#[derive(Debug, Default)]
struct Notes {
    of_apps: VecDeque<Note>,
    denials: VecDeque<Note>,
}

impl Memory {
    /// Writes a note about a codespace that exists.
    pub fn note(&self, name: &CodespaceName, note: Note) {
        let mut all = self.0.lock();
        if !all.contains_key(name) && all.len() >= CODESPACES {
            let oldest = all.iter().min_by_key(|(_, notes)| notes.latest()).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        let notes = all.entry(name.clone()).or_default();
        let list = match note.what {
            What::Denied(_) => &mut notes.denials,
            What::Trouble(_) | What::Refused(_) => &mut notes.of_apps,
        };
        if list.len() >= NOTES {
            list.pop_front();
        }
        list.push_back(note);
    }

    /// The notes about a codespace, newest first.
    pub fn of(&self, name: &CodespaceName) -> Vec<Note> {
        let all = self.0.lock();
        let Some(notes) = all.get(name) else { return Vec::new() };
        let mut notes: Vec<Note> = notes.of_apps.iter().chain(&notes.denials).cloned().collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.at));
        notes
    }

    /// The note of an exchange, in a codespace that the caller may know of.
    pub fn find(&self, trace: &str, may_know: impl Fn(&CodespaceName) -> bool) -> Option<(CodespaceName, Note)> {
        let all = self.0.lock();
        let found = all.iter().flat_map(|(name, notes)| {
            let of_trace = notes.of_apps.iter().chain(&notes.denials).filter(|note| note.trace == trace);
            of_trace.map(move |note| (name, note))
        });
        let mut found: Vec<_> = found.map(|(name, note)| (name.clone(), note.clone())).collect();
        drop(all);
        found.retain(|(name, _)| may_know(name));
        found.into_iter().max_by_key(|(_, note)| note.at)
    }

    /// What an app refused last on a port.
    pub fn refused(&self, name: &CodespaceName, port: Port) -> Option<(Refusal, Note)> {
        let all = self.0.lock();
        let newest = all.get(name)?.of_apps.iter().rev().find(|note| note.port == Some(port))?;
        match newest.what {
            What::Refused(refusal) => Some((refusal, newest.clone())),
            What::Trouble(_) | What::Denied(_) => None,
        }
    }

    /// Forgets what an app refused on a port whose settings are others now.
    pub fn forget(&self, name: &CodespaceName, port: Port) {
        if let Some(notes) = self.0.lock().get_mut(name) {
            notes
                .of_apps
                .retain(|note| note.port != Some(port) || !matches!(note.what, What::Refused(_)));
        }
    }
}

impl Notes {
    /// When the last one was written.
    fn latest(&self) -> Option<OffsetDateTime> {
        let last = |list: &VecDeque<Note>| list.back().map(|note| note.at);
        last(&self.of_apps).max(last(&self.denials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(second: i64, trace: &str, what: What) -> Note {
        Note {
            at: OffsetDateTime::from_unix_timestamp(second).expect("a time"),
            trace: trace.into(),
            port: Port::new(3000),
            method: "GET".into(),
            path: "/".into(),
            what,
        }
    }

    #[test]
    fn it_is_bounded_and_strangers_push_nothing_out() {
        let memory = Memory::default();
        let name: CodespaceName = "amber-x".parse().expect("a name");
        memory.note(&name, note(0, "first", What::Trouble(Trouble::BrokeOff)));
        for second in 1..200 {
            memory.note(&name, note(second, "knock", What::Denied("sign-in")));
        }
        let notes = memory.of(&name);
        assert_eq!(notes.len(), NOTES + 1);
        assert_eq!((notes[0].at.unix_timestamp(), notes[NOTES].trace.as_str()), (199, "first"));
        for number in 0..=CODESPACES {
            let other = format!("other-x{number}").parse().expect("a name");
            memory.note(
                &other,
                note(1000 + i64::try_from(number).expect("few"), "t", What::Denied("sign-in")),
            );
        }
        assert!(memory.of(&name).is_empty(), "the one that was quiet for longest is forgotten");
        assert!(memory.0.lock().len() <= CODESPACES);
    }

    #[test]
    fn an_exchange_is_found_by_those_who_may_know() {
        let memory = Memory::default();
        let [mine, other] = ["amber-x", "bronze-x"].map(|name| name.parse::<CodespaceName>().expect("a name"));
        memory.note(&mine, note(1, "t1", What::Refused(Refusal::ViteHost)));
        memory.note(&other, note(2, "t1", What::Trouble(Trouble::BrokeOff)));
        let (name, found) = memory.find("t1", |name| *name == mine).expect("noted");
        assert_eq!((name, found.what), (mine.clone(), What::Refused(Refusal::ViteHost)));
        assert!(memory.find("t1", |_| false).is_none());
        assert!(memory.find("t2", |_| true).is_none());
        let port = Port::new(3000).expect("a port");
        assert!(memory.refused(&mine, port).is_some());
        memory.forget(&mine, port);
        assert!(memory.refused(&mine, port).is_none());
    }
}
