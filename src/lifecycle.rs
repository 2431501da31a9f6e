//! From (phase, event, time) to the next phase: decisions alone.
//!
//! Owns the rules by which codespaces start, stop, fail, come back, idle and are forgotten. Pure: refuses to know runtimes,
//! stores, clocks.
//!
//! ```text
//!            start                prepared
//!   (new) ─────────▶ creating ───────────────▶ running ◀──────────┐
//!                      │ │                      │   │   connected │
//!          clone fails │ └──── agent lost ─▶┐   │   └─ lost ─▶ starting ◀─ start, wake ─┐
//!        launch fails  ▼                    │   │ stop, idle,     │ stop                │
//!                    failed ◀─ 5 losses in 5 min┤ lifetime        ▼                     │
//!                      │ start: creating, or    └──────────▶ stopping ────▶ stopped ────┘
//!                      ▼ starting once prepared                 └─ start: again once stopped
//!   delete, from any phase; retention, from stopped and failed ─▶ deleting ─────▶ (removed)
//!
//!   running:  used ──▶ awake ── warning before the timeout ──▶ warned ── timeout ──▶ stop
//!                ▲──────── use, a lease, "keep it awake" ────────┘
//!   stopped:  kept ── notice before the retention ──▶ announced ── retention ──▶ delete
//!                ▲──────────────── start, "keep it" ────────────────┘
//! ```

mod idle;
mod retention;
mod rules;

use time::{Duration, OffsetDateTime};

pub use idle::{Activity, End, Facts, Idle, Lease, Used, idle};
pub use retention::{Retention, Unused, retention};
pub use rules::Rules;

use crate::domain::Phase;

/// Within this time [`MAX_LOSSES`] lost agents are too many.
const LOSS_WINDOW: Duration = Duration::minutes(5);
const MAX_LOSSES: usize = 5;

/// What the rules look at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Situation {
    /// Whether the repository was checked out once.
    pub prepared: bool,
    /// Whether it was asked to start while it was stopping.
    pub start_again: bool,
    /// When agents were lost lately.
    pub losses: Vec<OffsetDateTime>,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Someone wants it to run.
    Start,
    /// It shall stop, for this reason.
    Stop(String),
    Delete,
    /// Its agent is connected.
    Connected,
    /// The repository is checked out.
    Prepared,
    /// The repository is checked out and says what its container is to be.
    Awaits,
    /// Someone wants its container made anew.
    Rebuild,
    /// The repository cannot be checked out, for this reason.
    CloneFailed(String),
    /// The runtime could not start it, for this reason.
    LaunchFailed(String),
    /// Its agent ended by itself, or never came; why, where that is known.
    Lost(Option<String>),
    /// The runtime stopped it.
    Stopped,
    /// The runtime could not stop it, for this reason.
    StopFailed(String),
    /// The runtime removed it.
    Deleted,
    /// The runtime could not remove it, for this reason.
    DeleteFailed(String),
}

/// What to do about it, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Start a new generation after this many seconds.
    Launch { after: u64 },
    /// End the agent and everything that it started.
    StopInstance,
    /// Remove every process and file of an attempt that failed.
    Undo,
    /// Remove everything.
    Delete,
    /// Forget the codespace.
    Forget,
}

/// What follows from an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transition {
    pub phase: Phase,
    /// Why, in plain words, where there is a reason to give.
    pub reason: Option<String>,
    pub effects: Vec<Effect>,
}

impl Transition {
    fn to(phase: Phase) -> Self {
        Self {
            phase,
            reason: None,
            effects: Vec::new(),
        }
    }

    fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

/// Decides what follows; none if nothing changes.
pub fn decide(phase: Phase, situation: &mut Situation, event: Event, now: OffsetDateTime) -> Option<Transition> {
    use Phase::{Creating, Deleting, Failed, Running, Starting, Stopped, Stopping};
    let transition = match (phase, event) {
        (Deleting, Event::Deleted) => Transition::to(Deleting).and(Effect::Forget),
        (Deleting, Event::DeleteFailed(why)) => Transition::to(Failed).because(why),
        (Deleting, _) => return None,
        (_, Event::Delete) => Transition::to(Deleting).and(Effect::Delete),
        (Stopped | Failed, Event::Start) => {
            situation.losses.clear();
            Transition::to(beginning(situation)).and(Effect::Launch { after: 0 })
        }
        (Stopping, Event::Start) => {
            situation.start_again = true;
            return None;
        }
        (Creating | Starting | Running, Event::Stop(why)) => Transition::to(Stopping).because(why).and(Effect::StopInstance),
        (Stopping, Event::Stop(_)) => {
            situation.start_again = false;
            return None;
        }
        (Stopping, Event::Stopped) if std::mem::take(&mut situation.start_again) => {
            Transition::to(beginning(situation)).and(Effect::Launch { after: 0 })
        }
        (Stopping, Event::Stopped) => Transition::to(Stopped),
        (Stopping, Event::StopFailed(why)) => Transition::to(Failed).because(why),
        (Creating | Starting, Event::Connected) if situation.prepared => Transition::to(Running),
        (Creating | Starting, Event::Prepared) => Transition::to(Running),
        // Its agent has done its part and waits.
        (Creating | Starting | Running, Event::Awaits) => Transition::to(Creating).and(Effect::Launch { after: 0 }),
        (Running | Stopped | Failed, Event::Rebuild) => {
            situation.losses.clear();
            Transition::to(beginning(situation)).and(Effect::Launch { after: 0 })
        }
        (Stopping, Event::Rebuild) => {
            situation.start_again = true;
            return None;
        }
        (Creating | Starting, Event::CloneFailed(why) | Event::LaunchFailed(why)) => give_up(situation, why),
        (Creating | Starting | Running, Event::Lost(why)) => lost(situation, why, now),
        _ => return None,
    };
    Some(transition)
}

fn beginning(situation: &Situation) -> Phase {
    if situation.prepared { Phase::Starting } else { Phase::Creating }
}

/// Fails; what was never prepared leaves nothing behind.
fn give_up(situation: &Situation, why: String) -> Transition {
    let effect = if situation.prepared { Effect::StopInstance } else { Effect::Undo };
    Transition::to(Phase::Failed).because(why).and(effect)
}

/// Starts anew, a little later each time, and gives up when it happens too often.
fn lost(situation: &mut Situation, why: Option<String>, now: OffsetDateTime) -> Transition {
    situation.losses.retain(|at| now - *at < LOSS_WINDOW);
    situation.losses.push(now);
    let losses = situation.losses.len();
    if losses >= MAX_LOSSES {
        let last = why.map(|why| format!(" The last time {why}.")).unwrap_or_default();
        let why = format!("it ended by itself five times in five minutes.{last} Look at its log, then start it again");
        return give_up(situation, why);
    }
    let after = [0, 1, 2, 4].get(losses - 1).copied().unwrap_or(8);
    Transition::to(beginning(situation))
        .because(why.unwrap_or_else(|| "its agent ended by itself and is being started again".into()))
        .and(Effect::Launch { after })
}

#[cfg(test)]
mod tests;
