//! The file: where it is, and its grammar.

use jsonc_parser::{JsonValue, ParseOptions, parse_to_value};
use thiserror::Error;

/// Where it is looked for below the workspace, the best first; after these in each folder of [`FOLDER`], by name.
pub const FILES: [&str; 2] = [".devcontainer/devcontainer.json", ".devcontainer.json"];
/// The folder whose folders may each hold one.
pub const FOLDER: &str = ".devcontainer";
/// What it is called in there.
pub const NAME: &str = "devcontainer.json";

/// A text that is no such file; says where, for whoever wrote it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct Malformed(pub String);

/// Parses JSON with comments and trailing commas, and nothing looser.
pub(super) fn parse(text: &str) -> Result<JsonValue<'_>, Malformed> {
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
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = parse_to_value(text, &options).map_err(|error| Malformed(error.to_string()))?;
    value
        .filter(|value| matches!(value, JsonValue::Object(_)))
        .ok_or_else(|| Malformed("it holds no object".into()))
}
