//! The order of cipher suites, which is ours: AES-128 first, and ChaCha20 for clients that would rather have that, which
//! are phones without AES in their processor.
//!
//! Every suite is strong (TLS-1), so the order is about speed alone.

use std::sync::Arc;

use rustls::{CipherSuite, crypto::CryptoProvider};

use super::{CertificateError, provider};

/// Something for either order.
#[derive(Clone, Debug)]
pub(super) struct Preferred<T> {
    aes: T,
    chacha: T,
    /// What we speak at all.
    known: Arc<[CipherSuite]>,
}

impl<T> Preferred<T> {
    /// Makes it for both.
    pub(super) fn both(make: impl Fn(Arc<CryptoProvider>) -> Result<T, CertificateError>) -> Result<Self, CertificateError> {
        let ordered = |rank: fn(CipherSuite) -> u8| {
            let mut provider = CryptoProvider::clone(&provider());
            provider.cipher_suites.sort_by_key(|suite| rank(suite.suite()));
            provider
        };
        let aes = ordered(|suite| if is_chacha(suite) { 2 } else { u8::from(!is_aes_128(suite)) });
        let known = aes.cipher_suites.iter().map(|suite| suite.suite()).collect();
        Ok(Self {
            aes: make(Arc::new(aes))?,
            chacha: make(Arc::new(ordered(|suite| {
                if is_chacha(suite) { 0 } else { 1 + u8::from(!is_aes_128(suite)) }
            })))?,
            known,
        })
    }

    /// The one for a client that offers these, what it likes best first.
    pub(super) fn of(&self, offered: &[CipherSuite]) -> &T {
        let best = offered.iter().find(|suite| self.known.contains(suite));
        if best.is_some_and(|suite| is_chacha(*suite)) {
            &self.chacha
        } else {
            &self.aes
        }
    }
}

fn is_chacha(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

#[cfg(test)]
mod tests {
    use CipherSuite::*;

    use super::*;

    #[test]
    fn the_order_is_ours_but_for_those_without_aes() {
        let orders = Preferred::both(|provider| Ok(provider.cipher_suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>()));
        let orders = orders.expect("made");
        #[track_caller]
        fn check(orders: &Preferred<Vec<CipherSuite>>, offered: &[CipherSuite], expected: CipherSuite) {
            let order = orders.of(offered);
            assert_eq!(order.len(), 9, "nothing is lost");
            let chosen = order.iter().find(|suite| offered.contains(suite));
            assert_eq!(chosen, Some(&expected), "{offered:?}");
        }
        let (small, large, chacha) = (TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256);
        check(&orders, &[large, chacha, small], small);
        check(&orders, &[large, chacha], large);
        check(&orders, &[chacha, large, small], chacha);
        check(&orders, &[Unknown(0x1a1a), TLS_RSA_WITH_AES_128_CBC_SHA, chacha, small], chacha);
        check(&orders, &[chacha], chacha);
        let (old_small, old_chacha) = (
            TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        );
        check(&orders, &[old_chacha, old_small], old_chacha);
        check(
            &orders,
            &[TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, old_chacha, old_small],
            old_small,
        );
    }
}
