//! What of a person's own settings goes into an editor's file that is there already: pure.
//!
//! Owns that a change on the settings page wins, once, and that what was changed in the editor stays otherwise; comments and the
//! order of the file are kept.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use serde_json::{Map, Value};

use crate::protocol::personal::settings_object;

/// The file's text with what changed of the person's own settings since `before`; none if nothing is to be written.
pub fn followed(file: &str, before: &Map<String, Value>, now: &Map<String, Value>) -> Result<Option<String>, String> {
    let there = settings_object(if file.trim().is_empty() { "{}" } else { file })?;
    let set = now
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value) && there.get(*key) != Some(*value));
    let set: Vec<_> = set.collect();
    // What was taken back there goes here, unless it was changed in the editor.
    let taken = before
        .iter()
        .filter(|(key, value)| !now.contains_key(*key) && there.get(*key) == Some(*value));
    let taken: Vec<_> = taken.map(|(key, _)| key).collect();
    if set.is_empty() && taken.is_empty() {
        return Ok(None);
    }
    let root = CstRootNode::parse(file, &ParseOptions::default()).map_err(|error| error.to_string())?;
    let object = root.object_value_or_create().ok_or("it holds no object")?;
    for (key, value) in set {
        put(&object, key, value);
    }
    for property in taken.into_iter().filter_map(|key| object.get(key)) {
        property.remove();
    }
    Ok(Some(root.to_string()))
}

fn put(object: &CstObject, key: &str, value: &Value) {
    match object.get(key) {
        Some(property) => property.set_value(written(value)),
        None => drop(object.append(key, written(value))),
    }
}

/// Within the depth that the parser took.
fn written(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(is) => CstInputValue::Bool(*is),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(list) => CstInputValue::Array(list.iter().map(written).collect()),
        Value::Object(object) => CstInputValue::Object(object.iter().map(|(key, value)| (key.clone(), written(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_on_the_settings_page_wins_once() {
        #[track_caller]
        fn check(file: &str, before: &str, now: &str, expected: Option<&str>) {
            let read = |text| settings_object(text).expect("settings");
            let found = followed(file, &read(before), &read(now)).expect("it can be read");
            match (&found, expected) {
                (Some(found), Some(expected)) => assert_eq!(read(found), read(expected), "{found}"),
                (found, expected) => assert_eq!(found.as_deref(), expected),
            }
        }
        check(r#"{ "a": 1 }"#, r#"{ "a": 1 }"#, r#"{ "a": 1 }"#, None);
        // Changed in the editor: stays until the page says something new.
        check(r#"{ "a": 2 }"#, r#"{ "a": 1 }"#, r#"{ "a": 1 }"#, None);
        check(
            r#"{ "a": 2, "b": 0 }"#,
            r#"{ "a": 1 }"#,
            r#"{ "a": 3 }"#,
            Some(r#"{ "a": 3, "b": 0 }"#),
        );
        check(
            r#"{ "b": 0 }"#,
            "{}",
            r#"{ "a": { "x": [1, null, "y"] } }"#,
            Some(r#"{ "b": 0, "a": { "x": [1, null, "y"] } }"#),
        );
        // Taken back.
        check(r#"{ "a": 1, "b": 0 }"#, r#"{ "a": 1 }"#, "{}", Some(r#"{ "b": 0 }"#));
        check(r#"{ "a": 2, "b": 0 }"#, r#"{ "a": 1 }"#, "{}", None);
        // There already, by whatever way.
        check(r#"{ "a": 1 }"#, "{}", r#"{ "a": 1 }"#, None);
        check("", "{}", r#"{ "a": 1 }"#, Some(r#"{ "a": 1 }"#));
    }

    #[test]
    fn comments_stay_and_what_is_broken_is_told() {
        let now = settings_object(r#"{ "a": 2, "b": true }"#).expect("settings");
        let file = "{\n  // why\n  \"a\": 1, /* here */\n  \"c\": 3,\n}\n";
        let found = followed(file, &Map::new(), &now).expect("read").expect("changed");
        assert!(found.contains("// why") && found.contains("/* here */"), "{found}");
        let mut expected = now.clone();
        expected.insert("c".into(), 3.into());
        assert_eq!(settings_object(&found).expect("it is one still"), expected, "{found}");
        assert!(followed("{ \"a\": ", &Map::new(), &now).is_err());
        assert!(followed("[]", &Map::new(), &now).is_err());
    }
}
