//! Reads what the checkout's `devcontainer.json` says, again whenever it changes.
//!
//! Owns finding and reading the file, bounded. Refuses to know what it means: the gateway heeds it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{log::Log, ports::Ports, report::Reporter};
use crate::{
    devcontainer::{FILES, FOLDER, NAME, PortsAsWritten},
    protocol::{
        bootstrap::{Bootstrap, Neighbours},
        tunnel::MAX_CONTROL_BYTES,
    },
};

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Largest file in bytes.
const MAX_BYTES: u64 = 512 * 1024;
/// Most folders of `.devcontainer` that are looked through.
const MAX_FOLDERS: usize = 64;

/// Which file there is, and which version of it.
type Version = Option<(PathBuf, Option<SystemTime>, u64)>;

/// Looks again and again, and reports what changes; `ports` are told which are those of services beside the codespace.
pub async fn watch(bootstrap: &Bootstrap, ports: &Ports, reporter: &Reporter, log: &Log) {
    let Neighbours { beside, own } = bootstrap.container.clone().unwrap_or_default().neighbours;
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<Version> = None;
    loop {
        ticks.tick().await;
        let (workspace, chosen) = (bootstrap.workspace.clone(), bootstrap.devcontainer.clone());
        let before = seen.clone();
        let looked = spawn_blocking(move || look(&workspace, chosen.as_deref(), before.as_ref())).await;
        let Ok(Some((version, mut declared))) = looked else { continue };
        let (besides, mut notices) = declared.settle(&beside, &own);
        for note in &declared.notes {
            notices.note(declared.source.clone(), note.clone());
        }
        for notice in &notices {
            log.line(format_args!("not heeded: {}: {}", notice.key, notice.reason));
        }
        seen = Some(version);
        ports.declare(besides);
        reporter.unsettled(notices);
        reporter.declared(declared);
    }
}

/// Reads the file if it is another one than before, or none where there was one.
fn look(workspace: &Path, chosen: Option<&str>, before: Option<&Version>) -> Option<(Version, PortsAsWritten)> {
    let version = candidates(workspace, chosen).into_iter().find_map(|path| version(workspace, path));
    if before == Some(&version) {
        return None;
    }
    let Some((path, ..)) = &version else {
        return Some((version, PortsAsWritten::default()));
    };
    let ports = match read(&workspace.join(path)) {
        Ok(text) => PortsAsWritten::read(&text).unwrap_or_else(|error| of_note(format!("it is not heeded: {error}"))),
        Err(error) => of_note(format!("it cannot be read: {error}")),
    };
    let ports = PortsAsWritten {
        source: path.display().to_string(),
        ..ports
    };
    let fits = serde_json::to_vec(&ports).is_ok_and(|json| json.len() < MAX_CONTROL_BYTES - 1024);
    let ports = if fits {
        ports.bounded()
    } else {
        of_note("it says more of ports than is heeded".to_owned())
    };
    Some((version, ports))
}

fn of_note(note: String) -> PortsAsWritten {
    PortsAsWritten {
        notes: vec![note],
        ..PortsAsWritten::default()
    }
    .bounded()
}

/// The places, the best first: the one that was chosen and no other, else the usual ones.
pub(super) fn candidates(workspace: &Path, chosen: Option<&str>) -> Vec<PathBuf> {
    let usual = || {
        let mut folders: Vec<PathBuf> = fs::read_dir(workspace.join(FOLDER))
            .into_iter()
            .flatten()
            .flatten()
            .take(MAX_FOLDERS)
            .map(|entry| Path::new(FOLDER).join(entry.file_name()).join(NAME))
            .collect();
        folders.sort();
        FILES.iter().map(PathBuf::from).chain(folders).collect::<Vec<_>>()
    };
    match chosen {
        Some(path) => vec![PathBuf::from(path)],
        None => usual(),
    }
}

/// A regular file's version; opening a pipe would wait.
fn version(workspace: &Path, path: PathBuf) -> Version {
    let metadata = fs::metadata(workspace.join(&path)).ok().filter(fs::Metadata::is_file)?;
    Some((path, metadata.modified().ok(), metadata.len()))
}

pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if length as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_places_and_the_chosen_one() {
        let workspace = tempfile::tempdir().expect("a directory");
        let write = |path: &str, port: u16| {
            let path = workspace.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, format!("{{ \"forwardPorts\": [{port}], }}")).expect("written");
        };
        let mut seen = None;
        let mut looked = |chosen: Option<&str>| {
            let (version, ports) = look(workspace.path(), chosen, seen.as_ref())?;
            seen = Some(version);
            Some((ports.source, ports.forward))
        };
        assert_eq!(looked(None), Some((String::new(), vec![])), "there is none, and that is told");
        assert_eq!(looked(None), None);
        write(".devcontainer/web/devcontainer.json", 3);
        write(".devcontainer/api/devcontainer.json", 4);
        assert_eq!(looked(None), Some((".devcontainer/api/devcontainer.json".into(), vec![4])));
        write(".devcontainer.json", 2);
        assert_eq!(looked(None), Some((".devcontainer.json".into(), vec![2])));
        write(".devcontainer/devcontainer.json", 1);
        assert_eq!(looked(None), Some((".devcontainer/devcontainer.json".into(), vec![1])));
        assert_eq!(looked(None), None, "nothing changed");
        write(".devcontainer/devcontainer.json", 10_000);
        assert_eq!(looked(None), Some((".devcontainer/devcontainer.json".into(), vec![10_000])));
        let chosen = Some(".devcontainer/web/devcontainer.json");
        assert_eq!(looked(chosen), Some((".devcontainer/web/devcontainer.json".into(), vec![3])));
    }

    #[test]
    fn what_cannot_be_heeded_says_so() {
        let workspace = tempfile::tempdir().expect("a directory");
        let check = |bytes: &[u8], said: &str| {
            fs::write(workspace.path().join(".devcontainer.json"), bytes).expect("written");
            let (_, ports) = look(workspace.path(), None, None).expect("it is looked at");
            assert!(ports.notes.iter().any(|note| note.contains(said)), "{said}: {:?}", ports.notes);
        };
        check(b"{", "it is not heeded");
        check(b"\xff", "it is not UTF-8");
        check(&vec![b' '; 600 * 1024], "it is larger");
        let long = "\\\"".repeat(160);
        let attributes = format!("{{ \"label\": \"{long}\", \"protocol\": \"{long}\", \"onAutoForward\": \"{long}\" }}");
        let all: String = (1..=64).map(|port| format!("\"{port:0>250}\": {attributes},")).collect();
        check(
            format!("{{ \"portsAttributes\": {{ {all} }} }}").as_bytes(),
            "more of ports than is heeded",
        );
    }
}
