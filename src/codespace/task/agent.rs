//! What an agent's reports mean for its codespace.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::time::Instant;

use super::{FIRST_LOOK, Task};
use crate::{
    audit::Actor,
    auth::hash_secret,
    domain::{Phase, Reference, StepName, StepState},
    lifecycle::{Activity, Event},
    protocol::{
        bootstrap::Secret,
        tunnel::{ActivityKind, FromAgent, OutOfMemory},
    },
    runtime::Making,
    tunnel::{AgentEvent, Client},
};

/// How long an agent uses one credential.
const RENEW_EVERY: Duration = Duration::from_secs(12 * 3600);
/// After so long a renewal is tried again that the store refused.
const RENEW_AGAIN: Duration = Duration::from_secs(600);

impl Task {
    /// Takes an agent's event; one of another generation means nothing.
    pub(super) async fn hear(&mut self, event: AgentEvent) {
        let generation = match &event {
            AgentEvent::Connected { generation, .. }
            | AgentEvent::Said { generation, .. }
            | AgentEvent::Disconnected { generation, .. } => *generation,
        };
        let runs = matches!(self.now.record.phase, Phase::Creating | Phase::Starting | Phase::Running);
        if generation != self.now.record.generation || !runs {
            return;
        }
        match event {
            AgentEvent::Connected { link, client, .. } => self.connected(link, client).await,
            AgentEvent::Said { message, .. } => self.said(message).await,
            AgentEvent::Disconnected { link, reason, .. } if self.link == Some(link) => {
                self.audit("agent.disconnected", &reason);
                self.disconnect();
                self.look_at = Some(Instant::now() + FIRST_LOOK);
                self.publish();
            }
            AgentEvent::Disconnected { .. } => {}
        }
    }

    async fn connected(&mut self, link: u64, client: Client) {
        let before = self.link.replace(link);
        self.client = client;
        self.warned = None;
        self.now.connected = true;
        self.now.away_because = None;
        (self.look_at, self.connect_by) = (None, None);
        self.set_step(StepName::Agent, StepState::Done, "");
        if before.is_some() {
            self.audit("agent.replaced", "another one of the same start is connected now");
        }
        self.audit("agent.connected", &format!("generation {}", self.now.record.generation.0));
        self.publish();
        self.apply_quietly(Event::Connected).await;
        // What it was started with was written down by others: it is replaced at once.
        let due = self.renewed_at.map_or(Instant::now(), |at| at + RENEW_EVERY);
        let renews = self.inner.deps.tunnels.may_renew(&self.shared.name, link);
        self.renew_at = renews.then_some(due);
    }

    /// Gives the agent a fresh credential. What it has stays good until the fresh one is used, so that an agent which is
    /// cut off or asleep at any moment of this finds its way back.
    pub(super) async fn renew(&mut self) {
        self.renew_at = None;
        let Some(link) = self.link else { return };
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let hash = hash_secret(&secret);
        let record = &mut self.now.record;
        let before = (record.agent_hash, record.agent_next_hash);
        // It is used, though the word of that came to nothing: forgotten here, its agent would have none after a restart.
        if let Some(used) = record.agent_next_hash.filter(|next| self.inner.credentials.is_used(next)) {
            record.agent_hash = Some(used);
        }
        record.agent_next_hash = Some(hash);
        if let Err(error) = self.store().await {
            tracing::warn!(codespace = %self.shared.name, %error, "its agent keeps its credential: a fresh one could not be stored");
            (self.now.record.agent_hash, self.now.record.agent_next_hash) = before;
            self.renew_at = Some(Instant::now() + RENEW_AGAIN);
            return;
        }
        self.inner.credentials.add(hash, &self.now.record.name, self.now.record.generation);
        self.inner.deps.tunnels.renew(&self.shared.name, link, Secret(secret));
        let now = Instant::now();
        (self.renewed_at, self.renew_at) = (Some(now), Some(now + RENEW_EVERY));
        self.publish();
    }

    /// The fresh credential is used: the one before is good for a moment more.
    async fn renewed(&mut self) {
        let Some(hash) = self.now.record.agent_next_hash.take() else {
            return;
        };
        self.inner.credentials.used(&hash, self.inner.deps.clock.now());
        self.now.record.agent_hash = Some(hash);
        if let Err(error) = self.store().await {
            // In the store both are good; the next renewal settles it.
            tracing::warn!(codespace = %self.shared.name, %error, "it was not stored that its agent's credential was renewed");
        }
        self.audit("agent.renewed", &format!("generation {}", self.now.record.generation.0));
        self.publish();
    }

    async fn said(&mut self, message: FromAgent) {
        match message {
            FromAgent::Ports { ports } => self.hear_ports(ports),
            FromAgent::Declared { ports } if self.now.declaration.is(&ports) => return,
            FromAgent::Declared { ports } => self.hear_declared(ports),
            FromAgent::Step { name, state, detail } => {
                let (Ok(name), Ok(state)) = (name.parse::<StepName>(), state.parse::<StepState>()) else {
                    return;
                };
                let is_done = self.now.steps.iter().any(|step| (step.name, step.state) == (name, StepState::Done));
                // An agent in another container finds the checkout there.
                if is_done && name == StepName::Clone {
                    return;
                }
                self.set_step(name, state, &detail);
                if (name, state) == (StepName::Clone, StepState::Failed) && !self.now.record.prepared {
                    let why = if detail.is_empty() {
                        "the repository could not be cloned".into()
                    } else {
                        detail
                    };
                    return self.apply_quietly(Event::CloneFailed(why)).await;
                }
            }
            FromAgent::DefaultBranch { name } => return self.hear_default_branch(&name).await,
            FromAgent::Prepared if self.now.record.prepared => return,
            FromAgent::Prepared => {
                self.now.record.prepared = true;
                return self.apply_quietly(Event::Prepared).await;
            }
            FromAgent::Awaits => return self.awaits().await,
            FromAgent::Configured { configured } if *self.now.configured == configured => return,
            FromAgent::Configured { configured } => self.now.configured = Arc::new(configured),
            FromAgent::Editor { state } => self.now.editor = Some(state),
            FromAgent::Leases { leases } => self.hear_leases(leases),
            FromAgent::OutOfMemory(what) => self.now.out_of_memory = Some(ran_out(&what)),
            FromAgent::Activity { kinds } => {
                for kind in kinds.into_iter().filter_map(activity) {
                    self.touch(kind).await;
                }
                return;
            }
            FromAgent::Renewed => return self.renewed().await,
            // The tunnel keeps these to itself.
            FromAgent::Hello { .. } | FromAgent::Pong => return,
        }
        self.publish();
    }

    /// Which branch it is where nobody named one, so that who names that one finds it too. Once, as it is checked out: what runs
    /// inside may speak for the agent later.
    async fn hear_default_branch(&mut self, name: &str) {
        let record = &mut self.now.record;
        if record.prepared || record.default_branch.is_some() {
            return;
        }
        let Ok(name) = name.parse::<Reference>() else { return };
        record.default_branch = Some(name.to_string());
        if let Err(error) = self.store().await {
            tracing::warn!(codespace = %self.shared.name, %error, "its default branch could not be stored");
        }
        self.publish();
    }

    /// The repository is there: what it says of its container is made next. Once for each checkout, whatever an agent says.
    async fn awaits(&mut self) {
        let makes = self.inner.runtime_or_default(&self.now.record.runtime).makes_containers();
        if self.checked_out || !makes {
            return;
        }
        (self.checked_out, self.now.record.prepared) = (true, true);
        self.making = Making::Checkout;
        self.apply_quietly(Event::Awaits).await;
    }

    /// The agent, for the audit log.
    pub(super) fn agent(&self) -> Actor {
        Actor {
            name: format!("agent:{}", self.shared.name),
            address: self.client.address.map(|address| address.to_string()),
            request_id: self.client.request_id.clone(),
        }
    }

    fn audit(&self, action: &str, detail: &str) {
        self.inner
            .deps
            .audit
            .record(action, &self.agent(), self.shared.name.to_string(), detail);
    }
}

/// What ran out of memory, in words.
fn ran_out(what: &OutOfMemory) -> String {
    let bound = what
        .allowed
        .map_or_else(String::new, |bytes| format!(" ({} MiB are allowed)", bytes >> 20));
    let ended = match what.processes {
        1 => "a process".to_owned(),
        processes => format!("{processes} processes"),
    };
    format!("the kernel ended {ended} in it since it was started{bound}: run less at once, or ask the operator for more")
}

fn activity(kind: ActivityKind) -> Option<Activity> {
    Some(match kind {
        ActivityKind::TerminalOutput => Activity::TerminalOutput,
        ActivityKind::TerminalInput => Activity::TerminalInput,
        ActivityKind::FileChange => Activity::FileChange,
        ActivityKind::Exec => Activity::Exec,
        ActivityKind::Ssh => Activity::Ssh,
        ActivityKind::Kept => Activity::Kept,
        ActivityKind::Other => return None,
    })
}
