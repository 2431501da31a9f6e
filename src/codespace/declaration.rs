//! What the repository declares of ports, as the codespace heeds it; and what it asks to share, until the owner decides.

use std::collections::BTreeMap;

use crate::{
    auth::hash_secret,
    devcontainer::{Attributes, PortRules, PortsAsWritten},
    domain::{Port, Visibility},
};

/// What `devcontainer.json` says of ports.
#[derive(Clone, Debug, Default)]
pub struct Declaration {
    written: PortsAsWritten,
    rules: PortRules,
}

/// What a declaration asks to share. It opens nothing: an agent wrote it, and only the owner can mean it (SHARE-1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// What the owner's decision is about: another content is another question.
    pub hash: [u8; 32],
    pub shares: BTreeMap<Port, Visibility>,
    /// The file.
    pub source: String,
}

impl Declaration {
    /// Takes what an agent read, cut down to what is kept.
    pub fn new(written: PortsAsWritten) -> Self {
        let written = written.bounded();
        let rules = PortRules::new(&written);
        Self { written, rules }
    }

    /// Whether it is made of this.
    pub fn is(&self, written: &PortsAsWritten) -> bool {
        self.written == *written
    }

    /// What holds for a port where its owner set nothing.
    pub fn of(&self, port: Port, command: Option<&str>) -> Attributes {
        self.rules.of(port.number(), command)
    }

    /// What holds for a port as long as nothing of the codespace itself listens there.
    pub fn at_rest(&self, port: Port) -> Attributes {
        self.rules.at_rest(port.number())
    }

    /// The service beside the codespace that has a port.
    pub fn beside(&self, port: Port) -> Option<&str> {
        self.rules.beside(port.number())
    }

    /// Whether it speaks of this very port.
    pub fn names(&self, port: Port) -> bool {
        self.rules.names(port.number())
    }

    /// The ports that are listed before anything listens there.
    pub fn forward(&self) -> impl Iterator<Item = Port> + '_ {
        self.rules.forward().filter_map(Port::new)
    }

    /// What it asks to share; none if that is nothing.
    pub fn offer(&self) -> Option<Offer> {
        let shares: BTreeMap<Port, Visibility> = self
            .written
            .shares
            .iter()
            .filter_map(|share| Port::new(share.port).zip(share.visibility.parse().ok()))
            .filter(|(_, visibility)| *visibility != Visibility::Private)
            .collect();
        let text: String = shares.iter().map(|(port, visibility)| format!("{port} {visibility}\n")).collect();
        (!shares.is_empty()).then(|| Offer {
            hash: hash_secret(&text),
            shares,
            source: self.written.source.clone(),
        })
    }
}

impl PartialEq for Declaration {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Offer {
    /// The hash as the API shows it.
    pub fn id(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Declaration {
        Declaration::new(PortsAsWritten::read(text).expect("it is well-formed"))
    }

    #[test]
    fn share_1_the_same_offer_is_the_same_question() {
        let offer = |ports: &str| declared(&format!(r#"{{ "customizations": {{ "portico": {{ "ports": {ports} }} }} }}"#)).offer();
        let one = offer(r#"{ "3000": "public", "8000": { "visibility": "org" } }"#).expect("it asks for something");
        let shown: Vec<_> = one.shares.iter().map(|(port, visibility)| format!("{port}:{visibility}")).collect();
        assert_eq!(shown, ["3000:public", "8000:org"]);
        let again = offer(r#"{ "8000": "org", /* the same */ "3000": "public", "9": "private", "10": "all" }"#);
        assert_eq!(again.expect("it asks").hash, one.hash);
        assert_ne!(offer(r#"{ "3000": "public", "8000": "public" }"#).expect("it asks").hash, one.hash);
        assert_ne!(offer(r#"{ "3000": "public", "8001": "org" }"#).expect("it asks").hash, one.hash);
        assert_eq!(offer(r#"{ "3000": "private" }"#), None);
        assert_eq!(offer("{}"), None);
        assert_eq!(one.id().len(), 64);
    }
}
