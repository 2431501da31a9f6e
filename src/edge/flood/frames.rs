//! Where frames begin in what a client sends, and what they are (RFC 9113 §4.1).

use super::fields::Fields;

/// The bytes before the first frame.
pub(super) const PREFACE_BYTES: usize = 24;
pub(super) const WINDOW_UPDATE: u8 = 8;

/// The bytes of a frame's beginning that are looked at: length, type and flags. Its stream follows.
const LOOKED_AT: usize = 5;
const STREAM_BYTES: usize = 4;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;

/// Reads frames as they come, in whatever pieces.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Frames {
    /// Bytes until the next begins.
    left: usize,
    /// How many bytes of its beginning are known, and which.
    known: usize,
    begun: [u8; LOOKED_AT],
    /// Set inside of a frame of a head.
    head: Option<Head>,
    fields: Fields,
}

/// What was among the frames that began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::edge) struct Seen {
    /// Heads that began.
    pub heads: u32,
    /// Frames that ask for nothing.
    pub vain: u32,
    pub resets: u32,
    pub updates: u32,
    /// Fields of heads.
    pub fields: u32,
    /// A head has more fields than anybody sends: its last byte that was read is now one that h2 ends the connection for.
    pub crowded: bool,
}

/// A HEADERS or CONTINUATION frame that is under way (RFC 9113 §6.2).
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Bytes before the fields, and at which of them the length of the padding stands.
    before: usize,
    padding_at: usize,
    /// Bytes behind the fields.
    padding: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            left: PREFACE_BYTES,
            known: 0,
            begun: [0; LOOKED_AT],
            head: None,
            fields: Fields::default(),
        }
    }
}

impl Frames {
    /// Those that a server sends, which has no preface.
    pub(in crate::edge) fn of_server() -> Self {
        Self {
            left: 0,
            ..Self::default()
        }
    }

    /// Reads on; tells what began.
    pub(in crate::edge) fn read(&mut self, bytes: &mut [u8]) -> Seen {
        let (mut seen, mut at) = (Seen::default(), 0);
        loop {
            let inside = self.left.min(bytes.len() - at);
            let before = self.fields.count();
            seen.crowded |= self.inside(&mut bytes[at..at + inside]);
            seen.fields += self.fields.count() - before;
            at += inside;
            let Some(byte) = bytes.get(at) else { return seen };
            self.begun[self.known] = *byte;
            self.known += 1;
            at += 1;
            if self.known == LOOKED_AT {
                self.begin(&mut seen);
            }
        }
    }

    fn begin(&mut self, seen: &mut Seen) {
        let [high, middle, low, kind, flags] = self.begun;
        seen.vain += u32::from(is_vain(kind));
        seen.heads += u32::from(kind == HEADERS);
        seen.resets += u32::from(kind == RST_STREAM);
        seen.updates += u32::from(kind == WINDOW_UPDATE);
        self.left = STREAM_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
        self.known = 0;
        if kind == HEADERS {
            self.fields = Fields::default();
        }
        self.head = match kind {
            HEADERS => Some(Head::of(flags)),
            CONTINUATION => Some(Head::of(0)),
            _ => None,
        };
    }

    /// Reads bytes inside of a frame; true if they hold a field too many.
    fn inside(&mut self, bytes: &mut [u8]) -> bool {
        let left = self.left;
        self.left -= bytes.len();
        let Some(head) = &mut self.head else { return false };
        let mut begin = 0;
        while head.before > 0 && begin < bytes.len() {
            if head.before == head.padding_at {
                head.padding = usize::from(bytes[begin]);
            }
            head.before -= 1;
            begin += 1;
        }
        let end = left.saturating_sub(head.padding).clamp(begin, bytes.len());
        self.fields.read(&mut bytes[begin..end])
    }

    /// How far into what comes now the next frame begins; none if it does not.
    pub(super) fn next_begins(&self, bytes: &[u8]) -> Option<usize> {
        let (mut left, mut known, mut begun) = (self.left, self.known, self.begun);
        for (at, byte) in bytes.iter().enumerate() {
            match (left, known) {
                (0, 0) => return Some(at),
                (0, _) => {
                    begun[known] = *byte;
                    known += 1;
                    if known == LOOKED_AT {
                        (left, known) = (STREAM_BYTES + u32::from_be_bytes([0, begun[0], begun[1], begun[2]]) as usize, 0);
                    }
                }
                _ => left -= 1,
            }
        }
        None
    }
}

impl Head {
    fn of(flags: u8) -> Self {
        let priority = if flags & PRIORITY == 0 { 0 } else { PRIORITY_BYTES };
        let padding = usize::from(flags & PADDED != 0);
        Self {
            before: STREAM_BYTES + padding + priority,
            padding_at: if padding == 0 { 0 } else { 1 + priority },
            padding: 0,
        }
    }
}

/// Whether a frame of this type asks for nothing: PRIORITY, SETTINGS, PING, GOAWAY, and what is unknown. DATA, HEADERS and
/// CONTINUATION are h2's to bound.
fn is_vain(kind: u8) -> bool {
    matches!(kind, 2 | 4 | 6 | 7 | 10..)
}

/// A frame of this type that is filled with its number.
#[cfg(test)]
pub(in crate::edge) fn frame(kind: u8, length: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(length).expect("a length").to_be_bytes()[1..].to_vec();
    bytes.push(kind);
    bytes.resize(9 + length, kind);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = super::super::fields::MOST as usize;

    proptest! {
        #[test]
        fn h2_1_frames_are_told_apart_however_they_are_cut(
            sent in prop::collection::vec((0_u8..12, 0_usize..300), 0..20),
            cuts in prop::collection::vec(1_usize..60, 1..200),
        ) {
            let mut bytes = vec![b'P'; PREFACE_BYTES];
            let mut begins = Vec::new();
            for (kind, length) in &sent {
                begins.push(bytes.len());
                bytes.extend(frame(*kind, *length));
            }
            let (mut frames, mut vain, mut resets, mut updates, mut at) = (Frames::default(), 0, 0, 0, 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                let expected = begins.iter().find(|begin| (at..end).contains(begin)).map(|begin| begin - at);
                prop_assert_eq!(frames.next_begins(&bytes[at..end]), expected);
                let seen = frames.read(&mut bytes[at..end]);
                vain += seen.vain as usize;
                resets += seen.resets as usize;
                updates += seen.updates as usize;
                at = end;
                if at == bytes.len() { break }
            }
            let of = |kinds: &[u8]| sent.iter().filter(|(kind, _)| kinds.contains(kind)).count();
            let expected = (sent.len() - of(&[0, 1, RST_STREAM, 5, WINDOW_UPDATE, 9]), of(&[RST_STREAM]), of(&[WINDOW_UPDATE]));
            prop_assert_eq!((vain, resets, updates), expected);
        }
    }

    /// A frame of a head: these flags, this much padding if they say so, and these fields.
    fn head(kind: u8, flags: u8, padding: u8, fields: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        if flags & PADDED != 0 {
            payload.push(padding);
        }
        if flags & PRIORITY != 0 {
            payload.extend([0xff; PRIORITY_BYTES]);
        }
        payload.extend(fields);
        if flags & PADDED != 0 {
            payload.extend(vec![0xbe; padding.into()]);
        }
        let mut bytes = frame(kind, payload.len());
        bytes[4] = flags;
        bytes[9..].copy_from_slice(&payload);
        bytes
    }

    #[test]
    fn lim_2_a_head_of_too_many_fields_is_spoilt_wherever_it_is_cut() {
        let indexed = |count: usize| vec![0xbe; count];
        for (frames, expected) in [
            (vec![head(HEADERS, 4, 0, &indexed(MOST))], false),
            (vec![head(HEADERS, 4, 0, &indexed(MOST + 1))], true),
            (vec![head(HEADERS, 4 | PADDED | PRIORITY, 255, &indexed(MOST))], false),
            (vec![head(HEADERS, 4 | PADDED | PRIORITY, 255, &indexed(MOST + 1))], true),
            (
                vec![head(HEADERS, 4, 0, &indexed(MOST)), head(HEADERS, 4, 0, &indexed(MOST))],
                false,
            ),
            (
                vec![head(HEADERS, 0, 0, &indexed(MOST)), head(CONTINUATION, 4, 0, &indexed(1))],
                true,
            ),
            (
                vec![head(HEADERS, 0, 0, &indexed(1)), head(CONTINUATION, 4, 0, &indexed(MOST))],
                true,
            ),
            (vec![frame(0, MOST * 2)], false),
        ] {
            let sent = [vec![b'P'; PREFACE_BYTES], frames.concat()].concat();
            for cut in [1, 7, sent.len()] {
                let (mut frames, mut bytes) = (Frames::default(), sent.clone());
                let crowded = bytes.chunks_mut(cut).any(|piece| frames.read(piece).crowded);
                assert_eq!(crowded, expected, "in pieces of {cut}");
                let spoilt = sent.iter().zip(&bytes).filter(|(sent, got)| sent != got);
                assert_eq!(
                    spoilt.map(|(_, got)| *got).collect::<Vec<_>>(),
                    if expected { vec![0x80] } else { vec![] }
                );
            }
        }
    }
}
