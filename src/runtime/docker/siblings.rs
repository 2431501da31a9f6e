//! Runs what is beside a codespace's own container, behind the same fence.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr, time::Duration};

use bollard::{
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::ListContainersOptionsBuilder,
};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::{
    DockerRuntime, archive,
    checkout::Unreadable,
    fence,
    group::{self, Group, Sibling},
    instance::Instance,
    network, plan,
};
use crate::{
    devcontainer::{After, Condition, Notices},
    domain::CodespaceName,
    protocol::bootstrap::Neighbours,
    runtime::{Progress, RuntimeError},
};

/// How long all that others wait for is waited for together.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Last lines of a service's log that are shown.
const LINES: usize = 40;
/// Shortest value of a variable that is taken out of what is shown, in bytes.
const LEAST_VALUE: usize = 4;

/// The address of a container in a network.
fn address(found: ContainerInspectResponse, network: &str) -> Option<IpAddr> {
    let mut networks = found.network_settings?.networks?;
    networks.remove(network)?.ip_address?.parse().ok()
}

/// A line with the names of variables where their values were; too short a value says nothing that it does not anyway.
fn without_values(line: &str, variables: &BTreeMap<String, String>) -> String {
    let mut known: Vec<_> = variables.iter().filter(|(_, value)| value.len() >= LEAST_VALUE).collect();
    // One may hold another.
    known.sort_by_key(|(_, value)| Reverse(value.len()));
    known
        .into_iter()
        .fold(line.to_owned(), |line, (name, value)| match line.contains(value) {
            true => line.replace(value, &format!("${{{name}}}")),
            false => line,
        })
}

impl DockerRuntime {
    /// Makes the networks of a group's services, which run nothing.
    pub(super) async fn make_networks(&self, instance: &Instance, name: &CodespaceName, group: &Group) -> Result<(), RuntimeError> {
        let id = instance.resource(name);
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        for service in group.networks() {
            let body = group::network(&self.options, instance, name, &mounts, group, service);
            self.create_container(&group::network_of(&id, service), body).await?;
        }
        Ok(())
    }

    /// Starts what is not started, each after what it waits for. What the repository got wrong is told of the service, with
    /// its log.
    pub(super) async fn start_group(
        &self,
        instance: &Instance,
        name: &CodespaceName,
        group: &Group,
        progress: &Progress,
    ) -> Result<Notices, Unreadable> {
        let id = instance.resource(name);
        self.start_networks(instance, name, group).await?;
        let until = Instant::now() + PATIENCE;
        for sibling in &group.siblings {
            let service = &sibling.service.name;
            self.wait_for(&id, &sibling.service.after, group, until, progress).await?;
            progress.print(&format!("== starting {service}\n"));
            if let Err(RuntimeError::Failed(why)) = self.start_sibling(instance, name, group, sibling).await {
                return Err(Unreadable::Repository(format!("the service {service} does not start: {why}")));
            }
        }
        self.wait_for(&id, &group.after, group, until, progress).await?;
        let mut notices = Notices::default();
        for sibling in &group.siblings {
            self.tell(&id, sibling, &mut notices, progress).await?;
        }
        Ok(notices)
    }

    /// Starts the networks, and puts the fence up in each: nothing else runs there yet.
    async fn start_networks(&self, instance: &Instance, name: &CodespaceName, group: &Group) -> Result<(), RuntimeError> {
        let id = instance.resource(name);
        let mounts = plan::Mounts::of(&self.options, &self.data, &self.program)?;
        let unreachable = self.unreachable(&id, true).await?;
        let each = group.networks().into_iter().map(async |service| {
            let network = group::network_of(&id, service);
            let started = self.engine.api().await?.start_container(&network, None).await;
            self.engine.unless_unchanged(started)?;
            let body = group::fence(plan::fence_in(&network, &self.options, instance, name, &mounts, &unreachable));
            fence::put_up(&self.engine, body, &group::fence_of(&id, service)).await
        });
        try_join_all(each).await.map(drop)
    }

    /// What a codespace does not reach. Where something runs beside it, the rest of its own network is no part of that.
    pub(super) async fn unreachable(&self, id: &str, is_group: bool) -> Result<Vec<String>, RuntimeError> {
        let networks = fence::networks(&self.engine, &self.options, id).await?;
        match is_group {
            true => network::around_own(&self.engine, id, networks).await,
            false => Ok(networks),
        }
    }

    async fn start_sibling(&self, instance: &Instance, name: &CodespaceName, group: &Group, sibling: &Sibling) -> Result<(), RuntimeError> {
        let id = group::container_of(&instance.resource(name), &sibling.service.name);
        let api = self.engine.api().await?;
        if self.engine.container(&id).await?.is_none() {
            let body = group::sibling(&self.options, instance, name, group, sibling);
            self.create_container(&id, body).await?;
            archive::link(api, &self.engine, &id, &sibling.links).await?;
        }
        let started = api.start_container(&id, None).await;
        self.engine.unless_unchanged(started)
    }

    async fn wait_for(
        &self,
        id: &str,
        after: &BTreeMap<String, After>,
        group: &Group,
        until: Instant,
        progress: &Progress,
    ) -> Result<(), Unreadable> {
        for (service, after) in after {
            let Some(sibling) = group.siblings.iter().find(|sibling| sibling.service.name == *service) else {
                continue;
            };
            let Err(why) = self.wait(id, service, after, until).await? else {
                continue;
            };
            let log = self.lines(id, sibling).await?;
            log.iter().for_each(|line| progress.print(&format!("[{service}] {line}\n")));
            if !after.required {
                continue;
            }
            let last = log.last().map(|line| format!(". It said last: {line}")).unwrap_or_default();
            return Err(Unreadable::Repository(format!(
                "the service {} is waited for, and {why}{last}",
                sibling.service.name
            )));
        }
        Ok(())
    }

    async fn wait(&self, id: &str, service: &str, after: &After, until: Instant) -> Result<Result<(), String>, RuntimeError> {
        let container = group::container_of(id, service);
        loop {
            let state = self
                .engine
                .container(&container)
                .await?
                .and_then(|found| found.state)
                .unwrap_or_default();
            if let Some(judged) = group::judge(after.condition, &state) {
                return Ok(judged);
            }
            if Instant::now() > until {
                return Ok(Err(format!(
                    "it is not so far after the {} minutes for all",
                    PATIENCE.as_secs() / 60
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Shows what a service said so far, and names one that has ended already.
    async fn tell(&self, id: &str, sibling: &Sibling, notices: &mut Notices, progress: &Progress) -> Result<(), RuntimeError> {
        let service = &sibling.service.name;
        let log = self.lines(id, sibling).await?;
        log.iter().for_each(|line| progress.print(&format!("[{service}] {line}\n")));
        let container = group::container_of(id, service);
        let state = self
            .engine
            .container(&container)
            .await?
            .and_then(|found| found.state)
            .unwrap_or_default();
        if let Some(Err(why)) = group::judge(Condition::Started, &state) {
            let last = log.last().map(|line| format!(". It said last: {line}")).unwrap_or_default();
            notices.note(format!("services.{service}"), format!("{why}{last}"));
        }
        Ok(())
    }

    /// The last that a service said, without the values of its variables: it is told in a notice and in the gateway's own log.
    async fn lines(&self, id: &str, sibling: &Sibling) -> Result<Vec<String>, RuntimeError> {
        let service = &sibling.service;
        let log = self.log_of(&group::container_of(id, &service.name), &LINES.to_string()).await?;
        let plain = |line: &str| {
            let line: String = without_values(line, &service.environment);
            line.chars().filter(|c| !c.is_control()).take(300).collect::<String>()
        };
        Ok(log.lines().map(plain).filter(|line| !line.trim().is_empty()).collect())
    }

    /// The addresses at which what runs beside a codespace is reached, by each of its names; what has none now is left out.
    pub(super) async fn neighbours(&self, instance: &Instance, name: &CodespaceName, group: &Group) -> Result<Neighbours, RuntimeError> {
        let id = instance.resource(name);
        let (named, own) = group.neighbours();
        let mut addresses = BTreeMap::new();
        for service in named.values() {
            if !addresses.contains_key(service) {
                let found = self.engine.container(&group::network_of(&id, service)).await?;
                addresses.insert(*service, found.and_then(|found| address(found, &id)));
            }
        }
        let beside = named
            .into_iter()
            .filter_map(|(name, service)| Some((name, (*addresses.get(service)?)?)));
        Ok(Neighbours {
            beside: beside.collect(),
            own,
        })
    }

    /// Whether a group's networks are all there; without one, whoever is in it cannot start again.
    pub(super) async fn has_networks(&self, instance: &Instance, name: &CodespaceName, group: &Group) -> Result<bool, RuntimeError> {
        let id = instance.resource(name);
        for service in group.networks() {
            if self.engine.container(&group::network_of(&id, service)).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends what runs beside a codespace's own container: services first, all at once, and then their networks.
    pub(super) async fn stop_group(&self, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
        let all = self.parts(instance, name).await?;
        for part in [group::SERVICE, group::NETWORK] {
            let ids = all.iter().filter(|(_, of)| of == part).map(|(id, _)| self.stop_container(id));
            join_all(ids).await.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    /// Removes it; its volumes stay.
    pub(super) async fn remove_group(&self, instance: &Instance, name: &CodespaceName) -> Result<(), RuntimeError> {
        let all = self.parts(instance, name).await?;
        for part in [group::FENCE, group::SERVICE, group::NETWORK] {
            for (id, _) in all.iter().filter(|(_, of)| of == part) {
                self.remove_container(id).await?;
            }
        }
        Ok(())
    }

    /// The containers beside a codespace's own, and which part each is.
    async fn parts(&self, instance: &Instance, name: &CodespaceName) -> Result<Vec<(String, String)>, RuntimeError> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&instance.filter())
            .build();
        let found = self.engine.containers(&options).await?;
        // Looked at here: engines differ in what several labels of a filter mean.
        let part = |found: ContainerSummary| {
            let mut labels = found.labels.filter(|labels| instance.is_of(name, labels))?;
            Some((found.id?, labels.remove(group::PART_LABEL)?))
        };
        Ok(found.into_iter().filter_map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_told_without_its_secrets() {
        let variables = [
            ("PASSWORD", "hunter22"),
            ("URL", "db://u:hunter22@db"),
            ("TEAM", "a"),
            ("EMPTY", ""),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (line, expected) in [
            ("cannot reach db://u:hunter22@db", "cannot reach ${URL}"),
            ("bad password hunter22, hunter22", "bad password ${PASSWORD}, ${PASSWORD}"),
            ("a cause", "a cause"),
            ("", ""),
        ] {
            assert_eq!(without_values(line, &variables), expected);
        }
    }
}
