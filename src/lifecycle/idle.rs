//! When a codespace is idle, and what keeps it awake.

use std::{collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

/// What counts as use of a codespace. A silent open socket is none of these.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Activity {
    TerminalOutput,
    TerminalInput,
    FileChange,
    Exec,
    /// Editor traffic that the user caused.
    Editor,
    /// A start, or a change of its settings.
    Request,
}

/// When each kind of use was seen last.
pub type Used = BTreeMap<Activity, OffsetDateTime>;

/// What the rule says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Idle {
    /// When it stops if nothing happens until then.
    pub at: OffsetDateTime,
    /// What keeps it awake, in plain words, the latest first.
    pub awake_because: Vec<String>,
}

impl Activity {
    /// It in plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::TerminalOutput => "output in a terminal",
            Self::TerminalInput => "typing in a terminal",
            Self::FileChange => "changed files",
            Self::Exec => "a command that was run",
            Self::Editor => "use of the editor",
            Self::Request => "it was started or changed",
        }
    }
}

/// Applies the idle rule: so long after the latest use, it is idle.
pub fn idle(used: &Used, timeout: Duration, now: OffsetDateTime) -> Idle {
    let latest = used.values().max().copied().unwrap_or(now);
    let mut recent: Vec<_> = used.iter().filter(|(_, at)| now - **at < timeout).collect();
    recent.sort_by(|a, b| b.1.cmp(a.1));
    Idle {
        at: latest + timeout,
        awake_because: recent.into_iter().map(|(kind, _)| kind.words().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn the_latest_use_counts() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let timeout = minutes(30);
        let used = Used::from([(Activity::Request, start), (Activity::TerminalOutput, start + minutes(10))]);
        let soon = idle(&used, timeout, start + minutes(20));
        assert_eq!(soon.at, start + minutes(40));
        assert_eq!(soon.awake_because, ["output in a terminal", "it was started or changed"]);
        let later = idle(&used, timeout, start + minutes(35));
        assert_eq!(later.awake_because, ["output in a terminal"]);
        let over = idle(&used, timeout, start + minutes(40));
        assert!(over.awake_because.is_empty() && over.at <= start + minutes(40));
    }
}
