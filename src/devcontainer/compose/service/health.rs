//! `healthcheck`: how an engine finds out whether a service does what it is for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MAX_TEXT, MAX_WORDS};
use crate::devcontainer::compose::document::Node;

/// Longest time that is heeded.
const LONGEST: Duration = Duration::from_secs(3600);
/// Most failures in a row before it counts as ill.
const MAX_RETRIES: u16 = 1000;

/// What an engine asks again and again; none of it for what its image says.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Health {
    /// As engines take it: `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    pub test: Option<Vec<String>>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    /// Between two looks within `start_period`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Duration>,
    pub retries: Option<u16>,
}

impl Health {
    /// Least time between two looks: each is a process that the engine starts, at its machine's cost and not the codespace's.
    pub const LEAST_INTERVAL: Duration = Duration::from_secs(1);

    /// Never asks, whatever an image says.
    pub fn none() -> Self {
        Self {
            test: Some(vec!["NONE".into()]),
            ..Self::default()
        }
    }

    pub(super) fn read(node: Option<&Node>) -> Option<Self> {
        let node = node.filter(|node| !node.is_empty())?;
        let disabled = node.get("disable").is_some_and(Node::is_true);
        let time = |key: &str| {
            let time = humantime::parse_duration(node.get(key)?.text()?).ok()?;
            (Duration::from_millis(1)..=LONGEST).contains(&time).then_some(time)
        };
        Some(Self {
            test: if disabled {
                Some(vec!["NONE".into()])
            } else {
                test(node.get("test"))
            },
            interval: time("interval").map(|interval| interval.max(Self::LEAST_INTERVAL)),
            start_interval: time("start_interval").map(|interval| interval.max(Self::LEAST_INTERVAL)),
            timeout: time("timeout"),
            start_period: time("start_period"),
            retries: node
                .get("retries")
                .and_then(|node| node.text()?.parse().ok())
                .map(|count: u16| count.min(MAX_RETRIES)),
        })
    }
}

fn test(node: Option<&Node>) -> Option<Vec<String>> {
    let words: Vec<String> = match node? {
        Node::Text(text) => vec!["CMD-SHELL".into(), text.clone()],
        node => node.texts().into_iter().map(str::to_owned).collect(),
    };
    let known = matches!(words.first().map(String::as_str), Some("NONE" | "CMD" | "CMD-SHELL"));
    let fits = words.len() <= MAX_WORDS && words.iter().all(|word| word.len() <= MAX_TEXT && !word.contains('\0'));
    (known && fits).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devcontainer::compose::{budget::Budget, document::parse};

    #[test]
    fn what_is_asked() {
        let read = |text: &str| Health::read(Some(&parse(text, &mut Budget::default()).expect("it is YAML")));
        let found = read("{test: [CMD, pg_isready], interval: 1m30s, timeout: 500ms, retries: 5, start_period: 99h, start_interval: 2s}")
            .expect("one");
        let expected = Health {
            test: Some(vec!["CMD".into(), "pg_isready".into()]),
            interval: Some(Duration::from_secs(90)),
            timeout: Some(Duration::from_millis(500)),
            start_period: None,
            start_interval: Some(Duration::from_secs(2)),
            retries: Some(5),
        };
        assert_eq!(found, expected);
        let test = |text: &str| read(text).and_then(|health| health.test);
        assert_eq!(
            test("{test: curl -f localhost}"),
            Some(vec!["CMD-SHELL".into(), "curl -f localhost".into()])
        );
        assert_eq!(test("{disable: true, test: x}"), Some(vec!["NONE".into()]));
        assert_eq!(test("{test: [curl, -f]}"), None, "an engine refuses it");
        let often = read("{test: x, interval: 1ms}").and_then(|health| health.interval);
        assert_eq!(often, Some(Health::LEAST_INTERVAL));
    }
}
