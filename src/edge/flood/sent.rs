//! What is sent to a client of HTTP/2, frame by frame: what it says in return to that costs it nothing.

/// The bytes of a frame's beginning (RFC 9113 §4.1).
const BEGUN_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// A client may set requests of a page anew while they are answered, and measure a round trip by each of them.
const VAIN_FOR_HEAD: u32 = 3;
/// One that measures round trips does so for each piece that it gets.
const VAIN_FOR_DATA: u32 = 1;
/// Windows of the stream and of the connection, each a little at a time.
const UPDATES_FOR_DATA: u32 = 2;
const BYTES_FOR_UPDATE: usize = 512;
/// So much is kept for later.
const MOST_RESETS: u32 = 1_000;
const MOST_VAIN: u32 = 3_000;
const MOST_UPDATES: u32 = 32_000;

/// Reads what is sent, in whatever pieces.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Bytes until the next frame begins.
    left: usize,
    /// How many bytes of its beginning are known, and which.
    known: usize,
    begun: [u8; BEGUN_BYTES],
    pub paid: Paid,
}

/// What may still come for what was sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Paid {
    /// Resets of streams that were answered: they leave no work behind that their client does not see.
    resets: u32,
    vain: u32,
    updates: u32,
}

impl Sent {
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = bytes.len().min(BEGUN_BYTES - self.known);
            self.begun[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == BEGUN_BYTES {
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, ..] = self.begun;
        (self.known, self.left) = (0, u32::from_be_bytes([0, high, middle, low]) as usize);
        let Paid { resets, vain, updates } = &mut self.paid;
        match kind {
            HEADERS => {
                *resets = MOST_RESETS.min(*resets + 1);
                *vain = MOST_VAIN.min(*vain + VAIN_FOR_HEAD);
            }
            DATA => {
                let more = u32::try_from(self.left / BYTES_FOR_UPDATE).unwrap_or(MOST_UPDATES);
                *updates = MOST_UPDATES.min(*updates + UPDATES_FOR_DATA + more);
                *vain = MOST_VAIN.min(*vain + VAIN_FOR_DATA);
            }
            _ => {}
        }
    }
}

impl Paid {
    /// How many of these were not paid for.
    pub(super) fn rest(&mut self, resets: u32, vain: u32, updates: u32) -> (u32, u32, u32) {
        let take = |kept: &mut u32, wanted: u32| {
            let taken = wanted.min(*kept);
            *kept -= taken;
            wanted - taken
        };
        (
            take(&mut self.resets, resets),
            take(&mut self.vain, vain),
            take(&mut self.updates, updates),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::frames::{WINDOW_UPDATE, frame},
        *,
    };

    #[test]
    fn h2_1_what_is_sent_is_counted_however_it_is_cut() {
        let sent = [
            frame(4, 18),
            frame(HEADERS, 30),
            frame(DATA, 2 * BYTES_FOR_UPDATE),
            frame(DATA, 0),
            frame(WINDOW_UPDATE, 4),
        ]
        .concat();
        for cut in [1, 8, 9, 10, sent.len()] {
            let mut read = Sent::default();
            sent.chunks(cut).for_each(|piece| read.read(piece));
            let expected = Paid {
                resets: 1,
                vain: VAIN_FOR_HEAD + 2 * VAIN_FOR_DATA,
                updates: 2 * UPDATES_FOR_DATA + 2,
            };
            assert_eq!(read.paid, expected, "in pieces of {cut}");
            assert_eq!(read.paid.rest(3, 3, 3), (2, 0, 0));
            assert_eq!(read.paid.rest(1, 3, 3), (1, 1, 0));
        }
    }

    #[test]
    fn h2_1_not_more_is_kept_than_so_much() {
        let mut read = Sent::default();
        read.read(&[frame(HEADERS, 1), frame(DATA, 16_384)].concat().repeat(5_000));
        let most = (MOST_RESETS, MOST_VAIN, MOST_UPDATES);
        assert_eq!(read.paid.rest(most.0 + 1, most.1 + 1, most.2 + 1), (1, 1, 1));
    }
}
