//! `portico editor install`, as a command; how it is done stands in `editor_install`.

use std::path::PathBuf;

use super::{
    args::{Editor, EditorInstall},
    editor_install::{Progress, install},
    output::{Output, words},
    place,
};

/// Runs a verb.
pub async fn run(verb: Editor, output: Output) -> anyhow::Result<()> {
    let Editor::Install(EditorInstall { data }) = verb;
    let data: PathBuf = place::config(data.as_deref())?.data;
    let program = install(&data, |progress: Progress| words(&progress.to_string())).await?;
    words(&format!("{} is installed. Codespaces use it from their next start.", program.kind));
    output.show(&program.command, || program.command.join(" "));
    Ok(())
}
