//! What an agent's reports mean for its codespace.

use tokio::time::Instant;

use super::{FIRST_LOOK, Task};
use crate::{
    audit::Actor,
    domain::{Phase, StepName, StepState},
    lifecycle::{Activity, Event},
    protocol::tunnel::{ActivityKind, FromAgent},
    tunnel::AgentEvent,
};

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
            AgentEvent::Connected { link, .. } => self.connected(link).await,
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

    async fn connected(&mut self, link: u64) {
        self.link = Some(link);
        self.now.connected = true;
        (self.look_at, self.connect_by) = (None, None);
        self.set_step(StepName::Agent, StepState::Done, "");
        self.audit("agent.connected", &format!("generation {}", self.now.record.generation.0));
        self.publish();
        self.apply_quietly(Event::Connected).await;
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
            FromAgent::Prepared if self.now.record.prepared => return,
            FromAgent::Prepared => {
                self.now.record.prepared = true;
                return self.apply_quietly(Event::Prepared).await;
            }
            FromAgent::Editor { state } => self.now.editor = Some(state),
            FromAgent::Activity { kinds } => {
                for kind in kinds {
                    self.touch(activity(kind)).await;
                }
                return;
            }
            // The tunnel keeps these to itself.
            FromAgent::Hello { .. } | FromAgent::Pong => return,
        }
        self.publish();
    }

    fn audit(&self, action: &str, detail: &str) {
        let actor = Actor {
            name: format!("agent:{}", self.shared.name),
            ..Actor::default()
        };
        self.inner.deps.audit.record(action, &actor, self.shared.name.to_string(), detail);
    }
}

fn activity(kind: ActivityKind) -> Activity {
    match kind {
        ActivityKind::TerminalOutput => Activity::TerminalOutput,
        ActivityKind::TerminalInput => Activity::TerminalInput,
        ActivityKind::FileChange => Activity::FileChange,
        ActivityKind::Exec => Activity::Exec,
    }
}
