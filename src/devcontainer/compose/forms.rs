//! The short forms of a Compose file made long ones, and several files made one
//! (<https://github.com/compose-spec/compose-spec/blob/main/13-merge.md>).

use std::collections::{BTreeMap, BTreeSet};

use super::document::Node;
use crate::devcontainer::file::Malformed;

/// Keys whose lists are replaced by those of a later file, not added to.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];
/// Most entries of `extra_hosts`; of a name with many addresses each is one.
const MAX_HOSTS: usize = 64;

type Map = BTreeMap<String, Node>;

/// Makes the services' short forms long ones, so that files can be merged.
pub fn normalise(file: &mut Map) -> Result<(), Malformed> {
    let Some(services) = file.get_mut("services") else {
        return Ok(());
    };
    let Node::Map(services) = services else {
        return Err(Malformed("services is no map".into()));
    };
    for (name, service) in services {
        let Node::Map(service) = service else {
            return Err(Malformed(format!("the service {name} is no map")));
        };
        for (key, node) in service {
            let taken = std::mem::replace(node, Node::Null);
            *node = long(key, taken);
        }
    }
    Ok(())
}

fn long(key: &str, node: Node) -> Node {
    match (key, node) {
        ("build", Node::Text(context)) => Node::Map([("context".to_owned(), Node::Text(context))].into()),
        ("build", Node::Map(mut build)) => {
            if let Some(args) = build.remove("args") {
                build.insert("args".into(), pairs(args));
            }
            Node::Map(build)
        }
        ("environment", node) => pairs(node),
        ("depends_on", Node::List(list)) => {
            let started = || Node::Map([("condition".to_owned(), Node::Text("service_started".into()))].into());
            keyed(&list, started)
        }
        ("networks", Node::List(list)) => keyed(&list, || Node::Null),
        ("extra_hosts", node) => hosts(node),
        ("env_file" | "tmpfs" | "profiles" | "dns" | "dns_search", Node::Text(text)) => Node::List(vec![Node::Text(text)]),
        ("logging" | "labels" | "annotations", _) => Node::Null,
        (_, node) => node,
    }
}

/// A list of `NAME=VALUE` as a map; a name alone has no value.
fn pairs(node: Node) -> Node {
    let Node::List(list) = node else { return node };
    let pair = |node: &Node| {
        let text = node.text()?;
        Some(match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Node::Text(value.to_owned())),
            None => (text.to_owned(), Node::Null),
        })
    };
    Node::Map(list.iter().filter_map(pair).collect())
}

fn keyed(list: &[Node], value: impl Fn() -> Node) -> Node {
    let keys = list.iter().filter_map(Node::text);
    Node::Map(keys.map(|key| (key.to_owned(), value())).collect())
}

/// A map as a list of `NAME:ADDRESS`.
fn hosts(node: Node) -> Node {
    let Node::Map(map) = node else { return node };
    let each = map
        .iter()
        .flat_map(|(name, addresses)| addresses.texts().into_iter().map(move |address| (name, address)));
    let entry = |(name, address)| Node::Text(format!("{name}:{address}"));
    // The name is there as often as it has addresses.
    Node::List(each.take(MAX_HOSTS).map(entry).collect())
}

/// Puts a later file over what there is: maps grow, lists grow by what is new, all else is replaced.
pub fn merge(whole: &mut Map, later: Map) {
    for (key, value) in later {
        match (whole.get_mut(&key), value) {
            (Some(Node::Map(there)), Node::Map(more)) => merge(there, more),
            (Some(Node::List(there)), Node::List(more)) if !REPLACED.contains(&key.as_str()) => {
                let known: BTreeSet<&Node> = there.iter().collect();
                let fresh: Vec<Node> = more.into_iter().filter(|node| !known.contains(node)).collect();
                there.extend(fresh);
            }
            // Nothing written takes nothing away.
            (Some(_), Node::Null) => {}
            (_, value) => drop(whole.insert(key, value)),
        }
    }
}
