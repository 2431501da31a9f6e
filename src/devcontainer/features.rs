//! `features`: parts that an image is to have installed, as the file names them
//! (<https://containers.dev/implementors/features/>).
//!
//! Owns which of them can be had: a folder of the repository, or a name at a registry; and what one says of others in its own
//! file. Refuses addresses of archives: the gateway's machine would fetch whatever a repository names.

use std::fmt;

use jsonc_parser::JsonValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    file::{FOLDER, parse},
    notice::Notices,
};
use crate::domain::is_image_name;

/// Most of them.
const MAX_FEATURES: usize = 32;
/// Most options of one.
const MAX_OPTIONS: usize = 64;
/// Longest option in bytes.
const MAX_OPTION: usize = 4 * 1024;

/// What is to be installed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Features {
    pub wanted: Vec<Feature>,
    /// `overrideFeatureInstallOrder`.
    pub order: Vec<String>,
}

/// One part.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Feature {
    /// As it is written.
    pub id: String,
    /// Its folder below the checkout, where it is one of the repository's own.
    pub folder: Option<String>,
    /// A text, a truth value, or an object of these.
    pub options: Value,
}

/// What a feature says of itself, `devcontainer-feature.json`. As it is shown it is what was read of it, and no more.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureFile {
    whole: Map<String, Value>,
    needs: Vec<String>,
}

impl Features {
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether a feature can be had by that name, from a file in the folder of such files.
    pub fn is_source(id: &str) -> bool {
        source(id, FOLDER).is_ok()
    }

    /// Reads both keys; `directory` is where the file is. What cannot be had is named.
    pub(super) fn read(
        wanted: Option<&JsonValue<'_>>,
        order: Option<&JsonValue<'_>>,
        directory: &str,
        mut expand: impl FnMut(&str, &mut Notices) -> String,
        notices: &mut Notices,
    ) -> Self {
        let mut features = Self::default();
        let JsonValue::Object(object) = wanted.unwrap_or(&JsonValue::Null) else {
            return features;
        };
        for (id, value) in object.clone() {
            let options = options(&value, &mut |text| expand(text, notices));
            let found = if features.wanted.len() >= MAX_FEATURES {
                Err("there are too many of them")
            } else {
                source(&id, directory).and_then(|folder| Ok((folder, options?)))
            };
            match found {
                Ok((folder, options)) => features.wanted.push(Feature {
                    id: id.into_owned(),
                    folder,
                    options,
                }),
                Err(reason) => {
                    let id = id.get(..id.floor_char_boundary(80)).unwrap_or_default();
                    notices.note(format!("features {id}"), reason);
                }
            }
        }
        features.wanted.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(JsonValue::Array(list)) = order {
            let ids = list.iter().filter_map(|id| match id {
                JsonValue::String(id) if id.len() <= MAX_OPTION => Some(id.clone().into_owned()),
                _ => None,
            });
            // What has only an order is looked up as well.
            let (had, others): (Vec<_>, Vec<_>) = ids.take(MAX_FEATURES).partition(|id| source(id, directory).is_ok());
            features.order = had;
            for id in others {
                let id = id.get(..id.floor_char_boundary(80)).unwrap_or_default();
                notices.note(
                    format!("overrideFeatureInstallOrder {id}"),
                    "it is no feature that can be installed here",
                );
            }
        }
        features
    }
}

impl FeatureFile {
    /// Reads it, comments and trailing commas as in other files; an error in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let parsed = parse(text).map_err(|error| format!("its devcontainer-feature.json cannot be read: {error}"))?;
        let Value::Object(whole) = plain(&parsed) else {
            return Err("its devcontainer-feature.json is no object".into());
        };
        let needs = match whole.get("dependsOn") {
            None => Vec::new(),
            Some(Value::Object(needs)) => needs.keys().cloned().collect(),
            Some(_) => return Err("its dependsOn is no object".into()),
        };
        Ok(Self { whole, needs })
    }

    /// `dependsOn`: those without which it is not installed.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.needs.iter().map(String::as_str)
    }

    /// Leaves out of `installsAfter`, which only says in which order, those of which `is_had` does not hold.
    pub fn keep_after(&mut self, is_had: &dyn Fn(&str) -> bool) {
        let Some(after) = self.whole.get_mut("installsAfter") else { return };
        let kept = after.as_array().into_iter().flatten().filter(|id| id.as_str().is_some_and(is_had));
        *after = kept.cloned().collect();
    }
}

impl fmt::Display for FeatureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.whole).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// The same without comments.
fn plain(value: &JsonValue<'_>) -> Value {
    match value {
        JsonValue::Null => Value::Null,
        JsonValue::Boolean(is_set) => Value::Bool(*is_set),
        JsonValue::Number(number) => serde_json::from_str(number).unwrap_or_else(|_| Value::String((*number).to_owned())),
        JsonValue::String(text) => Value::String(text.clone().into_owned()),
        JsonValue::Array(list) => list.iter().map(plain).collect(),
        JsonValue::Object(object) => {
            let pairs = object.clone().into_iter();
            pairs.map(|(name, value)| (name.into_owned(), plain(&value))).collect()
        }
    }
}

/// The folder below the checkout, none for a name at a registry; or why it cannot be had.
fn source(id: &str, directory: &str) -> Result<Option<String>, &'static str> {
    if id.starts_with("./") || id.starts_with("../") {
        let folder = super::paths::below(directory, id).filter(|folder| {
            let inside = folder.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
            inside.is_some_and(|rest| !rest.is_empty()) && !folder.contains(|c: char| c.is_control() || c == '\\')
        });
        return folder
            .map(Some)
            .ok_or("a feature of the repository's own is a folder below .devcontainer, named from where this file is");
    }
    if id.contains("://") {
        return Err("an archive by its address is not fetched: name it at a registry, or put its folder below .devcontainer");
    }
    let host = id.split_once('/').map_or("", |(host, _)| host);
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    if !name.contains('.') {
        return Err("name it with its registry, as ghcr.io/devcontainers/features/NAME:1");
    }
    // What ends in a number is an address, in one spelling or another.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) || !is_image_name(id) {
        return Err("it is no name at a registry, as ghcr.io/devcontainers/features/node:1 is one");
    }
    Ok(None)
}

fn options(value: &JsonValue<'_>, expand: &mut impl FnMut(&str) -> String) -> Result<Value, &'static str> {
    let mut plain = |value: &JsonValue<'_>| match value {
        JsonValue::Boolean(is_set) => Some(Value::Bool(*is_set)),
        JsonValue::String(text) => {
            let text = expand(text);
            (text.len() <= MAX_OPTION && !text.contains(|c: char| c.is_control())).then_some(Value::String(text))
        }
        // The format has none, and people write them all the same.
        JsonValue::Number(number) if number.len() <= 32 => Some(Value::String((*number).to_owned())),
        _ => None,
    };
    const WRONG: &str = "its options are no texts and truth values, or too long: it is not installed";
    match value {
        JsonValue::Object(object) if object.len() <= MAX_OPTIONS => {
            let pairs = object.clone().into_iter();
            let pairs = pairs.map(|(name, value)| Some((name.into_owned(), plain(&value)?)));
            pairs.collect::<Option<Map<_, _>>>().map(Value::Object).ok_or(WRONG)
        }
        value => plain(value).ok_or(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_features_come_from() {
        #[track_caller]
        fn check(id: &str, directory: &str, expected: Result<Option<&str>, ()>) {
            let found = source(id, directory);
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(|_| ()), expected, "{id}");
        }
        check("ghcr.io/devcontainers/features/node:1", "", Ok(None));
        check(
            "registry.example.com:5000/team/tool@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "",
            Ok(None),
        );
        check("./tool", ".devcontainer", Ok(Some(".devcontainer/tool")));
        check("../tool", ".devcontainer/web", Ok(Some(".devcontainer/tool")));
        for (id, directory) in [
            ("./tool", ""),
            ("../tool", ".devcontainer"),
            ("./../../tool", ".devcontainer"),
            ("./", ".devcontainer"),
            ("./a\\b", ".devcontainer"),
            ("/etc", ".devcontainer"),
            ("https://example.com/devcontainer-feature-x.tgz", ""),
            ("node", ""),
            ("owner/repository/feature", ""),
            ("localhost/a/b", ""),
            ("localhost:5000/a/b", ""),
            ("169.254.169.254/a/b", ""),
            ("127.1/a/b", ""),
            ("0x7f.1/a/b", ""),
            ("127.0x1:80/a/b", ""),
            ("2130706433:80/a/b", ""),
            ("[::1]:80/a/b", ""),
            ("[::ffff:127.0.0.1]/a/b", ""),
            ("ghcr.io/a/../b", ""),
            ("ghcr.io/a b", ""),
        ] {
            check(id, directory, Err(()));
        }
    }
}
