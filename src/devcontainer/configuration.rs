//! What the file says of the container, of its environment and of the commands in it.

use std::collections::BTreeMap;

use jsonc_parser::{JsonObject, JsonValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    commands::{Hook, Stage},
    compose::{Compose, Texts},
    features::Features,
    file::{Malformed, parse},
    keys,
    notice::Notices,
    paths::{below, is_free},
    run_args::{self, RunOptions},
    variables::{Place, expand},
};
use crate::domain::is_image_name;

/// Most variables of an environment.
const MAX_VARIABLES: usize = 256;
/// Most mounts.
const MAX_MOUNTS: usize = 16;
/// Longest text that is no command, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// The file but for its ports, variables replaced.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Configuration {
    pub origin: Origin,
    pub features: Features,
    pub container_env: BTreeMap<String, String>,
    /// None takes a variable away.
    pub remote_env: BTreeMap<String, Option<String>>,
    pub container_user: Option<String>,
    pub remote_user: Option<String>,
    /// Where its user works, absolute; none for the checkout itself.
    pub folder: Option<String>,
    pub mounts: Vec<Volume>,
    pub run: RunOptions,
    pub requirements: Requirements,
    /// In their order.
    pub hooks: Vec<Hook>,
    /// The last stage before the editor.
    pub wait_for: Stage,
    pub notices: Notices,
}

/// What its container is made of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Origin {
    /// The gateway's own image.
    #[default]
    Default,
    Image(String),
    Build(Build),
    /// A service of Compose files, with others beside it.
    Compose(Compose),
}

/// What its image is built of. Paths are below the checkout, without `..`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Build {
    pub dockerfile: String,
    /// Empty for the checkout itself.
    pub context: String,
    pub args: BTreeMap<String, String>,
    pub target: Option<String>,
}

/// A volume of the codespace's own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Volume {
    /// Told apart from other codespaces' by whoever makes it.
    pub name: String,
    pub target: String,
    pub read_only: bool,
}

/// The least it wants of a machine.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Requirements {
    pub cpus: Option<u64>,
    /// In bytes.
    pub memory: Option<u64>,
    /// In bytes.
    pub storage: Option<u64>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            origin: Origin::default(),
            features: Features::default(),
            container_env: BTreeMap::new(),
            remote_env: BTreeMap::new(),
            container_user: None,
            remote_user: None,
            folder: None,
            mounts: Vec::new(),
            run: RunOptions::default(),
            requirements: Requirements::default(),
            hooks: Vec::new(),
            wait_for: Stage::UpdateContent,
            notices: Notices::default(),
        }
    }
}

impl Configuration {
    /// Reads a file that is at `path` below the checkout.
    pub fn read(text: &str, path: &str, place: &Place) -> Result<Self, Malformed> {
        let JsonValue::Object(file) = parse(text)? else {
            return Err(Malformed("it holds no object".into()));
        };
        let mut notices = Notices::default();
        keys::note(&file, &mut notices);
        let folder = folder(&file, place, &mut notices);
        let mut reader = Reader {
            file: &file,
            place,
            folder: folder.clone().unwrap_or_else(|| place.root.clone()),
            notices,
        };
        let mut configuration = Self {
            origin: reader.origin(path),
            features: reader.features(path),
            container_env: reader.container_env(),
            remote_env: reader.remote_env(),
            container_user: reader.user("containerUser"),
            remote_user: reader.user("remoteUser"),
            folder,
            mounts: reader.mounts(),
            requirements: reader.requirements(),
            hooks: reader.hooks(),
            wait_for: reader.wait_for(),
            ..Self::default()
        };
        reader.run(&mut configuration);
        configuration.notices = reader.notices;
        Ok(configuration)
    }

    /// What a container is made from: two that differ here need two containers. `dockerfile` is the file's content.
    pub fn fingerprint(&self, dockerfile: Option<&str>) -> String {
        let parts = (
            &self.origin,
            &self.container_env,
            &self.container_user,
            &self.remote_user,
            &self.mounts,
            &self.run,
            dockerfile,
        );
        let mut json = serde_json::to_vec(&parts).unwrap_or_default();
        // Containers of before there were features are as they were.
        if !self.features.is_empty() {
            json.extend(serde_json::to_vec(&self.features).unwrap_or_default());
        }
        // What ran once when it was made, it ran as it was written then.
        let once: Vec<&Hook> = self.hooks.iter().filter(|hook| hook.stage.is_once()).collect();
        if !once.is_empty() {
            json.extend(serde_json::to_vec(&once).unwrap_or_default());
        }
        Sha256::digest(json).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same where Compose files say what it is made from, and what those name.
    pub fn fingerprint_of(&self, texts: &Texts) -> String {
        let all = texts.iter().flat_map(|(path, text)| [Some(path.as_str()), text.as_deref()]);
        let all: Vec<Option<&str>> = all.collect();
        self.fingerprint(serde_json::to_string(&all).ok().as_deref())
    }

    /// The Compose files that it names.
    pub fn compose(&self) -> Option<&Compose> {
        match &self.origin {
            Origin::Compose(compose) => Some(compose),
            _ => None,
        }
    }

    /// The Dockerfile's path below the checkout.
    pub fn dockerfile(&self) -> Option<&str> {
        match &self.origin {
            Origin::Build(build) => Some(&build.dockerfile),
            _ => None,
        }
    }

    /// Who works in the container, where the file says so.
    pub fn user(&self) -> Option<&str> {
        self.remote_user.as_deref().or(self.container_user.as_deref())
    }

    /// The same where there is no container: what it says of one is named.
    #[must_use]
    pub fn on_machine(mut self) -> Self {
        let parts = [
            ("dockerComposeFile", self.compose().is_some()),
            ("image", self.origin != Origin::Default && self.compose().is_none()),
            ("features", !self.features.is_empty()),
            ("remoteUser", self.user().is_some()),
            ("mounts", !self.mounts.is_empty()),
            ("runArgs", self.run != RunOptions::default()),
        ];
        for (key, _) in parts.into_iter().filter(|(_, is_set)| *is_set) {
            let reason = "this codespace is no container but a directory of a machine, which stays as it is";
            self.notices.note(key, reason);
        }
        if self.requirements != Requirements::default() {
            let reason = "this codespace is a directory of a machine, and has of it what others leave, whatever it asks for";
            self.notices.note("hostRequirements", reason);
        }
        (self.origin, self.features) = (Origin::Default, Features::default());
        (self.mounts, self.run) = (Vec::new(), RunOptions::default());
        self
    }
}

impl Configuration {
    /// The same where nothing of it runs by itself: on a machine that is its user's own.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        for hook in std::mem::take(&mut self.hooks) {
            let reason = "this is a machine of your own, on which nothing of a repository runs by itself";
            self.notices.note(hook.stage.key(), reason);
        }
        (self.container_env, self.remote_env) = (BTreeMap::new(), BTreeMap::new());
        self
    }
}

/// A file being read.
struct Reader<'a, 'b> {
    file: &'a JsonObject<'b>,
    place: &'a Place,
    folder: String,
    notices: Notices,
}

impl Reader<'_, '_> {
    fn expand(&mut self, key: &str, text: &str) -> String {
        expand(text, self.place, &self.folder, key, &mut self.notices)
    }

    /// As [`Reader::expand`], where nothing runs yet whose variables could be put in.
    fn expand_outside(&mut self, key: &str, text: &str) -> String {
        let text = self.expand(key, text);
        if text.contains("${containerEnv:") {
            self.notices.note(
                key,
                "${containerEnv:…} is known only in remoteEnv and in commands, and is empty here",
            );
        }
        super::variables::expand_inside(&text, |_| None)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let text = self.file.get_string(key)?.clone().into_owned();
        let text = self.expand_outside(key, &text);
        let fits = !text.is_empty() && text.len() <= MAX_TEXT && !text.contains('\0');
        if !fits {
            self.notices.note(key, "it is empty or too long, and is left out");
        }
        fits.then_some(text)
    }

    fn origin(&mut self, path: &str) -> Origin {
        let build = self.file.get_object("build");
        let given = |name: &str| build.and_then(|build| build.get_string(name)).map(|text| text.clone().into_owned());
        // These two stood at the top in the format's first version.
        let old = |name: &str| self.file.get_string(name).map(|text| text.clone().into_owned());
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if self.file.get("dockerComposeFile").is_some() {
            return Compose::named(self.file, directory, &mut self.notices).map_or(Origin::Default, Origin::Compose);
        }
        let (dockerfile, context) = (given("dockerfile").or(old("dockerFile")), given("context").or(old("context")));
        let Some(dockerfile) = dockerfile else {
            if build.is_some() {
                self.notices.note("build", "it names no dockerfile, and nothing is built");
            }
            return self.image().map_or(Origin::Default, Origin::Image);
        };
        if self.file.get("image").is_some() {
            self.notices.note("image", "build says what the image is made from");
        }
        let dockerfile = self.expand_outside("build.dockerfile", &dockerfile);
        let context = self.expand_outside("build.context", context.as_deref().unwrap_or("."));
        let (Some(dockerfile), Some(context)) = (below(directory, &dockerfile), below(directory, &context)) else {
            self.notices.note(
                "build",
                "its Dockerfile or its context is outside of the repository, which is refused: the default image is used",
            );
            return Origin::Default;
        };
        let args = build.and_then(|build| build.get_object("args")).cloned();
        Origin::Build(Build {
            dockerfile,
            context,
            args: args.map(|args| self.variables("build.args", args)).unwrap_or_default(),
            target: given("target").map(|target| self.expand_outside("build.target", &target)),
        })
    }

    fn features(&mut self, path: &str) -> Features {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let (file, place, folder) = (self.file, self.place, self.folder.clone());
        Features::read(
            file.get("features"),
            file.get("overrideFeatureInstallOrder"),
            directory,
            |text, notices| expand(text, place, &folder, "features", notices),
            &mut self.notices,
        )
    }

    fn image(&mut self) -> Option<String> {
        let image = self.text("image")?;
        let is_name = is_image_name(&image);
        if !is_name {
            let reason = "it is no name of an image, as registry.example.com/team/image:tag is one: the default image is used";
            self.notices.note("image", reason);
        }
        is_name.then_some(image)
    }

    /// An object of texts.
    fn variables(&mut self, key: &str, object: JsonObject<'_>) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in object {
            match value {
                JsonValue::String(text) if self.takes(key, &name, all.len()) => {
                    let text = self.expand_outside(key, &text);
                    all.insert(name.into_owned(), text);
                }
                JsonValue::String(_) => {}
                _ => self.notices.note(key, format!("{name}: it is no text, and is left out")),
            }
        }
        all
    }

    /// Whether a variable may be set.
    fn takes(&mut self, key: &str, name: &str, there: usize) -> bool {
        let plain = !name.is_empty() && name.len() <= 256 && !name.contains(['=', '\0']);
        let reason = match name {
            _ if !plain => "it is no name of a variable",
            _ if name.starts_with("PORTICO_") => "the gateway sets it itself",
            _ if key != "remoteEnv" && name.starts_with("LD_") => {
                "it would change which libraries the agent loads; set it in remoteEnv, which holds for what you run"
            }
            _ if there >= MAX_VARIABLES => "there are too many of them",
            _ => return true,
        };
        self.notices.note(
            format!("{key}.{}", name.get(..name.floor_char_boundary(60)).unwrap_or_default()),
            reason,
        );
        false
    }

    fn container_env(&mut self) -> BTreeMap<String, String> {
        let object = self.file.get_object("containerEnv").cloned();
        let all = object.map(|object| self.variables("containerEnv", object)).unwrap_or_default();
        all.into_iter().filter(|(_, value)| !value.contains('\0')).collect()
    }

    fn remote_env(&mut self) -> BTreeMap<String, Option<String>> {
        let mut all = BTreeMap::new();
        for (name, value) in self.file.get_object("remoteEnv").cloned().into_iter().flatten() {
            if !self.takes("remoteEnv", &name, all.len()) {
                continue;
            }
            match value {
                JsonValue::Null => drop(all.insert(name.into_owned(), None)),
                JsonValue::String(text) if text.len() <= MAX_TEXT && !text.contains('\0') => {
                    let text = self.expand("remoteEnv", &text);
                    all.insert(name.into_owned(), Some(text));
                }
                _ => self
                    .notices
                    .note("remoteEnv", format!("{name}: it is no text or too long, and is left out")),
            }
        }
        all
    }

    fn user(&mut self, key: &str) -> Option<String> {
        let user = self.text(key)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let fits = user.len() <= 64 && user.chars().all(plain);
        if !fits {
            self.notices.note(key, "it is no name of a user, and is left out");
        }
        fits.then_some(user)
    }

    fn mounts(&mut self) -> Vec<Volume> {
        let mut volumes = Vec::new();
        for mount in self.file.get_array("mounts").into_iter().flat_map(|list| list.iter()) {
            let parts = match mount {
                JsonValue::String(text) => text.split(',').map(pair).collect(),
                JsonValue::Object(object) => object
                    .clone()
                    .into_iter()
                    .filter_map(|(key, value)| match value {
                        JsonValue::String(text) => Some((key.into_owned(), text.into_owned())),
                        JsonValue::Boolean(is_set) => Some((key.into_owned(), is_set.to_string())),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            match self.volume(parts) {
                Ok(volume) if volumes.len() < MAX_MOUNTS => volumes.push(volume),
                Ok(_) => self.notices.note("mounts", format!("only the first {MAX_MOUNTS} are made")),
                Err(reason) => self.notices.note("mounts", reason),
            }
        }
        volumes
    }

    fn volume(&mut self, parts: Vec<(String, String)>) -> Result<Volume, String> {
        let parts: BTreeMap<String, String> = parts
            .into_iter()
            .map(|(key, value)| (key, self.expand_outside("mounts", &value)))
            .collect();
        let of = |keys: &[&str]| keys.iter().find_map(|key| parts.get(*key)).map(String::as_str);
        let target = of(&["target", "destination", "dst"]).unwrap_or_default().trim_end_matches('/');
        let own = self.place.own(target);
        let target = own.as_deref().unwrap_or(target);
        let source = of(&["source", "src"]).unwrap_or_default();
        let told = if target.is_empty() { source } else { target };
        match of(&["type"]).unwrap_or("volume") {
            "volume" => {}
            "bind" => {
                return Err(format!(
                    "{told}: directories of the machine are not mounted into codespaces; use type=volume"
                ));
            }
            other => return Err(format!("{told}: type={other} is not supported; use type=volume")),
        }
        if !is_free(target) || target == self.place.root {
            return Err(format!("{told}: nothing can be mounted there; give a directory of your own"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if source.len() > 128 || !source.chars().all(plain) {
            return Err(format!("{told}: its source is no name of a volume"));
        }
        let read_only = of(&["readonly", "ro", "readOnly"]).is_some_and(|text| text.is_empty() || text == "true" || text == "1");
        // A volume without a name belongs to its place.
        let name = if source.is_empty() {
            target.replace('/', "-")
        } else {
            source.to_owned()
        };
        Ok(Volume {
            name,
            target: target.to_owned(),
            read_only,
        })
    }

    fn requirements(&mut self) -> Requirements {
        let Some(object) = self.file.get_object("hostRequirements") else {
            return Requirements::default();
        };
        let size = |name: &str| object.get_string(name).and_then(|text| run_args::bytes(text));
        if object.get("gpu").is_some_and(|gpu| *gpu != JsonValue::Boolean(false)) {
            self.notices.note("hostRequirements.gpu", "codespaces have no graphics processor");
        }
        Requirements {
            cpus: object.get_number("cpus").and_then(|number| number.parse().ok()),
            memory: size("memory"),
            storage: size("storage"),
        }
    }

    fn hooks(&mut self) -> Vec<Hook> {
        let (file, place, folder) = (self.file, self.place, self.folder.clone());
        let read = |stage: Stage| {
            let value = file.get(stage.key())?;
            Hook::read(
                stage,
                value,
                |text, notices| expand(text, place, &folder, stage.key(), notices),
                &mut self.notices,
            )
        };
        Stage::ALL.into_iter().filter_map(read).collect()
    }

    fn wait_for(&mut self) -> Stage {
        let Some(text) = self.file.get_string("waitFor") else {
            return Stage::UpdateContent;
        };
        Stage::of_wait_for(text).unwrap_or_else(|| {
            self.notices.note(
                "waitFor",
                format!("{text:?} does not run here; the editor waits for updateContentCommand"),
            );
            Stage::UpdateContent
        })
    }

    fn run(&mut self, configuration: &mut Configuration) {
        let list = self.file.get_array("runArgs").into_iter().flat_map(|list| list.iter());
        let texts: Vec<String> = list
            .map(|argument| match argument {
                JsonValue::String(text) => self.expand_outside("runArgs", text),
                _ => "(no text)".to_owned(),
            })
            .collect();
        let (mut options, aside) = RunOptions::read(&texts, &mut self.notices);
        options.init |= self.file.get_boolean("init") == Some(true);
        for name in self.file.get_array("capAdd").into_iter().flat_map(|list| list.iter()) {
            let JsonValue::String(name) = name else { continue };
            if let Err(reason) = options.capability(name) {
                self.notices.note(
                    format!("capAdd {}", name.get(..name.floor_char_boundary(60)).unwrap_or_default()),
                    reason,
                );
            }
        }
        configuration.container_user = configuration.container_user.take().or(aside.user);
        for pair in aside.environment {
            if let Some((name, value)) = pair.split_once('=')
                && self.takes("runArgs --env", name, configuration.container_env.len())
            {
                configuration.container_env.insert(name.to_owned(), value.to_owned());
            }
        }
        configuration.run = options;
    }
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.trim().to_owned(), value.trim().to_owned())
}

/// `workspaceFolder`, where it is the checkout or below it.
fn folder(file: &JsonObject<'_>, place: &Place, notices: &mut Notices) -> Option<String> {
    let key = "workspaceFolder";
    let text = expand(file.get_string(key)?, place, &place.root, key, notices);
    let text = text.trim_end_matches('/');
    let own = place.own(text);
    let text = own.as_deref().unwrap_or(text);
    if text == place.root {
        return None;
    }
    let inside = text.strip_prefix(&place.root).and_then(|rest| rest.strip_prefix('/'));
    if inside.is_some_and(|rest| below("", rest).as_deref() == Some(rest) && !rest.contains(|c: char| c.is_control())) {
        return Some(text.to_owned());
    }
    notices.note(
        key,
        format!("the repository is always at {}, and this is not inside of it", place.root),
    );
    None
}

#[cfg(test)]
mod tests;
