//! What of a file is not heeded, told to whoever wrote it: nothing is dropped in silence.

use serde::{Deserialize, Serialize};

use super::ports::cut;

/// Most notices that are kept of one file.
const MAX_NOTICES: usize = 48;
/// Longest key in bytes.
const MAX_KEY: usize = 120;
/// Longest reason in bytes.
const MAX_REASON: usize = 400;

/// A key that is not heeded, or not as it is written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Notice {
    /// The key, as `build.cacheFrom`.
    pub key: String,
    /// Why, and what to do instead.
    pub reason: String,
}

/// Notices as they are collected, each once.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Notices(Vec<Notice>);

impl Notices {
    /// Notes a key and why; both are cut to what is kept, and what controls a terminal is taken out.
    pub fn note(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        let (mut key, mut reason) = (key.into(), reason.into());
        cut(&mut key, MAX_KEY);
        cut(&mut reason, MAX_REASON);
        let notice = Notice { key, reason };
        if self.0.len() < MAX_NOTICES && !self.0.contains(&notice) {
            self.0.push(notice);
        }
    }

    /// Takes over others.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Notice>) {
        for Notice { key, reason } in others {
            self.note(key, reason);
        }
    }

    /// The same within bounds; whoever takes it from an agent does so first.
    #[must_use]
    pub fn bounded(self) -> Self {
        let mut bounded = Self::default();
        bounded.extend(self.0);
        bounded
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Notice> {
        self.0.iter()
    }
}

impl IntoIterator for Notices {
    type Item = Notice;
    type IntoIter = std::vec::IntoIter<Notice>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Notices {
    type Item = &'a Notice;
    type IntoIter = std::slice::Iter<'a, Notice>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_few_and_short() {
        let mut notices = Notices::default();
        notices.note("k\u{1b}[31m".repeat(99), "r".repeat(9999));
        notices.note("same", "reason");
        notices.note("same", "reason");
        assert_eq!(notices.iter().count(), 2);
        (0..999).for_each(|at| notices.note(format!("key{at}"), ""));
        assert_eq!(notices.iter().count(), MAX_NOTICES);
        let first = notices.iter().next().expect("one");
        assert!(first.key.len() <= MAX_KEY && first.reason.len() <= MAX_REASON && !first.key.contains('\u{1b}'));
    }
}
