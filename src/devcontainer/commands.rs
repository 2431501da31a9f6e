//! Lifecycle commands: <https://containers.dev/implementors/json_reference/#lifecycle-scripts>.

use std::fmt;

use jsonc_parser::JsonValue;
use serde::{Deserialize, Serialize};

use super::notice::Notices;

/// Most commands of one stage that run side by side.
const MAX_PARALLEL: usize = 32;
/// Most words of one command.
const MAX_WORDS: usize = 256;
/// Longest word in bytes.
const MAX_WORD: usize = 32 * 1024;

/// When commands run, in their order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Stage {
    /// Once, when the container was made.
    OnCreate,
    /// After that, and whenever the repository's content was refreshed.
    UpdateContent,
    /// Once, after both.
    PostCreate,
    /// At each start.
    PostStart,
    /// When somebody opens the editor.
    PostAttach,
}

/// What one stage runs: side by side, and all of it must succeed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hook {
    pub stage: Stage,
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Command {
    /// Its name in the object form; empty in the others.
    pub name: String,
    pub run: Run,
}

/// How a command is written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Run {
    /// For `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, not looked at by any shell.
    Program(Vec<String>),
}

impl Stage {
    pub const ALL: [Self; 5] = [
        Self::OnCreate,
        Self::UpdateContent,
        Self::PostCreate,
        Self::PostStart,
        Self::PostAttach,
    ];

    /// The key in the file, as people know it.
    pub fn key(self) -> &'static str {
        match self {
            Self::OnCreate => "onCreateCommand",
            Self::UpdateContent => "updateContentCommand",
            Self::PostCreate => "postCreateCommand",
            Self::PostStart => "postStartCommand",
            Self::PostAttach => "postAttachCommand",
        }
    }

    /// Whether it runs once in the life of a container.
    pub fn is_once(self) -> bool {
        self < Self::PostStart
    }

    /// Reads `waitFor`; none where it names nothing that runs inside.
    pub fn of_wait_for(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.key() == text)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl Hook {
    /// Reads a command in its three forms; none where there is nothing to run.
    pub(super) fn read(
        stage: Stage,
        value: &JsonValue<'_>,
        mut expand: impl FnMut(&str, &mut Notices) -> String,
        notices: &mut Notices,
    ) -> Option<Self> {
        let mut commands = Vec::new();
        let mut add = |name: &str, value: &JsonValue<'_>, notices: &mut Notices| match run(value) {
            Some(run) if commands.len() < MAX_PARALLEL => {
                let run = match run {
                    Run::Shell(text) => Run::Shell(expand(&text, notices)),
                    Run::Program(words) => Run::Program(words.iter().map(|word| expand(word, notices)).collect()),
                };
                commands.push(Command {
                    name: name.to_owned(),
                    run,
                });
            }
            Some(_) => notices.note(stage.key(), format!("only the first {MAX_PARALLEL} commands run")),
            None if is_nothing(value) => {}
            None => notices.note(
                stage.key(),
                "it is neither a text, nor a list of texts, nor an object of these, or it is too long: it does not run",
            ),
        };
        match value {
            JsonValue::Object(object) => {
                for (name, value) in object.clone() {
                    let name = name.get(..name.floor_char_boundary(60)).unwrap_or_default();
                    add(name, &value, notices);
                }
            }
            value => add("", value, notices),
        }
        (!commands.is_empty()).then_some(Self { stage, commands })
    }
}

fn run(value: &JsonValue<'_>) -> Option<Run> {
    let fits = |text: &str| text.len() <= MAX_WORD && !text.contains('\0');
    match value {
        JsonValue::String(text) if fits(text) && !text.trim().is_empty() => Some(Run::Shell(text.clone().into_owned())),
        JsonValue::Array(list) => {
            let words: Option<Vec<String>> = list
                .iter()
                .map(|word| match word {
                    JsonValue::String(text) if fits(text) => Some(text.clone().into_owned()),
                    _ => None,
                })
                .collect();
            let words =
                words.filter(|words| (1..=MAX_WORDS).contains(&words.len()) && words.first().is_some_and(|first| !first.is_empty()))?;
            Some(Run::Program(words))
        }
        _ => None,
    }
}

/// What people write to run nothing.
fn is_nothing(value: &JsonValue<'_>) -> bool {
    match value {
        JsonValue::Null => true,
        JsonValue::String(text) => text.trim().is_empty(),
        JsonValue::Array(list) => list.is_empty(),
        _ => false,
    }
}
