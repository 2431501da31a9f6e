//! How long a codespace goes on by itself: leases, the idle rule, and what is forgotten.

use time::{Duration, OffsetDateTime};

use super::{Reply, Task};
use crate::{
    audit::Actor,
    codespace::{CodespaceError, retiring::unused},
    domain::Phase,
    lifecycle::{Activity, End, Event, Facts, Lease, Retention, idle, retention},
    protocol::tunnel::{HeldLease, Stopping},
};

/// A program may take very many leases; one event tells of all within this time.
const AUDIT_EVERY: Duration = Duration::minutes(10);

impl Task {
    /// Takes what the agent says of leases: their bounds are ours, counted from when each was heard of first.
    pub(super) fn hear_leases(&mut self, held: Vec<HeldLease>) {
        let clock = self.inner.deps.clock.now();
        let most = clock + self.inner.deps.rules.max_lease;
        let before = std::mem::take(&mut self.now.leases);
        for told in held {
            let known = before.iter().find(|lease| lease.id == told.id);
            if told.inside && known.is_none() {
                let (actor, target) = (self.agent(), self.shared.name.to_string());
                let audit = &self.inner.deps.audit;
                audit.record_once_in(AUDIT_EVERY, "codespace.lease-taken", &actor, target, "by a program inside");
            }
            let until = OffsetDateTime::from_unix_timestamp(told.until).unwrap_or(clock);
            let lease = known.cloned().unwrap_or(Lease {
                id: told.id,
                pid: told.pid,
                what: told.what,
                since: clock,
                until: until.min(most),
            });
            self.now.leases.push(lease);
        }
        if before.iter().any(|lease| !self.now.leases.contains(lease)) {
            self.leased_until = Some(clock);
        }
    }

    /// Why it was started again by itself, after an event: a person's own start, stop or rebuild ends the story.
    pub(super) fn restarted(&self, event: &Event) -> Option<String> {
        let away = || {
            self.now
                .away_because
                .as_ref()
                .map(|_| "what it runs on was out of reach, and it had ended meanwhile".to_owned())
        };
        match event {
            Event::Lost(why) => why.clone().or_else(away).or_else(|| Some("its agent ended by itself".to_owned())),
            Event::Connected | Event::Prepared | Event::Awaits => self.now.restarted_because.clone(),
            _ => None,
        }
    }

    /// Forgets all leases, with what held them.
    pub(super) fn end_leases(&mut self) {
        self.now.leases.clear();
        self.leased_until = None;
    }

    /// Applies the idle rule.
    pub(super) async fn idle(&mut self, clock: OffsetDateTime) {
        let rules = self.inner.deps.rules;
        let over = self
            .now
            .leases
            .iter()
            .filter(|lease| lease.until <= clock)
            .map(|lease| lease.until)
            .max();
        if over.is_some() {
            self.now.leases.retain(|lease| lease.until > clock);
            self.leased_until = over;
        }
        let minutes = self.now.record.idle_timeout_minutes;
        let facts = Facts {
            used: &self.used,
            leases: &self.now.leases,
            leased_until: self.leased_until,
            started_at: self.now.record.started_at,
            timeout: rules.idle_minute * u32::from(minutes),
        };
        let rule = idle(facts, &rules, clock);
        // A machine of one's own is nobody's to stop.
        let runs = self.now.record.phase == Phase::Running && !self.now.is_own_machine();
        let told = (self.now.stops_soon, self.now.stops_anyway);
        self.warn_at = None;
        (self.now.idle_at, self.now.awake_because, self.now.stops_soon) = (None, Vec::new(), false);
        self.now.stops_anyway = runs && rule.end == End::Lifetime;
        if runs {
            self.warn_at = Some(rule.warn_at).filter(|at| *at > clock);
            (self.now.idle_at, self.now.awake_because, self.now.stops_soon) = (Some(rule.at), rule.awake_because, rule.soon);
        }
        if runs && rule.at <= clock {
            let why = match rule.end {
                End::Idle => format!("nobody used it for {minutes} minutes"),
                End::Lifetime => "it ran for as long as the operator lets one run (codespaces.max_lifetime)".to_owned(),
            };
            self.say(&Actor::gateway(), "codespace.stopped", &why);
            self.apply_quietly(Event::Stop(why)).await;
        } else if told != (self.now.stops_soon, self.now.stops_anyway) {
            self.publish();
        }
        self.warn(clock);
    }

    /// Takes a warning back: it ends now, and for another reason.
    pub(super) fn call_off(&mut self) {
        self.now.stops_soon = false;
        self.warn(self.inner.deps.clock.now());
    }

    /// Tells the agent whether it is about to stop, where it does not know.
    fn warn(&mut self, clock: OffsetDateTime) {
        let soon = self
            .now
            .idle_at
            .filter(|_| self.now.stops_soon)
            .map(|at| (at, self.now.stops_anyway));
        let Some(link) = self.link.filter(|_| soon != self.warned) else {
            return;
        };
        self.warned = soon;
        let stopping = soon.map(|(at, anyway)| Stopping {
            after: u64::try_from((at - clock).whole_milliseconds()).unwrap_or(0),
            anyway,
        });
        self.inner.deps.tunnels.warn(&self.shared.name, link, stopping);
    }

    /// Says that it is needed: it goes on, and is not forgotten.
    pub(super) async fn keep(&mut self) -> Result<(), CodespaceError> {
        if self.now.record.phase == Phase::Deleting {
            return Err(CodespaceError::Deleting);
        }
        self.touch(Activity::Request).await;
        self.publish();
        Ok(())
    }

    /// Announces that it will be deleted because nobody uses it, or deletes it, if that is due.
    pub(super) async fn retire(&mut self, reply: Reply<()>) {
        let (clock, rules) = (self.inner.deps.clock.now(), self.inner.deps.rules);
        let days = |duration: std::time::Duration| duration.as_secs() / (24 * 3600);
        match retention(unused(&self.now.record), &rules, clock) {
            Retention::Keep | Retention::Announced(_) => drop(reply.send(Ok(()))),
            Retention::Announce => {
                self.now.record.announced_at = Some(clock);
                let stored = self.store().await;
                let unused = days((clock - self.now.record.last_used_at).unsigned_abs());
                self.say(
                    &Actor::gateway(),
                    "codespace.announced",
                    &format!("to be deleted: unused for {unused} days"),
                );
                self.publish();
                drop(reply.send(stored.map_err(CodespaceError::from)));
            }
            Retention::Delete => {
                let unused = days((clock - self.now.record.last_used_at).unsigned_abs());
                self.say(&Actor::gateway(), "codespace.expired", &format!("unused for {unused} days"));
                self.delete(&Actor::gateway(), reply).await;
            }
        }
    }
}
