//! What a certificate authority may ask for over plain HTTP (RFC 8555 §8.3).

use std::sync::Arc;

use dashmap::DashMap;

/// Answers by token, while somebody waits for the authority to ask. Cheap to clone.
#[derive(Clone, Default)]
pub struct Challenges(Arc<DashMap<String, String>>);

/// Takes its answer away when dropped.
pub struct Kept {
    token: String,
    challenges: Challenges,
}

impl Challenges {
    /// Answers a token until the guard is dropped.
    #[must_use]
    pub fn put(&self, token: String, answer: String) -> Kept {
        self.0.insert(token.clone(), answer);
        Kept {
            token,
            challenges: self.clone(),
        }
    }

    /// What the authority expects under a token, if somebody waits for it.
    pub fn answer(&self, token: &str) -> Option<String> {
        self.0.get(token).map(|answer| answer.clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.challenges.0.remove(&self.token);
    }
}
