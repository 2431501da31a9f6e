//! Asking a person: yes or no, and a password that is not echoed.

use std::io::{BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Longest password in bytes that is read.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Whether there is a person to ask.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question that is yes only if the answer begins with `y`.
pub fn confirm(question: &str) -> bool {
    let mut err = std::io::stderr().lock();
    if write!(err, "{question} [y/N] ").and_then(|()| err.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim_start().to_lowercase().starts_with('y')
}

/// Reads a password from standard input: all of it, without the newline at its end.
pub fn password_from_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(MAX_PASSWORD_BYTES).read_to_string(&mut text)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    anyhow::ensure!(!password.is_empty(), "standard input holds no password");
    Ok(password.to_owned())
}

/// Asks twice for a new password, without echo.
pub fn new_password() -> anyhow::Result<String> {
    anyhow::ensure!(can_ask(), "there is no terminal to ask for a password; use --password-stdin");
    let first = hidden("Password: ")?;
    anyhow::ensure!(!first.is_empty(), "the password is empty");
    anyhow::ensure!(first == hidden("Again: ")?, "the two passwords differ");
    Ok(first)
}

/// Asks for a line without echo.
pub fn hidden(question: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    {
        let mut err = std::io::stderr().lock();
        write!(err, "{question}")?;
        err.flush()?;
    }
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let mut text = String::new();
    let read = stdin.lock().take(MAX_PASSWORD_BYTES).read_line(&mut text);
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    read?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
