//! Every key of a Compose file, and what is said of those that are not heeded.

use std::collections::BTreeMap;

use super::document::Node;
use crate::devcontainer::notice::Notices;

/// Keys of a service that something reads, or that say nothing to heed.
const HEEDED: [&str; 28] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "volumes",
    "working_dir",
    "user",
    "depends_on",
    "healthcheck",
    "expose",
    "ports",
    "networks",
    "network_mode",
    "restart",
    "init",
    "tmpfs",
    "shm_size",
    "profiles",
    "cap_add",
    "extra_hosts",
    "container_name",
    "hostname",
    "tty",
    "stop_signal",
    // The gateway has labels of its own.
    "labels",
    "annotations",
];

const RIGHTS: &str = "it would give the codespace rights over the gateway's machine: refused";
const NAMESPACES: &str = "it would open other codespaces or the gateway's machine to it: refused";
const BOUNDS: &str = "the operator of this gateway sets the bounds";

/// Keys of a service that are never heeded.
const REFUSED: [(&[&str], &str); 9] = [
    (
        &["privileged"],
        "privileged containers would be as good as root on the gateway's machine: refused",
    ),
    (
        &[
            "devices",
            "device_cgroup_rules",
            "security_opt",
            "cgroup",
            "cgroup_parent",
            "userns_mode",
            "gpus",
            "runtime",
            "sysctls",
            "credential_spec",
            "isolation",
        ],
        RIGHTS,
    ),
    (
        &["ipc", "pid", "uts", "external_links", "volumes_from", "use_api_socket"],
        NAMESPACES,
    ),
    (
        &[
            "mem_limit",
            "mem_reservation",
            "mem_swappiness",
            "memswap_limit",
            "cpus",
            "cpu_count",
            "cpu_percent",
            "cpu_shares",
            "cpu_period",
            "cpu_quota",
            "cpu_rt_runtime",
            "cpu_rt_period",
            "cpuset",
            "pids_limit",
            "ulimits",
            "deploy",
            "scale",
            "oom_kill_disable",
            "oom_score_adj",
            "blkio_config",
            "storage_opt",
        ],
        BOUNDS,
    ),
    (&["links"], "services reach each other by their names"),
    (&["dns", "dns_search", "dns_opt"], "the gateway's operator names name servers"),
    (
        &["secrets", "configs"],
        "it is not supported: name a file of the repository in volumes, or set variables of your own",
    ),
    (&["logging"], "the gateway keeps the logs"),
    (
        &["cap_drop", "read_only", "group_add"],
        "it is not supported, and its container has what the codespace has",
    ),
];

/// Names what is not heeded of a service, by its key alone.
pub fn note_service(name: &str, service: &Node, notices: &mut Notices) {
    for (key, value) in service.entries() {
        if HEEDED.contains(&key.as_str()) || key.starts_with("x-") || value.is_empty() {
            continue;
        }
        let refused = REFUSED.iter().find(|(keys, _)| keys.contains(&key.as_str()));
        let reason = refused.map_or("it is not known here, and nothing comes of it", |(_, reason)| reason);
        notices.note(format!("services.{name}.{key}"), reason);
    }
}

/// Names what is not heeded of the whole.
pub fn note_whole(whole: &BTreeMap<String, Node>, notices: &mut Notices) {
    for (key, value) in whole {
        match key.as_str() {
            "services" | "version" | "name" | "include" => {}
            key if key.starts_with("x-") => {}
            "volumes" => value.entries().for_each(|(name, volume)| note_volume(name, volume, notices)),
            "networks" => value.entries().for_each(|(name, network)| note_network(name, network, notices)),
            key => notices.note(key, "it is not supported, and nothing comes of it"),
        }
    }
}

fn note_volume(name: &str, volume: &Node, notices: &mut Notices) {
    for (key, value) in volume.entries() {
        let reason = match key.as_str() {
            _ if value.is_empty() => continue,
            "labels" => continue,
            "external" | "name" => "volumes are the codespace's own, and others are not reached",
            "driver" if value.text() == Some("local") => continue,
            _ => "it could lead to directories of the gateway's machine, or to others: refused. The volume is a plain one",
        };
        notices.note(format!("volumes.{name}.{key}"), reason);
    }
}

fn note_network(name: &str, network: &Node, notices: &mut Notices) {
    for (key, value) in network.entries() {
        let reason = match key.as_str() {
            _ if value.is_empty() => continue,
            "labels" => continue,
            "driver" if value.text() == Some("bridge") => continue,
            "external" | "name" => "all services are in the codespace's one network, and others are not reached",
            _ => "all services are in the codespace's one network",
        };
        notices.note(format!("networks.{name}.{key}"), reason);
    }
}
