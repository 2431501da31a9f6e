//! Which services run, and in which order they start.

use std::collections::{BTreeMap, BTreeSet};

use super::service::{Joined, Service};
use crate::devcontainer::{file::Malformed, notice::Notices};

/// Most services of one codespace, its own included: its network has sixteen addresses.
pub const MAX_SERVICES: usize = 8;

type Services = BTreeMap<String, Service>;

/// The codespace's own service, and the others that run in the order in which they start.
pub fn started(
    mut services: Services,
    own: &str,
    wanted: Option<&[String]>,
    notices: &mut Notices,
) -> Result<(Service, Vec<Service>), Malformed> {
    let names = match wanted {
        Some(names) => names.to_vec(),
        None => services
            .values()
            .filter(|service| service.profiles.is_empty())
            .map(|service| service.name.clone())
            .collect(),
    };
    let mut order = Order {
        services: &services,
        own,
        done: Vec::new(),
        under_way: BTreeSet::new(),
    };
    order.visit(own)?;
    for name in &names {
        order.visit(name)?;
    }
    let order = order.done;
    if order.len() > MAX_SERVICES {
        return Err(Malformed(format!(
            "it starts {} services; a codespace has at most {MAX_SERVICES}. Name those that are needed in runServices",
            order.len()
        )));
    }
    let mut roots = BTreeMap::new();
    for name in &order {
        roots.insert(name.clone(), root(&services, name)?.to_owned());
    }
    note_waiting(&services, &order, own, notices);
    let mut taken = order.iter().filter_map(|name| services.remove(name)).collect::<Vec<_>>();
    for service in &mut taken {
        let root = roots.get(&service.name).filter(|root| **root != service.name);
        service.joined = match (root, &service.joined) {
            (Some(root), _) => Joined::Service(root.clone()),
            (None, Joined::Nothing) if roots.values().filter(|root| **root == service.name).count() == 1 && service.name != own => {
                Joined::Nothing
            }
            _ => Joined::Own,
        };
    }
    let at = taken.iter().position(|service| service.name == own);
    let at = at.ok_or_else(|| Malformed(format!("there is no service {own}")))?;
    let own = taken.remove(at);
    for service in taken.iter().chain([&own]) {
        if service.image.is_none() && service.build.is_none() {
            return Err(Malformed(format!("the service {} has neither image nor build", service.name)));
        }
    }
    Ok((own, taken))
}

struct Order<'a> {
    services: &'a Services,
    own: &'a str,
    done: Vec<String>,
    under_way: BTreeSet<String>,
}

impl Order<'_> {
    /// Adds a service after those that it waits for.
    fn visit(&mut self, name: &str) -> Result<(), Malformed> {
        if self.done.iter().any(|done| done == name) {
            return Ok(());
        }
        let (services, own) = (self.services, self.own);
        let service = services.get(name);
        let service = service.ok_or_else(|| Malformed(format!("there is no service {name:?}")))?;
        if !self.under_way.insert(name.to_owned()) {
            return Err(Malformed(format!("the service {name} waits for itself")));
        }
        // The codespace itself starts last, whoever waits for it.
        for (other, after) in service.after.iter().filter(|(other, _)| *other != own) {
            if after.required || services.contains_key(other) {
                self.visit(other)?;
            }
        }
        self.under_way.remove(name);
        self.done.push(name.to_owned());
        // One whose network is shared has to run, in whatever order.
        match &service.joined {
            Joined::Service(other) if !self.under_way.contains(other) => self.visit(other),
            _ => Ok(()),
        }
    }
}

/// The service whose network a service has in the end.
fn root<'a>(services: &'a Services, name: &'a str) -> Result<&'a str, Malformed> {
    let mut at = name;
    for _ in 0..=services.len() {
        match services.get(at).map(|service| &service.joined) {
            Some(Joined::Service(other)) => at = other,
            Some(_) => return Ok(at),
            None => return Err(Malformed(format!("there is no service {at:?}, whose network {name} would have"))),
        }
    }
    Err(Malformed(format!("the service {name} has its own network by way of itself")))
}

fn note_waiting(services: &Services, order: &[String], own: &str, notices: &mut Notices) {
    for service in order.iter().filter_map(|name| services.get(name)) {
        if service.after.contains_key(own) {
            notices.note(
                format!("services.{}.depends_on", service.name),
                format!("{own} is the codespace itself, which starts after all others"),
            );
        }
    }
}
