//! Which gateway made what: several may use one engine, and none touches another's.

use std::{collections::HashMap, path::PathBuf};

use super::plan;
use crate::{domain::CodespaceName, runtime::RuntimeError};

/// A gateway's mark on an engine: eight characters, made once and kept in its data directory.
#[derive(Clone, Debug)]
pub struct Instance(String);

impl Instance {
    /// The mark of the gateway with this data directory.
    pub async fn of(data: PathBuf) -> Result<Self, RuntimeError> {
        let path = data.join("docker-instance");
        match tokio::fs::read_to_string(&path).await {
            Ok(text) if is_mark(&text) => return Ok(Self(text)),
            Ok(_) => {
                let why = format!("{} holds no mark of a gateway. Restore it from a backup", path.display());
                return Err(RuntimeError::Failed(why));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let mark = format!("{:08x}", rand::random::<u32>());
        let fresh = path.with_extension(format!("{:08x}", rand::random::<u32>()));
        tokio::fs::write(&fresh, &mark).await?;
        // The first of two that make one at the same time wins.
        let linked = tokio::fs::hard_link(&fresh, &path).await;
        tokio::fs::remove_file(&fresh).await?;
        match linked {
            Ok(()) => Ok(Self(mark)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let text = tokio::fs::read_to_string(&path).await?;
                Ok(Self(text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The name of a codespace's container, volume and network.
    pub fn resource(&self, name: &CodespaceName) -> String {
        format!("portico-{}-{name}", self.0)
    }

    /// The labels of a codespace's things.
    pub fn labels(&self, name: &CodespaceName) -> HashMap<String, String> {
        let labels = [(plan::INSTANCE_LABEL, self.0.as_str()), (plan::NAME_LABEL, name.as_str())];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// Whether something with these labels is a codespace's own: engines differ in whether all of several labels must fit.
    pub fn is_of(&self, name: &CodespaceName, labels: &HashMap<String, String>) -> bool {
        self.labels(name).iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether this gateway made something with these labels.
    pub fn is_maker(&self, labels: &HashMap<String, String>) -> bool {
        labels.get(plan::INSTANCE_LABEL) == Some(&self.0)
    }

    /// The label of each layer that is built, of images that were finished and of others.
    pub fn layer_label(&self) -> (&'static str, &str) {
        (plan::LAYER_LABEL, &self.0)
    }

    /// What asks an engine for this gateway's layers alone.
    pub fn filter_of_layers(&self) -> HashMap<String, Vec<String>> {
        [("label".to_owned(), vec![format!("{}={}", plan::LAYER_LABEL, self.0)])].into()
    }

    /// What asks an engine for this gateway's things alone.
    pub fn filter(&self) -> HashMap<String, Vec<String>> {
        [("label".to_owned(), vec![format!("{}={}", plan::INSTANCE_LABEL, self.0)])].into()
    }
}

fn is_mark(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codespaces_own_has_all_its_labels() {
        let (instance, other) = (Instance("c0ffee00".into()), Instance("c0ffee01".into()));
        let name = |text: &str| text.parse::<CodespaceName>().expect("a name");
        let labels = instance.labels(&name("amber-otter-x7k2"));
        assert!(instance.is_of(&name("amber-otter-x7k2"), &labels) && instance.is_maker(&labels));
        assert!(!instance.is_of(&name("amber-otter-x7k3"), &labels));
        assert!(!other.is_of(&name("amber-otter-x7k2"), &labels) && !other.is_maker(&labels));
        assert!(!instance.is_maker(&HashMap::new()));
    }

    #[tokio::test]
    async fn a_gateway_keeps_its_mark() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = || Instance::of(directory.path().to_owned());
        let (one, two) = tokio::join!(of(), of());
        let name = "amber-otter-x7k2".parse().expect("a name");
        let first = one.expect("made").resource(&name);
        assert_eq!(first, two.expect("made").resource(&name));
        assert_eq!(first, of().await.expect("read").resource(&name));
        std::fs::write(directory.path().join("docker-instance"), "../../etc").expect("written");
        assert!(of().await.is_err());
    }
}
