//! The fields of a head as HPACK writes them, counted without being decoded (RFC 7541 §6).

/// Most fields of a head, crumbs of cookies each for itself: twice what browsers keep of those for a site, and more.
/// Admission allows fewer, and says so; this bounds what is kept until it is asked.
pub(super) const MOST: u32 = 512;

/// The indexed field of index 0, which nobody may send (RFC 7541 §6.1): a decoder must end the connection.
const SPOILT: u8 = 0x80;

/// Reads a head's fields as they come, in whatever pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    count: u32,
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    /// So many strings, and then the next field. The length of a string begins, or a field where there are none.
    Strings(u8),
    /// A number that goes on, so far, with the bits that are known of it.
    Number { value: usize, bits: u32, then: Then },
    /// So many bytes of a string, then so many strings.
    Text { left: usize, strings: u8 },
}

/// What a number is of.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// A name's place in the table; so many strings follow.
    Index { strings: u8 },
    /// A string's length; after it so many strings follow.
    Length { strings: u8 },
}

impl Default for Part {
    fn default() -> Self {
        Self::Strings(0)
    }
}

impl Fields {
    /// How many have begun.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Reads on. True if there is a field too many: it is spoilt, so that whoever decodes it goes no further.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> bool {
        let mut at = 0;
        loop {
            if let Part::Text { left, strings } = self.part {
                let skipped = left.min(bytes.len() - at);
                at += skipped;
                self.part = text(left - skipped, strings);
            }
            let Some(byte) = bytes.get_mut(at) else { return false };
            self.part = match self.part {
                Part::Strings(0) => {
                    self.count += 1;
                    if self.count > MOST {
                        *byte = SPOILT;
                        return true;
                    }
                    field(*byte)
                }
                Part::Strings(strings) => number(*byte, 0x7f, Then::Length { strings: strings - 1 }),
                Part::Number { value, bits, then } => {
                    let more = usize::from(*byte & 0x7f).checked_shl(bits).unwrap_or(usize::MAX);
                    let value = value.saturating_add(more);
                    match *byte & 0x80 {
                        0 => after(value, then),
                        _ => Part::Number {
                            value,
                            bits: bits + 7,
                            then,
                        },
                    }
                }
                Part::Text { .. } => continue,
            };
            at += 1;
        }
    }
}

/// What follows the first byte of a field, or of a change to the table's size.
fn field(byte: u8) -> Part {
    let (mask, named) = match byte {
        0x80.. => return number(byte, 0x7f, Then::Index { strings: 0 }),
        0x40.. => (0x3f, byte & 0x3f != 0),
        0x20.. => return number(byte, 0x1f, Then::Index { strings: 0 }),
        _ => (0x0f, byte & 0x0f != 0),
    };
    number(
        byte,
        mask,
        Then::Index {
            strings: if named { 1 } else { 2 },
        },
    )
}

/// A number in a byte's last bits (RFC 7541 §5.1).
fn number(byte: u8, mask: u8, then: Then) -> Part {
    let value = usize::from(byte & mask);
    if byte & mask < mask {
        after(value, then)
    } else {
        Part::Number { value, bits: 0, then }
    }
}

fn after(value: usize, then: Then) -> Part {
    match then {
        Then::Index { strings } => Part::Strings(strings),
        Then::Length { strings } => text(value, strings),
    }
}

fn text(left: usize, strings: u8) -> Part {
    if left == 0 {
        Part::Strings(strings)
    } else {
        Part::Text { left, strings }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put_number(bytes: &mut Vec<u8>, first: u8, mask: u8, mut value: usize) {
        if value < mask.into() {
            return bytes.push(first | u8::try_from(value).expect("it fits"));
        }
        bytes.push(first | mask);
        value -= usize::from(mask);
        while value >= 0x80 {
            bytes.push(0x80 | u8::try_from(value & 0x7f).expect("seven bits"));
            value >>= 7;
        }
        bytes.push(u8::try_from(value).expect("seven bits"));
    }

    /// One field of each kind: its index, and the lengths of its strings.
    fn put(bytes: &mut Vec<u8>, kind: u8, index: usize, name: usize, value: usize) {
        let (first, mask) = [(0x80, 0x7f), (0x40, 0x3f), (0x20, 0x1f), (0x10, 0x0f), (0x00, 0x0f)][usize::from(kind)];
        put_number(bytes, first, mask, index);
        let literal = !matches!(kind, 0 | 2);
        for (there, length) in [(literal && index == 0, name), (literal, value)] {
            if there {
                put_number(bytes, 0x80, 0x7f, length);
                bytes.resize(bytes.len() + length, 0xff);
            }
        }
    }

    proptest! {
        #[test]
        fn lim_2_fields_are_counted_however_they_are_written_and_cut(
            fields in prop::collection::vec((0_u8..5, 0_usize..400, 0_usize..300, 0_usize..20_000), 0..30),
            cuts in prop::collection::vec(1_usize..3000, 1..100),
        ) {
            let mut bytes = Vec::new();
            for (kind, index, name, value) in &fields {
                put(&mut bytes, *kind, *index, *name, *value);
            }
            let (mut read, mut at) = (Fields::default(), 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                prop_assert!(!read.read(&mut bytes[at..end]));
                at = end;
                if at == bytes.len() { break }
            }
            prop_assert_eq!(read.count as usize, fields.len());
            prop_assert!(matches!(read.part, Part::Strings(0)));
        }

        #[test]
        fn lim_2_whatever_comes_is_read(mut bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut fields = Fields::default();
            fields.read(&mut bytes);
            prop_assert!(fields.count <= MOST + 1);
        }
    }
}
