//! An editor's life, with a shell script in its place.

use std::collections::BTreeMap;

use super::*;

fn editor(root: &Path, command: &[&str]) -> Editor {
    let bootstrap = Bootstrap {
        state_dir: root.join("a-rather-long-name-".repeat(6)),
        workspace: root.join("workspace"),
        home: root.join("home"),
        editor: Some(EditorProgram {
            kind: "code-server".into(),
            command: command.iter().map(ToString::to_string).collect(),
        }),
        environment: BTreeMap::new(),
        ..Bootstrap::default()
    };
    fs::create_dir_all(&bootstrap.workspace).expect("a workspace");
    fs::create_dir_all(&bootstrap.state_dir).expect("a directory");
    let environment = Environment::compose([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())], &bootstrap);
    let reporter = Reporter::new();
    Editor::new(
        &bootstrap,
        Folder::of(&bootstrap.workspace),
        environment,
        Log::default(),
        Ports::new(None, reporter.clone()),
        reporter,
    )
}

#[tokio::test]
async fn an_editor_that_keeps_ending_fails() {
    let root = tempfile::tempdir().expect("a directory");
    let editor = editor(root.path(), &["sh", "-c", "echo broken; exit 3"]);
    assert_eq!(editor.socket(), Err(Refusal::EditorStarting));
    timeout(Duration::from_secs(60), editor.run()).await.expect("gives up");
    assert_eq!(editor.socket(), Err(Refusal::EditorFailed));
    assert_eq!(editor.log.text().matches("broken").count(), MAX_DEATHS, "{}", editor.log.text());
    let settings = fs::read_to_string(root.path().join("home/.local/share/code-server/User/settings.json")).expect("settings");
    assert_eq!(settings, SETTINGS);
}

#[test]
fn only_files_of_some_size_are_settings() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("settings.json");
    assert!(settings_in(&file).is_err() && settings_in(directory.path()).is_err());
    fs::write(&file, "{}").expect("written");
    assert_eq!(settings_in(&file).as_deref(), Ok("{}"));
    fs::write(&file, vec![b' '; 1 + usize::try_from(MAX_SETTINGS).expect("small")]).expect("written");
    assert!(settings_in(&file).is_err());
    fs::remove_file(&file).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("coreutils");
    assert!(made.success() && settings_in(&file).is_err(), "nobody ever writes there");
}
