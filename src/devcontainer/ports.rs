//! Ports as the file names them: read tolerantly, kept within bounds, with a note on all that is not heeded.

mod beside;

use std::borrow::Cow;

use jsonc_parser::{JsonArray, JsonObject, JsonValue};
use serde::{Deserialize, Serialize};

pub use self::beside::Beside;
use super::file::{Malformed, parse};

/// Most ports, attributes and shares that are kept.
const MAX_ENTRIES: usize = 64;
/// Most notes.
const MAX_NOTES: usize = 16;
/// Longest key of `portsAttributes` in bytes.
const MAX_KEY: usize = 256;
/// Longest name of a service in bytes.
const MAX_SERVICE: usize = 63;
/// Longest of all other texts in bytes.
const MAX_TEXT: usize = 160;

/// What the file says of ports. Travels from the agent, which reads the file, to the gateway, which heeds it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PortsAsWritten {
    /// The file's path below the workspace.
    pub source: String,
    /// `forwardPorts`.
    pub forward: Vec<u16>,
    /// Those of them that are another service's: whose, and which. Once settled, of those that run beside the codespace, and each
    /// number once.
    pub beside: Vec<(String, u16)>,
    /// `portsAttributes` in the file's order: it decides between patterns.
    pub attributes: Vec<(String, AttributesAsWritten)>,
    /// `otherPortsAttributes`.
    pub others: AttributesAsWritten,
    /// `customizations.portico.ports`.
    pub shares: Vec<ShareAsWritten>,
    /// What is not heeded, in words.
    pub notes: Vec<String>,
}

/// Attributes of ports; what is left out is none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct AttributesAsWritten {
    pub label: Option<String>,
    pub protocol: Option<String>,
    pub on_auto_forward: Option<String>,
}

/// A visibility that the file asks for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ShareAsWritten {
    pub port: u16,
    pub visibility: String,
}

impl PortsAsWritten {
    /// Reads a file.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let value = parse(text)?;
        let mut ports = Self::default();
        if let Some(list) = member(&value, "forwardPorts").and_then(array) {
            list.iter().for_each(|entry| ports.forward(entry));
        }
        if let Some(all) = member(&value, "portsAttributes").and_then(object) {
            for (key, attributes) in all.clone() {
                let read = ports.attributes_of(&key, &attributes);
                ports.attributes.push((key.into_owned(), read));
            }
        }
        if let Some(others) = member(&value, "otherPortsAttributes") {
            ports.others = ports.attributes_of("otherPortsAttributes", others);
        }
        let custom = member(&value, "customizations").and_then(|all| member(all, "portico"));
        if let Some(all) = custom.and_then(|custom| member(custom, "ports")).and_then(object) {
            for (key, wish) in all.clone() {
                ports.share(&key, &wish);
            }
        }
        Ok(ports.bounded())
    }

    /// Cuts everything down to what is kept; whoever takes it from an agent does so first.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        cut(&mut self.source, MAX_TEXT);
        self.forward.truncate(MAX_ENTRIES);
        self.beside.retain(|(service, port)| is_service(service) && *port != 0);
        self.beside.truncate(MAX_ENTRIES);
        self.attributes.truncate(MAX_ENTRIES);
        self.attributes.retain(|(key, _)| key.len() <= MAX_KEY);
        self.shares.truncate(MAX_ENTRIES);
        self.notes.truncate(MAX_NOTES);
        self.attributes.iter_mut().for_each(|(_, attributes)| attributes.bound());
        self.others.bound();
        self.shares.iter_mut().for_each(|share| cut(&mut share.visibility, MAX_TEXT));
        self.notes.iter_mut().for_each(|note| cut(note, 2 * MAX_TEXT));
        self
    }

    fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note.into());
        }
    }

    /// `3000`, or `"localhost:3000"`; another host is a service beside the codespace.
    fn forward(&mut self, entry: &JsonValue<'_>) {
        let text = match entry {
            JsonValue::Number(number) => Cow::Borrowed(*number),
            JsonValue::String(text) => text.clone(),
            _ => return self.note("forwardPorts holds what is neither a number nor a text"),
        };
        match (local_port(&text), port_of_service(&text)) {
            // What is not kept is not looked through for each of those that come after it.
            (Some(_), _) if self.forward.len() >= MAX_ENTRIES => {}
            (None, Some(_)) if self.beside.len() >= MAX_ENTRIES => {}
            (Some(port), _) if self.forward.contains(&port) => {}
            (Some(port), _) => self.forward.push(port),
            (None, Some(port)) if self.beside.contains(&port) => {}
            (None, Some(port)) => self.beside.push(port),
            (None, None) => self.note(format!(
                "forwardPorts: {text:?} is not a port, and is left out; write 3000, or \"db:5432\""
            )),
        }
    }

    fn attributes_of(&mut self, key: &str, value: &JsonValue<'_>) -> AttributesAsWritten {
        let Some(object) = object(value) else {
            self.note(format!("{key:?} has no attributes"));
            return AttributesAsWritten::default();
        };
        for name in ["requireLocalPort", "elevateIfNeeded"] {
            if object.get_boolean(name) == Some(true) {
                self.note(format!(
                    "{key:?}: {name} is not supported, since each port has an address of its own; `portico ports forward` gives one on your machine"
                ));
            }
        }
        let text = |name: &str| object.get_string(name).map(|text| text.clone().into_owned());
        AttributesAsWritten {
            label: text("label"),
            protocol: text("protocol"),
            on_auto_forward: text("onAutoForward"),
        }
    }

    /// `"3000": "public"` or `"3000": { "visibility": "public" }`.
    fn share(&mut self, key: &str, wish: &JsonValue<'_>) {
        let visibility = match wish {
            JsonValue::String(text) => Some(text),
            JsonValue::Object(object) => object.get_string("visibility"),
            _ => None,
        };
        match (local_port(key), visibility) {
            (Some(port), Some(visibility)) => self.shares.push(ShareAsWritten {
                port,
                visibility: visibility.clone().into_owned(),
            }),
            _ => self.note(format!(
                "customizations.portico.ports: {key:?} is not understood; write \"3000\": {{ \"visibility\": \"org\" }}"
            )),
        }
    }
}

impl AttributesAsWritten {
    fn bound(&mut self) {
        for text in [&mut self.label, &mut self.protocol, &mut self.on_auto_forward]
            .into_iter()
            .flatten()
        {
            cut(text, MAX_TEXT);
        }
    }
}

/// The port of `3000`, `localhost:3000` and their like.
pub(super) fn local_port(text: &str) -> Option<u16> {
    let digits = match text.rsplit_once(':') {
        Some((host, digits)) if ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"].contains(&host) => digits,
        Some(_) => return None,
        None => text,
    };
    digits.parse().ok().filter(|port| *port != 0)
}

/// Whose port `db:5432` is, and which.
pub(super) fn port_of_service(text: &str) -> Option<(String, u16)> {
    let (service, digits) = text.split_once(':')?;
    let port = digits
        .parse()
        .ok()
        .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    is_service(service).then(|| (service.to_owned(), port))
}

fn is_service(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=MAX_SERVICE).contains(&name.len()) && name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn member<'a, 'b>(value: &'a JsonValue<'b>, name: &str) -> Option<&'a JsonValue<'b>> {
    object(value)?.get(name)
}

fn object<'a, 'b>(value: &'a JsonValue<'b>) -> Option<&'a JsonObject<'b>> {
    match value {
        JsonValue::Object(object) => Some(object),
        _ => None,
    }
}

fn array<'a, 'b>(value: &'a JsonValue<'b>) -> Option<&'a JsonArray<'b>> {
    match value {
        JsonValue::Array(array) => Some(array),
        _ => None,
    }
}

/// Takes out what controls, then cuts to at most so many bytes, never inside a character.
pub(super) fn cut(text: &mut String, limit: usize) {
    text.retain(|c| !c.is_control());
    text.truncate(text.floor_char_boundary(limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_everything() {
        let text = r#"// for the team
        {
            "image": "debian", /* whatever */
            "forwardPorts": [3000, "localhost:5432", "db:6379", 3000, 70000, true,],
            "portsAttributes": {
                "3000": { "label": "Web", "onAutoForward": "openBrowser", "requireLocalPort": true },
                ".+/server\\.js": { "protocol": "https" },
                "40000-55000": { "onAutoForward": "ignore" },
            },
            "otherPortsAttributes": { "onAutoForward": "silent" },
            "customizations": { "vscode": {}, "portico": { "ports": { "3000": { "visibility": "public" }, "8000": "org", "x": 1 } } },
        }"#;
        let ports = PortsAsWritten::read(text).expect("it is well-formed");
        assert_eq!(ports.forward, [3000, 5432]);
        assert_eq!(ports.beside, [("db".to_owned(), 6379)]);
        let keys: Vec<_> = ports.attributes.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["3000", ".+/server\\.js", "40000-55000"]);
        assert_eq!(ports.attributes[0].1.label.as_deref(), Some("Web"));
        assert_eq!(ports.others.on_auto_forward.as_deref(), Some("silent"));
        let shares: Vec<_> = ports.shares.iter().map(|share| (share.port, share.visibility.as_str())).collect();
        assert_eq!(shares, [(3000, "public"), (8000, "org")]);
        assert_eq!(ports.notes.len(), 4, "{:?}", ports.notes);
        assert!(ports.notes.iter().any(|note| note.contains("requireLocalPort is not supported")));
    }

    #[test]
    fn what_is_no_file() {
        for text in [
            "",
            "[]",
            "3",
            "{",
            "{'a': 1}",
            "{a: 1}",
            "{\"a\": 0x10}",
            "nonsense",
            &"[".repeat(100_000),
            &"{\"a\":".repeat(100_000),
        ] {
            let error = PortsAsWritten::read(text).expect_err(text);
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_is_not_understood_is_no_failure() {
        for text in [
            "{}",
            "\u{feff}{}",
            r#"{"forwardPorts": 3, "portsAttributes": [], "otherPortsAttributes": 1, "customizations": {"portico": {"ports": []}}}"#,
            r#"{"portsAttributes": {"3000": 1}}"#,
        ] {
            let ports = PortsAsWritten::read(text).expect(text);
            assert_eq!((ports.forward.len(), ports.shares.len()), (0, 0), "{text}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let attributes = AttributesAsWritten {
            label: Some("\u{1b}[31m\u{e9}".repeat(500)),
            ..AttributesAsWritten::default()
        };
        let ports = PortsAsWritten {
            source: "s".repeat(9999),
            forward: vec![1; 9999],
            beside: [
                vec![("s".repeat(64), 1), ("a b".into(), 1), ("db".into(), 0)],
                vec![("db".into(), 1); 9999],
            ]
            .concat(),
            attributes: vec![("k".repeat(300), attributes.clone()), ("1".into(), attributes)],
            shares: vec![ShareAsWritten::default(); 9999],
            notes: vec!["n".repeat(9999); 999],
            ..PortsAsWritten::default()
        }
        .bounded();
        assert_eq!((ports.forward.len(), ports.shares.len(), ports.notes.len()), (64, 64, 16));
        assert_eq!(ports.beside, vec![("db".to_owned(), 1); 64]);
        assert_eq!(
            ports.attributes.len(),
            1,
            "a key that is too long is left out, since a part of it means something else"
        );
        let label = ports.attributes[0].1.label.as_deref().expect("it has one");
        assert!(label.len() <= 160 && !label.contains('\u{1b}'));
        assert!(ports.source.len() <= 160 && ports.notes[0].len() <= 320);
    }
}
