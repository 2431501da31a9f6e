//! What the command line prints: data on standard output, words on standard error, progress on a terminal.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints a thing as JSON, or as `text` makes it; no trailing newline is expected of `text`.
    pub fn show<T: Serialize + ?Sized>(self, thing: &T, text: impl FnOnce() -> String) {
        if self.json {
            line(&serde_json::to_string_pretty(thing).unwrap_or_default());
        } else {
            let text = text();
            if !text.is_empty() {
                line(&text);
            }
        }
    }
}

/// Prints a line of data; a reader that went away ends the process quietly, as `head` expects.
#[expect(clippy::exit, reason = "as SIGPIPE ends a program: nobody is left to tell")]
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(141);
    }
}

/// Prints words for a person.
pub fn words(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody is left to tell.
    let _ = writeln!(err, "{text}");
}

/// Lays rows out in columns; on a terminal with a heading, else with tabs for scripts.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    if !std::io::stdout().is_terminal() {
        return rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>().join("\t"))
            .collect::<Vec<_>>()
            .join("\n");
    }
    aligned(heading, rows)
}

fn aligned(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|cell| cell.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading)
        .chain(rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let lines = rows.iter().map(|row| {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Takes control characters out of text that came from a codespace, so that it cannot drive the terminal (LOG-2).
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() || is_bidi(char) { ' ' } else { char })
        .collect()
}

fn is_bidi(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_escapes_are_gone() {
        let rows = vec![vec!["a".into(), "run\u{1b}[31m".into()], vec!["long-name".into(), "x".into()]];
        assert_eq!(
            aligned(&["name", "state"], &rows),
            "NAME       STATE\na          run [31m\nlong-name  x"
        );
    }
}
