//! Every key of the format, and what is said of those that are not heeded.

use jsonc_parser::{JsonObject, JsonValue};

use super::{notice::Notices, run_args};

/// Keys that something reads, or that say nothing to heed.
const HEEDED: [&str; 39] = [
    "$schema",
    "name",
    "image",
    "build",
    "dockerFile",
    "context",
    "containerEnv",
    "remoteEnv",
    "containerUser",
    "remoteUser",
    // The checkout is a volume, of whichever user.
    "updateRemoteUserUID",
    "workspaceFolder",
    "mounts",
    "runArgs",
    "init",
    "capAdd",
    "hostRequirements",
    "forwardPorts",
    "portsAttributes",
    "otherPortsAttributes",
    "customizations",
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
    "postStartCommand",
    "postAttachCommand",
    "waitFor",
    // These have values that are heeded and others that are not.
    "privileged",
    "securityOpt",
    "overrideCommand",
    "shutdownAction",
    "features",
    "secrets",
    "userEnvProbe",
    "overrideFeatureInstallOrder",
    "appPort",
    "dockerComposeFile",
    "service",
    "runServices",
];

/// Keys that are never heeded.
const REFUSED: [(&str, &str); 4] = [
    (
        "initializeCommand",
        "it would run on the gateway's machine, before there is a codespace: it is refused. Use onCreateCommand",
    ),
    (
        "entrypoint",
        "no program of an image or a feature is started before the codespace's agent; what it starts is for postStartCommand",
    ),
    (
        "workspaceMount",
        "the repository is in a volume of the codespace's own, at a place of the gateway's choice",
    ),
    ("extensions", "this place for it is outdated; see customizations.vscode.extensions"),
];

/// What is written where something else is expected is not read, and is named here.
const KINDS: [(&str, Kind); 34] = [
    ("name", Kind::Text),
    ("image", Kind::Text),
    ("build", Kind::Object),
    ("build.dockerfile", Kind::Text),
    ("build.context", Kind::Text),
    ("build.args", Kind::Object),
    ("build.target", Kind::Text),
    ("dockerFile", Kind::Text),
    ("context", Kind::Text),
    ("containerEnv", Kind::Object),
    ("remoteEnv", Kind::Object),
    ("containerUser", Kind::Text),
    ("remoteUser", Kind::Text),
    ("workspaceFolder", Kind::Text),
    ("mounts", Kind::List),
    ("runArgs", Kind::List),
    ("init", Kind::Switch),
    ("capAdd", Kind::List),
    ("hostRequirements", Kind::Object),
    ("hostRequirements.cpus", Kind::Number),
    ("hostRequirements.memory", Kind::Size),
    ("hostRequirements.storage", Kind::Size),
    ("forwardPorts", Kind::List),
    ("portsAttributes", Kind::Object),
    ("otherPortsAttributes", Kind::Object),
    ("customizations", Kind::Object),
    ("waitFor", Kind::Text),
    ("privileged", Kind::Switch),
    ("overrideCommand", Kind::Switch),
    ("shutdownAction", Kind::Text),
    ("features", Kind::Object),
    ("userEnvProbe", Kind::Text),
    ("service", Kind::Text),
    ("runServices", Kind::List),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    List,
    Object,
    Switch,
    Number,
    /// A text such as `8gb`.
    Size,
}

impl Kind {
    fn fits(self, value: &JsonValue<'_>) -> bool {
        match (self, value) {
            (_, JsonValue::Null)
            | (Self::Text, JsonValue::String(_))
            | (Self::List, JsonValue::Array(_))
            | (Self::Object, JsonValue::Object(_))
            | (Self::Switch, JsonValue::Boolean(_)) => true,
            (Self::Number, JsonValue::Number(number)) => number.parse::<u64>().is_ok(),
            (Self::Size, JsonValue::String(text)) => run_args::bytes(text).is_some(),
            _ => false,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text, in quotes",
            Self::List => "a list, in brackets",
            Self::Object => "an object, in braces",
            Self::Switch => "true or false, without quotes",
            Self::Number => "a whole number, without quotes",
            Self::Size => "a text such as \"8gb\"",
        }
    }
}

/// Names all that is not heeded by its key alone, or for the kind of its value.
pub fn note(file: &JsonObject<'_>, notices: &mut Notices) {
    for (key, value) in file.clone() {
        let key: &str = &key;
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            notices.note(key, *reason);
        } else if let Some(reason) = unless_default(key, &value) {
            notices.note(key, reason);
        } else if !HEEDED.contains(&key) {
            notices.note(key, "it is not known here, and nothing comes of it");
        }
    }
    if let Some(build) = file.get_object("build") {
        for (key, _) in build.clone() {
            match &*key {
                "dockerfile" | "context" | "args" | "target" => {}
                "cacheFrom" => notices.note("build.cacheFrom", "the engine's own cache is used"),
                "options" => notices.note("build.options", "options of docker build are not passed on"),
                other => notices.note(format!("build.{}", cut(other)), "it is not known here, and nothing comes of it"),
            }
        }
    }
    for (key, kind) in KINDS {
        let value = match key.split_once('.') {
            Some((outer, inner)) => file.get_object(outer).and_then(|object| object.get(inner)),
            None => file.get(key),
        };
        if value.is_some_and(|value| !kind.fits(value)) {
            notices.note(key, format!("nothing comes of it as it is written: it is {}", kind.expected()));
        }
    }
    customizations(file, notices);
}

/// What is said of keys for which some values say nothing new.
fn unless_default(key: &str, value: &JsonValue<'_>) -> Option<&'static str> {
    let is_empty = match value {
        JsonValue::Null => true,
        JsonValue::Array(list) => list.is_empty(),
        JsonValue::Object(object) => object.is_empty(),
        _ => false,
    };
    match (key, value) {
        ("privileged", JsonValue::Boolean(true)) => {
            Some("privileged containers would be as good as root on the gateway's machine: refused")
        }
        ("securityOpt", _) if !is_empty => Some("it would give the codespace rights over the gateway's machine: refused"),
        ("overrideCommand", JsonValue::Boolean(false)) => {
            Some("the image's own command does not run, since Portico's agent is the container's first process. Use postStartCommand")
        }
        ("shutdownAction", JsonValue::String(action)) if action == "none" => Some("a codespace that nobody uses stops, whatever it says"),
        ("secrets", _) if !is_empty => Some("nobody is asked for these; set them as environment variables of your own"),
        ("userEnvProbe", JsonValue::String(probe)) if probe != "none" => {
            Some("no shell is asked for its environment; terminals begin with a shell of their own, which reads its files")
        }
        ("appPort", _) if !is_empty => Some("it is outdated; use forwardPorts"),
        _ => None,
    }
}

fn customizations(file: &JsonObject<'_>, notices: &mut Notices) {
    let Some(vscode) = file.get_object("customizations").and_then(|all| all.get_object("vscode")) else {
        return;
    };
    for (key, told) in [
        (
            "extensions",
            "these extensions are not installed by themselves; the editor's Extensions page has them",
        ),
        ("settings", "settings are taken from the repository's .vscode/settings.json alone"),
    ] {
        if vscode.get(key).is_some() {
            notices.note(format!("customizations.vscode.{key}"), told);
        }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(60)).unwrap_or_default()
}
