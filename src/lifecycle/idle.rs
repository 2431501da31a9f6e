//! When a codespace is idle, and what keeps it awake.

/// What counts as use of a codespace. A silent open socket is none of these.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Activity {
    TerminalOutput,
    TerminalInput,
    FileChange,
    Exec,
    /// Editor traffic that the user caused.
    Editor,
    /// A start, or a change of its settings.
    Request,
}
