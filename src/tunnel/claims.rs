//! What an agent says of who it is, beside its credential: nothing of it is believed, and what differs is held against it
//! (AGT-1).
//!
//! The protocol has none of these fields. Others that it has not either are left alone: an agent may be newer than its
//! gateway.

use serde_json::Value;

use crate::domain::{CodespaceName, Generation};

/// Whether a message speaks for another codespace or start than its sender's, for somebody's account, or of where its
/// streams go.
pub fn are_foreign(message: &str, codespace: &CodespaceName, generation: Generation) -> bool {
    let differs = |name: &str, value: &Value| match name {
        "codespace" | "codespace_id" | "codespace_name" => value.as_str() != Some(codespace.as_str()),
        "generation" => value.as_u64() != Some(generation.0),
        "account" | "owner" | "user" | "user_id" | "users" | "host" | "address" => true,
        _ => false,
    };
    match serde_json::from_str(message) {
        // What people wrote in their `devcontainer.json` has names of its own.
        Ok(Value::Object(fields)) if fields.get("type").is_some_and(|kind| kind == "declared") => {
            fields.iter().any(|(name, value)| differs(name, value))
        }
        Ok(message) => anywhere(&message, &differs),
        Err(_) => true,
    }
}

fn anywhere(value: &Value, differs: &impl Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| differs(name, value) || anywhere(value, differs)),
        Value::Array(values) => values.iter().any(|value| anywhere(value, differs)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agt_1_an_agent_speaks_for_itself_alone() {
        let codespace: CodespaceName = "amber-x".parse().expect("a name");
        for (message, expected) in [
            (r#"{"type":"prepared"}"#, false),
            (r#"{"type":"prepared","since":"yesterday","more":{"of":["this"]}}"#, false),
            (r#"{"type":"prepared","codespace":"amber-x","generation":3}"#, false),
            (r#"{"type":"prepared","codespace":"birch-x"}"#, true),
            (r#"{"type":"prepared","codespace":null}"#, true),
            (r#"{"type":"prepared","codespace":{"name":"amber-x"}}"#, true),
            (r#"{"type":"prepared","generation":4}"#, true),
            (r#"{"type":"prepared","generation":"3"}"#, true),
            (r#"{"type":"prepared","user":"bob"}"#, true),
            (r#"{"type":"ports","ports":[{"port":1,"addresses":["::1"]}]}"#, false),
            (
                r#"{"type":"ports","ports":[{"port":1,"addresses":[],"codespace":"birch-x"}]}"#,
                true,
            ),
            (
                r#"{"type":"ports","ports":[{"port":1,"addresses":[],"host":"169.254.169.254"}]}"#,
                true,
            ),
            (
                r#"{"type":"declared","ports":{"portsAttributes":{"host":{"label":"codespace"}}}}"#,
                false,
            ),
            (r#"{"type":"declared","ports":{},"owner":"bob"}"#, true),
        ] {
            assert_eq!(are_foreign(message, &codespace, Generation(3)), expected, "{message}");
        }
    }
}
