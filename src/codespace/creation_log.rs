//! What is said while a codespace is made: what an engine prints while it builds, before there is an agent to keep it.

use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes kept, the last ones.
const KEPT: usize = 128 * 1024;

/// The text of one codespace; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CreationLog(Arc<Mutex<String>>);

impl CreationLog {
    /// Appends a text; of too much the beginning is forgotten.
    pub fn push(&self, text: &str) {
        let mut all = self.0.lock();
        all.push_str(text);
        if all.len() > 2 * KEPT {
            let from = all.ceil_char_boundary(all.len() - KEPT);
            all.drain(..from);
        }
    }

    pub fn text(&self) -> String {
        let all = self.0.lock();
        all[all.ceil_char_boundary(all.len().saturating_sub(KEPT))..].to_owned()
    }

    pub fn clear(&self) {
        *self.0.lock() = String::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let log = CreationLog::default();
        (0..99_999).for_each(|line| log.push(&format!("{line} \u{e9}\n")));
        let text = log.text();
        assert!(text.len() <= KEPT && text.ends_with("99998 \u{e9}\n"));
        log.clear();
        assert_eq!(log.text(), "");
    }
}
