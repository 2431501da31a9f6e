//! When a codespace that nobody uses is deleted: announced first, and later if it has work that is nowhere else.

use time::OffsetDateTime;

use super::Rules;
use crate::domain::{Phase, Work};

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Unused {
    pub phase: Phase,
    pub last_used_at: OffsetDateTime,
    /// Whether the repository was checked out once: there is nothing to lose before that.
    pub prepared: bool,
    /// What only it has; none if nobody could tell.
    pub work: Option<Work>,
    /// When its deletion was announced, if it was since its last use.
    pub announced_at: Option<OffsetDateTime>,
}

/// What the rule says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retention {
    /// It stays for now.
    Keep,
    /// Its people have to be told that it goes.
    Announce,
    /// They were told; it goes then.
    Announced(OffsetDateTime),
    Delete,
}

/// Applies the rule. Whatever the operator sets, nothing goes before its notice has run.
pub fn retention(codespace: Unused, rules: &Rules, now: OffsetDateTime) -> Retention {
    let rests = matches!(codespace.phase, Phase::Stopped | Phase::Failed);
    let Some(kept) = rules.retention.filter(|_| rests) else {
        return Retention::Keep;
    };
    let saved = !codespace.prepared || codespace.work == Some(Work::default());
    let kept = if saved { kept } else { kept + rules.unsaved_grace };
    let due = codespace.last_used_at + kept;
    match codespace.announced_at {
        None if now + rules.notice < due => Retention::Keep,
        None => Retention::Announce,
        Some(told) => match due.max(told + rules.notice) {
            over if over <= now => Retention::Delete,
            over => Retention::Announced(over),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * 24 * 3600)
    }

    #[test]
    fn announced_then_deleted_and_later_with_work() {
        let rules = Rules {
            retention: Some(days(30)),
            ..Rules::default()
        };
        let nothing = Unused {
            phase: Phase::Stopped,
            last_used_at: START,
            prepared: true,
            work: Some(Work::default()),
            announced_at: None,
        };
        #[track_caller]
        fn check(codespace: Unused, rules: &Rules, day: u64, expected: Retention) {
            assert_eq!(retention(codespace, rules, START + days(day)), expected, "{codespace:?}");
        }
        use Retention::{Announce, Announced, Delete, Keep};
        check(nothing, &rules, 22, Keep);
        check(nothing, &rules, 23, Announce);
        // Nobody looked for long, or the operator has just set it: the notice runs from when it was given.
        check(nothing, &rules, 400, Announce);
        let told = |day| Unused {
            announced_at: Some(START + days(day)),
            ..nothing
        };
        check(told(23), &rules, 29, Announced(START + days(30)));
        check(told(23), &rules, 30, Delete);
        check(told(400), &rules, 401, Announced(START + days(407)));
        check(told(400), &rules, 407, Delete);
        for work in [
            None,
            Some(Work {
                uncommitted_files: 1,
                unpushed_commits: 0,
            }),
        ] {
            let unsaved = Unused { work, ..told(112) };
            check(
                Unused {
                    announced_at: None,
                    ..unsaved
                },
                &rules,
                112,
                Keep,
            );
            check(unsaved, &rules, 119, Announced(START + days(120)));
            check(unsaved, &rules, 120, Delete);
            // Before its first checkout there is nothing to lose.
            check(
                Unused {
                    prepared: false,
                    announced_at: None,
                    ..unsaved
                },
                &rules,
                23,
                Announce,
            );
        }
        for phase in [Phase::Running, Phase::Starting, Phase::Creating, Phase::Stopping, Phase::Deleting] {
            check(Unused { phase, ..told(23) }, &rules, 400, Keep);
        }
        check(
            Unused {
                phase: Phase::Failed,
                ..told(23)
            },
            &rules,
            400,
            Delete,
        );
        check(told(23), &Rules::default(), 400, Keep);
    }
}
