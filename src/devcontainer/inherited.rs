//! What an image says of the containers that are made of it, in its label `devcontainer.metadata`
//! (<https://containers.dev/implementors/reference/#image-metadata>): features and images bring commands, volumes and
//! variables with them. It comes before what the repository says, and is refused where that would be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{commands::Hook, configuration::Configuration, notice::Notices, variables::Place};

/// Most parts that are looked at.
const MAX_PARTS: usize = 64;

/// What holds inside besides what the repository's own file says.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Inherited {
    /// Each runs before the repository's own of its stage.
    pub hooks: Vec<Hook>,
    pub remote_env: BTreeMap<String, Option<String>>,
}

impl Inherited {
    /// Reads an image's label, and adds to `configuration` what the container itself is to have of it.
    pub fn take(label: &str, configuration: &mut Configuration, place: &Place, notices: &mut Notices) -> Self {
        let parts = match serde_json::from_str(label) {
            Ok(Value::Array(parts)) => parts,
            Ok(part @ Value::Object(_)) => vec![part],
            _ => return Self::default(),
        };
        let mut inherited = Self::default();
        for part in parts.into_iter().take(MAX_PARTS) {
            let Value::Object(mut part) = part else { continue };
            // Names of what the image was made of; its users are asked for elsewhere.
            let origin = part.remove("id").and_then(|id| id.as_str().map(str::to_owned));
            let origin = origin.as_deref().unwrap_or("its image");
            for key in ["remoteUser", "containerUser", "userEnvProbe", "features", "dockerComposeFile"] {
                part.remove(key);
            }
            // What it says of ports is the repository's to say.
            for key in ["forwardPorts", "portsAttributes", "otherPortsAttributes"] {
                let reason = "ports are for the repository's own devcontainer.json to name";
                if part.remove(key).is_some_and(|value| !is_empty(&value)) {
                    notices.note(format!("{key} of {origin}"), reason);
                }
            }
            for key in ["hostRequirements", "waitFor"] {
                let reason = "it is heeded in the repository's own devcontainer.json alone";
                if part.remove(key).is_some_and(|value| !is_empty(&value)) {
                    notices.note(format!("{key} of {origin}"), reason);
                }
            }
            if part.get("customizations").and_then(|all| all.get("portico")).is_some() {
                let reason = "what is shared is for the repository's own devcontainer.json to ask";
                notices.note(format!("customizations.portico of {origin}"), reason);
            }
            let Ok(read) = Configuration::read(&Value::Object(part).to_string(), "", place) else {
                continue;
            };
            inherited.add(read, configuration, origin, notices);
        }
        inherited
    }

    fn add(&mut self, part: Configuration, configuration: &mut Configuration, origin: &str, notices: &mut Notices) {
        for notice in part.notices {
            notices.note(format!("{} of {origin}", notice.key), notice.reason);
        }
        self.hooks.extend(part.hooks);
        self.remote_env.extend(part.remote_env);
        configuration.run.init |= part.run.init;
        configuration.run.trace |= part.run.trace;
        for volume in part.mounts {
            if configuration.mounts.iter().all(|there| there.target != volume.target) {
                configuration.mounts.push(volume);
            }
        }
        for (name, value) in part.container_env {
            configuration.container_env.entry(name).or_insert(value);
        }
    }

    /// What the repository says, with this before it.
    #[must_use]
    pub fn before(self, mut configuration: Configuration) -> Configuration {
        let mut hooks = self.hooks;
        hooks.append(&mut configuration.hooks);
        // Stable: within a stage the image's come first.
        hooks.sort_by_key(|hook| hook.stage);
        configuration.hooks = hooks;
        let mut variables = self.remote_env;
        variables.append(&mut configuration.remote_env);
        configuration.remote_env = variables;
        configuration
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devcontainer::{Run, Stage};

    #[test]
    fn an_image_brings_what_a_repository_could_ask_for_and_no_more() {
        let place = Place {
            root: "/workspaces/app".into(),
            id: "amber-otter-x7k2".into(),
            ..Place::default()
        };
        let file = r#"{ "image": "a", "containerEnv": { "A": "mine" }, "remoteEnv": { "R": "mine" }, "postCreateCommand": "mine" }"#;
        let mut own = Configuration::read(file, ".devcontainer.json", &place).expect(file);
        let label = r#"[
            {"id": "./tool", "postCreateCommand": "tool", "onCreateCommand": ["first"], "init": true, "privileged": true,
             "capAdd": ["SYS_PTRACE", "NET_ADMIN"], "entrypoint": "/start.sh", "remoteUser": "root",
             "mounts": [{"source": "cache-${devcontainerId}", "target": "/cache", "type": "volume"}, "source=/,target=/host,type=bind"]},
            {"containerEnv": {"A": "theirs", "B": "theirs"}, "remoteEnv": {"R": "theirs", "S": "theirs"}, "customizations": {"vscode": {"extensions": ["a.b"], "settings": {"x": 1}}, "portico": {"ports": {"80": "public"}}, "other": {}},
             "forwardPorts": [80], "portsAttributes": {}, "waitFor": "postCreateCommand"},
            7
        ]"#;
        let mut notices = Notices::default();
        let inherited = Inherited::take(label, &mut own, &place, &mut notices);
        let keys: Vec<&str> = notices.iter().map(|notice| notice.key.as_str()).collect();
        for key in [
            "privileged of ./tool",
            "capAdd NET_ADMIN of ./tool",
            "entrypoint of ./tool",
            "mounts of ./tool",
            "customizations.vscode.extensions of its image",
            "customizations.vscode.settings of its image",
            "customizations.portico of its image",
            "forwardPorts of its image",
            "waitFor of its image",
        ] {
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        assert!(
            !keys.iter().any(|key| key.starts_with("portsAttributes")),
            "it says nothing there: {keys:?}"
        );
        assert!(own.run.init && own.run.trace && own.user().is_none());
        assert_eq!((own.mounts.len(), own.mounts[0].name.as_str()), (1, "cache-amber-otter-x7k2"));
        assert_eq!(
            (own.container_env["A"].as_str(), own.container_env["B"].as_str()),
            ("mine", "theirs")
        );
        let merged = inherited.before(own);
        let hooks: Vec<_> = merged.hooks.iter().map(|hook| (hook.stage, hook.commands[0].run.clone())).collect();
        let shell = |text: &str| Run::Shell(text.into());
        assert_eq!(
            hooks,
            [
                (Stage::OnCreate, Run::Program(vec!["first".into()])),
                (Stage::PostCreate, shell("tool")),
                (Stage::PostCreate, shell("mine"))
            ]
        );
        assert_eq!(
            (merged.remote_env["R"].as_deref(), merged.remote_env["S"].as_deref()),
            (Some("mine"), Some("theirs"))
        );
        for junk in ["", "7", "{", "[[]]"] {
            assert_eq!(
                Inherited::take(junk, &mut Configuration::default(), &place, &mut notices),
                Inherited::default()
            );
        }
    }
}
