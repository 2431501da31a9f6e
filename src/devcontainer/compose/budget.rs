//! What reading a project may cost, whatever its files say: one bound for all of them together.

use crate::devcontainer::file::Malformed;

/// Most nodes of all documents, those of aliases counted each time.
const MAX_NODES: usize = 20_000;
/// Most bytes of all texts, of what is put in the places of names, and of variables; each counted as often as it is there.
const MAX_BYTES: usize = 1 << 20;

/// What is left of it. Once something did not fit nothing does, so that no bound is forgiven on the way.
#[derive(Debug)]
pub struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: MAX_NODES,
            bytes: MAX_BYTES,
        }
    }
}

impl Budget {
    /// Takes so many nodes and bytes.
    pub fn take(&mut self, nodes: usize, bytes: usize) -> Result<(), Malformed> {
        match (self.nodes.checked_sub(nodes), self.bytes.checked_sub(bytes)) {
            (Some(nodes), Some(bytes)) => {
                *self = Self { nodes, bytes };
                Ok(())
            }
            _ => {
                *self = Self { nodes: 0, bytes: 0 };
                Err(Malformed(format!(
                    "it says too much: with what aliases and names stand for, all files together hold at most {MAX_NODES} entries and {} KiB",
                    MAX_BYTES >> 10
                )))
            }
        }
    }

    /// Takes so many bytes.
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.take(0, bytes)
    }

    /// Bytes that were taken so far.
    #[cfg(test)]
    pub fn spent(&self) -> usize {
        MAX_BYTES - self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_spent_for_good() {
        let mut budget = Budget::default();
        assert!(budget.take(MAX_NODES, MAX_BYTES - 1).is_ok());
        assert!(budget.bytes(1).is_ok() && budget.bytes(0).is_ok());
        assert!(budget.bytes(1).is_err());
        let mut budget = Budget::default();
        assert!(budget.bytes(MAX_BYTES + 1).is_err());
        assert!(budget.bytes(1).is_err(), "less does not fit either, then");
    }
}
