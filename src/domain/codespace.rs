//! What a codespace can be: its phase, its steps, its generation, who may see a port.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Where a codespace is in its life; the state of the API.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    Creating,
    Starting,
    Running,
    Stopping,
    Stopped,
    Failed,
    Deleting,
}

/// Who may open a port besides the owner and the people named.
///
/// Ordered from the least open to the most.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Visibility {
    /// The owner and the people named.
    #[default]
    Private,
    /// Members of the codespace's organisation.
    Org,
    /// Everyone, signed in or not.
    Public,
}

/// Whose visits start a codespace that sleeps, besides its owner's.
///
/// Ordered from the fewest to the most.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Wakers {
    /// Nobody's.
    #[default]
    Owner,
    /// Those of people who are signed in and may open what they visit.
    People,
    /// Those of everybody who may open what they visit: a public port's, a share link's.
    Everyone,
}

/// Counts the starts of a codespace; an agent's credential is good for one generation (AGT-6).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One step of making a codespace ready, as its user watches it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    pub name: StepName,
    pub state: StepState,
    /// What is happening or what went wrong, in plain words; may be empty.
    pub detail: String,
}

/// The steps, in the order in which they run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StepName {
    Storage,
    Agent,
    Clone,
    /// The image that the repository names, found or built.
    Image,
    OnCreate,
    UpdateContent,
    Editor,
    PostCreate,
    Dotfiles,
    Extensions,
    PostStart,
    PostAttach,
    History,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StepState {
    Pending,
    Running,
    Done,
    Skipped,
    Failed,
}

/// Work that only a codespace has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Work {
    pub uncommitted_files: u64,
    pub unpushed_commits: u64,
}

/// A text that is none of a vocabulary's words.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} is not one of {expected}")]
pub struct UnknownWord {
    pub text: String,
    pub expected: &'static str,
}

/// Gives an enum its words: `as_str`, `Display` and `FromStr` that agree.
macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+ $(,)?) => {
        impl $type {
            /// The word for it in the API, on the command line and in the store.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { text: text.into(), expected: concat!($($word, " "),+).trim_ascii_end() }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Phase: Creating = "creating", Starting = "starting", Running = "running", Stopping = "stopping", Stopped = "stopped", Failed = "failed", Deleting = "deleting");
words!(Visibility: Private = "private", Org = "org", Public = "public");
words!(Wakers: Owner = "owner", People = "people", Everyone = "everyone");
words!(StepName: Storage = "storage", Agent = "agent", Clone = "clone", Image = "image", OnCreate = "on_create", UpdateContent = "update_content", Editor = "editor", PostCreate = "post_create", Dotfiles = "dotfiles", Extensions = "extensions", PostStart = "post_start", PostAttach = "post_attach", History = "history");
words!(StepState: Pending = "pending", Running = "running", Done = "done", Skipped = "skipped", Failed = "failed");
