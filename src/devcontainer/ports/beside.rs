//! Ports of what runs beside a codespace, as `"db:5432"` in `forwardPorts`.
//!
//! Owns which of them have the number that their URL says, from who runs beside it. A number has one URL: of two that want it
//! the first has it, and that is said.

use std::{collections::BTreeMap, net::IpAddr};

use super::PortsAsWritten;
use crate::devcontainer::Notices;

/// Where the ports lead that the codespace itself does not listen on: whose they are, and at which address.
pub type Beside = BTreeMap<u16, (String, IpAddr)>;

impl PortsAsWritten {
    /// Keeps the ports of those that run beside the codespace, `beside` by their names; those of its `own` names are its own.
    pub fn settle(&mut self, beside: &BTreeMap<String, IpAddr>, own: &[String]) -> (Beside, Notices) {
        let (mut kept, mut notices) = (Beside::new(), Notices::default());
        for (service, port) in std::mem::take(&mut self.beside) {
            if own.contains(&service) {
                if !self.forward.contains(&port) {
                    self.forward.push(port);
                }
                continue;
            }
            let Some(address) = beside.get(&service) else {
                let reason = "it is not a port of this codespace, and is left out: no service of that name runs beside it";
                notices.note(format!("forwardPorts {service}:{port}"), reason);
                continue;
            };
            match kept.get(&port) {
                None => {
                    kept.insert(port, (service.clone(), *address));
                    self.beside.push((service, port));
                }
                // Another name of the same.
                Some((_, known)) if known == address => {}
                Some((first, _)) => {
                    let reason = format!(
                        "{first}:{port} is before it, and a number has one URL here: it is reached from inside alone. Have it listen on \
                         another port"
                    );
                    notices.note(format!("forwardPorts {service}:{port}"), reason);
                }
            }
        }
        (kept, notices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_leads_to_one() {
        let text = r#"{ "forwardPorts": [3000, "db:5432", "database:5432", "web:8080", "cache:8080", "app:9000", "gone:1", "localhost:4000",
            "web:0", "web:99999", "-web:1", "we b:1", "web:+1"] }"#;
        let mut ports = PortsAsWritten::read(text).expect("it is well-formed");
        assert_eq!(ports.notes.len(), 5, "{:?}", ports.notes);
        let address = |last: u8| IpAddr::from([10, 213, 0, last]);
        let beside = [("db", 3), ("database", 3), ("web", 4), ("cache", 5)].map(|(name, last)| (name.to_owned(), address(last)));
        let (kept, notices) = ports.settle(&beside.into(), &["app".to_owned()]);
        assert_eq!(ports.forward, [3000, 4000, 9000], "its own name is itself");
        assert_eq!(ports.beside, [("db".to_owned(), 5432), ("web".to_owned(), 8080)]);
        assert_eq!(
            kept,
            [(5432, ("db".to_owned(), address(3))), (8080, ("web".to_owned(), address(4)))].into()
        );
        let told: Vec<_> = notices.iter().map(|notice| (notice.key.as_str(), &notice.reason[..18])).collect();
        assert_eq!(
            told,
            [
                ("forwardPorts cache:8080", "web:8080 is before"),
                ("forwardPorts gone:1", "it is not a port o")
            ]
        );
        let (kept, _) = ports.settle(&BTreeMap::new(), &[]);
        assert!(kept.is_empty() && ports.beside.is_empty(), "nothing runs beside it any more");
    }
}
