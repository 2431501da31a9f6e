//! What an agent is told of the codespace's user: on the control connection, never in a file.

use std::collections::BTreeMap;

use jsonc_parser::{JsonValue, ParseOptions, parse_to_value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bootstrap::Secret;

/// What the user keeps that is of use inside this codespace. Nothing of it is written to a disk in clear but the editor's
/// settings, and what the user's own dotfiles are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Personal {
    /// Secrets as variables of everything that runs inside.
    pub variables: BTreeMap<String, Secret>,
    /// Who the user is at git servers.
    pub git: Vec<GitCredential>,
    /// Where these are set, they are git's `user.name` and `user.email`.
    pub git_name: Option<String>,
    pub git_email: Option<String>,
    pub dotfiles: Option<Dotfiles>,
    /// The editor's settings as JSON with comments, for an editor that has none yet.
    pub editor_settings: Option<String>,
    /// Extensions for the editor, as galleries name them.
    pub extensions: Vec<String>,
}

/// A name and a password for one git server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GitCredential {
    /// `https://HOST` or `http://HOST`, with the port where it is not the usual one.
    pub host: String,
    pub username: String,
    pub password: Secret,
}

/// The repository of the user's dotfiles.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Dotfiles {
    pub repository: String,
    /// The script to run in it; none for the first of the usual names that is there.
    pub script: Option<String>,
    /// Whether `file:` URLs and local paths are allowed, as they are for admins.
    pub allow_local: bool,
}

/// Parses an editor's settings: an object of JSON with comments and trailing commas. The error says where and what.
pub fn settings_object(text: &str) -> Result<Map<String, Value>, String> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    match parse_to_value(text, &options).map_err(|error| error.to_string())?.map(plain) {
        Some(Value::Object(object)) => Ok(object),
        _ => Err("it holds no object".into()),
    }
}

/// The same value without comments; the parser bounds how deep it goes.
fn plain(value: JsonValue<'_>) -> Value {
    match value {
        JsonValue::String(text) => Value::String(text.into_owned()),
        JsonValue::Number(digits) => serde_json::from_str(digits).unwrap_or(Value::Null),
        JsonValue::Boolean(value) => Value::Bool(value),
        JsonValue::Null => Value::Null,
        JsonValue::Array(array) => array.take_inner().into_iter().map(plain).collect(),
        JsonValue::Object(object) => {
            let members = object.take_inner().into_iter();
            members.map(|(name, value)| (name.into_owned(), plain(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_an_object_with_comments() {
        let text = "{\n // mine\n \"editor.fontSize\": 15, \"a\": [1.5, {\"b\": null}, true,], }";
        let object = settings_object(text).expect("an object");
        assert_eq!(
            Value::Object(object),
            serde_json::json!({"editor.fontSize": 15, "a": [1.5, {"b": null}, true]})
        );
        for bad in [
            "",
            "[]",
            "1",
            "{",
            "{'a': 1}",
            "{a: 1}",
            &"[".repeat(60_000),
            &"{\"a\":".repeat(10_000),
        ] {
            assert!(settings_object(bad).is_err());
        }
    }
}
