//! The bounds of what a Dockerfile runs for which an engine takes no word when a build begins: set on each step as it
//! starts.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    models::{ContainerInspectResponse, ContainerUpdateBody},
    query_parameters::EventsOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::{
    Options,
    engine::{Engine, is_missing},
    meter::Meter,
};
use crate::runtime::RuntimeError;

/// Bounds every step in the network of the container `network`, for as long as it is polled, and tells the meter of it. It ends
/// with what went wrong alone: then a build is not to go on.
pub async fn keep(engine: &Engine, options: &Options, network: &str, meter: &Meter) -> RuntimeError {
    let Err(error) = follow(engine, options, network, meter).await else {
        return RuntimeError::Failed("the container engine tells no more which steps of the build it starts. Try again".into());
    };
    error
}

async fn follow(engine: &Engine, options: &Options, network: &str, meter: &Meter) -> Result<(), RuntimeError> {
    let api = engine.api().await?;
    let holder = api.inspect_container(network, None).await.map_err(|error| engine.trouble(&error))?;
    let modes = [
        format!("container:{network}"),
        format!("container:{}", holder.id.unwrap_or_default()),
    ];
    let filters: HashMap<String, Vec<String>> = [("type", "container"), ("event", "start")]
        .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
        .into();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    // From this second on, since a build may begin before an engine listens to this.
    let wanted = EventsOptionsBuilder::default().since(&now.to_string()).filters(&filters).build();
    let mut events = pin!(api.events(Some(wanted)));
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| engine.trouble(&error))?;
        let Some(id) = event.actor.and_then(|actor| actor.id) else {
            continue;
        };
        let found = match api.inspect_container(&id, None).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(engine.trouble(&error)),
        };
        if !is_step(&found, &modes) {
            continue;
        }
        meter.follow(&id);
        if let Err(error) = api.update_container(&id, bounds(options)).await
            && runs(engine, &id).await?
        {
            return Err(engine.trouble(&error));
        }
    }
    Ok(())
}

fn is_step(found: &ContainerInspectResponse, modes: &[String]) -> bool {
    let mode = found.host_config.as_ref().and_then(|host| host.network_mode.as_ref());
    mode.is_some_and(|mode| modes.contains(mode))
}

fn bounds(options: &Options) -> ContainerUpdateBody {
    let memory = options.memory.and_then(|bytes| i64::try_from(bytes).ok());
    ContainerUpdateBody {
        memory,
        memory_swap: memory,
        pids_limit: Some(options.processes.into()),
        ..ContainerUpdateBody::default()
    }
}

/// Whether a container runs still: the short steps are over before anything can be set on them.
async fn runs(engine: &Engine, id: &str) -> Result<bool, RuntimeError> {
    match engine.api().await?.inspect_container(id, None).await {
        Ok(found) => Ok(found.state.and_then(|state| state.running).unwrap_or_default()),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(engine.trouble(&error)),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::HostConfig;

    use super::*;

    #[test]
    fn steps_are_told_by_their_network() {
        let found = |mode: &str| ContainerInspectResponse {
            host_config: Some(HostConfig {
                network_mode: Some(mode.into()),
                ..HostConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let modes = ["container:portico-a-build".to_owned(), "container:c0ffee".to_owned()];
        assert!(is_step(&found("container:c0ffee"), &modes));
        assert!(is_step(&found("container:portico-a-build"), &modes));
        for other in ["container:c0ffee00", "container:", "none", "portico-a"] {
            assert!(!is_step(&found(other), &modes), "{other}");
        }
        assert!(!is_step(&ContainerInspectResponse::default(), &modes));
    }

    #[test]
    fn what_a_step_gets() {
        let options = Options {
            memory: Some(8 << 30),
            ..Options::default()
        };
        let set = bounds(&options);
        assert_eq!(
            (set.memory, set.memory_swap, set.pids_limit),
            (Some(8 << 30), Some(8 << 30), Some(8192))
        );
        assert_eq!(bounds(&Options::default()).memory, None);
    }
}
