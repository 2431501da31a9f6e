//! `portico codespace ssh`: a shell inside, over the gateway's own connection.

use std::{io::IsTerminal as _, process::ExitCode};

use super::{
    args::{Exec, Ssh},
    exec,
};

/// The user's shell inside as a login shell, whatever there is.
const SHELL: &str =
    r#"if [ -x "$SHELL" ]; then exec "$SHELL" -l; elif command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi"#;

/// Runs a shell, or a command line in one; gives its exit status.
pub async fn run(ssh: Ssh) -> anyhow::Result<ExitCode> {
    let interactive = ssh.command.is_empty();
    // Joined by spaces and read by a shell there, as ssh(1) does it.
    let line = if interactive { SHELL.to_owned() } else { ssh.command.join(" ") };
    let exec = Exec {
        name: None,
        which: ssh.which,
        tty: interactive && std::io::stdin().is_terminal(),
        cwd: None,
        place: ssh.place,
        command: ["sh", "-c"].map(str::to_owned).into_iter().chain([line]).collect(),
    };
    exec::run(exec, exec::Way::Ssh).await
}
