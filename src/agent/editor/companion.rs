//! Portico's own extension of the editor, put where the editor loads its user's: it says when the codespace is about to stop.
//!
//! Owns its files, and its entry among those that are installed, where it counts as one that came with the editor. Refuses to
//! touch any other entry, and a list that it does not understand.

use std::{
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::settings_in;
use crate::agent::anew;

/// Its files by name.
const FILES: [(&str, &str); 2] = [
    ("package.json", include_str!("companion/package.json")),
    ("extension.js", include_str!("companion/extension.js")),
];
const ID: &str = "portico.codespace";
/// As `package.json` has it. Another content needs another version: editors keep what they read of one.
const VERSION: &str = "1.0.0";

/// Puts it into the directory of an editor's extensions, before the editor starts.
pub fn put(extensions: &Path) -> io::Result<()> {
    let name = format!("{ID}-{VERSION}");
    let own = extensions.join(&name);
    let list = extensions.join("extensions.json");
    let is_first = !extensions.exists();
    fs::create_dir_all(&own)?;
    for (file, text) in FILES {
        if settings_in(&own.join(file)).as_deref() != Ok(text) {
            anew::write(&own.join(file), text)?;
        }
    }
    let before = match fs::symlink_metadata(&list) {
        Ok(_) => settings_in(&list).map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_first => "[]".to_owned(),
        // An editor that keeps no list, or makes it yet, looks for itself what is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(text) = listed(&before, &own, &name)? {
        let early = extensions.join(".extensions.json.portico");
        anew::write(&early, &text)?;
        fs::rename(early, list)?;
    }
    forget_others(extensions, &name)
}

/// The list with this extension as it is now; none if it says so already.
fn listed(before: &str, own: &Path, name: &str) -> io::Result<Option<String>> {
    let mut list: Vec<Value> = serde_json::from_str(before)?;
    let is_ours = |entry: &Value| entry["identifier"]["id"] == ID;
    let path = own.to_string_lossy();
    if list
        .iter()
        .any(|entry| is_ours(entry) && entry["version"] == VERSION && entry["location"]["path"] == *path)
    {
        return Ok(None);
    }
    list.retain(|entry| !is_ours(entry));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    list.push(json!({
        "identifier": { "id": ID },
        "version": VERSION,
        "location": { "$mid": 1, "path": path, "scheme": "file" },
        "relativeLocation": name,
        // Listed among what came with the editor, not among what the person installed.
        "metadata": {
            "isBuiltin": true, "isMachineScoped": true, "source": "vsix",
            "installedTimestamp": u64::try_from(now.as_millis()).unwrap_or_default(),
        },
    }));
    Ok(Some(Value::Array(list).to_string()))
}

/// Removes other versions of it.
fn forget_others(extensions: &Path, name: &str) -> io::Result<()> {
    for entry in fs::read_dir(extensions)? {
        let entry = entry?;
        let found = entry.file_name();
        let is_older = found.to_string_lossy().strip_prefix(ID).is_some_and(|rest| rest.starts_with('-'));
        if is_older && found != *name && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(extensions: &Path) -> Vec<Value> {
        let text = fs::read_to_string(extensions.join("extensions.json")).expect("there is a list");
        serde_json::from_str(&text).expect("it is one")
    }

    #[test]
    fn it_is_there_once_and_others_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let extensions = directory.path().join("data/extensions");
        put(&extensions).expect("it is ours");
        let [own] = &list(&extensions)[..] else { panic!("one entry") };
        let place = own["location"]["path"].as_str().expect("a path");
        let manifest: Value = serde_json::from_slice(&fs::read(Path::new(place).join("package.json")).expect("it is there")).expect("JSON");
        assert_eq!(
            (
                &manifest["version"],
                format!(
                    "{}.{}",
                    manifest["publisher"].as_str().expect("text"),
                    manifest["name"].as_str().expect("text")
                )
            ),
            (&VERSION.into(), ID.to_owned())
        );
        let written = || {
            fs::metadata(extensions.join("extensions.json"))
                .expect("it is there")
                .modified()
                .expect("a time")
        };
        let before = written();
        put(&extensions).expect("it is ours");
        assert_eq!(written(), before, "nothing is new");

        // A version of before, beside what the person installed.
        let other = json!({ "identifier": { "id": "some.one" }, "version": "2.0.0", "kept": [1, null] });
        let older = json!({ "identifier": { "id": ID }, "version": "0.9.0" });
        fs::create_dir(extensions.join("portico.codespace-0.9.0")).expect("it is ours");
        fs::create_dir(extensions.join("portico.codespacex-1.0.0")).expect("it is ours");
        fs::write(extensions.join("extensions.json"), json!([older, other]).to_string()).expect("it is ours");
        put(&extensions).expect("it is ours");
        let after = list(&extensions);
        assert_eq!(
            (after.len(), &after[0], &after[1]["version"]),
            (2, &other, &VERSION.into()),
            "{after:?}"
        );
        assert!(!extensions.join("portico.codespace-0.9.0").exists());
        assert!(extensions.join("portico.codespacex-1.0.0").exists());
    }

    #[test]
    fn what_stands_in_its_place_is_neither_waited_for_nor_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (extensions, elsewhere) = (directory.path().join("extensions"), directory.path().join("elsewhere"));
        let own = extensions.join(format!("{ID}-{VERSION}"));
        fs::create_dir_all(&own).expect("it is ours");
        fs::write(extensions.join("extensions.json"), "[]").expect("it is ours");
        fs::write(&elsewhere, "kept").expect("it is ours");
        std::os::unix::fs::symlink(&elsewhere, own.join("package.json")).expect("it is ours");
        for pipe in [own.join("extension.js"), extensions.join(".extensions.json.portico")] {
            let mode = rustix::fs::Mode::RWXU;
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("it is ours");
        }
        put(&extensions).expect("nothing holds it up");
        assert_eq!(fs::read_to_string(&elsewhere).expect("it is there"), "kept");
        for (file, text) in FILES {
            assert_eq!(fs::read_to_string(own.join(file)).expect("it is there"), text);
        }
        assert_eq!(list(&extensions).len(), 1);
    }

    #[test]
    fn a_list_that_is_none_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("extensions.json");
        for text in ["", "{}", "[", "[1]x"] {
            fs::write(&file, text).expect("it is ours");
            assert!(put(directory.path()).is_err(), "{text}");
            assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
        }
        fs::remove_file(&file).expect("it is ours");
        put(directory.path()).expect("an editor looks for itself");
        assert!(!file.exists(), "what lies there unlisted would be hidden by a list");
    }
}
