//! What a program asked of the terminal that a screen's text does not show: mouse reports, paste brackets, title.
//!
//! Owns a parser of output bytes that survives any split, and knows where an unfinished sequence began, so that a
//! redraw never starts inside one. Refuses to know: cells, colours, cursors; the virtual screen has those.

use std::fmt::Write as _;

/// Longest title kept, in bytes.
const MAX_TITLE: usize = 256;
/// An unfinished sequence longer than this many bytes no longer holds up a redraw.
const MAX_UNFINISHED: u64 = 64 * 1024;
/// Most parameter bytes of a control sequence that are looked at.
const MAX_PARAMETERS: usize = 128;

/// Follows output and remembers modes.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    set: Set,
    state: State,
    /// Offset of the next byte.
    at: u64,
    /// Where the sequence or character that is not finished began.
    began: u64,
}

/// The modes themselves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Set {
    /// The mouse protocol: 9, 1000, 1002 or 1003.
    mouse: Option<u16>,
    /// How mouse reports are written: 1005, 1006, 1015 or 1016.
    mouse_encoding: Option<u16>,
    focus: bool,
    paste: bool,
    keypad: bool,
    cursor_keys: bool,
    cursor_hidden: bool,
    /// The parameter of DECSCUSR.
    cursor_style: u8,
    title: String,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Ground,
    /// Inside a UTF-8 character: the bytes still to come, and whether it may become a C1 control.
    Character {
        left: u8,
        control: bool,
    },
    Escape,
    /// After ESC and an intermediate byte.
    Intermediate,
    Control(Vec<u8>),
    /// An operating system command: kept only as far as a title needs.
    Command(Vec<u8>),
    /// DCS, APC, PM, SOS.
    Text,
    /// ESC inside a command or text: `\` ends it.
    Terminator(Option<Vec<u8>>),
}

impl Modes {
    /// Takes the next bytes of output.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if matches!(self.state, State::Ground) {
                self.began = self.at;
            }
            self.at += 1;
            self.step(byte);
        }
        if matches!(self.state, State::Ground) {
            self.began = self.at;
        }
    }

    /// The offset up to which output is whole: nothing that began before it is unfinished.
    pub fn whole(&self) -> u64 {
        if self.at - self.began > MAX_UNFINISHED {
            self.at
        } else {
            self.began
        }
    }

    /// The title that the program set; may be empty.
    pub fn title(&self) -> &str {
        &self.set.title
    }

    /// The sequences that bring a terminal just reset into these modes.
    pub fn restore(&self) -> String {
        let Set {
            mouse,
            mouse_encoding,
            focus,
            paste,
            keypad,
            cursor_keys,
            cursor_hidden,
            cursor_style,
            title,
        } = &self.set;
        let mut text = String::new();
        let private = [
            *mouse,
            *mouse_encoding,
            focus.then_some(1004),
            paste.then_some(2004),
            cursor_keys.then_some(1),
        ];
        for mode in private.into_iter().flatten() {
            let _ = write!(text, "\x1b[?{mode}h");
        }
        if *cursor_hidden {
            text.push_str("\x1b[?25l");
        }
        if *keypad {
            text.push_str("\x1b=");
        }
        if *cursor_style != 0 {
            let _ = write!(text, "\x1b[{cursor_style} q");
        }
        if !title.is_empty() {
            let _ = write!(text, "\x1b]2;{title}\x1b\\");
        }
        text
    }

    fn step(&mut self, byte: u8) {
        let state = std::mem::take(&mut self.state);
        self.state = match (state, byte) {
            (State::Command(text), 0x1b) => State::Terminator(Some(text)),
            (State::Text, 0x1b) => State::Terminator(None),
            (State::Terminator(text), b'\\') => self.command(text),
            (_, 0x1b) => State::Escape,
            (State::Command(text), 0x07) => self.command(Some(text)),
            (_, 0x18 | 0x1a) => State::Ground,
            (State::Command(mut text), _) => {
                if text.len() < MAX_TITLE + 8 {
                    text.push(byte);
                }
                State::Command(text)
            }
            (State::Text, _) => State::Text,
            (State::Control(parameters), _) => self.control(parameters, byte),
            (State::Escape | State::Terminator(_), _) => self.escape(byte),
            (State::Intermediate, 0x20..=0x2f) => State::Intermediate,
            (State::Intermediate, _) => State::Ground,
            (State::Character { control: true, .. }, 0x80..=0x9f) => Self::single(byte - 0x40),
            (State::Character { left, .. }, 0x80..=0xbf) if left > 1 => State::Character {
                left: left - 1,
                control: false,
            },
            (State::Character { .. }, 0x80..=0xbf) => State::Ground,
            (State::Ground | State::Character { .. }, _) => Self::ground(byte),
        };
    }

    fn ground(byte: u8) -> State {
        match byte {
            0xc2 => State::Character { left: 1, control: true },
            0xc3..=0xdf => State::Character { left: 1, control: false },
            0xe0..=0xef => State::Character { left: 2, control: false },
            0xf0..=0xf4 => State::Character { left: 3, control: false },
            _ => State::Ground,
        }
    }

    fn escape(&mut self, byte: u8) -> State {
        match byte {
            b'c' => {
                self.set = Set {
                    title: std::mem::take(&mut self.set.title),
                    ..Set::default()
                }
            }
            b'=' => self.set.keypad = true,
            b'>' => self.set.keypad = false,
            0x20..=0x2f => return State::Intermediate,
            _ => return Self::single(byte),
        }
        State::Ground
    }

    /// What a byte after ESC, or a C1 control, begins.
    fn single(byte: u8) -> State {
        match byte {
            b'[' => State::Control(Vec::new()),
            b']' => State::Command(Vec::new()),
            b'P' | b'X' | b'^' | b'_' => State::Text,
            _ => State::Ground,
        }
    }

    fn control(&mut self, mut parameters: Vec<u8>, byte: u8) -> State {
        match byte {
            0x20..=0x3f => {
                if parameters.len() < MAX_PARAMETERS {
                    parameters.push(byte);
                }
                State::Control(parameters)
            }
            0x40..=0x7e => {
                self.dispatch(&parameters, byte);
                State::Ground
            }
            // Other controls are executed and the sequence goes on; anything else ends it.
            0x00..=0x1f | 0x7f => State::Control(parameters),
            _ => Self::ground(byte),
        }
    }

    fn dispatch(&mut self, parameters: &[u8], last: u8) {
        match (parameters, last) {
            ([b'?', modes @ ..], b'h' | b'l') => {
                for mode in modes.split(|byte| *byte == b';') {
                    if let Some(mode) = number(mode) {
                        self.private(mode, last == b'h');
                    }
                }
            }
            ([style @ .., b' '], b'q') => {
                self.set.cursor_style = number(style).and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 6).unwrap_or(0)
            }
            (b"!", b'p') => {
                let set = &mut self.set;
                (set.cursor_hidden, set.cursor_keys, set.keypad, set.paste, set.focus) = (false, false, false, false, false);
            }
            _ => {}
        }
    }

    fn private(&mut self, mode: u16, on: bool) {
        let set = &mut self.set;
        match mode {
            1 => set.cursor_keys = on,
            25 => set.cursor_hidden = !on,
            66 => set.keypad = on,
            9 | 1000 | 1002 | 1003 => set.mouse = on.then_some(mode),
            1005 | 1006 | 1015 | 1016 => set.mouse_encoding = on.then_some(mode),
            1004 => set.focus = on,
            2004 => set.paste = on,
            _ => {}
        }
    }

    fn command(&mut self, text: Option<Vec<u8>>) -> State {
        if let Some(text) = text
            && let [b'0' | b'2', b';', title @ ..] = text.as_slice()
        {
            let title: String = String::from_utf8_lossy(title).chars().filter(|c| !c.is_control()).collect();
            self.set.title = title[..title.floor_char_boundary(MAX_TITLE)].to_owned();
        }
        State::Ground
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fed(text: &str) -> Modes {
        let mut modes = Modes::default();
        modes.feed(text.as_bytes());
        modes
    }

    #[test]
    fn modes_are_remembered() {
        let check = |output: &str, restored: &str| assert_eq!(fed(output).restore(), restored, "{output:?}");
        check("plain \x1b[31mred\x1b[m", "");
        check("\x1b[?1000;1006h", "\x1b[?1000h\x1b[?1006h");
        check("\x1b[?1002h\x1b[?1006h\x1b[?1002l", "\x1b[?1006h");
        check("\x1b[?2004h", "\x1b[?2004h");
        check("\x1b[?2004h\x1b[?2004l", "");
        check("\u{9b}?1003h", "\x1b[?1003h");
        check("\x1b[?25l\x1b=\x1b[?1h", "\x1b[?1h\x1b[?25l\x1b=");
        check("\x1b[4 q", "\x1b[4 q");
        check("\x1b[?2004h\x1bc", "");
        check("\x1b]0;a title\x07", "\x1b]2;a title\x1b\\");
        check("\x1b]2;héllo\x1b\\", "\x1b]2;héllo\x1b\\");
        check("\x1b]2;bad\x01\u{85}x\x07", "\x1b]2;badx\x1b\\");
        check("\x1bP?2004h\x1b\\", "");
        check("\x1b]52;c;\x1b[?2004h", "\x1b[?2004h");
        check("\x1b[?99999999h\x1b[?;;h", "");
    }

    #[test]
    fn unfinished_sequences_are_known() {
        let check = |output: &[u8], whole: u64| {
            let mut modes = Modes::default();
            modes.feed(output);
            assert_eq!(modes.whole(), whole, "{output:?}");
        };
        check(b"abc", 3);
        check(b"abc\x1b", 3);
        check(b"abc\x1b[31", 3);
        check(b"abc\x1b[31m", 8);
        check(b"abc\xe2\x82", 3);
        check("abc€".as_bytes(), 6);
        check(b"\x1b]0;title", 0);
        check(b"\x1b]0;title\x1b", 0);
        check(b"ab\xff\xffcd", 6);
        check(&[b"\x1bP".as_slice(), &[b'x'; 70_000]].concat(), 70_002);
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(parts in prop::collection::vec("(\u{1b}|\\[|\\]|\\?|;|[0-9]|h|l|2004|1006|\u{7}|\\\\|€|\u{9b}|.){0,6}", 0..20)) {
            let whole = fed(&parts.concat());
            let mut split = Modes::default();
            for byte in parts.concat().bytes() {
                split.feed(&[byte]);
            }
            prop_assert_eq!(whole.restore(), split.restore());
            prop_assert_eq!(whole.whole(), split.whole());
            let again = fed(&whole.restore());
            prop_assert_eq!(again.restore(), whole.restore(), "restoring is idempotent");
            prop_assert_eq!(again.whole(), whole.restore().len() as u64);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut modes = Modes::default();
            modes.feed(&bytes);
            prop_assert!(modes.whole() <= bytes.len() as u64);
        }
    }
}
