//! The last bytes of an endless output, addressed by their offset in all of it.
//!
//! Owns which offsets are still there. Refuses to know: what the bytes mean, who reads them.

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

/// A byte ring with absolute offsets.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    end: u64,
    capacity: usize,
}

/// Why bytes at an offset cannot be had.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Unavailable {
    /// They were overwritten; `start` is the oldest offset that is left.
    #[error("the bytes before {start} are gone")]
    Gone { start: u64 },
    /// They were never written; `end` is where output stands.
    #[error("nothing was written beyond {end}")]
    Ahead { end: u64 },
}

impl Ring {
    /// Makes an empty ring that keeps at most `capacity` bytes; memory grows only as they come.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            end: 0,
            capacity,
        }
    }

    /// The oldest offset that is still there.
    pub fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// The offset of the next byte to come.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends bytes; the oldest make room.
    pub fn push(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(self.capacity)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
    }

    /// At most `most` bytes from `offset`; empty at the end.
    pub fn read(&self, offset: u64, most: usize) -> Result<Bytes, Unavailable> {
        if offset > self.end {
            return Err(Unavailable::Ahead { end: self.end });
        }
        let Some(skip) = offset.checked_sub(self.start()) else {
            return Err(Unavailable::Gone { start: self.start() });
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (front, back) = self.bytes.as_slices();
        let front = &front[skip.min(front.len())..];
        let back = &back[skip.saturating_sub(self.bytes.len() - back.len()).min(back.len())..];
        let mut bytes = Vec::with_capacity(most.min(front.len() + back.len()));
        bytes.extend_from_slice(&front[..front.len().min(most)]);
        bytes.extend_from_slice(&back[..back.len().min(most - bytes.len())]);
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(ring: &Ring, mut offset: u64, most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while offset < ring.end() {
            let bytes = ring.read(offset, most).expect("within the ring");
            offset += bytes.len() as u64;
            all.extend_from_slice(&bytes);
        }
        all
    }

    proptest! {
        #[test]
        fn keeps_the_newest_bytes_at_their_offsets(
            pushes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            capacity in 1usize..64,
            most in 1usize..16,
        ) {
            let mut ring = Ring::new(capacity);
            let mut all = Vec::new();
            for push in &pushes {
                ring.push(push);
                all.extend_from_slice(push);
                prop_assert_eq!(ring.end(), all.len() as u64);
                prop_assert_eq!(ring.start(), all.len().saturating_sub(capacity) as u64);
                for offset in 0..=all.len() as u64 {
                    if offset < ring.start() {
                        prop_assert_eq!(ring.read(offset, most), Err(Unavailable::Gone { start: ring.start() }));
                    } else {
                        prop_assert_eq!(read_all(&ring, offset, most), &all[usize::try_from(offset).expect("small")..]);
                    }
                }
                prop_assert_eq!(ring.read(ring.end() + 1, most), Err(Unavailable::Ahead { end: ring.end() }));
            }
        }
    }
}
