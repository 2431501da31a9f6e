//! Buffers of a thread, lent for as long as bytes are in flight, so that an idle connection has none.

use std::cell::RefCell;

/// Size of a buffer: most that one read takes, and most that a reader who stalls keeps waiting for it in a direction.
const BYTES: usize = 64 * 1024;
/// Most buffers that a thread keeps while nobody has them.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer and the bytes in it that are still to be written.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Takes an empty buffer. What others read into it before is still there, behind what is filled.
    pub(super) fn take() -> Self {
        let free = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        Self {
            bytes: free.unwrap_or_else(|| vec![0; BYTES].into()),
            start: 0,
            end: 0,
        }
    }

    /// Holds bytes that were read before.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            start: 0,
            end: bytes.len(),
        }
    }

    pub(super) fn give_back(self) {
        if self.bytes.len() != BYTES {
            return;
        }
        // While the thread ends there is nowhere to keep it.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(self.bytes);
            }
        });
    }

    /// What is still to be written.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Where to read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn read(&mut self, bytes: usize) {
        (self.start, self.end) = (0, bytes);
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.start += bytes;
    }
}
