//! What of a terminal's bytes is seen (ECMA-48).

/// Where in an escape sequence the stream is.
#[derive(Debug, Default)]
pub(super) struct Visible(Escape);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Escape {
    #[default]
    Ground,
    /// After ESC.
    Started,
    /// In `ESC [ …`, until a final byte.
    Csi,
    /// In `ESC ] …` and its like, until BEL or ST. Also the target of a link (OSC 8): its text says the address again,
    /// or hides it on purpose.
    Text,
    /// In the same, after ESC: perhaps ST.
    Ending,
}

/// What one byte means to the word that is being printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// It belongs to the word.
    Letter,
    /// It ends the word.
    Blank,
    /// It ends the word, and what comes next has nothing to do with it.
    LineBreak,
    /// It is not seen: part of an escape sequence. Colours change inside URLs.
    Nothing,
}

impl Visible {
    /// Takes the next byte.
    pub(super) fn see(&mut self, byte: u8) -> Seen {
        let (next, seen) = match (self.0, byte) {
            (Escape::Text, 0x1b) => (Escape::Ending, Seen::Nothing),
            (_, 0x1b) | (Escape::Started, 0x20..=0x2f) => (Escape::Started, Seen::Nothing),
            (Escape::Started, b'[') => (Escape::Csi, Seen::Nothing),
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => (Escape::Text, Seen::Nothing),
            (Escape::Csi, 0x20..=0x3f) => (Escape::Csi, Seen::Nothing),
            (Escape::Text, 0x07) | (Escape::Csi, b'm') | (Escape::Started | Escape::Ending, _) => (Escape::Ground, Seen::Nothing),
            (Escape::Text, _) => (Escape::Text, Seen::Nothing),
            // Forward on the same line: programs that draw boxes leave blanks out.
            (Escape::Csi, b'C' | b'G') => (Escape::Ground, Seen::Blank),
            // The cursor went elsewhere.
            (Escape::Csi, _) => (Escape::Ground, Seen::LineBreak),
            (Escape::Ground, b'"' | b'<' | b'>' | b'`' | b'\'') => (Escape::Ground, Seen::Blank),
            (Escape::Ground, 0x21..=0x7e) => (Escape::Ground, Seen::Letter),
            (Escape::Ground, b'\n' | b'\r') => (Escape::Ground, Seen::LineBreak),
            (Escape::Ground, _) => (Escape::Ground, Seen::Blank),
        };
        self.0 = next;
        seen
    }
}
