//! Session tickets whose keys come from one kept secret, so that a restart and another gateway on the same store resume
//! what this one began.
//!
//! Each key serves six hours. With TLS 1.3 a ticket only resumes: who steals the secret reads no recorded connection,
//! because each has its own key exchange. TLS 1.2 does not have that for resumed sessions.

use std::{fmt, path::Path};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls::server::ProducesTickets;
use sha2::{Digest as _, Sha256};

use super::{CertificateError, TicketSecret, certificates};
use crate::clock::SharedClock;

const KEY_SECONDS: u64 = 6 * 3600;
/// A ticket is taken under the key of its own six hours and for two more such spans.
const LATER_KEYS: u64 = 2;
/// What the gateway promises of a ticket in seconds.
const LIFETIME: u32 = 12 * 3600;
/// Bytes of the number of the key, in front of a ticket.
const EPOCH_BYTES: usize = 8;
/// Fewest bytes of a file that gateways share.
const MIN_FILE_BYTES: usize = 32;

/// Reads the secret that several gateways share from a file.
pub fn shared_secret(path: &Path) -> Result<TicketSecret, CertificateError> {
    let bytes = certificates::read(path)?;
    if bytes.len() < MIN_FILE_BYTES {
        return Err(CertificateError::TicketKey(path.to_owned()));
    }
    Ok(Sha256::new_with_prefix(b"portico shared ticket secret")
        .chain_update(bytes)
        .finalize()
        .into())
}

/// Seals and opens session tickets.
pub(super) struct Tickets {
    secret: TicketSecret,
    clock: SharedClock,
}

impl Tickets {
    pub(super) fn new(secret: TicketSecret, clock: SharedClock) -> Self {
        Self { secret, clock }
    }

    fn epoch(&self) -> u64 {
        u64::try_from(self.clock.now().unix_timestamp()).unwrap_or_default() / KEY_SECONDS
    }

    fn key(&self, epoch: u64) -> Option<RandomizedNonceKey> {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.secret).ok()?;
        mac.update(b"portico tls ticket");
        mac.update(&epoch.to_be_bytes());
        RandomizedNonceKey::new(&AES_256_GCM, &mac.finalize().into_bytes()).ok()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(…)")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let epoch = self.epoch();
        let number = epoch.to_be_bytes();
        let mut sealed = plain.to_vec();
        let nonce = self.key(epoch)?.seal_in_place_append_tag(Aad::from(&number), &mut sealed).ok()?;
        Some([&number[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = ticket.split_first_chunk::<EPOCH_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let epoch = u64::from_be_bytes(*number);
        if epoch > self.epoch() || self.epoch() - epoch > LATER_KEYS {
            return None;
        }
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key(epoch)?.open_in_place(nonce, Aad::from(number), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn another_gateway_with_the_secret_takes_them_until_they_are_old() {
        let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time"));
        let here = Tickets::new([7; 32], Arc::new(clock.clone()));
        let there = Tickets::new([7; 32], Arc::new(clock.clone()));
        let stranger = Tickets::new([8; 32], Arc::new(clock.clone()));
        let ticket = here.encrypt(b"session").expect("a ticket");
        assert_eq!(there.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(stranger.decrypt(&ticket), None);
        for index in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[index] ^= 1;
            assert_eq!(there.decrypt(&forged), None, "byte {index}");
            assert_eq!(there.decrypt(&ticket[..index]), None, "{index} bytes");
        }
        clock.advance(Duration::hours(12));
        assert!(there.decrypt(&ticket).is_some());
        clock.advance(Duration::hours(7));
        assert_eq!(there.decrypt(&ticket), None);
    }
}
