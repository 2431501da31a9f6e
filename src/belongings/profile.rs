//! The settings that follow a user from codespace to codespace; pure.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    domain::{ExtensionId, ExtensionIdError, RepositoryError, RepositorySource},
    protocol::personal::settings_object,
};

const MAX_GIT_TEXT: usize = 200;
const MAX_SCRIPT: usize = 200;
/// Longest settings of the editor in bytes.
const MAX_SETTINGS: usize = 64 * 1024;
/// Most extensions of one user.
const MAX_EXTENSIONS: usize = 50;

/// The settings that follow a user.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Profile {
    pub git_name: Option<String>,
    pub git_email: Option<String>,
    pub dotfiles_repository: Option<String>,
    /// A script in the dotfiles; none for the first of the usual names.
    pub dotfiles_script: Option<String>,
    /// JSON with comments, as the editor's own file has it.
    pub editor_settings: Option<String>,
    pub extensions: Vec<String>,
}

/// What to change; none leaves it as it is, an empty text removes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProfileChange {
    pub git_name: Option<String>,
    pub git_email: Option<String>,
    pub dotfiles_repository: Option<String>,
    pub dotfiles_script: Option<String>,
    pub editor_settings: Option<String>,
    pub extensions: Option<Vec<String>>,
}

/// Why settings are not taken; `Display` is for the user.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadProfile {
    #[error("git's name and email are one line of at most {MAX_GIT_TEXT} characters, without < and >")]
    Git,
    #[error("the dotfiles repository: {0}")]
    Dotfiles(#[from] RepositoryError),
    #[error("the dotfiles repository: only an administrator may name a path on the gateway's machine")]
    LocalDotfiles,
    #[error("the script is a path inside the dotfiles repository")]
    Script,
    #[error("the editor's settings are longer than {MAX_SETTINGS} bytes")]
    LongSettings,
    #[error("the editor's settings are no JSON object: {0}")]
    Settings(String),
    #[error("there are more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
    #[error("{text:?}: {source}")]
    Extension { text: String, source: ExtensionIdError },
}

impl Profile {
    /// The settings after a change.
    pub fn with(mut self, change: ProfileChange, allow_local: bool) -> Result<Self, BadProfile> {
        put(&mut self.git_name, change.git_name, git_text)?;
        put(&mut self.git_email, change.git_email, git_text)?;
        put(&mut self.dotfiles_repository, change.dotfiles_repository, |text| {
            let source = text.parse::<RepositorySource>()?.without_user()?;
            let refused = source.is_local() && !allow_local;
            if refused {
                Err(BadProfile::LocalDotfiles)
            } else {
                Ok(source.to_string())
            }
        })?;
        put(&mut self.dotfiles_script, change.dotfiles_script, script)?;
        put(&mut self.editor_settings, change.editor_settings, settings)?;
        if let Some(extensions) = change.extensions {
            self.extensions = parse_extensions(&extensions)?;
        }
        Ok(self)
    }
}

fn put(field: &mut Option<String>, change: Option<String>, parse: impl Fn(&str) -> Result<String, BadProfile>) -> Result<(), BadProfile> {
    if let Some(text) = change {
        let text = text.trim();
        *field = if text.is_empty() { None } else { Some(parse(text)?) };
    }
    Ok(())
}

fn git_text(text: &str) -> Result<String, BadProfile> {
    let odd = |char: char| char.is_control() || matches!(char, '<' | '>');
    if text.chars().count() > MAX_GIT_TEXT || text.chars().any(odd) {
        return Err(BadProfile::Git);
    }
    Ok(text.into())
}

fn script(text: &str) -> Result<String, BadProfile> {
    let plain = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
    let inside = std::path::Path::new(text).components().all(plain);
    if text.len() > MAX_SCRIPT || text.chars().any(char::is_control) || !inside {
        return Err(BadProfile::Script);
    }
    Ok(text.into())
}

fn settings(text: &str) -> Result<String, BadProfile> {
    if text.len() > MAX_SETTINGS {
        return Err(BadProfile::LongSettings);
    }
    settings_object(text).map_err(BadProfile::Settings)?;
    Ok(text.into())
}

fn parse_extensions(texts: &[String]) -> Result<Vec<String>, BadProfile> {
    let mut all: Vec<String> = Vec::new();
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let id: ExtensionId = text.parse().map_err(|source| BadProfile::Extension {
            text: text.chars().take(80).collect(),
            source,
        })?;
        let id = id.to_string();
        if !all.contains(&id) {
            all.push(id);
        }
    }
    if all.len() > MAX_EXTENSIONS {
        return Err(BadProfile::TooManyExtensions);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> ProfileChange {
        ProfileChange::default()
    }

    #[test]
    fn what_is_left_out_stays_and_what_is_empty_goes() {
        let first = ProfileChange {
            git_name: Some(" Ada Lovelace ".into()),
            git_email: Some("ada@example.org".into()),
            dotfiles_repository: Some("https://git.example/ada/dotfiles/".into()),
            dotfiles_script: Some("script/setup".into()),
            editor_settings: Some("{ // mine\n \"editor.fontSize\": 15, }".into()),
            extensions: Some(vec!["a.b".into(), " a.b ".into(), "".into(), "c.d@1.2".into()]),
        };
        let profile = Profile::default().with(first, false).expect("good");
        assert_eq!(profile.git_name.as_deref(), Some("Ada Lovelace"));
        assert_eq!(profile.dotfiles_repository.as_deref(), Some("https://git.example/ada/dotfiles"));
        assert_eq!(profile.extensions, ["a.b", "c.d@1.2"]);
        let second = ProfileChange {
            git_name: Some(String::new()),
            extensions: Some(Vec::new()),
            ..change()
        };
        let changed = profile.clone().with(second, false).expect("good");
        assert_eq!((changed.git_name, changed.extensions.len()), (None, 0));
        assert_eq!(changed.editor_settings, profile.editor_settings);
    }

    #[test]
    fn what_is_not_taken() {
        let check = |change: ProfileChange| Profile::default().with(change, false).expect_err("refused");
        let dotfiles = |text: &str| ProfileChange {
            dotfiles_repository: Some(text.into()),
            ..change()
        };
        assert_eq!(check(dotfiles("/etc")), BadProfile::LocalDotfiles);
        for address in ["https://me:pass@x/y", "https://token@x/y"] {
            assert!(matches!(check(dotfiles(address)), BadProfile::Dotfiles(_)), "{address:?}");
        }
        for script in ["/bin/sh", "../x", "a\nb"] {
            let change = ProfileChange {
                dotfiles_script: Some(script.into()),
                ..change()
            };
            assert_eq!(check(change), BadProfile::Script, "{script:?}");
        }
        for name in ["a\nb", "Ada <ada@x>", &"x".repeat(201)] {
            let change = ProfileChange {
                git_name: Some(name.into()),
                ..change()
            };
            assert_eq!(check(change), BadProfile::Git, "{name:?}");
        }
        for settings in ["[]", "{", "{'a': 1}", "null"] {
            let change = ProfileChange {
                editor_settings: Some(settings.into()),
                ..change()
            };
            assert!(matches!(check(change), BadProfile::Settings(_)), "{settings:?}");
        }
        let many = ProfileChange {
            extensions: Some((0..51).map(|number| format!("a.b{number}")).collect()),
            ..change()
        };
        assert_eq!(check(many), BadProfile::TooManyExtensions);
    }
}
