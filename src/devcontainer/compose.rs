//! Compose files that a `devcontainer.json` names (<https://github.com/compose-spec/compose-spec>), as far as they are heeded.
//!
//! Owns reading and merging them, and which services there are to be in which order; names what is not heeded. Pure: whoever
//! reads the files is told which. Refuses what reaches out of the codespace: rights over the machine, its directories,
//! its network, its ports, its environment. The reference command line would have `docker compose` do as the file says,
//! with the engine's socket; no check of the file from before would hold then, since it merges and replaces what it reads.

mod document;
mod forms;
mod order;
mod own;
mod places;
mod service;
mod told;
mod variables;

use std::collections::BTreeMap;

use jsonc_parser::{JsonObject, JsonValue};
use serde::{Deserialize, Serialize};

use self::{document::Node, service::Reader};
pub use self::{
    places::Bind,
    service::{After, Condition, Health, Joined, Restart, Service},
};
use super::{configuration::below, file::Malformed, notice::Notices};

/// Most files of one project.
const MAX_FILES: usize = 8;
/// Longest of them, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// The file beside the first one that holds what `${NAME}` stands for.
const VARIABLES: &str = ".env";

/// What `devcontainer.json` says of Compose. Paths are below the checkout, without `..`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Compose {
    /// In the order in which they are merged.
    pub files: Vec<String>,
    /// The service that is the codespace itself.
    pub service: String,
    /// The others that are started; none for all.
    pub run_services: Option<Vec<String>>,
}

/// Files by their path below the checkout; none for one that is not there.
pub type Texts = BTreeMap<String, Option<String>>;

/// How far the files that there are lead.
#[derive(Clone, Debug)]
pub enum Reading {
    /// To more files.
    Wants(Vec<String>),
    Is(Box<Project>),
}

/// What a codespace is made of.
#[derive(Clone, Debug)]
pub struct Project {
    /// The codespace itself.
    pub own: Service,
    /// What runs beside it, in the order in which it is started.
    pub siblings: Vec<Service>,
    pub notices: Notices,
}

impl Compose {
    /// Reads the three keys; none where there is no Compose, or none that can be had, which is named. `directory` is where
    /// the file with the keys is.
    pub(super) fn named(file: &JsonObject<'_>, directory: &str, notices: &mut Notices) -> Option<Self> {
        let key = "dockerComposeFile";
        let texts = |value: &JsonValue<'_>| -> Vec<String> {
            let text = |value: &JsonValue<'_>| match value {
                JsonValue::String(text) => Some(text.clone().into_owned()),
                _ => None,
            };
            match value {
                JsonValue::Array(list) => list.iter().filter_map(text).collect(),
                value => text(value).into_iter().collect(),
            }
        };
        let written = texts(file.get(key)?);
        let files: Option<Vec<String>> = written.iter().map(|path| below(directory, path)).collect();
        let service = file.get_string("service").map(|text| text.clone().into_owned());
        let (Some(files), Some(service)) = (files, service.filter(|name| places::is_name(name))) else {
            let reason = "it takes service beside it, and files inside of the repository: the default image is used";
            notices.note(key, reason);
            return None;
        };
        if files.is_empty() || files.len() > MAX_FILES {
            notices.note(
                key,
                format!("it names no file, or more than {MAX_FILES}: the default image is used"),
            );
            return None;
        }
        Some(Self {
            files,
            service,
            run_services: file.get("runServices").map(texts),
        })
    }

    /// Reads the project, as far as the files go. An error is for whoever wrote them.
    pub fn read(&self, texts: &Texts) -> Result<Reading, Malformed> {
        let directory = self.files[0].rsplit_once('/').map_or("", |(directory, _)| directory);
        let beside = below(directory, VARIABLES).unwrap_or_default();
        let mut wanted = missing(texts, self.files.iter().chain([&beside]));
        if !wanted.is_empty() {
            return Ok(Reading::Wants(wanted));
        }
        let mut notices = Notices::default();
        let values = variables::file(texts.get(&beside).and_then(Option::as_deref).unwrap_or_default(), &BTreeMap::new());
        let whole = self.merged(texts, &values, &mut notices)?;
        let mut reader = Reader {
            directory,
            texts,
            values: &values,
            wanted: Vec::new(),
            notices,
        };
        let services = reader.services(&whole)?;
        wanted = std::mem::take(&mut reader.wanted);
        if !wanted.is_empty() {
            wanted.sort();
            wanted.dedup();
            return Ok(Reading::Wants(wanted));
        }
        let mut notices = reader.notices;
        let (own, siblings) = order::started(services, &self.service, self.run_services.as_deref(), &mut notices)?;
        let dockerfiles: Vec<&String> = siblings.iter().chain([&own]).filter_map(Service::dockerfile).collect();
        let wanted = missing(texts, dockerfiles);
        if !wanted.is_empty() {
            return Ok(Reading::Wants(wanted));
        }
        Ok(Reading::Is(Box::new(Project { own, siblings, notices })))
    }

    /// The files as one, names replaced by what they stand for.
    fn merged(&self, texts: &Texts, values: &BTreeMap<String, String>, notices: &mut Notices) -> Result<BTreeMap<String, Node>, Malformed> {
        let mut whole = BTreeMap::new();
        for path in &self.files {
            let of_file = |error: Malformed| Malformed(format!("{path}: {error}"));
            let text = texts.get(path).and_then(Option::as_deref);
            let text = text.ok_or_else(|| Malformed(format!("{path} is not there")))?;
            if text.len() > MAX_TEXT {
                return Err(Malformed(format!("{path} is longer than {MAX_TEXT} bytes")));
            }
            let Node::Map(mut file) = document::parse(text).map_err(of_file)? else {
                return Err(Malformed(format!("{path} holds no services")));
            };
            for node in file.values_mut() {
                variables::replace_all(node, values, notices).map_err(of_file)?;
            }
            forms::normalise(&mut file).map_err(of_file)?;
            forms::merge(&mut whole, file);
        }
        told::note_whole(&whole, notices);
        match whole.contains_key("include") {
            true => Err(Malformed(
                "include is not supported: name the files in dockerComposeFile, which takes a list".into(),
            )),
            false => Ok(whole),
        }
    }
}

impl Project {
    /// Directories of the repository that the codespace's own service has elsewhere: where, and their path below the checkout.
    pub fn binds(&self) -> Vec<(String, String)> {
        let binds = self.own.binds.iter();
        binds.filter_map(|bind| Some((bind.target.clone(), bind.source.clone()?))).collect()
    }
}

fn missing<'a>(texts: &Texts, paths: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let absent = paths.into_iter().filter(|path| !texts.contains_key(*path));
    absent.cloned().collect()
}

#[cfg(test)]
mod tests;
