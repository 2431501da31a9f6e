//! Where things are inside a service's container: volumes, the repository's own directories, memory.

use serde::{Deserialize, Serialize};

use super::document::Node;
use crate::devcontainer::{configuration::Volume, notice::Notices};

/// Longest path in bytes.
const MAX_PATH: usize = 512;
/// What a container has at its root, which nothing takes the place of.
const SYSTEM: [&str; 21] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/portico",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/workspaces",
];
/// Where nothing may be at any depth.
const CLOSED: [&str; 5] = ["/dev", "/portico", "/proc", "/sys", "/workspaces"];

/// A file or directory of the repository at another place.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bind {
    /// Below the checkout, empty for all of it; none for the directory that the checkout is in.
    pub source: Option<String>,
    pub target: String,
    pub read_only: bool,
}

/// One entry of `volumes`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mounted {
    Volume(Volume),
    Bind(Bind),
    Memory(String),
}

/// What is mounted, entries for one place replaced by the last of them.
pub fn read(service: &str, directory: &str, nodes: &[Node], notices: &mut Notices) -> Vec<Mounted> {
    let mut found: Vec<Mounted> = Vec::new();
    for node in nodes {
        match entry(service, directory, node) {
            Ok(Some(mounted)) => {
                found.retain(|other| other.target() != mounted.target());
                found.push(mounted);
            }
            Ok(None) => {}
            Err(reason) => notices.note(format!("services.{service}.volumes"), reason),
        }
    }
    // The repository is a volume already, and what is kept out of it below would be a hole in it.
    let binds: Vec<String> = found
        .iter()
        .filter(|one| matches!(one, Mounted::Bind(_)))
        .map(|one| one.target().to_owned())
        .collect();
    found.retain(|one| {
        let covered = binds
            .iter()
            .any(|bind| one.target().strip_prefix(bind.as_str()).is_some_and(|rest| rest.starts_with('/')));
        if covered {
            let reason = format!("{}: it is inside of the repository, which is a volume already", one.target());
            notices.note(format!("services.{service}.volumes"), reason);
        }
        !covered
    });
    found
}

impl Mounted {
    pub fn target(&self) -> &str {
        match self {
            Self::Volume(volume) => &volume.target,
            Self::Bind(bind) => &bind.target,
            Self::Memory(target) => target,
        }
    }
}

/// What an entry says before it is judged.
struct Written<'a> {
    kind: &'a str,
    source: &'a str,
    target: &'a str,
    read_only: bool,
}

fn entry(service: &str, directory: &str, node: &Node) -> Result<Option<Mounted>, String> {
    let written = match node {
        Node::Text(text) => short(text)?,
        Node::Map(_) => {
            let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
            Written {
                kind: text("type"),
                source: text("source"),
                target: text("target"),
                read_only: node.get("read_only").is_some_and(Node::is_true),
            }
        }
        _ => return Err("an entry is neither a text nor a map".into()),
    };
    let target = match written.target {
        "/" => "/",
        target => target.trim_end_matches('/'),
    };
    let told = format!("{}:{target}", written.source);
    match written.kind {
        "volume" => volume(service, &written, target).map(|volume| Some(Mounted::Volume(volume))),
        "tmpfs" if is_place(target) => Ok(Some(Mounted::Memory(target.to_owned()))),
        "tmpfs" => Err(format!("{told}: nothing can be mounted there")),
        "bind" => bind(directory, &written, target).map_err(|reason| format!("{told}: {reason}")),
        other => Err(format!("{told}: type {other:?} is not supported")),
    }
}

/// `TARGET`, `SOURCE:TARGET` or `SOURCE:TARGET:MODE`.
fn short(text: &str) -> Result<Written<'_>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(format!("{text}: it is not of the form source:target:mode")),
    };
    let is_path = source.starts_with(['.', '/', '~']);
    Ok(Written {
        kind: if is_path { "bind" } else { "volume" },
        source,
        target,
        read_only: mode.split(',').any(|mode| mode == "ro"),
    })
}

fn volume(service: &str, written: &Written<'_>, target: &str) -> Result<Volume, String> {
    if !is_place(target) {
        return Err(format!("{target}: nothing can be mounted there; give a directory of your own"));
    }
    let name = match written.source {
        // One without a name belongs to its service and its place.
        "" if target.len() > 128 => return Err(format!("{target}: it is too long for a volume without a name")),
        "" => format!(
            "{service}{}",
            target.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-")
        ),
        name if is_name(name) => name.to_owned(),
        name => return Err(format!("{name}: it is no name of a volume")),
    };
    Ok(Volume {
        name,
        target: target.to_owned(),
        read_only: written.read_only,
    })
}

fn bind(directory: &str, written: &Written<'_>, target: &str) -> Result<Option<Mounted>, String> {
    let source = written.source;
    let outside = "it is outside of the repository, and directories of the machine are not mounted into codespaces: refused";
    if source.contains("docker.sock") || source.contains("podman.sock") {
        return Err("the engine's socket would be as good as root on the gateway's machine: refused".into());
    }
    let source = match within(directory, source) {
        Within::Checkout(path) => Some(path),
        Within::Parent => None,
        Within::Nowhere => return Err(outside.into()),
    };
    // It is there already.
    if source.is_none() && target == "/workspaces" {
        return Ok(None);
    }
    if !is_place(target) {
        return Err("the repository is in /workspaces, and cannot be there besides".into());
    }
    Ok(Some(Mounted::Bind(Bind {
        source,
        target: target.to_owned(),
        read_only: written.read_only,
    })))
}

enum Within {
    Checkout(String),
    /// The very directory that the checkout is in.
    Parent,
    Nowhere,
}

fn within(directory: &str, path: &str) -> Within {
    if path.starts_with(['/', '~']) || path.len() > MAX_PATH || path.contains(|c: char| c.is_control()) {
        return Within::Nowhere;
    }
    let mut parts: Vec<&str> = Vec::new();
    let mut is_above = false;
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if is_above => return Within::Nowhere,
            ".." => is_above = parts.pop().is_none(),
            // Down again leads to others' directories, or back by a name that is not known here.
            _ if is_above => return Within::Nowhere,
            part => parts.push(part),
        }
    }
    match is_above {
        true => Within::Parent,
        false => Within::Checkout(parts.join("/")),
    }
}

/// Whether something may be put there.
pub fn is_place(target: &str) -> bool {
    let parts: Vec<&str> = target.split('/').collect();
    let straight = parts.iter().skip(1).all(|part| !part.is_empty() && *part != "." && *part != "..");
    let plain = target.starts_with('/') && target.len() <= MAX_PATH && !target.contains(|c: char| c.is_control() || ",:\\".contains(c));
    let is_below = |closed: &str| target.strip_prefix(closed).is_some_and(|rest| rest.starts_with('/'));
    plain && straight && !SYSTEM.contains(&target) && !CLOSED.iter().any(|closed| is_below(closed))
}

/// Whether it is a name as services and volumes have them.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=63).contains(&text.len()) && text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut notices = Notices::default();
        let found = read("web", ".devcontainer", &[Node::Text(text.into())], &mut notices);
        let shown = match &found[..] {
            [Mounted::Volume(volume)] => format!(
                "volume {} {}{}",
                volume.name,
                volume.target,
                if volume.read_only { " ro" } else { "" }
            ),
            [Mounted::Bind(bind)] => format!("bind {:?} {}", bind.source, bind.target),
            [Mounted::Memory(target)] => format!("memory {target}"),
            _ if notices.iter().count() == 1 => "refused".to_owned(),
            _ => "nothing".to_owned(),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn what_is_mounted() {
        check("data:/var/lib/postgresql/data", "volume data /var/lib/postgresql/data");
        check("data:/data/:ro", "volume data /data ro");
        check("/var/lib/x", "volume web-var-lib-x /var/lib/x");
        check("..:/workspace:cached", "bind Some(\"\") /workspace");
        check(
            "../db/init.sql:/docker-entrypoint-initdb.d/init.sql:ro",
            "bind Some(\"db/init.sql\") /docker-entrypoint-initdb.d/init.sql",
        );
        check("./x/../y:/etc/y.conf", "bind Some(\".devcontainer/y\") /etc/y.conf");
        check("../..:/workspaces:cached", "nothing");
        check("../..:/code", "bind None /code");
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "/var/run/docker.sock:/var/run/docker.sock",
            "/:/host",
            "/etc/passwd:/x",
            "~/.ssh:/home/dev/.ssh",
            "../../other:/other",
            "../../..:/x",
            "../../../etc:/x",
            "..:/workspaces",
            "..:/workspaces/x",
            "..:/",
            "..:/etc",
            "data:/portico/state",
            "data:/proc/sys",
            "data:/a/../portico",
            "data:relative",
            "a b:/x",
            "-x:/x",
            "a:b:c:d",
            "",
        ] {
            check(text, "refused");
        }
    }

    #[test]
    fn the_last_for_a_place_counts_and_the_repository_has_no_holes() {
        let nodes = ["a:/data", "b:/data", ".:/app", "/app/node_modules"].map(|text| Node::Text(text.into()));
        let mut notices = Notices::default();
        let found = read("web", "", &nodes, &mut notices);
        let targets: Vec<&str> = found.iter().map(Mounted::target).collect();
        assert_eq!((targets, notices.iter().count()), (vec!["/data", "/app"], 1));
        assert!(matches!(&found[0], Mounted::Volume(volume) if volume.name == "b"));
    }
}
