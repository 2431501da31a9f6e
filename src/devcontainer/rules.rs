//! What the file's attributes mean for a port.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use regex::bytes::{Regex, RegexBuilder};

use super::ports::{AttributesAsWritten, PortsAsWritten, local_port, port_of_service};

/// Largest compiled pattern in bytes: the file is written by strangers.
const MAX_PATTERN_SIZE: usize = 8 * 1024;
/// So much of a command line is looked at: with the size of a pattern it bounds what a look costs, whatever a codespace says.
const MAX_COMMAND_BYTES: usize = 160;
/// Most patterns.
const MAX_PATTERNS: usize = 16;

/// What a new port does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnAutoForward {
    #[default]
    Notify,
    OpenBrowser,
    OpenBrowserOnce,
    OpenPreview,
    Silent,
    Ignore,
}

/// What holds for a port, where nobody set anything else.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    pub label: Option<String>,
    /// `http` or `https`.
    pub protocol: Option<&'static str>,
    pub on_auto_forward: Option<OnAutoForward>,
}

/// The file's attributes, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct PortRules {
    rules: Vec<(Key, Attributes)>,
    others: Attributes,
    forward: BTreeSet<u16>,
    /// Whose the ports are that services beside the codespace have.
    beside: BTreeMap<u16, String>,
}

#[derive(Clone, Debug)]
enum Key {
    Port(u16),
    /// `db:5432`.
    Beside(String, u16),
    Range(RangeInclusive<u16>),
    /// Looked for in the command line.
    Command(Regex),
}

impl PortRules {
    /// Makes rules of what is written; a key that means nothing is left out.
    pub fn new(written: &PortsAsWritten) -> Self {
        let mut patterns = 0;
        let rules = written.attributes.iter().filter_map(|(key, attributes)| {
            let key = Key::plain(key).unwrap_or_else(|| {
                patterns += 1;
                // Counted first: to make one costs as much as to ask it.
                if patterns <= MAX_PATTERNS { Key::pattern(key) } else { None }
            })?;
            Some((key, Attributes::of(attributes)))
        });
        Self {
            rules: rules.collect(),
            others: Attributes::of(&written.others),
            forward: written.forward.iter().copied().collect(),
            // Of two with one number the first has it.
            beside: written
                .beside
                .iter()
                .rev()
                .map(|(service, port)| (*port, service.clone()))
                .collect(),
        }
    }

    /// What holds for a port: its own entry first, then the others that match in their order, each for what is not said
    /// yet; what is said of other ports only where nothing matches. As VS Code does it.
    pub fn of(&self, port: u16, command: Option<&str>) -> Attributes {
        let own = self
            .rules
            .iter()
            .filter(|(key, _)| matches!(key, Key::Port(number) if *number == port));
        let wider = self.rules.iter().filter(|(key, _)| key.covers(port, command));
        let mut found = Attributes::default();
        for (_, attributes) in own.chain(wider) {
            found.complete(attributes);
        }
        if found == Attributes::default() {
            found = self.others.clone();
        }
        found
    }

    /// What holds for a port as long as nothing of the codespace itself listens there: as [`Self::of`], unless a service beside it
    /// has the port, which is called by that where nothing else is said.
    pub fn at_rest(&self, port: u16) -> Attributes {
        let Some(service) = self.beside.get(&port) else {
            return self.of(port, None);
        };
        let own = |key: &Key| matches!(key, Key::Beside(of, number) if (of, *number) == (service, port));
        let number = |key: &Key| matches!(key, Key::Port(number) if *number == port) || key.covers(port, None);
        let mut found = Attributes::default();
        for (_, attributes) in self
            .rules
            .iter()
            .filter(|(key, _)| own(key))
            .chain(self.rules.iter().filter(|(key, _)| number(key)))
        {
            found.complete(attributes);
        }
        if found == Attributes::default() {
            found = Attributes {
                label: None,
                ..self.others.clone()
            };
        }
        found.label.get_or_insert_with(|| format!("{service}:{port}"));
        found
    }

    /// The service beside the codespace that has a port.
    pub fn beside(&self, port: u16) -> Option<&str> {
        self.beside.get(&port).map(String::as_str)
    }

    /// Whether the file speaks of this very port, so that it is no noise.
    pub fn names(&self, port: u16) -> bool {
        let keyed = |(key, _): &(Key, Attributes)| matches!(key, Key::Port(number) if *number == port);
        self.forward.contains(&port) || self.rules.iter().any(keyed)
    }

    /// The ports that are shown before anything listens there.
    pub fn forward(&self) -> impl Iterator<Item = u16> + '_ {
        self.forward.iter().chain(self.beside.keys()).copied()
    }
}

impl Key {
    /// A key that is no pattern: an inner none means nothing here.
    #[expect(clippy::option_option, reason = "the outer one is about the kind, the inner one about the key")]
    fn plain(text: &str) -> Option<Option<Self>> {
        if let Some(port) = local_port(text) {
            return Some(Some(Self::Port(port)));
        }
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some((low, high)) = text.split_once('-').and_then(|(low, high)| number(low).zip(number(high))) {
            return Some((low <= high).then_some(Self::Range(low..=high)));
        }
        if let Some((service, port)) = port_of_service(text) {
            return Some(Some(Self::Beside(service, port)));
        }
        is_elsewhere(text).then_some(None)
    }

    fn pattern(text: &str) -> Option<Self> {
        let pattern = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(MAX_PATTERN_SIZE)
            .dfa_size_limit(MAX_PATTERN_SIZE)
            .nest_limit(32)
            .build();
        pattern.ok().map(Self::Command)
    }

    fn covers(&self, port: u16, command: Option<&str>) -> bool {
        match self {
            Self::Port(_) | Self::Beside(..) => false,
            Self::Range(range) => range.contains(&port),
            Self::Command(pattern) => command.is_some_and(|command| {
                let command = command.as_bytes();
                pattern.is_match(&command[..command.len().min(MAX_COMMAND_BYTES)])
            }),
        }
    }
}

/// Whether a key is `HOST:PORT` of another machine, or a number that is no port.
fn is_elsewhere(text: &str) -> bool {
    let host = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match text.split_once(':') {
        Some((before, port)) => !before.is_empty() && before.chars().all(host) && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl Attributes {
    fn of(written: &AttributesAsWritten) -> Self {
        Self {
            label: written.label.clone().filter(|label| !label.trim().is_empty()),
            protocol: match written.protocol.as_deref() {
                Some("http") => Some("http"),
                Some("https") => Some("https"),
                _ => None,
            },
            on_auto_forward: written.on_auto_forward.as_deref().and_then(OnAutoForward::parse),
        }
    }

    fn complete(&mut self, other: &Self) {
        if self.label.is_none() {
            self.label.clone_from(&other.label);
        }
        self.protocol = self.protocol.or(other.protocol);
        self.on_auto_forward = self.on_auto_forward.or(other.on_auto_forward);
    }
}

impl OnAutoForward {
    const ALL: [Self; 6] = [
        Self::Notify,
        Self::OpenBrowser,
        Self::OpenBrowserOnce,
        Self::OpenPreview,
        Self::Silent,
        Self::Ignore,
    ];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == word)
    }

    /// The word for it in the file and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::OpenBrowser => "openBrowser",
            Self::OpenBrowserOnce => "openBrowserOnce",
            Self::OpenPreview => "openPreview",
            Self::Silent => "silent",
            Self::Ignore => "ignore",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> PortRules {
        PortRules::new(&PortsAsWritten::read(text).expect("it is well-formed"))
    }

    #[track_caller]
    fn check(rules: &PortRules, port: u16, command: &str, expected: &str) {
        let found = rules.of(port, Some(command));
        let shown = format!(
            "{} {} {}",
            found.label.as_deref().unwrap_or("-"),
            found.protocol.unwrap_or("-"),
            found.on_auto_forward.map_or("-", OnAutoForward::as_str)
        );
        assert_eq!(shown, expected, "{port} {command}");
    }

    #[test]
    fn which_attributes_hold() {
        let rules = rules(
            r#"{
                "forwardPorts": [8000],
                "portsAttributes": {
                    ".+/server\\.js": { "label": "Server", "protocol": "https" },
                    "40000-55000": { "onAutoForward": "ignore", "label": "High" },
                    "3000": { "label": "Web", "onAutoForward": "openBrowserOnce" },
                    "localhost:5432": { "label": "Database" },
                    "db:5433": { "label": "Elsewhere" },
                    "70000": { "label": "No port" },
                    "55000-40000": { "label": "Backwards" },
                    "(?=x)": { "label": "Not a pattern here" },
                    "(": { "label": "Not a pattern" },
                    "8001": { "onAutoForward": "shout", "protocol": "gopher" },
                },
                "otherPortsAttributes": { "onAutoForward": "silent", "label": "Other" },
            }"#,
        );
        check(&rules, 3000, "node x", "Web - openBrowserOnce");
        check(&rules, 3000, "node /app/server.js", "Web https openBrowserOnce");
        check(&rules, 41_000, "node /app/server.js", "Server https ignore");
        check(&rules, 40_000, "x", "High - ignore");
        check(&rules, 55_001, "x", "Other - silent");
        check(&rules, 5432, "postgres", "Database - -");
        check(&rules, 5433, "postgres", "Other - silent");
        check(&rules, 8001, "x", "Other - silent");
        assert_eq!(rules.of(41_000, None).label.as_deref(), Some("High"));
        assert_eq!([3000, 5432, 8000, 41_000].map(|port| rules.names(port)), [true, true, true, false]);
        assert_eq!(rules.forward().collect::<Vec<_>>(), [8000]);
        check(&PortRules::default(), 3000, "x", "- - -");
    }

    #[test]
    fn a_service_beside_it_has_a_port() {
        let rules = rules(
            r#"{
                "forwardPorts": ["db:5432", "db:5433", "web:8080", "late:8080", "web:9000"],
                "portsAttributes": {
                    "db:5432": { "label": "Postgres" },
                    "gone:5432": { "label": "Another's" },
                    "8080": { "protocol": "https" },
                    ".*": { "label": "Whatever runs" }
                },
                "otherPortsAttributes": { "onAutoForward": "silent", "label": "Other" }
            }"#,
        );
        for (port, expected) in [
            (5432, (Some("Postgres"), None, None)),
            (5433, (Some("db:5433"), None, Some(OnAutoForward::Silent))),
            (8080, (Some("web:8080"), Some("https"), None)),
            (7000, (Some("Other"), None, Some(OnAutoForward::Silent))),
        ] {
            let found = rules.at_rest(port);
            assert_eq!((found.label.as_deref(), found.protocol, found.on_auto_forward), expected, "{port}");
        }
        assert_eq!(
            rules.of(5432, Some("psql")).label.as_deref(),
            Some("Whatever runs"),
            "the codespace's own has another name"
        );
        assert_eq!(rules.forward().collect::<Vec<_>>(), [5432, 5433, 8080, 9000]);
        assert_eq!((rules.beside(8080), rules.beside(3000)), (Some("web"), None));
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(Key::pattern(&"(a{100}){100}".repeat(3)).is_none(), "it would be large");
        assert!(Key::pattern(&"(".repeat(200)).is_none());
        let many = PortsAsWritten {
            attributes: (0..60).map(|n| (format!("x{n}$"), AttributesAsWritten::default())).collect(),
            ..PortsAsWritten::default()
        };
        assert_eq!(PortRules::new(&many).rules.len(), MAX_PATTERNS);
    }
}
