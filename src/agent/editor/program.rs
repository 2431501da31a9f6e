//! The command lines of the editors that Portico knows; pure.

use std::path::{Path, PathBuf};

/// Where things of an editor are.
pub struct Paths<'a> {
    pub socket: &'a Path,
    /// The socket on which code-server takes orders from its own command line.
    pub session: &'a Path,
    pub home: &'a Path,
    pub workspace: &'a Path,
}

/// The arguments after the program; none for an editor that is not known.
pub fn arguments(kind: &str, paths: &Paths<'_>) -> Option<Vec<String>> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (socket, workspace, data) = (text(paths.socket), text(paths.workspace), text(&data(kind, paths.home)));
    let extensions = text(&extensions(kind, paths.home));
    let arguments = match kind {
        "code-server" => vec![
            "--auth".into(),
            "none".into(),
            "--socket".into(),
            socket,
            "--session-socket".into(),
            text(paths.session),
            // Its own proxy would serve any port on the editor's origin past all policy.
            "--disable-proxy".into(),
            "--disable-telemetry".into(),
            "--disable-update-check".into(),
            "--disable-workspace-trust".into(),
            "--app-name".into(),
            "Portico".into(),
            "--user-data-dir".into(),
            data,
            "--extensions-dir".into(),
            extensions,
            workspace,
        ],
        "openvscode-server" => vec![
            "--socket-path".into(),
            socket,
            "--without-connection-token".into(),
            "--accept-server-license-terms".into(),
            "--telemetry-level".into(),
            "off".into(),
            "--server-data-dir".into(),
            data,
            "--extensions-dir".into(),
            extensions,
            "--default-folder".into(),
            workspace,
        ],
        _ => return None,
    };
    Some(arguments)
}

/// The arguments after the program that install an extension; none for an editor that is not known.
pub fn install_arguments(kind: &str, home: &Path, extension: &str) -> Option<Vec<String>> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let place = match kind {
        "code-server" => "--user-data-dir",
        "openvscode-server" => "--server-data-dir",
        _ => return None,
    };
    let extensions = text(extensions(kind, home));
    let install = ["--install-extension".to_owned(), extension.to_owned()];
    let places = [place.to_owned(), text(data(kind, home)), "--extensions-dir".to_owned(), extensions];
    Some(places.into_iter().chain(install).collect())
}

/// The file of the settings that apply inside this codespace, whichever browser opens it.
pub fn settings(kind: &str, home: &Path) -> PathBuf {
    let directory = if kind == "code-server" { "User" } else { "data/Machine" };
    data(kind, home).join(directory).join("settings.json")
}

/// Where its user's extensions are.
pub fn extensions(kind: &str, home: &Path) -> PathBuf {
    data(kind, home).join("extensions")
}

fn data(kind: &str, home: &Path) -> PathBuf {
    home.join(".local/share").join(kind)
}
