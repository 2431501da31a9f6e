//! One service of a Compose file, read.

mod health;

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use serde::{Deserialize, Serialize};

pub use self::health::Health;
use super::{
    Texts,
    budget::Budget,
    document::Node,
    places::{self, Bind, Mounted, is_name, is_place},
    told,
    variables::{self, Values},
};
use crate::{
    devcontainer::{
        configuration::{Build, Volume},
        file::Malformed,
        notice::Notices,
        paths::below,
        run_args::RunOptions,
    },
    domain::is_image_name,
};

/// Most services that a file may have, those that are not started included.
const MAX_WRITTEN: usize = 64;
/// Most variables of one.
const MAX_VARIABLES: usize = 256;
/// Most words of a command.
const MAX_WORDS: usize = 256;
/// Longest text in bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Most entries of any other list.
const MAX_ENTRIES: usize = 32;

/// What runs, but for the bounds that it has.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Service {
    pub name: String,
    pub image: Option<String>,
    /// Counts before the image, which is then only its name.
    pub build: Option<Build>,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    pub volumes: Vec<Volume>,
    pub binds: Vec<Bind>,
    /// Places that are memory.
    pub memory: Vec<String>,
    pub folder: Option<String>,
    pub user: Option<String>,
    /// What it waits for before it starts.
    pub after: BTreeMap<String, After>,
    pub health: Option<Health>,
    /// Names besides its own by which others reach it.
    pub aliases: Vec<String>,
    pub joined: Joined,
    pub restart: Restart,
    pub run: RunOptions,
    pub terminal: bool,
    pub stop_signal: Option<String>,
    /// Ports inside that the file would publish.
    pub ports: Vec<u16>,
    pub profiles: Vec<String>,
}

/// What of another service one waits for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct After {
    pub condition: Condition,
    /// Whether it does not start without.
    pub required: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Condition {
    #[default]
    Started,
    Healthy,
    /// It ran to its end, and well.
    Completed,
}

/// In which network a service is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Joined {
    /// The codespace's, with an address of its own.
    #[default]
    Own,
    /// That of another service, with its address.
    Service(String),
    Nothing,
}

/// When an engine starts it again by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Restart {
    #[default]
    Never,
    OnFailure(Option<u16>),
    Always,
}

impl Service {
    /// The path of its Dockerfile, if it is built.
    pub fn dockerfile(&self) -> Option<&String> {
        self.build.as_ref().map(|build| &build.dockerfile)
    }
}

/// Files being read, and what is still needed.
pub struct Reader<'a> {
    /// To which paths are relative.
    pub directory: &'a str,
    pub texts: &'a Texts,
    pub values: &'a Values,
    /// Files of variables by their path, each read once however many name it.
    pub files: BTreeMap<String, Values>,
    pub wanted: BTreeSet<String>,
    pub budget: &'a mut Budget,
    pub notices: Notices,
}

impl Reader<'_> {
    /// All services.
    pub fn services(&mut self, whole: &BTreeMap<String, Node>) -> Result<BTreeMap<String, Service>, Malformed> {
        let mut services = BTreeMap::new();
        for (name, node) in whole.get("services").into_iter().flat_map(Node::entries) {
            if !is_name(name) {
                return Err(Malformed(format!("{name:?} is no name of a service")));
            }
            if services.len() >= MAX_WRITTEN {
                return Err(Malformed(format!("it has more than {MAX_WRITTEN} services")));
            }
            services.insert(name.clone(), self.service(name, node)?);
        }
        Ok(services)
    }

    fn service(&mut self, name: &str, node: &Node) -> Result<Service, Malformed> {
        if node.get("extends").is_some() {
            return Err(Malformed(format!(
                "services.{name}.extends is not supported: write it out, or share it with an anchor (&name, <<: *name)"
            )));
        }
        told::note_service(name, node, &mut self.notices);
        let text = |key: &str| {
            node.get(key)
                .and_then(Node::text)
                .filter(|text| !text.is_empty() && text.len() <= MAX_TEXT)
        };
        let mut service = Service {
            name: name.to_owned(),
            image: text("image").map(str::to_owned),
            build: self.build(name, node)?,
            command: words(node.get("command")),
            entrypoint: words(node.get("entrypoint")),
            environment: self.environment(name, node)?,
            folder: text("working_dir").filter(|text| text.starts_with('/')).map(str::to_owned),
            user: text("user").map(str::to_owned),
            after: after(node),
            health: Health::read(node.get("healthcheck")),
            aliases: aliases(node),
            joined: self.joined(name, text("network_mode")),
            restart: restart(text("restart")),
            terminal: node.get("tty").is_some_and(Node::is_true),
            stop_signal: text("stop_signal").filter(|text| is_signal(text)).map(str::to_owned),
            ports: self.ports(name, node),
            profiles: node
                .get("profiles")
                .map(Node::texts)
                .unwrap_or_default()
                .into_iter()
                .take(MAX_ENTRIES)
                .map(str::to_owned)
                .collect(),
            ..Service::default()
        };
        self.check(&mut service)?;
        self.run(&mut service, node);
        self.places(&mut service, node);
        Ok(service)
    }

    /// What would be refused by an engine in words that lead nowhere.
    fn check(&mut self, service: &mut Service) -> Result<(), Malformed> {
        let name = &service.name;
        if let Some(image) = service
            .image
            .as_ref()
            .filter(|image| service.build.is_none() && !is_image_name(image))
        {
            return Err(Malformed(format!("services.{name}.image: {image:?} is no name of an image")));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if service
            .user
            .as_ref()
            .is_some_and(|user| user.len() > 64 || !user.chars().all(plain))
        {
            self.notices
                .note(format!("services.{name}.user"), "it is no name of a user, and is left out");
            service.user = None;
        }
        Ok(())
    }

    fn build(&mut self, name: &str, node: &Node) -> Result<Option<Build>, Malformed> {
        let Some(build) = node.get("build").filter(|build| !build.is_empty()) else {
            return Ok(None);
        };
        let key = format!("services.{name}.build");
        for (other, value) in build.entries() {
            if !["context", "dockerfile", "args", "target"].contains(&other.as_str()) && !value.is_empty() {
                let reason = "it is not passed on; context, dockerfile, args and target are";
                self.notices.note(format!("{key}.{other}"), reason);
            }
        }
        let text = |key: &str| build.get(key).and_then(Node::text);
        let outside = || {
            Malformed(format!(
                "{key}: its context or its Dockerfile is outside of the repository, which is refused"
            ))
        };
        let context = below(self.directory, text("context").unwrap_or(".")).ok_or_else(outside)?;
        let dockerfile = below(&context, text("dockerfile").unwrap_or("Dockerfile")).ok_or_else(outside)?;
        let mut args = BTreeMap::new();
        for (name, value) in build.get("args").into_iter().flat_map(Node::entries).take(MAX_VARIABLES) {
            let value = value.text().or_else(|| self.values.get(name).map(String::as_str));
            if let Some(value) = value {
                self.budget.bytes(name.len() + value.len())?;
                args.insert(name.clone(), value.to_owned());
            }
        }
        Ok(Some(Build {
            dockerfile,
            context,
            args,
            target: text("target").map(str::to_owned),
        }))
    }

    /// What files say, and over it what the service says itself.
    fn environment(&mut self, name: &str, node: &Node) -> Result<BTreeMap<String, String>, Malformed> {
        let (mut all, mut fits) = (BTreeMap::new(), true);
        for file in node.get("env_file").map(Node::items).unwrap_or_default().iter().take(MAX_ENTRIES) {
            fits &= self.add_file(name, file, &mut all)?;
        }
        for (variable, value) in node.get("environment").into_iter().flat_map(Node::entries) {
            match value.text().or_else(|| self.values.get(variable).map(String::as_str)) {
                Some(value) => {
                    self.budget.bytes(variable.len() + value.len())?;
                    all.insert(variable.clone(), value.to_owned());
                }
                // Without a value it is taken from whoever starts it, who has none.
                None => drop(all.remove(variable)),
            }
        }
        let before = all.len();
        all.retain(|name, value| {
            let plain = !name.is_empty() && name.len() <= 256 && !name.contains(['=', '\0']);
            plain && value.len() <= MAX_TEXT && !value.contains('\0')
        });
        if !fits || all.len() < before || all.len() > MAX_VARIABLES {
            let reason = "some of it has no name, is too long, or is too much, and is left out";
            self.notices.note(format!("services.{name}.environment"), reason);
        }
        Ok(all.into_iter().take(MAX_VARIABLES).collect())
    }

    /// Adds the variables of an entry of `env_file`; whether all of them fit.
    fn add_file(&mut self, service: &str, file: &Node, all: &mut Values) -> Result<bool, Malformed> {
        let path = file.text().or_else(|| file.get("path")?.text()).unwrap_or_default();
        let required = file.get("required").and_then(Node::text) != Some("false");
        let shown: String = path.chars().take(100).collect();
        let said = |why: &str| Malformed(format!("services.{service}.env_file: {shown} {why}"));
        let below = below(self.directory, path).ok_or_else(|| said("is outside of the repository, which is refused"))?;
        let text = match self.texts.get(&below) {
            None => {
                self.wanted.insert(below);
                return Ok(true);
            }
            Some(None) if required => return Err(said("is not there")),
            Some(text) => text.as_deref().unwrap_or_default(),
        };
        let found: &Values = match self.files.entry(below) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(entry) => {
                let read = variables::file(text, self.values, self.budget);
                entry.insert(read.map_err(|error| said(&error.to_string()))?)
            }
        };
        for (name, value) in found {
            if all.len() >= MAX_VARIABLES && !all.contains_key(name) {
                return Ok(false);
            }
            self.budget.bytes(name.len() + value.len())?;
            all.insert(name.clone(), value.clone());
        }
        Ok(true)
    }

    fn joined(&mut self, name: &str, mode: Option<&str>) -> Joined {
        let service = mode.and_then(|mode| mode.strip_prefix("service:"));
        match (mode, service) {
            (_, Some(other)) if other != name => Joined::Service(other.to_owned()),
            (None | Some("bridge" | "default"), _) => Joined::Own,
            (Some("none"), _) => Joined::Nothing,
            _ => {
                let reason = "it would open this machine or other containers to it: refused. It is in the codespace's network";
                self.notices.note(format!("services.{name}.network_mode"), reason);
                Joined::Own
            }
        }
    }

    fn ports(&mut self, name: &str, node: &Node) -> Vec<u16> {
        let mut ports = Vec::new();
        for entry in node.get("ports").map(Node::items).unwrap_or_default().iter().take(MAX_ENTRIES) {
            let text = entry.text().or_else(|| entry.get("target")?.text()).unwrap_or_default();
            let inside = text.rsplit(':').next().unwrap_or_default();
            let number = inside.split(['/', '-']).next().unwrap_or_default();
            ports.extend(number.parse::<u16>().ok().filter(|port| *port != 0));
        }
        ports.sort_unstable();
        ports.dedup();
        if !ports.is_empty() {
            let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let reason = format!(
                "no port is published on the gateway's machine. Inside, {name} is reached at {list} by its name; \
                 \"forwardPorts\": [\"{name}:{}\"] in devcontainer.json gives it a URL",
                ports[0]
            );
            self.notices.note(format!("services.{name}.ports"), reason);
        }
        ports
    }

    fn run(&mut self, service: &mut Service, node: &Node) {
        let key = |key: &str| format!("services.{}.{key}", service.name);
        let mut run = RunOptions {
            init: node.get("init").is_some_and(Node::is_true),
            ..RunOptions::default()
        };
        for capability in node
            .get("cap_add")
            .map(Node::texts)
            .unwrap_or_default()
            .into_iter()
            .take(MAX_ENTRIES)
        {
            if let Err(reason) = run.capability(capability) {
                self.notices.note(key("cap_add"), format!("{capability}: {reason}"));
            }
        }
        for host in node
            .get("extra_hosts")
            .map(Node::texts)
            .unwrap_or_default()
            .into_iter()
            .take(MAX_ENTRIES)
        {
            if let Err(reason) = run.host(&host.replacen('=', ":", 1)) {
                self.notices.note(key("extra_hosts"), format!("{host}: {reason}"));
            }
        }
        if let Some(size) = node.get("shm_size").and_then(Node::text)
            && let Err(reason) = run.shared_memory(size)
        {
            self.notices.note(key("shm_size"), reason);
        }
        service.run = run;
    }

    fn places(&mut self, service: &mut Service, node: &Node) {
        let volumes = node.get("volumes").map(Node::items).unwrap_or_default();
        let volumes = &volumes[..volumes.len().min(MAX_ENTRIES)];
        for mounted in places::read(&service.name, self.directory, volumes, &mut self.notices) {
            match mounted {
                Mounted::Volume(volume) => service.volumes.push(volume),
                Mounted::Bind(bind) => service.binds.push(bind),
                Mounted::Memory(target) => service.memory.push(target),
            }
        }
        for text in node.get("tmpfs").map(Node::texts).unwrap_or_default().into_iter().take(MAX_ENTRIES) {
            let target = text.split(':').next().unwrap_or_default().trim_end_matches('/');
            if is_place(target) || ["/tmp", "/run"].contains(&target) {
                service.memory.push(target.to_owned());
            } else {
                self.notices.note(
                    format!("services.{}.tmpfs", service.name),
                    format!("{text}: nothing can be mounted there"),
                );
            }
        }
    }
}

/// The words of a command: a list, or a text that is taken apart as a shell takes it.
fn words(node: Option<&Node>) -> Option<Vec<String>> {
    let words = match node? {
        Node::Text(text) => split(text),
        Node::List(list) => list.iter().filter_map(Node::text).map(str::to_owned).collect(),
        _ => return None,
    };
    let fits = words.len() <= MAX_WORDS && words.iter().all(|word| word.len() <= MAX_TEXT && !word.contains('\0'));
    fits.then_some(words)
}

/// Takes a text apart at its blanks, quotes heeded; nothing is expanded.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn after(node: &Node) -> BTreeMap<String, After> {
    let each = node.get("depends_on").into_iter().flat_map(Node::entries);
    let after = each.map(|(name, what)| {
        let condition = match what.get("condition").and_then(Node::text) {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        };
        let required = what.get("required").and_then(Node::text) != Some("false");
        (name.clone(), After { condition, required })
    });
    after.take(MAX_ENTRIES).collect()
}

fn aliases(node: &Node) -> Vec<String> {
    let networks = node.get("networks").into_iter().flat_map(Node::entries);
    let listed = networks.flat_map(|(_, network)| network.get("aliases").map(Node::texts).unwrap_or_default());
    let own = ["container_name", "hostname"].into_iter().filter_map(|key| node.get(key)?.text());
    let mut names: Vec<String> = listed.chain(own).filter(|name| is_name(name)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names.truncate(MAX_ENTRIES);
    names
}

fn restart(text: Option<&str>) -> Restart {
    let (policy, count) = text.map_or(("no", None), |text| match text.split_once(':') {
        Some((policy, count)) => (policy, count.parse().ok()),
        None => (text, None),
    });
    match policy {
        "always" | "unless-stopped" => Restart::Always,
        "on-failure" => Restart::OnFailure(count),
        _ => Restart::Never,
    }
}

fn is_signal(text: &str) -> bool {
    text.len() <= 16 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_apart() {
        for (text, expected) in [
            ("", &[][..]),
            ("redis-server --save ''", &["redis-server", "--save", ""]),
            (r#"sh -c "echo \"a b\" $$x" c\ d"#, &["sh", "-c", "echo \"a b\" $$x", "c d"]),
            ("a'b c'd", &["ab cd"]),
            ("open 'quote", &["open", "quote"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
