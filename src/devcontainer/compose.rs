//! Compose files that a `devcontainer.json` names (<https://github.com/compose-spec/compose-spec>), as far as they are heeded.
//!
//! Owns reading and merging them, and which services there are to be in which order; names what is not heeded. Pure: whoever
//! reads the files is told which. Refuses what reaches out of the codespace: rights over the machine, its directories,
//! its network, its ports, its environment. The reference command line would have `docker compose` do as the file says,
//! with the engine's socket; no check of the file from before would hold then, since it merges and replaces what it reads.

mod budget;
mod document;
mod forms;
mod order;
mod own;
mod places;
mod service;
mod told;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use jsonc_parser::{JsonObject, JsonValue};
use serde::{Deserialize, Serialize};

use self::{budget::Budget, document::Node, service::Reader, variables::Replacing};
pub use self::{
    places::Bind,
    service::{After, Condition, Health, Joined, Restart, Service},
};
use super::{file::Malformed, notice::Notices, paths::below, ports::cut};

/// Most files of one project.
const MAX_FILES: usize = 8;
/// Most files that these lead to, themselves included.
const MAX_LED_TO: usize = 64;
/// Most directories on the way to one: an engine is asked of each.
const MAX_PARTS: usize = 24;
/// Most names of `runServices`.
const MAX_RUN: usize = 64;
/// Longest error in bytes.
const MAX_ERROR: usize = 600;
/// Longest of them, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// Keys of a file of which more is read than that they are there.
const READ: [&str; 3] = ["networks", "services", "volumes"];
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
    /// Most bytes of all files that one leads to; whoever gets them needs to get no more.
    pub const MAX_BYTES: usize = 4 << 20;

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
            run_services: file.get("runServices").map(texts).map(|mut names| {
                if names.len() > MAX_RUN {
                    notices.note("runServices", format!("only the first {MAX_RUN} of it are heeded"));
                    names.truncate(MAX_RUN);
                }
                names
            }),
        })
    }

    /// Reads the project, as far as the files go, which takes a moment of a processor. An error is for whoever wrote them.
    pub fn read(&self, texts: &Texts) -> Result<Reading, Malformed> {
        let bytes: usize = texts.values().flatten().map(String::len).sum();
        if bytes > Self::MAX_BYTES {
            return Err(Malformed(format!("its files hold more than {} bytes in all", Self::MAX_BYTES)));
        }
        let read = self.read_within(texts, &mut Budget::default()).map_err(|Malformed(mut text)| {
            cut(&mut text, MAX_ERROR);
            Malformed(text)
        })?;
        let Reading::Wants(paths) = &read else { return Ok(read) };
        if texts.len() + paths.len() > MAX_LED_TO {
            return Err(Malformed(format!("it leads to more than {MAX_LED_TO} files")));
        }
        match paths.iter().any(|path| path.split('/').count() > MAX_PARTS) {
            true => Err(Malformed(format!("it leads to a file below more than {MAX_PARTS} directories"))),
            false => Ok(read),
        }
    }

    fn read_within(&self, texts: &Texts, budget: &mut Budget) -> Result<Reading, Malformed> {
        let directory = self.files[0].rsplit_once('/').map_or("", |(directory, _)| directory);
        let beside = below(directory, VARIABLES).unwrap_or_default();
        let wanted = missing(texts, self.files.iter().chain([&beside]));
        if !wanted.is_empty() {
            return Ok(Reading::Wants(wanted));
        }
        let mut notices = Notices::default();
        let text = texts.get(&beside).and_then(Option::as_deref).unwrap_or_default();
        let values = variables::file(text, &BTreeMap::new(), budget).map_err(|error| Malformed(format!("{beside}: {error}")))?;
        let whole = self.merged(texts, &values, budget, &mut notices)?;
        let mut reader = Reader {
            directory,
            texts,
            values: &values,
            files: BTreeMap::new(),
            wanted: BTreeSet::new(),
            budget,
            notices,
        };
        let services = reader.services(&whole)?;
        if !reader.wanted.is_empty() {
            return Ok(Reading::Wants(reader.wanted.into_iter().collect()));
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
    fn merged(
        &self,
        texts: &Texts,
        values: &BTreeMap<String, String>,
        budget: &mut Budget,
        notices: &mut Notices,
    ) -> Result<BTreeMap<String, Node>, Malformed> {
        let (mut whole, mut unset) = (BTreeMap::new(), BTreeSet::new());
        for path in &self.files {
            let of_file = |error: Malformed| Malformed(format!("{path}: {error}"));
            let text = texts.get(path).and_then(Option::as_deref);
            let text = text.ok_or_else(|| Malformed(format!("{path} is not there")))?;
            if text.len() > MAX_TEXT {
                return Err(Malformed(format!("{path} is longer than {MAX_TEXT} bytes")));
            }
            let Node::Map(mut file) = document::parse(text, budget).map_err(of_file)? else {
                return Err(Malformed(format!("{path} holds no services")));
            };
            let mut replacing = Replacing {
                values: [values, &BTreeMap::new()],
                unset: &mut unset,
                budget: &mut *budget,
            };
            for (key, node) in &mut file {
                match READ.contains(&key.as_str()) {
                    true => replacing.all(node).map_err(of_file)?,
                    // Of the others it counts alone that they are there.
                    false => *node = Node::Null,
                }
            }
            forms::normalise(&mut file).map_err(of_file)?;
            forms::merge(&mut whole, file);
        }
        variables::note_unset(&unset, notices);
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
