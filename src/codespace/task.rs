//! The task of one codespace: it alone changes the codespace, one event after the other.

mod agent;
mod life;
mod orders;
mod ports;
mod shares;
mod steps;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::orders::{Order, Reply};
use super::{
    CodespaceEvent, Inner, Snapshot,
    launch::{Job, Note},
    snapshot::Shared,
};
use crate::{
    audit::Actor,
    auth::hash_secret,
    domain::{Phase, Step, StepName, StepState, Visibility},
    lifecycle::{Activity, Effect, Event, Situation, Used, decide},
    protocol::{bootstrap::Secret, tunnel::ListeningPort},
    runtime::{InstanceState, Making},
    store::StoreError,
    tunnel::{AgentEvent, Client},
};

/// How soon after a lost connection the runtime is asked whether the agent lives: time to reconnect.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How often it is asked while the agent is not connected.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// How long a started agent may take to connect.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
/// How often deadlines and idleness are looked at, whatever else happens.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How old `last_used_at` may be in the store.
const USED_PRECISION: time::Duration = time::Duration::seconds(60);

/// The way to a codespace's task.
#[derive(Clone)]
pub struct Desk {
    pub orders: mpsc::Sender<Order>,
    pub touches: mpsc::Sender<Activity>,
    pub touched: Touched,
    pub agent: mpsc::Sender<AgentEvent>,
}

/// When each kind of use was told of last: an editor has many requests in a second, and each would wake the task.
#[derive(Clone, Debug, Default)]
pub struct Touched([Option<std::time::Instant>; Activity::KINDS]);

impl Touched {
    const OFTEN_ENOUGH: Duration = Duration::from_secs(1);

    /// Whether this is to be told; notes that it was.
    pub fn is_new(&mut self, kind: Activity, now: std::time::Instant) -> bool {
        let Some(last) = self.0.get_mut(kind as usize) else { return true };
        let is_new = last.is_none_or(|last| now.saturating_duration_since(last) >= Self::OFTEN_ENOUGH);
        if is_new {
            *last = Some(now);
        }
        is_new
    }
}

/// The other ends of its channels.
pub struct Inbox {
    orders: mpsc::Receiver<Order>,
    touches: mpsc::Receiver<Activity>,
    agent: mpsc::Receiver<AgentEvent>,
}

/// The codespace as its task holds it.
pub struct Task {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    now: Snapshot,
    situation: Situation,
    used: Used,
    /// Jobs run one at a time, in order.
    waiting: VecDeque<Effect>,
    notes: (mpsc::Sender<Note>, mpsc::Receiver<Note>),
    busy: bool,
    launch_at: Option<Instant>,
    /// Whether an agent said that its checkout is done and waits for another container.
    checked_out: bool,
    /// What the next launch makes of the container.
    making: Making,
    /// Ends the launch that runs, so that nobody waits for an image that nobody wants any more.
    launching: CancellationToken,
    /// When to ask the runtime whether the agent lives; none while it is connected or nothing runs.
    look_at: Option<Instant>,
    /// Until when a started agent must have connected.
    connect_by: Option<Instant>,
    link: Option<u64>,
    /// Where its agent came from last.
    client: Client,
    /// What listens, also what is not shown.
    listening: Vec<ListeningPort>,
    /// When its agent was last told a fresh credential.
    renewed_at: Option<Instant>,
    /// When it is told the next one.
    renew_at: Option<Instant>,
    /// Who waits for the end of the codespace.
    deleting: Vec<Reply<()>>,
    stored_use: OffsetDateTime,
    /// When the latest lease ended that is no more.
    leased_until: Option<OffsetDateTime>,
    /// When its people will be told that it stops soon.
    warn_at: Option<OffsetDateTime>,
    /// The stop that the agent was told of, and whether nothing puts it off.
    warned: Option<(OffsetDateTime, bool)>,
    /// When the next share link ends by itself.
    next_share_end: Option<OffsetDateTime>,
    forgotten: bool,
}

impl Inbox {
    /// Makes it with the way to it.
    pub fn new() -> (Desk, Self) {
        let ((orders, to_obey), (touches, to_note), (agent, to_hear)) = (mpsc::channel(64), mpsc::channel(64), mpsc::channel(64));
        let desk = Desk {
            orders,
            touches,
            touched: Touched::default(),
            agent,
        };
        let inbox = Self {
            orders: to_obey,
            touches: to_note,
            agent: to_hear,
        };
        (desk, inbox)
    }

    /// Whether it is empty, and nobody but the codespace itself has the way to it.
    pub fn is_done(&self) -> bool {
        fn is_done<T>(queue: &mpsc::Receiver<T>) -> bool {
            queue.sender_strong_count() == 1 && queue.is_empty()
        }
        is_done(&self.orders) && is_done(&self.touches) && is_done(&self.agent)
    }
}

impl Task {
    pub fn new(inner: Arc<Inner>, shared: Arc<Shared>) -> Self {
        let now = Snapshot::clone(&shared.snapshot.load());
        let clock = inner.deps.clock.now();
        Self {
            situation: Situation {
                prepared: now.record.prepared,
                ..Situation::default()
            },
            used: Used::from([(Activity::Request, clock)]),
            waiting: VecDeque::new(),
            notes: mpsc::channel(16),
            busy: false,
            launch_at: None,
            checked_out: false,
            making: Making::default(),
            launching: CancellationToken::new(),
            look_at: None,
            connect_by: None,
            link: None,
            client: Client::default(),
            listening: Vec::new(),
            renewed_at: None,
            renew_at: None,
            deleting: Vec::new(),
            stored_use: now.record.last_used_at,
            leased_until: None,
            warn_at: None,
            warned: None,
            next_share_end: None,
            forgotten: false,
            inner,
            shared,
            now,
        }
    }

    /// Runs until the codespace rests or is removed, or the gateway goes.
    pub async fn run(mut self, mut inbox: Inbox) {
        let going = self.inner.going.clone();
        self.resume();
        self.look_after_shares();
        self.publish();
        while !self.forgotten {
            self.work();
            let wake = self.next_wake();
            tokio::select! {
                () = going.cancelled() => break,
                Some(order) = inbox.orders.recv() => self.obey(order).await,
                Some(note) = self.notes.1.recv() => self.take(note).await,
                Some(event) = inbox.agent.recv() => self.hear(event).await,
                Some(kind) = inbox.touches.recv() => self.touch(kind).await,
                () = sleep_until(wake) => self.look().await,
            }
            self.sweep().await;
            if self.renew_at.is_some_and(|at| at <= Instant::now()) {
                self.renew().await;
            }
            if self.rests() && self.shared.clear_desk(&inbox) {
                break;
            }
        }
    }

    /// Whether nothing is under way, and nothing will happen by itself.
    fn rests(&self) -> bool {
        !self.forgotten && !self.busy && self.waiting.is_empty() && self.now.rests()
    }

    /// Takes up what an earlier gateway left.
    fn resume(&mut self) {
        match self.now.record.phase {
            Phase::Stopping => self.waiting.push_back(Effect::StopInstance),
            Phase::Deleting => self.waiting.push_back(Effect::Delete),
            Phase::Stopped | Phase::Failed => {}
            // Made a moment ago, or by a gateway that ended before it could start anything.
            Phase::Creating if self.now.record.agent_hash.is_none() => self.waiting.push_back(Effect::Launch { after: 0 }),
            Phase::Creating | Phase::Starting | Phase::Running => {
                for step in [StepName::Storage, StepName::Agent] {
                    self.set_step(step, StepState::Done, "");
                }
                // A dead agent is seen at once; one that lives comes back by itself.
                self.look_at = Some(Instant::now());
            }
        }
    }

    /// Lets an event take effect.
    async fn apply(&mut self, event: Event) -> Result<(), StoreError> {
        let clock = self.inner.deps.clock.now();
        self.situation.prepared = self.now.record.prepared;
        let restarted = self.restarted(&event);
        // Of a lost one the agent may only have been late.
        let is_lost = matches!(event, Event::Lost(_));
        let decided = decide(self.now.record.phase, &mut self.situation, event, clock);
        let starts_again = std::mem::replace(&mut self.now.starts_again, self.situation.start_again);
        let Some(next) = decided else {
            if starts_again != self.now.starts_again {
                self.publish();
            }
            return Ok(());
        };
        let before = std::mem::replace(&mut self.now.record.phase, next.phase);
        if !matches!((before, next.phase), (Phase::Stopping, Phase::Stopped)) {
            self.now.record.reason = next.reason;
        }
        let stopped = matches!(next.phase, Phase::Stopping | Phase::Stopped | Phase::Failed);
        if matches!(next.phase, Phase::Stopped | Phase::Failed) {
            self.now.record.started_at = None;
        }
        let begins = !is_lost && next.effects.iter().any(|effect| matches!(effect, Effect::Launch { .. }));
        if begins || matches!(next.phase, Phase::Stopped | Phase::Failed) {
            self.inner.credentials.end(&self.shared.name);
        }
        self.now.stopped_because = if stopped { self.now.record.reason.clone() } else { None };
        let goes_on = matches!(next.phase, Phase::Creating | Phase::Starting | Phase::Running);
        (self.now.restarted_because, self.now.away_because) = (restarted.filter(|_| goes_on), None);
        if next.phase != Phase::Running {
            self.disconnect();
            self.end_leases();
            self.now.out_of_memory = None;
            (self.look_at, self.connect_by, self.launch_at) = (None, None, None);
        }
        if matches!(next.phase, Phase::Stopping | Phase::Deleting) {
            self.launching.cancel();
        }
        tracing::info!(codespace = %self.shared.name, from = %before, to = %next.phase, reason = self.now.record.reason, "codespace changes");
        self.waiting.extend(next.effects);
        let stored = self.store().await;
        self.publish();
        stored
    }

    /// As [`Task::apply`], where nobody waits for the store.
    async fn apply_quietly(&mut self, event: Event) {
        if let Err(error) = self.apply(event).await {
            tracing::error!(codespace = %self.shared.name, %error, "a change was not stored");
        }
    }

    /// Begins the next job, if none runs.
    fn work(&mut self) {
        while !self.busy {
            let Some(effect) = self.waiting.pop_front() else { return };
            let job = self.job();
            self.busy = true;
            match effect {
                Effect::Launch { after } => {
                    self.busy = false;
                    // It may have been told to stop while this waited for another job.
                    if matches!(self.now.record.phase, Phase::Creating | Phase::Starting) {
                        self.launch_at = Some(Instant::now() + Duration::from_secs(after));
                    }
                }
                Effect::StopInstance => drop(self.inner.tasks.spawn(job.stop())),
                Effect::Undo => drop(self.inner.tasks.spawn(job.undo())),
                Effect::Delete => drop(self.inner.tasks.spawn(job.delete())),
                Effect::Forget => {
                    self.busy = false;
                    self.forgotten = true;
                }
            }
        }
    }

    /// Starts a new generation: from here on only its agent's credential is good.
    async fn launch(&mut self) {
        self.launch_at = None;
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let hash = hash_secret(&secret);
        let record = &mut self.now.record;
        record.generation = record.generation.next();
        record.started_at.get_or_insert(self.inner.deps.clock.now());
        (record.agent_hash, record.agent_next_hash) = (Some(hash), None);
        self.renewed_at = None;
        // What was known of it is old as soon as something runs inside.
        record.work = None;
        self.inner.credentials.add(hash, &record.name, record.generation);
        let making = std::mem::take(&mut self.making);
        self.fresh_steps(making);
        self.launching = CancellationToken::new();
        self.now.configured = Arc::default();
        self.disconnect();
        self.used.insert(Activity::Request, self.inner.deps.clock.now());
        if let Err(error) = self.store().await {
            // Without its generation in the store, the agent could not be told from an older one after a restart.
            tracing::error!(codespace = %self.shared.name, %error, "a start was not stored");
            let why = "the gateway could not write to its store. Try again, or ask the operator";
            return self.apply_quietly(Event::LaunchFailed(why.into())).await;
        }
        self.publish();
        self.busy = true;
        self.connect_by = Some(Instant::now() + CONNECT_PATIENCE);
        let job = self.job();
        self.inner.tasks.spawn(job.launch(Secret(secret), making, self.launching.clone()));
    }

    fn job(&self) -> Job {
        Job {
            deps: Arc::clone(&self.inner.deps),
            runtime: self.inner.runtime_or_default(&self.now.record.runtime),
            record: self.now.record.clone(),
            notes: self.notes.0.clone(),
            log: self.shared.log.clone(),
        }
    }

    /// Takes what a job tells.
    async fn take(&mut self, note: Note) {
        match note {
            Note::Step(name, state, detail) => {
                self.set_step(name, state, &detail);
                self.publish();
            }
            Note::Work(work) => self.now.record.work = Some(work),
            Note::Done(event) => {
                self.busy = false;
                match event {
                    None if matches!(self.now.record.phase, Phase::Creating | Phase::Starting) && !self.now.connected => {
                        // Getting an image takes as long as it takes.
                        self.connect_by = self.connect_by.map(|_| Instant::now() + CONNECT_PATIENCE);
                        self.look_at = Some(Instant::now() + LOOK_INTERVAL);
                    }
                    None => {}
                    Some(event) => self.finish(event).await,
                }
            }
        }
    }

    async fn finish(&mut self, event: Event) {
        if event == Event::Deleted
            && let Err(error) = self.inner.deps.store.remove_codespace(&self.shared.name).await
            && !matches!(error, StoreError::Missing)
        {
            tracing::error!(codespace = %self.shared.name, %error, "a deleted codespace stays in the store");
            let why = "the gateway could not remove it from its store. Delete it again".to_owned();
            self.answer_deleting(Err(why.clone()));
            return self.apply_quietly(Event::DeleteFailed(why)).await;
        }
        match &event {
            Event::Deleted => {
                self.inner.forget(&self.shared);
                self.forgotten = true;
                self.answer_deleting(Ok(()));
            }
            Event::DeleteFailed(why) => {
                self.answer_deleting(Err(why.clone()));
                self.apply_quietly(event).await;
            }
            _ => self.apply_quietly(event).await,
        }
    }

    /// What the clock brings: a start that was put off, a look after the agent.
    async fn look(&mut self) {
        let now = Instant::now();
        if self.busy {
            return;
        }
        if self.launch_at.is_some_and(|at| at <= now) {
            return self.launch().await;
        }
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = Some(now + LOOK_INTERVAL);
        let runtime = self.inner.runtime_or_default(&self.now.record.runtime);
        let late = self.connect_by.is_some_and(|by| by <= now);
        match runtime.state(&self.shared.name).await {
            Ok(InstanceState::Running) if !late => {}
            Ok(_) => {
                self.look_at = None;
                self.connect_by = None;
                let why = runtime.why_ended(&self.shared.name).await;
                self.apply_quietly(Event::Lost(why)).await;
            }
            Err(error) => {
                tracing::warn!(codespace = %self.shared.name, %error, "the runtime cannot say how it is");
                let why = Some(error.to_string());
                if self.now.away_because != why {
                    self.now.away_because = why;
                    self.publish();
                }
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let clock = self.inner.deps.clock.now();
        let deadlines = self.now.ports.values().filter_map(|view| view.settings.expires_at);
        let soonest = deadlines
            .chain(self.next_share_end)
            .chain(self.now.idle_at)
            .chain(self.warn_at)
            .chain(self.now.leases.iter().map(|lease| lease.until))
            .min()
            .map(|at| at - clock);
        let swept = soonest.and_then(|left| Duration::try_from(left.max(time::Duration::milliseconds(5))).ok());
        let sweep = Instant::now() + swept.unwrap_or(SWEEP_INTERVAL).min(SWEEP_INTERVAL);
        // What waits for a job to end is looked at again when it ends.
        let looks = [self.launch_at, self.look_at].into_iter().flatten().filter(|_| !self.busy);
        looks.chain(self.renew_at).fold(sweep, Instant::min)
    }

    /// Ends what is over by now: shares whose deadline passed, and a codespace that nobody uses.
    async fn sweep(&mut self) {
        let clock = self.inner.deps.clock.now();
        let over: Vec<_> = self
            .now
            .ports
            .values()
            .filter(|view| view.settings.expires_at.is_some_and(|at| at <= clock))
            .map(|view| view.settings.clone())
            .collect();
        for mut settings in over {
            (settings.visibility, settings.expires_at) = (Visibility::Private, None);
            settings.beside = settings.beside.filter(|_| !settings.users.is_empty());
            if let Err(error) = self.inner.deps.store.put_port(&settings).await {
                tracing::error!(codespace = %self.shared.name, %error, "the end of a share was not stored");
            }
            let target = format!("{}:{}", settings.codespace, settings.port);
            self.inner
                .deps
                .audit
                .record("port.visibility", &Actor::gateway(), target, "private: its deadline passed");
            if let Some(view) = self.now.ports.get_mut(&settings.port) {
                Arc::make_mut(view).settings = settings;
            }
            self.publish();
        }
        if self.next_share_end.is_some_and(|at| at <= clock) {
            // Whoever came by that link is asked again, and finds that it is over.
            self.look_after_shares();
            self.publish();
        }
        self.idle(clock).await;
        self.refresh();
    }

    async fn touch(&mut self, kind: Activity) {
        let clock = self.inner.deps.clock.now();
        self.used.insert(kind, clock);
        self.now.record.last_used_at = clock;
        let was_announced = self.now.record.announced_at.take().is_some();
        if was_announced || clock - self.stored_use >= USED_PRECISION {
            self.stored_use = clock;
            drop(
                self.store()
                    .await
                    .inspect_err(|error| tracing::warn!(%error, "the latest use was not stored")),
            );
        }
    }

    async fn store(&self) -> Result<(), StoreError> {
        self.inner.deps.store.update_codespace(&self.now.record).await
    }

    /// Shows the present state without telling anyone, for what changes with every byte.
    fn refresh(&self) {
        if **self.shared.snapshot.load() != self.now {
            self.shared.snapshot.store(Arc::new(self.now.clone()));
        }
    }

    /// Shows the present state and tells everyone who watches.
    fn publish(&mut self) {
        self.refresh();
        self.shared.tell();
        if let Some(codespace) = self.inner.find(&self.shared.name) {
            // Nobody may be listening.
            drop(self.inner.events.send(CodespaceEvent::Changed(codespace)));
        }
    }

    fn disconnect(&mut self) {
        self.now.connected = false;
        self.now.editor = None;
        (self.link, self.renew_at) = (None, None);
        self.hear_ports(Vec::new());
    }

    fn fresh_steps(&mut self, making: Making) {
        if making == Making::Checkout {
            // It goes on where the agent left off.
            return self.set_step(StepName::Image, StepState::Pending, "");
        }
        self.shared.log.clear();
        let prepared = self.now.record.prepared;
        let names = [
            StepName::Storage,
            StepName::Agent,
            StepName::Clone,
            StepName::Editor,
            StepName::History,
        ];
        let state = |name| match name {
            StepName::Clone | StepName::History if prepared => StepState::Skipped,
            _ => StepState::Pending,
        };
        self.now.steps = names
            .map(|name| Step {
                name,
                state: state(name),
                detail: String::new(),
            })
            .into();
    }

    fn set_step(&mut self, name: StepName, state: StepState, detail: &str) {
        let step = Step {
            name,
            state,
            detail: detail.into(),
        };
        match self.now.steps.iter_mut().find(|there| there.name == name) {
            Some(there) => *there = step,
            None => self.now.steps.push(step),
        }
        steps::arrange(&mut self.now.steps);
    }
}
