//! What the codespace's own service says of its container: beneath what `devcontainer.json` says.

use super::{Project, service::Service};
use crate::devcontainer::{configuration::Configuration, notice::Notices, paths::is_free};

/// First words of commands that only keep a container up.
const IDLE: [&str; 3] = ["sleep", "tail", "while"];

impl Project {
    /// Adds what its own service says; what cannot be had there is named.
    pub fn add_own(&mut self, configuration: &mut Configuration) {
        let own = &self.own;
        note(own, &mut self.notices);
        for (name, value) in &own.environment {
            if name.starts_with("LD_") || name.starts_with("PORTICO_") {
                let reason = "the agent runs with it: set it in remoteEnv, which holds for what you run";
                self.notices.note(format!("services.{}.environment.{name}", own.name), reason);
            } else if !configuration.container_env.contains_key(name) {
                configuration.container_env.insert(name.clone(), value.clone());
            }
        }
        configuration.container_user = configuration.container_user.take().or_else(|| own.user.clone());
        for volume in &own.volumes {
            let is_taken = configuration.mounts.iter().any(|other| other.target == volume.target);
            match is_free(&volume.target) {
                true if !is_taken => configuration.mounts.push(volume.clone()),
                true => {}
                false => self.notices.note(
                    format!("services.{}.volumes", own.name),
                    format!("{}: nothing can be mounted there; give a directory of your own", volume.target),
                ),
            }
        }
        configuration.run.init |= own.run.init;
        configuration.run.trace |= own.run.trace;
        configuration.run.shm_size = configuration.run.shm_size.or(own.run.shm_size);
        configuration.run.hosts.extend(own.run.hosts.iter().cloned());
    }
}

fn note(own: &Service, notices: &mut Notices) {
    let words = own.entrypoint.iter().chain(&own.command).flatten();
    let idle = words.clone().any(|word| word.split_whitespace().any(|word| IDLE.contains(&word)));
    let is_said = words.count() > 0 && !idle;
    for (key, is_said, reason) in [
        (
            "command",
            is_said,
            "it is the codespace itself, whose first process is Portico's agent; what it would start is for postStartCommand",
        ),
        (
            "healthcheck",
            own.health.is_some(),
            "it is the codespace itself, for which nobody waits",
        ),
        ("tmpfs", !own.memory.is_empty(), "it is not supported for the codespace itself"),
    ] {
        if is_said {
            notices.note(format!("services.{}.{key}", own.name), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devcontainer::{Volume, compose::service::Health};

    #[test]
    fn what_a_devcontainer_json_says_comes_first() {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let volume = |name: &str, target: &str| Volume {
            name: name.into(),
            target: target.into(),
            read_only: false,
        };
        let own = Service {
            name: "app".into(),
            environment: pairs(&[("A", "theirs"), ("B", "theirs"), ("LD_PRELOAD", "/evil.so"), ("PORTICO_TOKEN", "x")]),
            user: Some("node".into()),
            volumes: vec![volume("x", "/data"), volume("y", "/usr/bin"), volume("z", "/cache")],
            command: Some(vec!["npm".into(), "start".into()]),
            health: Some(Health::default()),
            ..Service::default()
        };
        let mut project = Project {
            own,
            siblings: Vec::new(),
            notices: Notices::default(),
        };
        let mut configuration = Configuration {
            container_env: pairs(&[("A", "mine")]),
            mounts: vec![volume("mine", "/data")],
            ..Configuration::default()
        };
        project.add_own(&mut configuration);
        let environment: Vec<_> = configuration
            .container_env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(environment, ["A=mine", "B=theirs"]);
        assert_eq!(configuration.user(), Some("node"));
        let volumes: Vec<_> = configuration.mounts.iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(volumes, ["mine", "z"]);
        let keys: Vec<_> = project.notices.iter().map(|notice| notice.key.as_str()).collect();
        let expected = [
            "command",
            "healthcheck",
            "environment.LD_PRELOAD",
            "environment.PORTICO_TOKEN",
            "volumes",
        ];
        assert_eq!(keys, expected.map(|key| format!("services.app.{key}")));
        for idle in [&["sleep", "infinity"][..], &["/bin/sh", "-c", "while sleep 1000; do :; done"], &[]] {
            let command: Vec<String> = idle.iter().map(|word| (*word).to_owned()).collect();
            let service = Service {
                command: Some(command),
                ..Service::default()
            };
            let mut notices = Notices::default();
            note(&service, &mut notices);
            assert_eq!(notices.iter().count(), 0, "{idle:?}");
        }
    }
}
