//! `features`: parts that an image is to have installed, as the file names them
//! (<https://containers.dev/implementors/features/>).
//!
//! Owns which of them can be had: a folder of the repository, or a name at a registry. Refuses addresses of archives: the
//! gateway's machine would fetch whatever a repository names.

use std::net::Ipv4Addr;

use jsonc_parser::JsonValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{file::FOLDER, notice::Notices};
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

impl Features {
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
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
            features.order = ids.take(MAX_FEATURES).collect();
        }
        features
    }
}

/// The folder below the checkout, none for a name at a registry; or why it cannot be had.
fn source(id: &str, directory: &str) -> Result<Option<String>, &'static str> {
    if id.starts_with("./") || id.starts_with("../") {
        let folder = super::configuration::below(directory, id).filter(|folder| {
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
    if name.parse::<Ipv4Addr>().is_ok() || !is_image_name(id) {
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
            pairs.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object).ok_or(WRONG)
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
            ("ghcr.io/a/../b", ""),
            ("ghcr.io/a b", ""),
        ] {
            check(id, directory, Err(()));
        }
    }
}
