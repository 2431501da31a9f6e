//! Which ports a codespace has: what listens, what is set and what the repository declares, in this order of weight.

use std::{collections::BTreeSet, sync::Arc};

use super::Task;
use crate::{
    audit::Actor,
    codespace::{
        BadChange, CodespaceError, OfferDecision, PortChange, PortView,
        declaration::Declaration,
        request::{self, default_port},
    },
    devcontainer::{OnAutoForward, PortsAsWritten},
    domain::{Phase, Port, Visibility},
    protocol::tunnel::ListeningPort,
    store::OfferDecisionRecord,
};

/// Most decisions that are kept of one codespace; past that, the owner is asked again.
const MAX_DECISIONS: usize = 256;

/// For so many ports of a report commands are matched with what is declared.
const MAX_MATCHED: usize = 64;

impl Task {
    /// Replaces what listens. Ports keep what is set on them; an agent changes nothing there (SHARE-1).
    pub(super) fn hear_ports(&mut self, ports: Vec<ListeningPort>) {
        if self.listening == ports {
            return;
        }
        self.listening = ports;
        self.lay_out_ports();
    }

    /// Replaces what is declared.
    pub(super) fn hear_declared(&mut self, written: PortsAsWritten) {
        self.now.declaration = Arc::new(Declaration::new(written));
        self.lay_out_ports();
    }

    /// Puts the ports together anew.
    pub(super) fn lay_out_ports(&mut self) {
        let name = self.shared.name.clone();
        let declaration = Arc::clone(&self.now.declaration);
        let fresh = |port| Arc::new(PortView::new(default_port(&name, port)));
        let is_set = |port, view: &PortView| view.settings != default_port(&name, port);
        for (port, view) in &mut self.now.ports {
            let declared = declaration.at_rest(*port);
            if view.listening.is_some() || view.declared != declared {
                let view = Arc::make_mut(view);
                (view.listening, view.declared) = (None, declared);
            }
        }
        let mut listed: BTreeSet<Port> = declaration.forward().collect();
        for (index, listening) in self.listening.iter().enumerate() {
            let Some(port) = Port::new(listening.port) else { continue };
            // Patterns cost the gateway time; nobody has so many servers that they are told apart by what started them.
            let command = listening.command.as_deref().filter(|_| index < MAX_MATCHED);
            let declared = match listening.beside {
                Some(_) => declaration.at_rest(port),
                None => declaration.of(port, command),
            };
            let set = self.now.ports.get(&port).is_some_and(|view| is_set(port, view));
            let ignored = declared.on_auto_forward == Some(OnAutoForward::Ignore);
            let noise = listening.noise.is_some() && !declaration.names(port);
            if (noise || ignored) && !set && !listed.contains(&port) {
                continue;
            }
            let view = Arc::make_mut(self.now.ports.entry(port).or_insert_with(|| fresh(port)));
            view.listening = Some(listening.clone());
            view.declared = declared;
            listed.insert(port);
        }
        for port in &listed {
            self.now.ports.entry(*port).or_insert_with(|| {
                let mut view = PortView::new(default_port(&name, *port));
                view.declared = declaration.at_rest(*port);
                Arc::new(view)
            });
        }
        self.now.ports.retain(|port, view| listed.contains(port) || is_set(*port, view));
    }

    /// Takes what the repository asks to share, or leaves it. Stores first, then shows.
    pub(super) async fn decide_offer(&mut self, hash: &str, decision: OfferDecision, actor: &Actor) -> Result<(), CodespaceError> {
        if self.now.record.phase == Phase::Deleting {
            return Err(CodespaceError::Deleting);
        }
        let offer = self.now.offer().filter(|offer| offer.id() == hash).ok_or(BadChange::NoSuchOffer)?;
        let shares: Vec<String> = offer
            .shares
            .iter()
            .map(|(port, visibility)| format!("{port}:{visibility}"))
            .collect();
        if decision == OfferDecision::Accept {
            let now = self.inner.deps.clock.now();
            // All of it, or nothing.
            for (port, visibility) in &offer.shares {
                request::change_port(&self.now, *port, change_of(*visibility), now)?;
            }
            for (port, visibility) in &offer.shares {
                self.change_port(*port, change_of(*visibility), actor).await?;
            }
        }
        let record = OfferDecisionRecord {
            codespace: self.shared.name.clone(),
            hash: offer.hash,
            accepted: decision == OfferDecision::Accept,
            at: self.inner.deps.clock.now(),
        };
        self.inner.deps.store.put_offer_decision(&record).await?;
        let decided = Arc::make_mut(&mut self.now.decided);
        if decided.len() >= MAX_DECISIONS {
            decided.clear();
        }
        decided.insert(offer.hash);
        let action = match decision {
            OfferDecision::Accept => "ports.offer-accepted",
            OfferDecision::Dismiss => "ports.offer-dismissed",
        };
        let detail = format!("{} of {}", shares.join(" "), offer.source);
        self.inner.deps.audit.record(action, actor, self.shared.name.to_string(), detail);
        self.publish();
        Ok(())
    }
}

fn change_of(visibility: Visibility) -> PortChange {
    PortChange {
        visibility: Some(visibility),
        ..PortChange::default()
    }
}
