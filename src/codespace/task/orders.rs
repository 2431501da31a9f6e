//! What people order, and how a codespace's task obeys.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Task;
use crate::{
    audit::Actor,
    codespace::{CodespaceChange, CodespaceError, OfferDecision, PortChange, PortView, request},
    domain::{Phase, Port, ShareId},
    lifecycle::{Activity, Event},
    runtime::{Making, RuntimeError},
    store::{ShareRecord, StoreError},
};

pub type Reply<T> = oneshot::Sender<Result<T, CodespaceError>>;

/// An order; its reply is sent when it is stored, not when it is carried out. A deletion's comes when all is gone.
pub enum Order {
    /// With how it came about, for the audit log.
    Start(Actor, &'static str, Reply<()>),
    Stop(Actor, Reply<()>),
    /// Makes its container anew.
    Rebuild(Actor, Reply<()>),
    /// Somebody needs it.
    Keep(Reply<()>),
    /// Nobody used it for long: it is announced to go, or goes.
    Retire(Reply<()>),
    Delete(Actor, Reply<()>),
    ChangePort(Port, PortChange, Actor, Reply<PortView>),
    DecideOffer(String, OfferDecision, Actor, Reply<()>),
    AddShare(Box<ShareRecord>, Actor, Reply<Arc<ShareRecord>>),
    /// Takes one use of a link.
    UseShare(ShareId, Actor, Reply<Arc<ShareRecord>>),
    /// Counts a use that has no limit; nobody waits for it.
    CountShare(ShareId),
    RevokeShare(ShareId, Actor, Reply<()>),
    Change(CodespaceChange, Actor, Reply<()>),
}

impl Task {
    /// Obeys. Whoever asked may be gone by the time of the reply.
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Start(actor, how, reply) => drop(reply.send(self.start(&actor, how).await)),
            Order::Stop(actor, reply) => drop(reply.send(self.stop(&actor).await)),
            Order::Rebuild(actor, reply) => drop(reply.send(self.rebuild(&actor).await)),
            Order::Keep(reply) => drop(reply.send(self.keep().await)),
            Order::Retire(reply) => self.retire(reply).await,
            Order::Delete(actor, reply) => self.delete(&actor, reply).await,
            Order::ChangePort(port, change, actor, reply) => drop(reply.send(self.change_port(port, change, &actor).await)),
            Order::DecideOffer(hash, decision, actor, reply) => drop(reply.send(self.decide_offer(&hash, decision, &actor).await)),
            Order::AddShare(share, actor, reply) => drop(reply.send(self.add_share(*share, &actor).await)),
            Order::UseShare(id, actor, reply) => drop(reply.send(self.use_share(&id, &actor).await)),
            Order::CountShare(id) => self.count_share(&id).await,
            Order::RevokeShare(id, actor, reply) => drop(reply.send(self.revoke_share(&id, &actor).await)),
            Order::Change(change, actor, reply) => drop(reply.send(self.change(&change, &actor).await)),
        }
    }

    async fn start(&mut self, actor: &Actor, how: &str) -> Result<(), CodespaceError> {
        match self.now.record.phase {
            Phase::Deleting => return Err(CodespaceError::Deleting),
            Phase::Stopping if self.situation.start_again => {}
            Phase::Stopped | Phase::Failed | Phase::Stopping => {
                self.count_start(actor)?;
                self.say(actor, "codespace.started", how);
            }
            Phase::Creating | Phase::Starting | Phase::Running => {}
        }
        self.touch(Activity::Request).await;
        Ok(self.apply(Event::Start).await?)
    }

    /// Counts a start of somebody's. Visitors have no account: those of one codespace are one.
    fn count_start(&self, actor: &Actor) -> Result<(), CodespaceError> {
        let who = if actor.name.is_empty() {
            format!("visitors of {}", self.shared.name)
        } else {
            actor.name.clone()
        };
        let deps = &self.inner.deps;
        self.inner.starts.count(who, deps.rules.starts_per_minute, deps.clock.now())
    }

    async fn stop(&mut self, actor: &Actor) -> Result<(), CodespaceError> {
        match self.now.record.phase {
            Phase::Deleting => return Err(CodespaceError::Deleting),
            _ if self.now.is_own_machine() => return Err(CodespaceError::OwnMachine),
            Phase::Creating | Phase::Starting | Phase::Running => self.say(actor, "codespace.stopped", ""),
            Phase::Stopped | Phase::Failed | Phase::Stopping => {}
        }
        let why = if actor.name.is_empty() {
            "it was stopped".to_owned()
        } else {
            format!("{} stopped it", actor.name)
        };
        self.call_off();
        Ok(self.apply(Event::Stop(why)).await?)
    }

    async fn rebuild(&mut self, actor: &Actor) -> Result<(), CodespaceError> {
        match self.now.record.phase {
            Phase::Deleting => return Err(CodespaceError::Deleting),
            Phase::Creating | Phase::Starting => return Err(CodespaceError::StillStarting),
            Phase::Stopped | Phase::Failed | Phase::Stopping | Phase::Running => {}
        }
        if !self.inner.runtime_or_default(&self.now.record.runtime).makes_containers() {
            return Err(CodespaceError::NoContainer);
        }
        self.say(actor, "codespace.rebuilt", "");
        self.call_off();
        self.touch(Activity::Request).await;
        self.making = Making::Anew;
        Ok(self.apply(Event::Rebuild).await?)
    }

    pub(super) async fn delete(&mut self, actor: &Actor, reply: Reply<()>) {
        self.say(actor, "codespace.deleted", "");
        self.call_off();
        match self.apply(Event::Delete).await {
            // Removing it all is what counts; a restart would find it in its old phase and can be told again.
            Ok(()) | Err(StoreError::Failed(_)) => self.deleting.push(reply),
            Err(error) => drop(reply.send(Err(error.into()))),
        }
    }

    pub(super) fn answer_deleting(&mut self, result: Result<(), String>) {
        for reply in self.deleting.drain(..) {
            let result = result.clone().map_err(|why| CodespaceError::Runtime(RuntimeError::Failed(why)));
            drop(reply.send(result));
        }
    }

    /// Stores first, then shows: nothing is open that the store does not know of, and it is closed at once.
    pub(super) async fn change_port(&mut self, port: Port, change: PortChange, actor: &Actor) -> Result<PortView, CodespaceError> {
        if self.now.record.phase == Phase::Deleting {
            return Err(CodespaceError::Deleting);
        }
        let settings = request::change_port(&self.now, port, change, self.inner.deps.clock.now())?;
        let before = self.now.ports.get(&port).map(|view| view.settings.clone());
        if before.as_ref() != Some(&settings) {
            self.inner.deps.store.put_port(&settings).await?;
            let people = settings.users.len();
            let until = settings.expires_at.map(|at| format!(" until {at}")).unwrap_or_default();
            let limits = Some(settings.limits.to_string()).filter(|limits| !limits.is_empty());
            let limits = limits.map(|limits| format!(", limited to {limits}")).unwrap_or_default();
            let beside = settings.beside.as_ref().map(|service| format!(" of {service}")).unwrap_or_default();
            let detail = format!("{}{beside}{until}, {people} people by name{limits}", settings.visibility);
            self.say_log(
                port,
                before.as_ref().and_then(|before| before.log_entries),
                settings.log_entries,
                actor,
            );
            self.inner
                .deps
                .audit
                .record("port.changed", actor, format!("{}:{port}", self.shared.name), detail);
        }
        let log = self.now.ports.get(&port).and_then(|view| view.log.clone());
        let mut view = PortView::new(settings).with_log(log.as_ref(), &self.inner.logs);
        if let Some(before) = self.now.ports.get(&port).and_then(|before| before.limited.as_ref()) {
            view.limited = view.limited.map(|limited| limited.following(before));
        }
        self.now.ports.insert(port, Arc::new(view));
        self.lay_out_ports();
        let view = self.now.ports.get(&port).map(|view| PortView::clone(view));
        // What was set back to what holds anyway, of a port that does not listen, is no longer kept.
        let view = view.unwrap_or_else(|| PortView::new(request::default_port(&self.shared.name, port)));
        self.touch(Activity::Request).await;
        self.publish();
        Ok(view)
    }

    /// Says in the audit log that exchanges with a port are written down from now on, or no more.
    fn say_log(&self, port: Port, before: Option<u16>, now: Option<u16>, actor: &Actor) {
        let (action, detail) = match now {
            _ if now == before => return,
            Some(entries) => ("port.log-on", format!("the last {entries} exchanges, in memory")),
            None => ("port.log-off", String::new()),
        };
        let target = format!("{}:{port}", self.shared.name);
        self.inner.deps.audit.record(action, actor, target, detail);
    }

    async fn change(&mut self, change: &CodespaceChange, actor: &Actor) -> Result<(), CodespaceError> {
        let mut record = self.now.record.clone();
        request::change_record(&mut record, change)?;
        self.inner.deps.store.update_codespace(&record).await?;
        self.now.record = record;
        self.say(actor, "codespace.changed", "");
        self.touch(Activity::Request).await;
        self.publish();
        Ok(())
    }

    pub(super) fn say(&self, actor: &Actor, action: &str, detail: &str) {
        self.inner.deps.audit.record(action, actor, self.shared.name.to_string(), detail);
    }
}
