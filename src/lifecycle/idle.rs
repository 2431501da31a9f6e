//! When a codespace stops by itself, and what keeps it awake.

use std::{collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

use super::Rules;

/// What counts as use of a codespace. A silent open socket is none of these.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Activity {
    TerminalOutput,
    TerminalInput,
    FileChange,
    Exec,
    /// A shell or a copy over `portico codespace ssh` or `cp`.
    Ssh,
    /// Editor traffic that the user caused.
    Editor,
    /// Requests to its ports, where its owner said that they count.
    Traffic,
    /// Somebody pressed "Keep it awake" in the editor.
    Kept,
    /// A start, a change of its settings, or somebody who said that it is needed.
    Request,
}

impl Activity {
    /// How many kinds there are.
    pub const KINDS: usize = Self::Request as usize + 1;
}

/// When each kind of use was seen last.
pub type Used = BTreeMap<Activity, OffsetDateTime>;

/// A process inside that asked to keep its codespace awake for as long as it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    pub id: String,
    pub pid: u32,
    /// The process by its name or its command.
    pub what: String,
    pub since: OffsetDateTime,
    /// When it ends even if the process does not.
    pub until: OffsetDateTime,
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub used: &'a Used,
    pub leases: &'a [Lease],
    /// When the latest lease ended that is no more.
    pub leased_until: Option<OffsetDateTime>,
    pub started_at: Option<OffsetDateTime>,
    /// So long after its latest use it is idle.
    pub timeout: Duration,
}

/// What the rule says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Idle {
    /// When it stops if nothing happens until then.
    pub at: OffsetDateTime,
    /// Why it will stop then.
    pub end: End,
    /// When its people are warned of that.
    pub warn_at: OffsetDateTime,
    /// Whether that is now.
    pub soon: bool,
    /// What keeps it awake, in plain words, the latest first.
    pub awake_because: Vec<String>,
}

/// Why a codespace stops by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Nobody used it.
    Idle,
    /// It ran for as long as the operator allows; nothing puts that off.
    Lifetime,
}

impl Activity {
    /// It in plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::TerminalOutput => "output in a terminal",
            Self::TerminalInput => "typing in a terminal",
            Self::FileChange => "changed files",
            Self::Exec => "a command that was run",
            Self::Ssh => "a shell or a copy (portico codespace ssh, cp)",
            Self::Editor => "use of the editor",
            Self::Traffic => "requests to its ports",
            Self::Kept => "“Keep it awake” was pressed in the editor",
            Self::Request => "it was started, changed or asked for",
        }
    }
}

impl Lease {
    /// It in plain words.
    pub fn words(&self) -> String {
        format!("{} (process {}) keeps it awake", self.what, self.pid)
    }
}

/// Applies the idle rule: so long after the latest use, and a warning's time after the last lease, it is idle; and after
/// its lifetime it stops in any case.
pub fn idle(facts: Facts<'_>, rules: &Rules, now: OffsetDateTime) -> Idle {
    let latest = facts.used.values().max().copied().unwrap_or(now);
    let warning = rules.warning.min(facts.timeout / 2);
    let leased = facts.leases.iter().map(|lease| lease.until).chain(facts.leased_until).max();
    let unused = (latest + facts.timeout).max(leased.map_or(latest, |until| until + warning));
    let lifetime = facts.started_at.zip(rules.max_lifetime).map(|(since, most)| since + most);
    let (at, end) = match lifetime {
        Some(over) if over <= unused => (over, End::Lifetime),
        _ => (unused, End::Idle),
    };
    let mut recent: Vec<_> = facts.used.iter().filter(|(_, at)| now - **at < facts.timeout).collect();
    recent.sort_by(|a, b| b.1.cmp(a.1));
    let leases = facts.leases.iter().map(Lease::words);
    Idle {
        at,
        end,
        warn_at: at - warning,
        soon: at - now <= warning,
        awake_because: leases.chain(recent.into_iter().map(|(kind, _)| kind.words().to_owned())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    fn facts(used: &Used) -> Facts<'_> {
        Facts {
            used,
            leases: &[],
            leased_until: None,
            started_at: Some(START),
            timeout: minutes(30),
        }
    }

    #[test]
    fn the_latest_use_counts() {
        let used = Used::from([(Activity::Request, START), (Activity::TerminalOutput, START + minutes(10))]);
        let rule = |now| idle(facts(&used), &Rules::default(), START + minutes(now));
        let soon = rule(20);
        assert_eq!(soon.at, START + minutes(40));
        assert_eq!(soon.awake_because, ["output in a terminal", "it was started, changed or asked for"]);
        let later = rule(35);
        assert_eq!(later.awake_because, ["output in a terminal"]);
        let over = rule(40);
        assert!(over.awake_because.is_empty() && over.at <= START + minutes(40));
    }

    #[test]
    fn warned_before_the_end_and_not_sooner_than_half_way() {
        let used = Used::from([(Activity::Request, START)]);
        let soon = |timeout, now| {
            let facts = Facts {
                timeout: minutes(timeout),
                ..facts(&used)
            };
            idle(facts, &Rules::default(), START + minutes(now)).soon
        };
        assert_eq!([soon(30, 24), soon(30, 25), soon(30, 29)], [false, true, true]);
        assert_eq!([soon(5, 2), soon(5, 3)], [false, true]);
    }

    #[test]
    fn a_lease_keeps_it_awake_and_leaves_time_for_a_warning() {
        let used = Used::from([(Activity::Request, START)]);
        let lease = Lease {
            id: "1".into(),
            pid: 42,
            what: "cargo".into(),
            since: START,
            until: START + minutes(360),
        };
        let leases = [lease];
        let held = Facts {
            leases: &leases,
            ..facts(&used)
        };
        let rule = idle(held, &Rules::default(), START + minutes(100));
        assert_eq!((rule.at, rule.soon), (START + minutes(365), false));
        assert_eq!(rule.awake_because, ["cargo (process 42) keeps it awake"]);
        let ended = Facts {
            leased_until: Some(START + minutes(101)),
            ..facts(&used)
        };
        let rule = idle(ended, &Rules::default(), START + minutes(101));
        assert_eq!((rule.at, rule.soon, rule.end), (START + minutes(106), true, End::Idle));
        // One that ended long before the latest use changes nothing.
        let early = Facts {
            leased_until: Some(START + minutes(1)),
            ..facts(&used)
        };
        assert_eq!(idle(early, &Rules::default(), START).at, START + minutes(30));
    }

    #[test]
    fn a_lifetime_ends_whatever_happens() {
        let used = Used::from([(Activity::Editor, START + minutes(110))]);
        let rules = Rules {
            max_lifetime: Some(minutes(120)),
            ..Rules::default()
        };
        let rule = idle(facts(&used), &rules, START + minutes(116));
        assert_eq!((rule.at, rule.end, rule.soon), (START + minutes(120), End::Lifetime, true));
        let idle_first = Used::from([(Activity::Editor, START + minutes(80))]);
        let rule = idle(facts(&idle_first), &rules, START + minutes(81));
        assert_eq!((rule.at, rule.end), (START + minutes(110), End::Idle));
    }
}
