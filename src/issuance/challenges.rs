//! How a certificate authority sees that a name is ours: over plain HTTP (RFC 8555 §8.3), or in a handshake of a kind of
//! its own (RFC 8737).

use std::sync::Arc;

use dashmap::DashMap;
use rustls::sign::CertifiedKey;

/// What is answered while somebody waits for the authority to ask. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Open>);

#[derive(Debug, Default)]
struct Open {
    /// By token.
    texts: DashMap<String, String>,
    /// By server name.
    certificates: DashMap<String, Arc<CertifiedKey>>,
}

/// Takes its answer away when dropped.
pub struct Kept {
    key: Key,
    challenges: Challenges,
}

enum Key {
    Token(String),
    ServerName(String),
}

impl Challenges {
    /// Answers a token until the guard is dropped.
    #[must_use]
    pub fn put(&self, token: String, answer: String) -> Kept {
        self.0.texts.insert(token.clone(), answer);
        self.kept(Key::Token(token))
    }

    /// Shows a certificate to who asks for `acme-tls/1` with a server name, until the guard is dropped.
    #[must_use]
    pub fn put_certificate(&self, name: String, certificate: CertifiedKey) -> Kept {
        self.0.certificates.insert(name.clone(), Arc::new(certificate));
        self.kept(Key::ServerName(name))
    }

    /// What the authority expects under a token, if somebody waits for it.
    pub fn answer(&self, token: &str) -> Option<String> {
        self.0.texts.get(token).map(|answer| answer.clone())
    }

    /// What the authority expects in a handshake, if somebody waits for it.
    pub fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.certificates.get(name).map(|certificate| Arc::clone(&certificate))
    }

    fn kept(&self, key: Key) -> Kept {
        Kept {
            key,
            challenges: self.clone(),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let open = &self.challenges.0;
        match &self.key {
            Key::Token(token) => drop(open.texts.remove(token)),
            Key::ServerName(name) => drop(open.certificates.remove(name)),
        }
    }
}
