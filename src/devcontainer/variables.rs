//! Variables in texts, `${…}`: <https://containers.dev/implementors/json_reference/#variables-in-devcontainerjson>.

use super::notice::Notices;

/// Longest text after its variables were replaced, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// What variables stand for; all of it holds inside the codespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// Where the repository is checked out.
    pub root: String,
    /// What stays the same when its container is made anew, and no other has.
    pub id: String,
    /// Other places of the checkout, and the path below it that is there.
    pub binds: Vec<(String, String)>,
}

impl Place {
    /// Where something is below the checkout's own place, if it is at one of the others.
    pub fn own(&self, path: &str) -> Option<String> {
        self.binds.iter().find_map(|(target, source)| {
            let rest = path
                .strip_prefix(target.as_str())
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            let slash = if source.is_empty() { "" } else { "/" };
            Some(format!("{}{slash}{source}{rest}", self.root))
        })
    }
}

/// Replaces what is known before a container runs; `${containerEnv:…}` stays. `folder` is where its user works.
pub fn expand(text: &str, place: &Place, folder: &str, key: &str, notices: &mut Notices) -> String {
    replace(text, |variable| match variable.kind {
        "localWorkspaceFolder" => Some(place.root.clone()),
        "containerWorkspaceFolder" => Some(folder.to_owned()),
        "localWorkspaceFolderBasename" => Some(basename(&place.root).to_owned()),
        "containerWorkspaceFolderBasename" => Some(basename(folder).to_owned()),
        "devcontainerId" => Some(place.id.clone()),
        "localEnv" | "env" => {
            let reason = format!(
                "${{{}:{}}} is a variable of your own machine, which is not read here; {}",
                variable.kind,
                variable.name,
                if variable.default.is_empty() {
                    "it is empty. Set it in the codespace instead"
                } else {
                    "its default holds"
                }
            );
            notices.note(key, reason);
            Some(variable.default.to_owned())
        }
        "containerEnv" => None,
        _ => {
            notices.note(key, format!("${{{}}} is not known and stays as it is", variable.kind));
            None
        }
    })
}

/// Replaces `${containerEnv:NAME}` and `${containerEnv:NAME:DEFAULT}`, which only what runs inside knows.
pub fn expand_inside(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    replace(text, |variable| {
        (variable.kind == "containerEnv").then(|| value(variable.name).unwrap_or_else(|| variable.default.to_owned()))
    })
}

/// One `${KIND:NAME:DEFAULT}`.
struct Variable<'a> {
    kind: &'a str,
    name: &'a str,
    default: &'a str,
}

/// Puts in what `meaning` says; what has none stays. What was put in is not looked at again.
fn replace(text: &str, mut meaning: impl FnMut(&Variable<'_>) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else { break };
        let (before, whole) = (&rest[..start], &rest[start..=start + length]);
        let mut parts = whole[2..length].splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        let variable = Variable {
            kind: part(),
            name: part(),
            default: part(),
        };
        result.push_str(before);
        result.push_str(meaning(&variable).as_deref().unwrap_or(whole));
        rest = &rest[start + length + 1..];
        if result.len() > MAX_TEXT {
            break;
        }
    }
    result.push_str(rest);
    result.truncate(result.floor_char_boundary(MAX_TEXT));
    result
}

fn basename(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_are_replaced() {
        let place = Place {
            root: "/workspaces/app".into(),
            id: "amber-otter-x7k2".into(),
            ..Place::default()
        };
        let check = |text: &str, expected: &str, notes: usize| {
            let mut notices = Notices::default();
            assert_eq!(expand(text, &place, "/workspaces/app/web", "key", &mut notices), expected, "{text}");
            assert_eq!(notices.iter().count(), notes, "{text}: {notices:?}");
        };
        check("plain", "plain", 0);
        check("${localWorkspaceFolder}/x", "/workspaces/app/x", 0);
        check("${localWorkspaceFolderBasename}-mods", "app-mods", 0);
        check("a${containerWorkspaceFolder}b", "a/workspaces/app/webb", 0);
        check("${containerWorkspaceFolderBasename}", "web", 0);
        check("${devcontainerId}${devcontainerId}", "amber-otter-x7k2amber-otter-x7k2", 0);
        check("${localEnv:HOME}", "", 1);
        check("${localEnv:HOME:/root:x}", "/root:x", 1);
        check("${containerEnv:PATH}:/x", "${containerEnv:PATH}:/x", 0);
        check("${nonsense}", "${nonsense}", 1);
        check("${HOME", "${HOME", 0);
        check("$${}$}", "$${}$}", 1);
        let value = |name: &str| (name == "PATH").then(|| "/bin:${containerEnv:PATH}".to_owned());
        assert_eq!(
            expand_inside("${containerEnv:PATH}:/x:${containerEnv:NO:none}${containerEnv:NO}", value),
            "/bin:${containerEnv:PATH}:/x:none"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_bounded(text in "(\\PC|\\$\\{|\\}|localWorkspaceFolder|localEnv:|:|devcontainerId){0,60}") {
            let place = Place { root: "/w".repeat(9000), id: "i".into(), ..Place::default() };
            let expanded = expand(&text, &place, "/f", "key", &mut Notices::default());
            prop_assert!(expanded.len() <= MAX_TEXT);
            prop_assert!(expand_inside(&expanded, |_| Some("v".repeat(9000))).len() <= MAX_TEXT);
        }
    }
}
