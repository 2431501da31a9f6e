//! Which editor's program there is on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::environment;
use crate::protocol::bootstrap::EditorProgram;

/// The program that the operator chose, else what `portico editor install` left, else what is on the PATH.
pub fn find(configured: Option<&Path>, editors: &Path) -> Option<EditorProgram> {
    if let Some(program) = configured {
        return Some(of_program(program.to_owned()));
    }
    installed(editors).or_else(on_path)
}

/// Reads the files in the editors' directory by name; one whose program is gone is passed over.
pub fn installed(editors: &Path) -> Option<EditorProgram> {
    let entries = fs::read_dir(editors).ok()?.flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    files.iter().find_map(|path| {
        let editor: EditorProgram = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let program = editor.command.first()?;
        is_program(Path::new(program)).then_some(editor)
    })
}

fn on_path() -> Option<EditorProgram> {
    let path = environment::path();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
    let programs = ["code-server", "openvscode-server"].into_iter();
    let mut found = programs.flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    found.find(|program| is_program(program)).map(of_program)
}

fn of_program(program: PathBuf) -> EditorProgram {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let kind = if name.starts_with("openvscode") {
        "openvscode-server"
    } else {
        "code-server"
    };
    EditorProgram {
        kind: kind.into(),
        command: vec![program.to_string_lossy().into_owned()],
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_editors_are_found_while_their_program_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, program: &str| {
            let text = format!(r#"{{"kind":"code-server","command":["{program}","entry.js"]}}"#);
            fs::write(directory.path().join(name), text).expect("it can be written");
        };
        assert_eq!(installed(directory.path()), None);
        write("a.json", "/nowhere/node");
        assert_eq!(installed(directory.path()), None);
        write("b.json", "/bin/sh");
        fs::write(directory.path().join("0.json"), "garbage").expect("it can be written");
        let found = installed(directory.path()).expect("one is there");
        assert_eq!(found.command, ["/bin/sh", "entry.js"]);
        assert_eq!(of_program("/opt/openvscode-server".into()).kind, "openvscode-server");
    }
}
