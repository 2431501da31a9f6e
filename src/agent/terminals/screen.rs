//! The present screen, for who has lost the bytes that made it.
//!
//! Owns a virtual screen beside the ring of raw output, fed only when somebody needs it or bytes would be lost.
//! Refuses to know: clients, processes.

use bytes::Bytes;

use super::{
    modes::Modes,
    ring::{Ring, Unavailable},
};

/// Bytes of output kept for clients that come back.
pub const RING_BYTES: usize = 2 * 1024 * 1024;

/// A size in character cells, within bounds that a screen can afford.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    cols: u16,
    rows: u16,
}

/// All that is known of a terminal's output.
pub struct Output {
    ring: Ring,
    modes: Modes,
    screen: avt::Terminal,
    /// Offset up to which the virtual screen was fed.
    drawn: u64,
    size: Size,
    capacity: usize,
}

/// A redraw: bytes that make a reset terminal show the present screen, and the offset from which output goes on.
pub struct Redraw {
    pub bytes: Bytes,
    pub live: u64,
}

impl Size {
    /// Cuts to 2–1,000 columns and 1–500 rows.
    pub fn new(cols: u16, rows: u16) -> Self {
        Self {
            cols: cols.clamp(2, 1000),
            rows: rows.clamp(1, 500),
        }
    }

    pub fn cols(self) -> u16 {
        self.cols
    }

    pub fn rows(self) -> u16 {
        self.rows
    }
}

impl Output {
    /// Makes an empty screen over a ring of `capacity` bytes.
    pub fn new(size: Size, capacity: usize) -> Self {
        Self {
            ring: Ring::new(capacity),
            modes: Modes::default(),
            screen: blank(size),
            drawn: 0,
            size,
            capacity,
        }
    }

    /// Takes what the program wrote.
    pub fn push(&mut self, bytes: &[u8]) {
        // The ring must never drop what the screen has not seen: pieces of a quarter, drawn from a half on.
        for piece in bytes.chunks((self.capacity / 4).max(1)) {
            self.modes.feed(piece);
            self.ring.push(piece);
            if self.ring.end() - self.drawn > self.capacity as u64 / 2 {
                self.draw();
            }
        }
    }

    /// Changes the size; true if it was another.
    pub fn resize(&mut self, size: Size) -> bool {
        if size == self.size {
            return false;
        }
        self.draw();
        self.screen.resize(size.cols.into(), size.rows.into());
        self.size = size;
        true
    }

    pub fn size(&self) -> Size {
        self.size
    }

    pub fn title(&self) -> &str {
        self.modes.title()
    }

    /// The offset of the next byte to come.
    pub fn end(&self) -> u64 {
        self.ring.end()
    }

    /// Raw output from `offset`, at most `most` bytes.
    pub fn read(&self, offset: u64, most: usize) -> Result<Bytes, Unavailable> {
        self.ring.read(offset, most)
    }

    /// The present screen.
    pub fn redraw(&mut self) -> Redraw {
        self.draw();
        let mut text = self.screen.dump();
        text.push_str(&self.modes.restore());
        Redraw {
            bytes: text.into(),
            live: self.drawn,
        }
    }

    /// Feeds the virtual screen with all whole sequences that it has not seen.
    fn draw(&mut self) {
        let whole = self.modes.whole().max(self.drawn);
        while self.drawn < whole {
            let most = usize::try_from(whole - self.drawn).unwrap_or(usize::MAX);
            match self.ring.read(self.drawn, most) {
                Ok(bytes) => {
                    self.screen.feed(String::from_utf8_lossy(&bytes).as_ref());
                    self.drawn += bytes.len() as u64;
                }
                // Only where one unfinished sequence filled the ring: go on with what is left.
                Err(Unavailable::Gone { start }) => self.drawn = start.min(whole),
                Err(Unavailable::Ahead { .. }) => return,
            }
        }
    }
}

fn blank(size: Size) -> avt::Terminal {
    // A size has no zero; the fallback cannot fail either.
    avt::Terminal::new(size.cols.into(), size.rows.into()).unwrap_or_else(|_| unreachable!("sizes are positive"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: Size = Size { cols: 20, rows: 6 };

    fn shown(screen: &avt::Terminal) -> (Vec<String>, avt::Cursor, avt::ScreenKind) {
        (
            screen.screen().visible_lines().map(avt::Line::text).collect(),
            screen.cursor(),
            screen.active_screen_kind(),
        )
    }

    /// What a client sees that takes a redraw after `first` and raw bytes from there on.
    fn redrawn(first: &[u8], rest: &[u8], capacity: usize) -> (avt::Terminal, avt::Terminal) {
        let mut output = Output::new(SIZE, capacity);
        output.push(first);
        let redraw = output.redraw();
        output.push(rest);
        let raw = output.read(redraw.live, usize::MAX).expect("still there");
        let mut client = blank(SIZE);
        client.feed(String::from_utf8_lossy(&[&redraw.bytes[..], &raw].concat()).as_ref());
        let mut straight = blank(SIZE);
        straight.feed(String::from_utf8_lossy(&[first, rest].concat()).as_ref());
        (client, straight)
    }

    #[test]
    fn redraw_after_overflow_is_the_screen() {
        let mut flood = Vec::new();
        for line in 0..400 {
            flood.extend_from_slice(format!("\x1b[3{}mline {line} é€\r\n", line % 8).as_bytes());
        }
        let (client, straight) = redrawn(&flood, b"\x1b[2;3Hhere", 1024);
        assert_eq!(shown(&client), shown(&straight));
        assert_eq!(client.dump(), straight.dump());
    }

    proptest! {
        #[test]
        fn redraw_and_the_rest_equal_all(
            parts in prop::collection::vec("\u{1b}\\[[0-9]{1,2};[0-9]{1,2}H|\u{1b}\\[[0-9]{1,2}m|\u{1b}\\[\\?1049[hl]|\u{1b}\\[2J|\u{1b}\\[K|\r\n|[a-z]{1,8}|é€", 1..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = parts.concat().into_bytes();
            let (first, rest) = bytes.split_at(cut.index(bytes.len()));
            let (client, straight) = redrawn(first, rest, 4096);
            prop_assert_eq!(shown(&client), shown(&straight));
        }
    }
}
